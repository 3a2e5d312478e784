"""Trackers' own Keras callbacks: a run for each execution, whatever becomes of it."""

import copy
import dataclasses

import keras
import pytest

import glimr_keras as gk
from glimr_keras.errors import StorageError
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import as_hypermodel
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.training.context import TrialContext
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.run_trial import run_trial
from glimr_keras.training.tracker_callbacks import ExecutionRuns, package_of, trackers_of
from glimr_keras.training.trial_callback import TimeIsUpError
from glimr_keras.training.trial_loop import loop_of
from tests import tiny_models

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}


class OfMLflow(keras.callbacks.Callback):
    """Counts as a callback of MLflow's, by the name of its module."""

    __module__ = "mlflow.keras.callback"


class OwnOfMLflow(OfMLflow):
    """The user's, made of one of MLflow's."""


@dataclasses.dataclass
class Run:
    """A run that remembers what it is told."""

    spec: ExecutionSpec
    values: dict = dataclasses.field(default_factory=dict)
    status: str | None = None

    def log(self, values):
        self.values |= values

    def end(self, status):
        self.status = status


class Tracker:
    """A tracker that remembers its runs."""

    def __init__(self):
        self.runs, self.is_busy = [], False

    def is_taken(self):
        return self.is_busy

    def begin(self, spec, callbacks):
        self.runs.append(Run(spec))
        return self.runs[-1]


@pytest.fixture
def tracker():
    return Tracker()


@pytest.fixture
def config():
    made = gk.HyperParameters()
    made.Int("units", 2, 8)
    return made


@pytest.fixture
def runs(tracker, config, tmp_path):
    spec = ExecutionSpec("7", 0, {}, (1,), str(tmp_path), project="abc")
    return ExecutionRuns({"mlflow": tracker}, spec, config)


def train(callbacks):
    """What Keras does with callbacks."""
    for callback in callbacks:
        callback.on_train_begin()


def test_callbacks_of_trackers_are_known_by_their_modules():
    assert package_of(OfMLflow()) == package_of(OwnOfMLflow()) == "mlflow"
    assert package_of(keras.callbacks.EarlyStopping()) is None
    assert trackers_of([keras.callbacks.EarlyStopping()], "project") == {}
    assert trackers_of("no callbacks", "project") == {}


def test_a_run_begins_before_its_callbacks_with_the_hyperparameters(runs, tracker, config):
    callback = OfMLflow()
    placed = runs.placed([keras.callbacks.EarlyStopping(), callback])
    assert placed.index(callback) == 2
    assert runs.placed(placed) == placed
    config.Float("rate", 0, 1)
    train(placed)
    train(copy.deepcopy(placed))  # for a second `fit`, to the same run
    config.Fixed("late", 3)
    assert tracker.runs[0].values == {"units": 2, "rate": 0.0}
    runs.end("COMPLETED")
    (run,) = tracker.runs
    assert run.values == {"units": 2, "rate": 0.0, "late": 3}
    assert run.status == "COMPLETED"


def test_what_fails_before_its_training_has_a_run_too(runs, tracker):
    runs.end("RUNNING")
    assert tracker.runs == []
    runs.end("FAILED")
    assert [run.status for run in tracker.runs] == ["FAILED"]


def test_a_run_that_the_users_code_has_begun_is_left_to_it(runs, tracker):
    tracker.is_busy = True
    train(runs.placed([OfMLflow()]))
    runs.end("FAILED")
    assert tracker.runs == []


def test_a_run_that_cannot_be_ended_takes_no_training_with_it(runs, tracker):
    class Lost(Run):
        def end(self, status):
            raise OSError("no connection")

    tracker.begin = lambda spec, callbacks: Lost(spec)
    train(runs.placed([OfMLflow()]))
    with pytest.warns(UserWarning, match="run of trial 7 could not be ended.*no connection"):
        runs.end("COMPLETED")


class Ends(gk.HyperModel):
    """Trains nothing, and ends as it is told.

    Args:
        end: Is called in the place of a training.
        is_begun: Whether the training begins before.
    """

    def __init__(self, end, is_begun):
        self.end, self.is_begun = end, is_begun

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, **kwargs):
        if self.is_begun:
            train(each for each in callbacks if type(each).__name__ == "_RunBeginner")
        self.end(config)
        return 0.5


def raises(error):
    def end(config):
        raise error

    return end


ENDS = {
    "completed": (lambda config: None, "COMPLETED"),
    "error": (raises(ValueError("no")), "FAILED"),
    "exit": (raises(SystemExit(1)), "FAILED"),
    "no epoch in time": (raises(TimeIsUpError()), "FAILED"),
    "full disk": (raises(StorageError("full")), "RUNNING"),
    "no value": (lambda config: config.values.__setitem__("model", object()), "FAILED"),
}


@pytest.fixture
def executed(tracker, tmp_path):
    """Executes a trial, and returns what it reports."""

    def execute(hypermodel, report=None):
        context = TrialContext(
            hypermodel,
            DeclaredSpace(None),
            gk.Objective("val_loss", "min"),
            FitArguments(tiny_models.TRAIN, FIT),
            (OfMLflow(),),
            trackers={"mlflow": tracker},
            loop=loop_of(hypermodel),
        )
        reports = []
        spec = ExecutionSpec("7", 0, {}, (1,), str(tmp_path), project="abc", time_limit=60)
        run_trial(context, spec, report or reports.append)
        return reports[-1].outcome

    return execute


@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize("how", ENDS)
def test_a_run_ends_as_the_project_says(executed, tracker, how, is_begun):
    end, status = ENDS[how]
    assert executed(Ends(end, is_begun)).status == status
    has_run = is_begun or status == "FAILED"
    assert [run.status for run in tracker.runs] == [status] * has_run


def test_a_run_of_what_is_interrupted_has_not_ended(executed, tracker):
    with pytest.raises(KeyboardInterrupt):
        executed(Ends(raises(KeyboardInterrupt), is_begun=True))
    assert [run.status for run in tracker.runs] == ["RUNNING"]


def test_a_run_that_the_executor_stops_is_stopped(executed, tracker):
    def stop(report):
        raise SystemExit

    with pytest.raises(SystemExit):
        executed(as_hypermodel(tiny_models.build), stop)
    assert [run.status for run in tracker.runs] == ["STOPPED"]


class Began(OfMLflow):
    """Notes that a training began with it."""

    count = 0

    def on_train_begin(self, logs=None):
        Began.count += 1


def test_trying_a_configuration_leaves_no_run(tmp_path):
    Began.count = 0
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 1, directory=tmp_path, callbacks=[Began()], executor="inline"
    )
    tuner.try_configuration({}, *tiny_models.TRAIN)
    assert Began.count == 0
