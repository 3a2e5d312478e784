"""Predictions that are kept: of the right samples, after each epoch, and nothing else changes."""

import random
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.errors import FatalError, FatalTypeError, FatalValueError
from glimr_keras.project import predictions
from glimr_keras.training import kept_predictions
from glimr_keras.trials.layout import execution_directory
from tests import tiny_models

X, Y = tiny_models.X, tiny_models.Y
VX, VY = tiny_models.VALIDATION


def searched(model, *data, trials=1, epochs=3, tuner_arguments=None, name="kept", place, **given):
    tuner = gk.RayTuner(
        model,
        "val_loss",
        trials,
        **{"keep_predictions": True, **(tuner_arguments or {})},
        executor="inline",
        seed=0,
        directory=str(place),
        project_name=name,
    )
    tuner.search(*data, epochs=epochs, verbose=0, **given)
    return tuner


def kept(tuner, trial_id="0", execution=0):
    return predictions.read(execution_directory(tuner._glimr.place, trial_id, execution))


def losses(found):
    """What Keras logs as `val_loss`, of what was kept."""
    return [
        float(np.mean(keras.losses.sparse_categorical_crossentropy(found.labels, found.at(epoch))))
        for epoch in found.epochs
    ]


def logged(tuner, execution=0):
    table = gk.experiment_table(tuner)
    return table.loc[table["execution"] == execution, "val_loss"].tolist()


def test_they_are_those_of_each_epoch(tmp_path):
    tuner = searched(
        tiny_models.build_normalized, *tiny_models.TRAIN, validation_data=(VX, VY), place=tmp_path
    )
    found = kept(tuner)
    assert found.epochs == (1, 2, 3)
    np.testing.assert_array_equal(found.labels, VY)
    np.testing.assert_array_equal(found.samples, np.arange(len(VX)))
    assert found.weights is None and found.groups is None
    assert losses(found) == pytest.approx(logged(tuner), rel=1e-5)
    assert found.at(2).shape == (32, 2) and found.at(2).dtype == "float32"


def test_of_folds_they_say_samples_and_groups(tmp_path):
    groups = np.array([f"patient {number // 4}" for number in range(96)])
    tuner = searched(
        tiny_models.build,
        X,
        Y,
        groups=groups,
        tuner_arguments={"cv_folds": 3},
        place=tmp_path,
        sample_weight=np.arange(96.0),
    )
    seen = []
    for fold in range(3):
        found = kept(tuner, execution=fold)
        assert found.epochs == (1, 2, 3)
        np.testing.assert_array_equal(found.labels, Y[found.samples])
        np.testing.assert_array_equal(found.weights, np.arange(96.0)[found.samples])
        codes = np.unique(groups, return_inverse=True)[1]
        np.testing.assert_array_equal(found.groups, codes[found.samples])
        seen += found.samples.tolist()
    assert sorted(seen) == list(range(96))


@pytest.mark.parametrize("part", [0.25, 0.333, 0.1])
def test_validation_split_holds_out_what_keras_does(tmp_path, part):
    tuner = searched(
        tiny_models.build, X, Y, validation_split=part, place=tmp_path, sample_weight=np.ones(96)
    )
    found = kept(tuner)
    np.testing.assert_array_equal(found.labels, Y[found.samples])
    assert losses(found) == pytest.approx(logged(tuner), rel=1e-5)


class Batches(keras.utils.PyDataset):
    """Batches of arrays, with a generator of their own, and a count of what Keras tells it."""

    def __init__(self, x, y, reorders=False):
        super().__init__()
        self.x, self.y, self.reorders = x, y, reorders
        self.rng, self.told = np.random.default_rng(3), 0

    def __len__(self):
        return (len(self.x) + 9) // 10

    def __getitem__(self, index):
        part = slice(10 * index, 10 * index + 10)
        return self.x[part] + 0.01 * self.rng.normal(size=self.x[part].shape), self.y[part]

    def on_epoch_end(self):
        self.told += 1
        if self.reorders:
            order = self.rng.permutation(len(self.x))
            self.x, self.y = self.x[order], self.y[order]


def pipeline(x=VX, y=VY):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(10)


@pytest.mark.parametrize("validation", [pipeline(), Batches(VX, VY)])
def test_what_gives_batches_is_read_with_its_labels(tmp_path, validation):
    tuner = searched(
        tiny_models.build, *tiny_models.TRAIN, validation_data=validation, place=tmp_path
    )
    found = kept(tuner)
    assert found.epochs == (1, 2, 3) and found.samples is None
    np.testing.assert_array_equal(found.labels, VY)
    is_noisy = isinstance(validation, Batches)
    assert losses(found) == pytest.approx(logged(tuner), rel=0.02 if is_noisy else 1e-5)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_of_a_pipeline_in_folds_they_are_those_of_the_fold(tmp_path):
    tuner = searched(
        tiny_models.build, pipeline(X, Y), tuner_arguments={"cv_folds": 2}, place=tmp_path
    )
    batches = [Y[start : start + 10] for start in range(0, 96, 10)]
    for fold in range(2):
        found = kept(tuner, execution=fold)
        np.testing.assert_array_equal(found.labels, np.concatenate(batches[fold::2]))
        assert losses(found) == pytest.approx(logged(tuner, fold), rel=1e-5)


def test_only_epochs_with_validation_are_kept(tmp_path):
    tuner = searched(
        tiny_models.build,
        *tiny_models.TRAIN,
        validation_data=(VX, VY),
        validation_freq=2,
        epochs=5,
        place=tmp_path,
    )
    assert kept(tuner).epochs == (2, 4)


def outputs_by_name(config):
    inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    outputs = {
        "class": keras.layers.Dense(2, "softmax", name="class")(joined),
        "amount": keras.layers.Dense(1, name="amount", dtype="float64")(joined),
    }
    model = keras.Model(inputs, outputs)
    config.Float("unused", 0, 1)
    model.compile(
        "adam",
        {"class": "sparse_categorical_crossentropy", "amount": "mse"},
        run_eagerly=True,
    )
    return model


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    x = {"left": X[:, :3], "right": pd.DataFrame(X[:, 3:])}
    y = {"class": Y, "amount": pd.Series(X[:, 0])}
    tuner = searched(outputs_by_name, x, y, tuner_arguments={"cv_folds": 2}, place=tmp_path)
    found = kept(tuner)
    assert list(found.at(1)) == ["class", "amount"]
    assert found.at(1)["amount"].dtype == "float32" and found.at(1)["amount"].shape == (48, 1)
    np.testing.assert_array_equal(found.labels["class"], Y[found.samples])
    np.testing.assert_array_equal(found.labels["amount"], X[found.samples, 0])


class Loader(gk.HyperModel):
    """Loads its own data."""

    def data(self, config):
        return (X[:64], Y[:64]), (VX[::-1], VY[::-1])

    def build(self, config):
        return tiny_models.build(config)


def test_of_a_loader_of_the_users_own_positions_are_not_known(tmp_path):
    found = kept(searched(Loader(), place=tmp_path))
    np.testing.assert_array_equal(found.labels, VY[::-1])
    assert found.samples is None and found.epochs == (1, 2, 3)


class OwnFit(gk.HyperModel):
    """Trains in two calls of `fit`, with the validation data that it was given, or others."""

    def __init__(self, validation=None):
        self.validation = validation

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, x, y, validation_data, **kwargs):
        validation_data = self.validation or validation_data
        model.fit(x, y, validation_data=validation_data, **kwargs)
        return model.fit(x, y, validation_data=validation_data, **kwargs)


def test_a_fit_of_the_users_own_is_seen(tmp_path):
    tuner = searched(OwnFit(), X, Y, tuner_arguments={"cv_folds": 2}, epochs=2, place=tmp_path)
    found = kept(tuner)
    assert found.epochs == (1, 2, 3, 4)
    np.testing.assert_array_equal(found.labels, Y[found.samples])
    assert losses(found) == pytest.approx(logged(tuner), rel=1e-5)
    other = searched(
        OwnFit((VX, VY)), X, Y, tuner_arguments={"cv_folds": 2}, place=tmp_path, name="other"
    )
    assert kept(other).samples is None
    np.testing.assert_array_equal(kept(other).labels, VY)


class RunsTwice(gk.RandomSearch):
    """Changes what `run_trial` is given."""

    def run_trial(self, trial, *args, **kwargs):
        return super().run_trial(trial, *args, **{**kwargs, "validation_data": (VX[:9], VY[:9])})


def test_a_run_trial_of_the_users_own_is_seen(tmp_path):
    tuner = RunsTwice(
        tiny_models.build,
        "val_loss",
        1,
        keep_predictions=True,
        executor="inline",
        directory=str(tmp_path),
    )
    tuner.search(X, Y, validation_data=(VX, VY), epochs=2, verbose=0)
    found = kept(tuner)
    assert found.epochs == (1, 2) and found.samples is None
    np.testing.assert_array_equal(found.labels, VY[:9])


def test_a_trial_that_is_run_by_hand_is_kept_too(tmp_path):
    tuner = gk.RandomSearch(
        tiny_models.build, "val_loss", 1, keep_predictions=True, directory=str(tmp_path)
    )
    trial = tuner.oracle.create_trial("me")
    tuner.run_trial(trial, *tiny_models.TRAIN, validation_data=(VX, VY), epochs=2, verbose=0)
    assert kept(tuner, trial.trial_id).epochs == (1, 2)


# What cannot be kept


class Own(keras.Model):
    """With a `fit` of its own."""

    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(2, "softmax")

    def call(self, inputs):
        return self.out(inputs)

    def fit(self, *args, **kwargs):
        return super().fit(*args, **kwargs)


class NoData(Loader):
    """Has no validation data."""

    def data(self, config):
        return (X, Y), None


def generated():
    while True:
        yield VX, VY


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        (tiny_models.build, {}, "there are none"),
        (NoData(), None, "there are none"),
        (lambda config: tiny_models.compiled(Own()), {"validation_data": (VX, VY)}, "fit` of Own"),
        (tiny_models.build, {"validation_data": pipeline().shuffle(9)}, "shuffles"),
        (
            tiny_models.build,
            {"validation_data": generated(), "validation_steps": 2},
            "which is read once",
        ),
    ],
)
def test_what_cannot_be_kept_is_said_before_any_trial(tmp_path, model, data, said):
    def search():
        given = () if data is None else tiny_models.TRAIN
        searched(model, *given, place=tmp_path, **(data or {}))

    with pytest.raises(FatalError, match=said):
        search()
    assert not list(tmp_path.glob("**/trial_*"))


class Runs(gk.HyperModel):
    def run(self, config):
        return config.Float("x", 0, 1)


def test_a_run_of_the_users_own_is_refused(tmp_path):
    tuner = gk.RayTuner(Runs(), keep_predictions=True, executor="inline", directory=str(tmp_path))
    with pytest.raises(ValueError, match="is a whole trial"):
        tuner.search(verbose=0)


class ByHand(gk.HyperModel):
    """A loop of its own."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks=(), epochs=1, **kwargs):
        tiny_models.train_by_hand(model, callbacks, epochs, lambda epoch: {"val_loss": 1.0})
        return {"val_loss": 1.0}


class Otherwise(ByHand):
    """Trains another model than it was given."""

    def fit(self, config, model, *args, **kwargs):
        return tiny_models.build(config).fit(*args, **kwargs)


class Renewed(ByHand):
    """Validates on other samples the second time."""

    def fit(self, config, model, *args, validation_data=None, **kwargs):
        model.fit(*args, validation_data=validation_data, **kwargs)
        return model.fit(*args, validation_data=(VX[:5], VY[:5]), **kwargs)


class NoCallbacks(ByHand):
    """Does not pass the callbacks on."""

    def fit(self, config, model, *args, callbacks=(), **kwargs):
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Otherwise(), "the model that `build` returned"),
        (Renewed(), "not those of the epochs before"),
        (NoCallbacks(), "passes `callbacks`"),
        (ByHand(), "passes `callbacks`"),
    ],
)
def test_what_is_seen_only_in_a_trial_ends_the_search(tmp_path, model, said):
    with pytest.raises(FatalError, match=said):
        searched(model, *tiny_models.TRAIN, validation_data=(VX, VY), place=tmp_path)


def test_batches_in_another_order_each_time_end_the_search(tmp_path):
    with pytest.raises(FatalValueError, match="in the same order"):
        searched(
            tiny_models.build,
            *tiny_models.TRAIN,
            validation_data=Batches(VX, VY, reorders=True),
            place=tmp_path,
        )


def test_much_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_predictions, "_LARGE", 100)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        searched(tiny_models.build, *tiny_models.TRAIN, validation_data=(VX, VY), place=tmp_path)
    said = [str(each.message) for each in caught if "keep_predictions" in str(each.message)]
    assert len(said) == 1 and "writes 0 MB of predictions after each epoch" in said[0]


def test_nothing_is_written_unless_it_is_asked_for(tmp_path):
    tuner = searched(
        tiny_models.build,
        *tiny_models.TRAIN,
        validation_data=(VX, VY),
        place=tmp_path,
        tuner_arguments={"keep_predictions": False},
    )
    assert kept(tuner) is None
    assert not list(tmp_path.glob("**/predictions*"))


def test_those_of_trials_without_their_weights_stay(tmp_path):
    tuner = searched(
        tiny_models.build,
        *tiny_models.TRAIN,
        validation_data=(VX, VY),
        place=tmp_path,
        trials=3,
        tuner_arguments={"keep_top_k": 1},
    )
    assert len(list(tmp_path.glob("**/*.weights.h5"))) == 1
    assert [kept(tuner, str(number)).epochs for number in range(3)] == [(1, 2, 3)] * 3


# Nothing else changes


class Draws(keras.layers.Layer):
    """Draws in inference too: from a seed of its own, from Keras', and from Python's generators."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(7)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        noise = keras.random.normal((6,), seed=self.seeds) + keras.random.normal((6,))
        noise += np.random.normal() + random.random()
        return inputs + 0.01 * noise + 0.001 * self.calls


def drawing(config):
    return tiny_models.compiled(
        keras.Sequential(
            [
                keras.Input((6,)),
                Draws(),
                keras.layers.Dense(config.Int("units", 4, 16)),
                keras.layers.Dropout(0.4),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(2, "softmax"),
            ]
        ),
        config,
    )


def drawing_traced(config):
    return tiny_models.traced(drawing(config))


HISTORIES = []


class Returned(gk.HyperModel):
    """Notes what `fit` returned, and what is drawn after it."""

    def __init__(self, model):
        self.model = model

    def build(self, config):
        return self.model(config)

    def fit(self, config, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        if tiny_models.is_trial(kwargs["callbacks"]):
            drawn = keras.random.normal((3,)).numpy().tolist()
            drawn += [np.random.random(), random.random(), float(tf.random.normal(()))]
            weights = [weight.tolist() for weight in model.get_weights()]
            HISTORIES.append((history.history, history is model.history, drawn, weights))
        return history


@pytest.mark.parametrize(
    ("model", "validation"),
    [
        (tiny_models.build_normalized, "arrays"),
        (drawing, "arrays"),
        (drawing, "pipeline"),
        (drawing_traced, "batches"),
    ],
)
def test_trainings_are_the_same_to_the_bit(tmp_path, model, validation):
    found = []
    for keep in (True, False):
        HISTORIES.clear()
        data = {"arrays": (VX, VY), "batches": Batches(VX, VY), "pipeline": pipeline()}[validation]
        searched(
            Returned(model),
            *tiny_models.TRAIN,
            validation_data=data,
            place=tmp_path,
            name=str(keep),
            tuner_arguments={"keep_predictions": keep},
        )
        found.append(repr((HISTORIES, getattr(data, "told", None))))
    assert len(HISTORIES) == 1 and len(HISTORIES[0][0]["val_loss"]) == 3 and HISTORIES[0][1]
    assert found[0] == found[1]


def test_half_precision_is_kept_as_float32(tmp_path):
    def build(config):
        with_policy = keras.layers.Dense(2, "softmax", dtype="mixed_float16")
        config.Float("unused", 0, 1)
        model = keras.Sequential([keras.Input((6,)), with_policy])
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        return model

    found = kept(
        searched(build, *tiny_models.TRAIN, validation_data=(VX, VY), place=tmp_path, epochs=1)
    )
    assert found.at(1).dtype == "float32"
    np.testing.assert_array_equal(found.at(1), found.at(1).astype("float16"))


def test_the_model_is_left_without_the_fit_that_saw_it(tmp_path):
    model = tiny_models.build(gk.HyperParameters())
    keeper = kept_predictions.PredictionKeeper.__new__(kept_predictions.PredictionKeeper)
    with pytest.raises(FatalTypeError), keeper.noting(model):
        assert "fit" in vars(model)
        raise FatalTypeError
    assert "fit" not in vars(model)
