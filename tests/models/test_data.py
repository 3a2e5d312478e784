"""What is trained on: where it comes from, what its first sample is, and what cannot be sent."""

import pathlib

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from glimr_keras.errors import ModelError, ShippingError
from glimr_keras.models.data import (
    FitArguments,
    batch_sizes,
    check_one_source,
    describe,
    first_batch,
    first_validation_batch,
    is_source,
    shapes_of,
    with_data,
)
from glimr_keras.models.hypermodel import FunctionHyperModel, HyperModel
from glimr_keras.space.hyperparameters import HyperParameters
from tests import tiny_models

X, Y, W = np.arange(12.0).reshape(4, 3), np.arange(4), np.ones(4)
DATASET = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)


class Batches(keras.utils.PyDataset):
    """Two batches of two."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(2 * index, 2 * index + 2)
        return X[rows], Y[rows]


class Returns(HyperModel):
    """Has `data` that returns what it is given."""

    def __init__(self, returned):
        self.returned = returned

    def data(self, config):
        return self.returned


class Trains(HyperModel):
    """Has a training loop of its own."""

    def fit(self, config, model, *args, **kwargs):
        return 0.5


def given(*args, **kwargs):
    return FitArguments(args, kwargs)


# What `search()` was given


def test_x_and_y_are_found_by_position_and_by_name():
    assert given(X, Y).x is given(x=X).x is X
    assert given(X, Y).y is given(X, y=Y).y is Y
    assert given().x is given().y is given(X).y is None


def test_validation_is_known_from_data_or_a_split():
    assert given(validation_data=(X, Y)).has_validation
    assert given(validation_split=0.2).has_validation
    assert not given(X, validation_split=0.0).has_validation
    assert not given(X).has_validation


# What `data` returns


@pytest.mark.parametrize(
    ("train", "args", "weight"),
    [
        (DATASET, (DATASET,), None),
        ((X, Y), (X, Y), None),
        ((X, Y, W), (X, Y), W),
        ((X,), (X,), None),
        (X, (X,), None),
    ],
)
def test_what_data_returns_is_added_to_the_arguments(train, args, weight):
    arguments = with_data(Returns((train, (X, Y))), HyperParameters(), given(epochs=3))
    assert len(arguments.args) == len(args)
    assert all(left is right for left, right in zip(arguments.args, args, strict=True))
    assert arguments.kwargs.get("sample_weight") is weight
    assert arguments.kwargs["validation_data"][0] is X
    assert arguments.kwargs["epochs"] == 3


def test_data_may_return_no_validation():
    arguments = given(epochs=3)
    assert not with_data(Returns([(X, Y), None]), HyperParameters(), arguments).has_validation
    assert arguments.kwargs == {"epochs": 3}


def test_without_data_the_arguments_stay_as_they_are():
    arguments = given(X, Y)
    assert with_data(HyperModel(), HyperParameters(), arguments) is arguments


@pytest.mark.parametrize("returned", [None, X, DATASET, (X,), (X, Y, W)])
def test_data_must_return_a_pair(returned):
    with pytest.raises(
        ModelError,
        match=r"(?s)`Returns\.data\(config\)` must return `\(train, validation\)`\. Received: ",
    ):
        with_data(Returns(returned), HyperParameters(), given())


# One source


@pytest.mark.parametrize("arguments", [given(X, Y), given(x=X), given(validation_data=(X, Y))])
def test_data_from_two_places_is_refused(arguments):
    with pytest.raises(
        ValueError,
        match=r"two places: `search\(\)` was given data, and Returns has `data\(config\)`",
    ):
        check_one_source(Returns(None), arguments)


@pytest.mark.parametrize(
    ("arguments", "received"), [(given(), "no arguments"), (given(epochs=2), r"\['epochs'\]")]
)
def test_no_data_at_all_is_refused(arguments, received):
    with pytest.raises(
        ValueError, match=rf"no data to train on.*Received: search\(\) with {received}"
    ):
        check_one_source(FunctionHyperModel(len), arguments)


def test_labels_alone_are_data_from_two_places_too():
    with pytest.raises(ValueError, match="two places"):
        check_one_source(Returns(None), given(y=Y))


def test_one_source_is_enough():
    check_one_source(Returns(None), given(epochs=2))
    check_one_source(HyperModel(), given(X, Y))
    check_one_source(Trains(), given())


# The first samples


@pytest.mark.parametrize(
    "arguments",
    [
        given(X, Y),
        given(x=X, y=Y),
        given(tf.constant(X), tf.constant(Y)),
        given(pd.DataFrame(X), pd.Series(Y)),
        given(DATASET),
        given(Batches()),
    ],
)
def test_the_first_batch_is_one_of_keras(arguments):
    x, y, sample_weight = first_batch(arguments)
    assert np.array(x).tolist() == X[: len(x)].tolist()
    assert np.ravel(y).tolist() == Y[: len(x)].tolist()
    assert len(x) == (2 if is_source(arguments.x) else 4)
    assert sample_weight is None


def test_several_inputs_are_cut_each():
    x, y, weight = first_batch(
        given({"left": X, "right": [X, Y]}, {"label": Y}, 2, sample_weight={"label": W})
    )
    assert x["left"].shape == x["right"][0].shape == (2, 3)
    assert x["right"][1].shape == y["label"].shape == weight["label"].shape == (2,)
    assert [part.shape for part in first_batch(given((X, Y), Y))[0]] == [(4, 3), (4,)]


LONG = np.zeros((100, 3))


@pytest.mark.parametrize(
    ("how", "size"),
    [
        ({}, 32),
        ({"batch_size": 16}, 16),
        ({"batch_size": np.int64(7)}, 7),
        ({"batch_size": 0}, 32),
        ({"batch_size": 1000}, 100),
        ({"steps_per_epoch": 3}, 34),
        ({"steps_per_epoch": 3, "batch_size": 8}, 8),
        ({"batch_size": 64, "validation_split": 0.5}, 50),
        ({"batch_size": 64, "validation_split": 0.5, "validation_data": (LONG, LONG)}, 64),
    ],
)
def test_a_batch_is_as_large_as_keras_makes_it(how, size):
    assert len(first_batch(given(LONG, LONG, **how))[0]) == size


def test_the_first_batch_of_validation_data_has_its_own_size():
    validation = {"validation_data": (LONG, LONG)}
    for how, size in (({}, 32), ({"batch_size": 8}, 8), ({"validation_batch_size": 9}, 9)):
        assert len(first_validation_batch(given(X, Y, **validation, **how))[0]) == size
    assert len(first_validation_batch(given(X, Y, validation_data=DATASET))[0]) == 2
    assert first_validation_batch(given(X, Y)) is None
    assert first_validation_batch(given(X, Y, validation_split=0.5)) is None


def test_a_source_that_an_epoch_makes_ready_is_made_ready():
    class Shuffled(Batches):
        def on_epoch_begin(self):
            self.order = [1, 0]

        def __getitem__(self, index):
            return super().__getitem__(self.order[index])

    assert first_batch(given(Shuffled()))[1].tolist() == [2, 3]


def test_batches_may_have_parts_of_different_lengths():
    graphs = tf.data.Dataset.from_tensors(((np.ones((5, 2)), np.ones((9, 2))), np.ones(1)))
    assert [part.shape[0] for part in first_batch(given(graphs))[0]] == [5, 9]


def test_the_weights_of_a_dataset_are_kept():
    weighted = tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(2)
    assert first_batch(given(weighted))[2].shape == (2,)


@pytest.mark.parametrize("arguments", [given(), given(iter([X])), given(x=object())])
def test_data_of_an_unknown_kind_has_no_first_samples(arguments):
    assert first_batch(arguments) is None
    assert describe(arguments) is None


def test_looking_at_a_generator_does_not_use_it_up():
    generator = (batch for batch in [(X, Y)])
    first_batch(given(generator))
    assert first_batch(given(generator), reads_once=True)[1] is Y
    assert list(generator) == []


def test_an_empty_dataset_is_said_to_be_empty():
    for empty in (DATASET.take(0), DATASET.filter(lambda x, y: False), iter([])):
        with pytest.raises(ValueError, match="Data must have samples"):
            first_batch(given(empty), reads_once=True)


def test_the_inputs_are_described_without_the_batch_axis():
    single = {"shape": [3], "dtype": "float64"}
    assert describe(given(DATASET)) == describe(given(X, Y)) == single
    assert describe(given({"a": X, "b": [X]}, Y)) == {
        "dict": {"a": single, "b": {"list": [single]}}
    }
    assert describe(given(pd.Series(Y), Y)) == {"shape": [1], "dtype": "int64"}  # as Keras has it
    assert describe(given(tf.sparse.from_dense(X), Y)) == single


def test_the_inputs_of_a_pipeline_are_described_on_any_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    single = {"shape": [3], "dtype": "float64"}
    assert describe(given(DATASET)) == single
    pair = tf.data.Dataset.from_tensor_slices(({"a": X, "b": X}, Y)).batch(2)
    assert describe(given(pair)) == {"dict": {"a": single, "b": single}}


def test_loaders_of_torch_are_sources_also_where_they_are_extended():
    class Loader:  # stands for PyTorch's, which need not be installed
        __module__ = "torch.utils.data.dataloader"

        def __iter__(self):
            return iter([1])

    class Mine(Loader):
        pass

    class Stream:
        __module__ = "torch.utils.data.dataset"
        __iter__ = Loader.__iter__

    assert is_source(Loader())
    assert is_source(Mine())
    assert not is_source(Stream())  # which Keras does not take


# What cannot be used


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            given(batch for batch in [X]),
            r"search\(\)'s argument 1 is a generator, .* `HyperModel\.data\(config\)`",
        ),
        (given(X, iter([Y])), r"search\(\)'s argument 2 is a list_iterator"),
        (given(x={"a": [iter([Y])]}), r"search\(\)'s x is a list_iterator"),
    ],
)
def test_data_that_can_be_read_once_is_refused_with_its_place(arguments, message):
    with pytest.raises(ShippingError, match=message):
        arguments.check_repeatable()


@pytest.mark.parametrize(
    "arguments",
    [given(X, Y, epochs=2), given(DATASET), given({"a": pd.DataFrame(X)}, [Y]), given()],
)
def test_what_can_be_read_again_is_not(arguments):
    arguments.check_repeatable()


def test_a_hypermodel_with_a_run_of_its_own_gets_no_data():
    class Runs(HyperModel):
        def run(self, config):
            return 0.5

    check_one_source(Runs(), given(verbose=0))
    with pytest.raises(
        ValueError,
        match=(
            r"`Runs\.run\(config\)` gets nothing but `config`.*search\(\)'s argument 1, "
            r"search\(\)'s epochs"
        ),
    ):
        check_one_source(Runs(), given(X, epochs=2))


class Padded(keras.utils.PyDataset):
    """Batches as long as their longest sequence."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return np.zeros((2, self.length, 4)), np.zeros((2, 1))


def test_the_shapes_of_padded_batches_are_those_of_the_last_axes():
    short, long = (shapes_of(FitArguments((Padded(length),), {})) for length in (3, 7))
    assert short == long
    assert short["inputs"]["shape"] == [None, 4]
    array = shapes_of(FitArguments((np.zeros((5, 3, 4), "float32"),), {}))
    assert array == {"inputs": {"shape": [3, 4], "dtype": "float32"}}


@pytest.mark.parametrize(
    "x", [["a.png", "b.png"], [1.0, 2.0], [pathlib.Path("a"), pathlib.Path("b")], object()]
)
def test_what_only_a_fit_of_the_users_own_can_take_has_no_shapes(x):
    assert shapes_of(FitArguments((x, [0.5, 1.5]))) == {}
    assert describe(FitArguments((x,))) is None


@pytest.mark.parametrize(
    ("kwargs", "sizes"),
    [
        ({}, [("training data", 64, 32)]),
        ({"batch_size": 100}, [("training data", 64, 64)]),
        (
            {"validation_split": 0.25, "batch_size": 10},
            [("training data", 48, 10), ("validation data", 16, 10)],
        ),
        (
            {"validation_data": tiny_models.VALIDATION, "validation_batch_size": 5},
            [("training data", 64, 32), ("validation data", 32, 5)],
        ),
        ({"steps_per_epoch": 3}, []),
        (
            {"steps_per_epoch": 3, "validation_data": tiny_models.VALIDATION},
            [("validation data", 32, 32)],
        ),
    ],
)
def test_the_batches_that_keras_makes_of_arrays_are_known(kwargs, sizes):
    arguments = FitArguments(tiny_models.TRAIN, kwargs)
    assert list(batch_sizes(arguments)) == sizes


def test_what_sources_give_is_not_known():
    assert list(batch_sizes(FitArguments((iter([tiny_models.TRAIN]),), {}))) == []
    assert list(batch_sizes(FitArguments((), {}))) == []
