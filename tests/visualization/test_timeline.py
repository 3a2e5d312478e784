"""When trainings began and ended."""

import dataclasses
import datetime
import time

import matplotlib.dates
import pytest

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.trial import Trial
from glimr_keras.visualization.scores import scores_of
from glimr_keras.visualization.timeline import duration, trainings
from tests.visualization import made


def test_each_execution_is_a_training_with_its_process():
    project = made.project(20, cv_folds=3)
    found = trainings(scores_of(project))
    executions = [e for trial in project.trials.values() for e in trial.executions.values()]
    assert [each.started for each in found] == [e.started for e in executions]
    assert {each.worker for each in found} == {"host:100", "host:101"}


def test_what_runs_lasts_until_the_last_time_that_is_known():
    completed, first, second = trials_of("COMPLETED", "RUNNING", "RUNNING")
    first.executions[0].epoch_times = {1: made.START + 20, 2: made.START + 50}
    second.executions[0].epoch_times = {1: made.START + 30}
    found = trainings(scores_of(project_of(completed, first, second)))
    assert [each.ended - made.START for each in found] == [5, 50, 50]
    second.executions[0].started = made.START + 60
    found = trainings(scores_of(project_of(completed, first, second)))
    assert [each.ended - made.START for each in found] == [5, 60, 60]


def test_what_an_ended_trial_left_behind_ended_with_it():
    """A search that goes on ends trials of the search before, whose processes are gone."""
    failed, later = trials_of("FAILED", "COMPLETED")
    left = failed.executions[0]
    left.status, left.ended, left.epoch_times = "RUNNING", None, {1: made.START + 3}
    later.executions[0].ended = made.START + 100
    found = trainings(scores_of(project_of(failed, later)))
    assert [(each.status, each.ended - made.START) for each in found] == [
        ("FAILED", 3),
        ("COMPLETED", 100),
    ]
    assert failed.ended == made.START + 3


def trials_of(*statuses):
    """Trials that all began at the same time; those that do not run took five seconds."""
    ended = [None if status == "RUNNING" else made.START + 5 for status in statuses]
    return [
        Trial.of(
            f"{number:04d}",
            {},
            executions={0: Execution(status, started=made.START, ended=end)},
            status=status,
        )
        for number, (status, end) in enumerate(zip(statuses, ended, strict=True))
    ]


def project_of(*trials):
    return dataclasses.replace(made.project(0), trials={each.trial_id: each for each in trials})


@pytest.fixture(params=["UTC", "America/New_York"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_bars_are_at_the_local_time_in_both_backends(zone):
    project = made.project(1, statuses=(("COMPLETED", 1.0),))
    execution = project.trials["0000"].executions[0]
    ax = gk.visualization.plot_timeline(project)
    bar = ax.patches[0]
    began = datetime.datetime.fromtimestamp(execution.started)
    assert bar.get_x() == pytest.approx(matplotlib.dates.date2num(began))
    assert bar.get_width() * 86400 == pytest.approx(execution.duration, abs=1e-3)
    trace = gk.visualization.plot_timeline(project, backend="plotly").data[0]
    assert trace.base[0] == datetime.datetime.fromtimestamp(execution.started).isoformat()
    assert trace.x[0] == pytest.approx(1000 * execution.duration)


def test_the_legend_has_the_statuses_that_there_are():
    ax = gk.visualization.plot_timeline(made.project(60))
    names = [text.get_text() for text in ax.figure.legends[0].texts]
    assert names == ["completed", "stopped", "failed", "running"]
    assert ax.get_ylabel() == "trial"
    assert "minutes, by 2 processes" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 seconds"), (90, "1.5 minutes"), (7200, "2.0 hours"), (86400 * 3, "3.0 days")],
)
def test_durations_have_the_largest_unit(seconds, text):
    assert duration(seconds) == text


def test_without_times_there_is_none():
    with pytest.raises(ProjectError, match="it is not known when trials began"):
        gk.visualization.plot_timeline(made.project(5, has_times=False))
