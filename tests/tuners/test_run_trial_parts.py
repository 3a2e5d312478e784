"""What copies of KerasTuner's `run_trial` are made of."""

import keras
import pytest

from glimr_keras.errors import FatalTypeError, FatalValueError
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import create_objective
from glimr_keras.tuners import run_trial_parts
from tests import tiny_models

LOSS = create_objective("val_loss")


class Weights:
    """A model that notes when its weights are saved."""

    def __init__(self):
        self.saved = []
        self.epoch = None

    def save_weights(self, path):
        self.saved.append((path, self.epoch))


def saved_epochs(objective, epochs):
    callback, model = run_trial_parts.SaveBestEpoch(objective, "x.weights.h5"), Weights()
    callback.set_model(model)
    for model.epoch, logs in enumerate(epochs):
        callback.on_epoch_end(model.epoch, logs)
    assert {path for path, _ in model.saved} <= {"x.weights.h5"}
    return [epoch for _, epoch in model.saved]


@pytest.mark.parametrize(
    ("objective", "epochs", "expected"),
    [
        ("val_loss", [{"val_loss": v} for v in (3, 4, 2, 2)], [0, 2]),
        ("val_accuracy", [{"val_accuracy": v} for v in (0.3, 0.4, 0.2)], [0, 1]),
        (["loss", "accuracy"], [{"loss": 1, "accuracy": v} for v in (0.1, 0.3, 0.2)], [0, 1]),
        (None, [{"loss": 1}, {"loss": 2}], [0, 1]),
    ],
)
def test_weights_are_those_of_the_best_epoch(objective, epochs, expected):
    assert saved_epochs(create_objective(objective), epochs) == expected


def history_of(**values):
    history = keras.callbacks.History()
    history.history = values
    return history


def test_metrics_and_steps_are_those_of_the_best_epochs():
    one = history_of(val_loss=[5, 8, 3, 1, 2], mae=[1, 2, 3, 4, 5])
    other = history_of(val_loss=[5, 8, 3, 2, 1], mae=[1, 2, 3, 4, 6])
    convert, step = run_trial_parts.convert_to_metrics_dict, run_trial_parts.get_best_step
    assert convert(one, LOSS) == {"val_loss": 1.0, "mae": 4.0}
    assert convert([one, other], LOSS) == {"val_loss": 1.0, "mae": 5.0}
    assert convert(0.1, LOSS) == {"val_loss": 0.1}
    assert convert({"loss": 0.2}, LOSS) == {"loss": 0.2}
    assert convert([0.5, 1.0], LOSS) == {"val_loss": 0.75}
    assert [step(each, LOSS) for each in (one, other, [one, other], 0.1, [{}, {}])] == [
        3,
        4,
        3,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        (None, FatalTypeError, "f\\(\\) returned None. Did you forget"),
        ("text", FatalTypeError, "f\\(\\) to be one of float"),
        ([1.0, "text"], FatalTypeError, "f\\(\\) to be one of float"),
        ({"loss": 1.0}, FatalValueError, "the specified objective 'val_loss'"),
    ],
)
def test_results_that_say_nothing_are_refused(results, error, message):
    with pytest.raises(error, match=message):
        run_trial_parts.validate_trial_results(results, LOSS, "f()")
    run_trial_parts.validate_trial_results([1.0, {"val_loss": 2.0}], LOSS, "f()")


def test_a_configuration_is_shown_to_tensorboard():
    api = pytest.importorskip("tensorboard.plugins.hparams.api")
    config = HyperParameters()
    config.Choice("choice", [1e-4, 1e-3])
    config.Choice("maybe", [None, "l2"])
    config.Int("units", 2, 16)
    config.Int("width", 32, 128, step=32)
    config.Float("rate", 1e-4, 1e-1, sampling="log")
    config.Float("step", 0.5, 1.25, step=0.25)
    config.Boolean("flag")
    config.Fixed("kind", "wide")
    config.Int("inactive", 1, 2, parent_name="flag", parent_values=True)
    found = run_trial_parts.convert_hyperparams_to_hparams(config, api)
    assert {key.name: (repr(key.domain), value) for key, value in found.items()} == {
        "choice": (repr(api.Discrete([1e-4, 1e-3])), 1e-4),
        "maybe": ("None", None),
        "units": (repr(api.IntInterval(2, 16)), 2),
        "width": (repr(api.Discrete([32, 64, 96, 128])), 32),
        "rate": (repr(api.RealInterval(1e-4, 1e-1)), 1e-4),
        "step": (repr(api.Discrete([0.5, 0.75, 1.0, 1.25])), 0.5),
        "flag": (repr(api.Discrete([False, True])), False),
        "kind": (repr(api.Discrete(["wide"])), "wide"),
    }


def test_small_files_and_directories_are_made(tmp_path):
    place = tmp_path / "a" / "b"
    run_trial_parts.create_directory(place)
    text = run_trial_parts.save_json(place / "x.json", {"a": [1]})
    assert (text, run_trial_parts.load_json(place / "x.json")) == ('{"a": [1]}', {"a": [1]})
    run_trial_parts.create_directory(place)
    assert (place / "x.json").exists()
    run_trial_parts.create_directory(place, remove_existing=True)
    assert list(place.iterdir()) == []
    assert run_trial_parts.to_list((1, 2)) == [1, 2]
    assert run_trial_parts.to_list("ab") == ["ab"]
    assert run_trial_parts.multi_backend()


def test_the_best_weights_of_a_training_are_in_the_file(tmp_path):
    model = tiny_models.build(HyperParameters())
    file = tmp_path / "x.weights.h5"
    callback = run_trial_parts.SaveBestEpoch(LOSS, file)
    history = model.fit(
        *tiny_models.TRAIN,
        validation_data=tiny_models.VALIDATION,
        epochs=3,
        verbose=0,
        callbacks=[callback],
    )
    model.load_weights(file)
    loss = model.evaluate(*tiny_models.VALIDATION, verbose=0)[0]
    assert loss == pytest.approx(min(history.history["val_loss"]))
