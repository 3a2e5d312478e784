"""Tables and summaries that are computed from a project's record."""

import math

import pytest

from glimr_keras.project.journal import Project
from glimr_keras.results.summaries import results_summary, search_space_summary
from glimr_keras.results.tables import COLUMNS, results_dataframe
from glimr_keras.space.hp_types import Choice, Int
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Execution, Trial, TrialStatus


def execution(score, epochs, best_epoch, duration=1.5):
    history = {epoch: {"val_accuracy": score} for epoch in range(1, epochs + 1)}
    return Execution(TrialStatus.COMPLETED, history, best_epoch, score, duration)


def project_of(*trials):
    return Project(
        Objective("val_accuracy", "max"),
        0,
        1,
        [],
        trials={trial.trial_id: trial for trial in trials},
    )


@pytest.fixture
def project():
    """A completed trial of two executions, a failed one, a running one."""
    return project_of(
        Trial.of(
            "0000",
            {"layers": 1, "act": "relu"},
            status=TrialStatus.COMPLETED,
            executions={0: execution(0.5, 4, 3), 1: execution(0.75, 3, 2)},
        ),
        Trial.of(
            "0001",
            {"layers": 2, "act": "gelu", "units": 32},
            status=TrialStatus.FAILED,
            message="Traceback\nValueError: no",
        ),
        Trial.of("0002", {"layers": 2}, executions={0: Execution()}),
    )


# The table


def test_the_table_has_one_row_a_trial_in_their_order(project):
    frame = results_dataframe(project)
    assert list(frame.columns) == [*COLUMNS, "layers", "act", "units"]
    assert frame.trial_id.to_list() == ["0000", "0001", "0002"]
    assert frame.status.to_list() == ["COMPLETED", "FAILED", "RUNNING"]


def test_scores_and_durations_are_over_executions_and_epochs_of_the_best_and_the_longest(project):
    first = results_dataframe(project).iloc[0]
    assert (first.score, first.best_epoch, first.epochs, first.duration) == (0.625, 2, 4, 3.0)


def test_what_a_trial_does_not_have_is_empty(project):
    frame = results_dataframe(project)
    assert math.isnan(frame.score[1])
    assert math.isnan(frame.duration[2])
    assert frame.best_epoch.isna().to_list() == [False, True, True]
    assert frame.epochs.to_list() == [4, 0, 0]
    assert frame.units.isna().to_list() == [True, False, True]


def test_an_integer_stays_one_where_another_trial_does_not_have_it(project):
    assert str(results_dataframe(project).units[1]) == "32"


def test_a_hyperparameter_with_the_name_of_a_column_does_not_replace_it():
    frame = results_dataframe(
        project_of(
            Trial.of("0000", {"score": 7, "epochs": 3}, executions={0: execution(0.5, 2, 1)})
        )
    )
    assert frame.score[0] == 0.5
    assert frame["hyperparameters/score"][0] == 7
    assert frame["hyperparameters/epochs"][0] == 3


def test_values_keep_their_types():
    trials = [Trial.of(f"000{i}", {"flag": i == 0, "rate": 0.5, "none": None}) for i in range(2)]
    frame = results_dataframe(project_of(*trials))
    assert frame.flag.dtype == bool
    assert frame.rate.dtype == float
    assert frame.none.isna().all()


def test_the_table_of_a_project_without_trials_has_the_same_columns():
    frame = results_dataframe(project_of())
    assert len(frame) == 0
    assert list(frame.columns) == list(COLUMNS)
    assert frame.score.dtype == float


def test_changing_the_table_does_not_change_the_record(project):
    frame = results_dataframe(project)
    frame.loc[0, "layers"] = 99
    assert project.trials["0000"].values["layers"] == 1


# Summaries


def test_the_results_summary_shows_the_best_trials_first(project):
    project.trials["0003"] = Trial.of(
        "0003", {"layers": 3}, status=TrialStatus.COMPLETED, executions={0: execution(0.9, 1, 1)}
    )
    text = results_summary(project, "./runs/project", 2)
    assert "Results in ./runs/project" in text
    assert 'Objective(name="val_accuracy", direction="max")' in text
    assert text.index("Trial 0003 summary") < text.index("Trial 0000 summary")
    assert "layers: 3\nScore: 0.9" in text
    assert "Trial 0001" not in text


def test_the_results_summary_says_why_a_trial_has_no_score(project):
    assert (
        "Trial 0001 summary\nHyperparameters:\nlayers: 2\nact: gelu\nunits: 32\nStatus: "
        "FAILED\nTraceback\nValueError: no" in (results_summary(project, "runs", 10))
    )


def test_the_search_space_summary_shows_every_hyperparameter():
    text = search_space_summary([Int("units", 1, 4), Choice("act", ("relu", "gelu"))])
    assert "Default search space size: 2" in text
    assert "units (Int)\n" in text
    assert "'min_value': 1, 'max_value': 4" in text
    assert "act (Choice)\n" in text
    assert "['relu', 'gelu']" in text
