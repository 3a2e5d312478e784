"""Trackers' own Keras callbacks: a run for each execution, whatever becomes of it."""

import copy
import dataclasses

import keras
import pytest

import glimr_keras as gk
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.training.tracker_callbacks import ExecutionRuns, package_of, trackers_of
from glimr_keras.training.trial_callback import TimeIsUpError
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
    with runs.ended(lambda: False):
        train(placed)
        train(copy.deepcopy(placed))  # for a second `fit`, to the same run
        config.Fixed("late", 3)
        assert tracker.runs[0].values == {"units": 2, "rate": 0.0}
    (run,) = tracker.runs
    assert run.values == {"units": 2, "rate": 0.0, "late": 3}
    assert run.status == "COMPLETED"


@pytest.mark.parametrize(
    ("error", "is_stopped", "status"),
    [
        (RuntimeError, False, "FAILED"),
        (SystemExit, False, "FAILED"),  # of the user's code
        (SystemExit, True, "STOPPED"),
        (TimeIsUpError, False, "STOPPED"),
        (KeyboardInterrupt, False, "RUNNING"),
    ],
)
def test_a_run_ends_as_the_execution_does(runs, tracker, error, is_stopped, status):
    def execute():
        with runs.ended(lambda: is_stopped):
            train(runs.placed([OfMLflow()]))
            raise error

    with pytest.raises(error):
        execute()
    assert [run.status for run in tracker.runs] == [status]


@pytest.mark.parametrize(("error", "count"), [(ValueError, 1), (KeyboardInterrupt, 0)])
def test_what_fails_before_its_training_has_a_run_too(runs, tracker, error, count):
    def execute():
        with runs.ended(lambda: False):
            raise error

    with pytest.raises(error):
        execute()
    assert [run.status for run in tracker.runs] == ["FAILED"] * count


def test_a_run_that_the_users_code_has_begun_is_left_to_it(runs, tracker):
    tracker.is_busy = True

    def execute():
        with runs.ended(lambda: False):
            train(runs.placed([OfMLflow()]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute()
    assert tracker.runs == []


def test_a_run_that_cannot_be_ended_takes_no_training_with_it(runs, tracker):
    class Lost(Run):
        def end(self, status):
            raise OSError("no connection")

    tracker.begin = lambda spec, callbacks: Lost(spec)
    said = "run of trial 7 could not be ended.*no connection"
    with pytest.warns(UserWarning, match=said), runs.ended(lambda: False):
        train(runs.placed([OfMLflow()]))


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
