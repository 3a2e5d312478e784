"""What Keras' own `fit` cannot train with is said before, by the name of what is wrong."""

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from glimr_keras.errors import DataError, FatalError
from glimr_keras.models.data import FitArguments
from glimr_keras.models.data_checks import check_fit
from tests import tiny_models

X, Y = tiny_models.TRAIN
SHORT = (X[:32], Y[:32])
DATASET = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
FRAME = pd.DataFrame(X, columns=list("abcdef"))
CITY, AGE = pd.Series(["here", "there"] * 32), pd.array([1, None] * 32, dtype="Int64")


class Batches(keras.utils.PyDataset):
    """So many batches."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return X[:16], Y[:16]


class Unknown:
    """Data of a kind that is not known."""


class Endless(keras.utils.PyDataset):
    """Batches without end."""

    num_batches = None

    def __getitem__(self, index):
        return X[:16], Y[:16]


@pytest.fixture(scope="module")
def model():
    return tiny_models.compiled(keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)]))


def given(*args, **kwargs):
    return FitArguments(args, kwargs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (given(X, Y[:60]), r"same number of samples. Received: x with 64, y with 60"),
        (given({"a": X, "b": X[:9]}, Y), r"Received: x with 9 and 64, y with 64"),
        (given(X, Y, sample_weight=np.ones(3)), "y with 64, sample_weight with 3"),
        (given(X, Y, validation_data=(X, Y[:8])), "validation_data's x with 64, .* y with 8"),
        (given(scipy.sparse.coo_matrix(X), Y[:60]), "x with 64, y with 60"),
        (given(scipy.sparse.csc_matrix(X), Y), "`x` must hold its entries row by row.* csc_matrix"),
        (
            given(tf.SparseTensor([[4, 1], [0, 0]], [3.0, 1.0], (64, 6)), Y),
            r"Received: a SparseTensor. .* `tf.sparse.reorder`",
        ),
        (given(X[:0], Y[:0]), "Data must have samples. Received: x with 0, y with 0"),
        (given(X, Y, validation_data=(X[:0], Y[:0])), "validation_data's x with 0"),
        (given(DATASET, validation_data=DATASET.take(0)), "validation_data's x` must have samples"),
        (given(Batches(0)), "`x` must have samples. Received: an empty Batches"),
        (given(X, Y, validation_data=Batches(0)), "an empty Batches"),
        (given(X, Y, validation_data=(X, Y, Y, Y)), r"must be `\(x, y\)`.* Received: a tuple of 4"),
        (given(X, Y, validation_data=()), "Received: a tuple of 0"),
        (given(DATASET, Y), "gives whole batches.* so there is no `y` beside it"),
        (given(DATASET, sample_weight=Y), "no `sample_weight` beside it"),
        (given(X, Y, epochs="5"), "`epochs` must be an integer of at least 1. .* epochs='5'"),
        (given(X, Y, epochs=0), "Received: epochs=0"),
        (given(X, Y, epochs=-1), "Received: epochs=-1"),
        (given(X, Y, epochs=2.0), "Received: epochs=2.0"),
        (given(X, Y, epochs=True), "Received: epochs=True"),
        (given(X, Y, 8, "5"), "Received: epochs='5'"),
        (given(X, Y, batch_size=-8), "`batch_size` must be an integer of at least 0"),
        (given(X, Y, batch_size="8"), "Received: batch_size='8'"),
        (given(X, Y, steps_per_epoch=64 / 8), "`steps_per_epoch` must be an integer. Received: "),
        (given(X, Y, validation_steps=1.5), "`validation_steps` must be an integer. Received: "),
        (given(X, Y, validation_split=1.5), "`validation_split` must be a number from 0 to less"),
        (given(X, Y, validation_split=-0.1), "Received: validation_split=-0.1"),
        (given(X, Y, validation_split="0.2"), "Received: validation_split='0.2'"),
        (given(X, Y, validation_split=20), "Received: validation_split=20"),
        (given(X[:1], Y[:1], validation_split=0.5), "samples on both sides. .* of 1 samples"),
        (given(DATASET, validation_split=0.2), "Give `validation_data` instead"),
        (given(X, Y, validation_splt=0.2), "no argument 'validation_splt'. Did you mean 'valid"),
        (given(X, Y, validation=(X, Y)), "no argument 'validation'"),
        (given(X.tolist(), Y), r"a float in it.* `numpy.asarray\(x\)`"),
        (given(X, Y.tolist()), r"`y` must be arrays.* a int in it"),
        (given(FRAME.assign(f=CITY, c=AGE), Y), "'c' of type Int64 with 32 missing, .* 'f' of ty"),
        (given(FRAME.assign(a=CITY.astype("category")), Y), "'a' of type category. Encode them"),
        (given(pd.DataFrame({"n": [1, 2], "yes": [True, False]}), Y[:2]), "the column 'yes' of ty"),
        (given(X, CITY.rename("city")), "`y` must be numbers.* the column 'city' of type"),
        (
            given(X, Y, validation_data=(FRAME.assign(f=CITY), Y)),
            "validation_data's x` must be num",
        ),
        (given(FRAME.assign(day=pd.Timestamp(0)), Y), "the column 'day' of type datetime64"),
        (given(X.astype(object), Y), "`x` must be numbers.* an array of type object"),
        (given(X, CITY.to_numpy("U")), "`y` must be numbers.* an array of type <U5"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(model, arguments, message):
    with pytest.raises(DataError, match=f"(?s){message}") as refused:
        check_fit(model, arguments)
    assert isinstance(refused.value, (FatalError, ValueError))


@pytest.mark.parametrize(
    "arguments",
    [
        given(X, Y, epochs=np.int64(2), batch_size=None, steps_per_epoch=-1),
        given(X, Y, batch_size=0, validation_split=0.0),
        given(X, Y, validation_split=np.float32(0.25)),
        given({"a": X, "b": [X, X]}, {"y": Y}, sample_weight=None, validation_data=SHORT),
        given(X, Y, validation_data=SHORT[0]),
        given(X, Y, validation_data=list(SHORT)),
        given(FRAME, pd.Series(Y), validation_data=DATASET),
        given(FRAME.astype("float64").assign(f=AGE, e=CITY == "here"), Y),  # as Keras casts it
        given(pd.DataFrame({"yes": [True, False], "no": [False, True]}), Y[:2]),
        given(CITY.to_numpy(object), Y),
        given(tf.sparse.from_dense(X), tf.constant(Y), validation_split=0.5),
        given(tf.ragged.constant([[1], [2, 3]]), Y[:2]),
        given(DATASET, validation_data=DATASET.repeat(), validation_steps=2),
        given(Batches(2), validation_data=Endless()),
        given(iter([(X, Y)]), steps_per_epoch=1),
        given(Unknown(), validation_data=Unknown()),  # what another Keras may take
        given(DATASET.filter(lambda x, y: False)),  # which is known when it is read
    ],
)
def test_what_keras_takes_is_not(model, arguments):
    check_fit(model, arguments)


def test_a_model_with_a_fit_of_its_own_takes_what_it_takes():
    class Own(keras.Sequential):
        def fit(self, graph, epochs, rate=1.0):
            """Train on a graph."""

    check_fit(Own(), given(["node"], epochs="all"))
    with pytest.raises(DataError, match=r"no argument 'rates'\. Did you mean 'rate'"):
        check_fit(Own(), given(["node"], rates=2))

    class Any(keras.Sequential):
        def fit(self, *args, **kwargs):
            """Train on anything."""

    check_fit(Any(), given(X, Y[:3], validation_splt=3))
