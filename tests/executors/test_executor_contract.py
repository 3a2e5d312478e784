"""What every executor must do, whichever it is; a new one is one more row of `EXECUTORS`.

`OneAhead` is one of a user's own: it takes an execution from the coordinator before the one before
it has been trained, and tells the coordinator of it as the protocol says.
"""

import functools
import time

import pytest

import glimr_keras as gk
from glimr_keras.executors import Executor, InlineExecutor, RayExecutor
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.training.discovery import probe
from glimr_keras.training.run_trial import run_trial
from tests import tiny_models


class StoppedError(SystemExit):
    """Ends a training from inside its report."""


class OneAhead(Executor):
    """Runs executions here, and has the next one at hand while one runs."""

    sends = False

    def execute(self, context, begin):
        coordinator = begin(probe(context))
        if coordinator is None:
            return
        ahead = [coordinator.next_spec()]
        while ahead[0] is not None:
            ahead.append(coordinator.next_spec())
            spec = ahead.pop(0)
            coordinator.on_start(spec)
            try:
                report = functools.partial(self.take_in, coordinator, spec, time.monotonic())
                run_trial(context, spec, report)
            except StoppedError:
                pass
            if ahead == [None]:
                ahead = [coordinator.next_spec()]

    def take_in(self, coordinator, spec, started, report):
        stops = coordinator.stops(spec, report)
        coordinator.on_report(spec, report)
        if stops:
            coordinator.on_stopped(spec, time.monotonic() - started)
        if stops or (coordinator.error is not None and report.outcome is None):
            raise StoppedError


EXECUTORS = {
    "ray": lambda: RayExecutor({"cpu": 1}),
    "inline": InlineExecutor,
    "one of a user's own": OneAhead,
}


@pytest.fixture(params=EXECUTORS)
def executor(request, local_ray):
    return EXECUTORS[request.param]()


class Fails(HyperModel):
    """Fails in some trials, and is stopped in none."""

    def build(self, config):
        if config.Choice("fails", [False, True]):
            raise gk.FailedTrialError("as it was told to")
        return tiny_models.build(config)


POINTS = [{"fails": False, "units": 4}, {"fails": True}, {"fails": False, "units": 6}]
DATA = {"validation_data": tiny_models.VALIDATION, "verbose": 0}


def tuner_of(max_trials, executor, project):
    arguments = {"initial_points": POINTS, "executor": executor, **project}
    return gk.RayTuner(Fails(), "val_loss", max_trials, seed=3, **arguments)


def scores_of(tuner):
    trials = tuner.oracle.trials.values()
    return {trial.values["units"]: trial.score for trial in trials if trial.score is not None}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The scores of the same trials in this process, by units."""
    tuner = tuner_of(3, "inline", {"directory": tmp_path_factory.mktemp("expected")})
    tuner.search(*tiny_models.TRAIN, epochs=2, **DATA)
    return scores_of(tuner)


def test_a_search_runs_to_its_end_and_is_continued(executor, project, expected):
    """All trials, each epoch once, the same scores wherever they ran; a failure fails alone; what
    ended is not run again.
    """
    tuner = tuner_of(2, executor, project)
    tuner.search(*tiny_models.TRAIN, epochs=2, **DATA)
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED", "FAILED"]
    again = tuner_of(3, executor, project)
    again.search(*tiny_models.TRAIN, epochs=2, **DATA)
    trials = again.oracle.trials
    assert [trial.status for trial in trials.values()] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert all(sorted(trials[number].executions[0].history) == [1, 2] for number in "02")
    assert scores_of(again) == pytest.approx(expected, rel=1e-5)
    best = again.get_best_models()[0]
    score = best.evaluate(*tiny_models.VALIDATION, verbose=0, return_dict=True)["loss"]
    assert score == pytest.approx(min(expected.values()), rel=1e-5)


def test_a_model_that_cannot_be_built_is_refused_before_any_trial(executor, project):
    tuner = gk.RayTuner(lambda config: None, "val_loss", 2, executor=executor, **project)
    with pytest.raises(gk.errors.ModelError, match="must return a compiled Keras model"):
        tuner.search(*tiny_models.TRAIN, epochs=1, **DATA)
    assert not tuner.oracle.trials


@pytest.mark.parametrize("given", ["Ray", 3, OneAhead])
def test_what_is_no_executor_is_refused(given, project):
    with pytest.raises(ValueError, match="must be 'auto', 'ray', 'inline', or an `Executor`"):
        gk.RayTuner(tiny_models.build, "val_loss", executor=given, **project)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_concurrent_trials", 2), ("max_worker_memory", 2**30), ("address", "x")],
)
def test_arguments_that_an_instance_would_not_see_are_refused(name, value, project):
    with pytest.raises(ValueError, match=rf"`{name}` needs `executor='ray'`, or pass it to the ex"):
        arguments = {name: value, **project}
        gk.RayTuner(tiny_models.build, "val_loss", executor=OneAhead(), **arguments)
