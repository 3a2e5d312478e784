"""The trial loop of a tuner of the user's own."""

import keras
import pytest

from glimr_keras.models.hypermodel import HyperModel, as_hypermodel
from glimr_keras.training.trial_loop import KerasFit, OwnFit, OwnRun, loop_of
from glimr_keras.tuners.tuner_loop import TunerLoop
from tests import tiny_models


class Runner:
    """One execution, as far as hooks look at it."""

    trial = "trial"


class Told:
    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda trial, model, number, logs=None: self.heard.append(
            (name, trial, number, sorted(logs or {}))
        )


@pytest.mark.parametrize("batches", [False, True])
def test_a_tuner_is_told_of_batches_only_if_it_wants(batches):
    tuner = Told()
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(
        tiny_models.TRAIN[0],
        tiny_models.TRAIN[0][:, :2],
        epochs=2,
        verbose=0,
        callbacks=TunerLoop(tuner, KerasFit(), False, batches).hooks(Runner()),
    )
    told = [(name, number) for name, trial, number, _ in tuner.heard if trial == "trial"]
    of_epochs = [each for each in told if "epoch" in each[0]]
    assert of_epochs == [
        ("on_epoch_begin", 0),
        ("on_epoch_end", 0),
        ("on_epoch_begin", 1),
        ("on_epoch_end", 1),
    ]
    assert (told == of_epochs) is not batches
    assert all(logs == ["loss"] for name, _, _, logs in tuner.heard if name.endswith("_end"))
    if batches:
        assert told[1:5] == [
            ("on_batch_begin", 0),
            ("on_batch_end", 0),
            ("on_batch_begin", 1),
            ("on_batch_end", 1),
        ]


class Runs(HyperModel):
    def run(self, config):
        return 0.0


@pytest.mark.parametrize(
    ("hypermodel", "kind"),
    [(tiny_models.build, KerasFit), (tiny_models.WithData(), OwnFit), (Runs(), OwnRun)],
)
@pytest.mark.parametrize("is_own", [False, True])
def test_a_tuners_loop_is_looked_at_as_the_one_below_unless_it_is_its_own(hypermodel, kind, is_own):
    below = loop_of(as_hypermodel(hypermodel))
    loop = TunerLoop(Told(), below, is_own, is_told_of_batches=False)
    assert type(below) is kind
    assert (loop.has_model, loop.is_keras_fit) == (below.has_model, below.is_keras_fit)
    assert (loop.builds_only, loop.names_metrics) == (is_own, True)
