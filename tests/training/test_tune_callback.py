"""`TuneReportCheckpoint`: hooks called by hand, and real trainings in a Ray Tune function of the
user's own.
"""

import shutil

import keras
import numpy as np
import pytest
from ray import tune

import glimr_keras as gk
from glimr_keras.errors import ObjectiveError
from glimr_keras.project import model_weights
from glimr_keras.space.hyperparameters import HyperParameters
from tests import tiny_models

LOGS = [
    {"loss": 3.0, "val_loss": 2.0},
    {"loss": 2.0, "val_loss": 3.0},
    {"loss": 1.0, "val_loss": 1.0},
]


class Collects(gk.TuneReportCheckpoint):
    """Keeps what it would report: (epoch, metrics, whether there is a checkpoint)."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.reports = []

    def deliver(self, epoch, metrics, directory):
        self.reports.append((epoch, metrics, directory is not None))
        if directory is not None:
            shutil.rmtree(directory)


def driven(logs=LOGS, **kwargs):
    """The reports of a callback whose hooks are called with made-up logs."""
    callback = Collects(**kwargs)
    model = tiny_models.build(HyperParameters())
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, values in enumerate(logs):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, values)
    callback.on_train_end()
    return callback.reports


def test_by_default_every_epoch_is_reported_and_the_best_by_val_loss_checkpointed():
    assert driven() == [(1, LOGS[0], True), (2, LOGS[1], False), (3, LOGS[2], True)]


def test_without_validation_the_training_loss_is_monitored():
    logs = [{"loss": 1.0}, {"loss": 2.0}]
    assert [checkpoint for _, _, checkpoint in driven(logs)] == [True, False]


def test_a_monitored_metric_that_is_to_grow_is_known_to():
    logs = [{"accuracy": 0.5}, {"accuracy": 0.4}, {"accuracy": 0.6}]
    assert [checkpoint for _, _, checkpoint in driven(logs, monitor="accuracy")] == [
        True,
        False,
        True,
    ]
    assert [checkpoint for _, _, checkpoint in driven(logs, monitor="accuracy", mode="min")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("metrics", "reported"),
    [
        (None, {"loss": 3.0, "val_loss": 2.0}),
        ("loss", {"loss": 3.0}),
        (["val_loss"], {"val_loss": 2.0}),
        ({"error": "val_loss"}, {"error": 2.0}),
    ],
)
def test_metrics_can_be_chosen_and_renamed(metrics, reported):
    assert driven(LOGS[:1], metrics=metrics)[0][1] == reported


@pytest.mark.parametrize(
    ("arguments", "reports"),
    [
        ({"report": 2, "checkpoint": None}, [(2, False)]),
        ({"report": "end", "checkpoint": None}, [(3, False)]),
        ({"report": "end", "checkpoint": "end"}, [(3, True)]),
        ({"report": 1, "checkpoint": "end"}, [(1, False), (2, False), (3, True)]),
        ({"report": 1, "checkpoint": 2}, [(1, False), (2, True), (3, False)]),
        ({"report": "end", "checkpoint": 1}, [(1, True), (2, True), (3, True)]),
    ],
)
def test_it_reports_and_checkpoints_when_it_is_told_to(arguments, reports):
    assert [(epoch, checkpoint) for epoch, _, checkpoint in driven(**arguments)] == reports


def test_vectors_in_the_logs_are_left_out():
    logs = [{"loss": np.float32(1.0), "f1": np.array([0.1, 0.2])}]
    assert driven(logs, checkpoint=None) == [(1, {"loss": 1.0}, False)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"report": 0}, "`report` must be a number of epochs above 0 or 'end'. Received: report=0"),
        (
            {"checkpoint": "always"},
            "`checkpoint` must be .* or 'best' or 'end'. Received: checkpoint='always'",
        ),
        (
            {"metrics": 3},
            "`metrics` must be a name, a list of names, or a dict of names. Received: metrics=3",
        ),
        ({"mode": "up"}, "`mode` must be 'auto', 'min' or 'max'. Received: mode='up'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        gk.TuneReportCheckpoint(**arguments)


def test_a_metric_that_keras_does_not_log_is_refused_with_those_that_exist():
    with pytest.raises(
        ObjectiveError,
        match=r"'val_los'.* Did you mean 'val_loss'\? The logs have: \['loss', 'val_loss'\]",
    ):
        driven(metrics="val_los", checkpoint=None)


def test_a_monitor_that_keras_does_not_log_is_refused_with_those_that_exist():
    with pytest.raises(ObjectiveError, match=r"`monitor='val_acc'` is not in Keras' logs"):
        driven(monitor="val_acc")


def train(config):
    """A user's own Ray Tune function: interrupted once after two epochs, and continued from its
    checkpoint.
    """
    model = tiny_models.build(HyperParameters({"units": config["units"], "learning_rate": 0.01}))
    start = gk.TuneReportCheckpoint.restore(model)
    callbacks = [
        gk.TuneReportCheckpoint(metrics={"score": "val_accuracy"}, checkpoint=1),
        Interrupts(start),
    ]
    model.fit(
        *tiny_models.TRAIN,
        validation_data=tiny_models.VALIDATION,
        epochs=4,
        initial_epoch=start,
        callbacks=callbacks,
        verbose=0,
    )
    tune.report({"score": 0.0, "start": start, "iterations": int(model.optimizer.iterations)})


class Interrupts(keras.callbacks.Callback):
    """Dies after the second epoch of a training that started from the beginning."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def on_epoch_begin(self, epoch, logs=None):
        if self.start == 0 and epoch == 2:
            raise RuntimeError("interrupted")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_a_users_own_function_reports_checkpoints_and_resumes(local_ray, tmp_path):
    tuner = tune.Tuner(
        train,
        param_space={"units": 4},
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            name="own",
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    result = tuner.fit()[0]
    batches = 2  # 64 samples in batches of 32
    assert result.error is None
    assert result.metrics["start"] == 2
    assert result.metrics["iterations"] == 4 * batches  # the optimizer continued as well
    model = tiny_models.build(HyperParameters({"units": 4, "learning_rate": 0.01}))
    with result.checkpoint.as_directory() as directory:
        assert model_weights.load(model, directory).epoch == 4
    assert gk.TuneReportCheckpoint.restore(model, result.checkpoint) == 4
