"""Data of every kind that Keras takes is counted, cut and stays what it is."""

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from glimr_keras.models import samples
from tests.script_environment import script_environment

X = np.arange(24, dtype="float32").reshape(6, 4) % 5
UNORDERED = tf.SparseTensor([[4, 1], [0, 0], [2, 3]], [3.0, 1.0, 2.0], (6, 4))


def dense(leaf):
    """What an array of any kind holds."""
    if isinstance(leaf, tf.SparseTensor):
        return tf.sparse.to_dense(tf.sparse.reorder(leaf)).numpy()
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.to_tensor().numpy()
    for name in ("todense", "to_numpy"):
        if hasattr(leaf, name):
            return np.asarray(getattr(leaf, name)())
    return np.asarray(leaf)


KINDS = {
    "array": X,
    "masked array": np.ma.masked_less(X, 1),
    "frame": pd.DataFrame(X, index=list("abcdef")),
    "series": pd.Series(X[:, 1], index=list("abcdef")),
    "coo": scipy.sparse.coo_matrix(X),
    "coo array": scipy.sparse.coo_array(X),
    "csr": scipy.sparse.csr_matrix(X),
    "csc": scipy.sparse.csc_array(X),
    "dia": scipy.sparse.dia_matrix(X),
    "tensor": tf.constant(X),
    "variable": tf.Variable(X),
    "sparse tensor": tf.sparse.from_dense(X),
    "unordered sparse tensor": UNORDERED,
    "sparse tensor of three axes": tf.sparse.from_dense(X.reshape(6, 2, 2)),
    "ragged tensor": tf.RaggedTensor.from_tensor(X),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "chosen", [slice(0, 3), slice(2, 2), slice(4, 9), np.array([5, 0, 2]), np.array([], int)]
)
def test_samples_of_every_kind_are_taken(kind, chosen):
    leaf = KINDS[kind]
    wanted = dense(leaf)[chosen]
    cut = samples.taken(leaf, chosen)
    assert samples.count(leaf) == 6
    assert samples.count(cut) == len(wanted)
    if len(wanted):
        assert (dense(cut) == wanted).all()
    if kind != "variable":
        assert type(cut) is type(leaf)


def test_a_structure_stays_what_it_is():
    part = {"b": [X, None], "a": (X, {"c": KINDS["coo"]})}
    cut = samples.taken(part, slice(0, 2))
    keras.tree.assert_same_structure(cut, part)
    assert [leaf.shape[0] for leaf in samples.leaves(cut)] == [2, 2, 2]
    assert cut["b"][1] is None


@pytest.mark.parametrize("part", [[1.0, 2.0], "text", {"a": object()}, np.float32(1)])
def test_what_has_no_samples_is_not_cut(part):
    with pytest.raises(TypeError, match="Data must be arrays, frames or tensors"):
        samples.taken(part, slice(0, 1))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("csc", "dia")])
def test_keras_has_all_of_them_as_something_with_the_same_numbers(kind):
    seen = samples.as_keras_has_it(KINDS[kind])
    wanted = dense(KINDS[kind])
    assert (np.squeeze(dense(seen)) == wanted).all()
    is_sparse = "sparse" in kind or kind.split()[0] in ("coo", "csr")
    assert isinstance(seen, tf.SparseTensor) == is_sparse
    assert len(seen.shape) == (2 if kind != "sparse tensor of three axes" else 3)


def test_entries_of_sparse_data_have_rows():
    assert samples.rows_of_entries(UNORDERED).tolist() == [4, 0, 2]
    assert samples.rows_of_entries(KINDS["csc"]).tolist()[:5] == [1, 2, 3, 4, 0]
    assert samples.rows_of_entries(X) is None


def test_strings_are_seen_as_keras_does():
    words = np.array(["a", "b"], object)
    assert samples.as_keras_has_it(words).dtype == tf.string
    with pytest.raises(ValueError, match="Invalid dtype"):
        samples.as_keras_has_it(pd.DataFrame({"word": words}))


OF_JAX = """
import glimr_keras as gk
import jax.numpy as jnp
import keras
import numpy as np
import scipy.sparse
import sys
from jax.experimental import sparse
from glimr_keras.models import samples
from tests import tiny_models

X, Y = tiny_models.TRAIN
KINDS = {
    "array": jnp.asarray(X),
    "sparse": sparse.BCOO.fromdense(X),
    "coo": scipy.sparse.coo_matrix(X),
    "numpy": X,
}
for chosen in (slice(2, 5), np.array([9, 1, 4])):
    for name, kind in KINDS.items():
        cut = samples.taken(kind, chosen)
        wanted = np.asarray(X)[chosen]
        assert type(cut) is type(kind), name
        assert getattr(cut, "n_batch", 0) == 0, name  # of which Keras makes a tensor of TensorFlow
        assert (np.asarray(cut.todense() if hasattr(cut, "todense") else cut) == wanted).all()


def build(config):
    inputs = {
        name: keras.Input((6,), name=name, sparse=name in ("sparse", "coo")) for name in KINDS
    }
    units = config.Int("units", 2, 4)
    joined = keras.layers.Add()([keras.layers.Dense(units)(each) for each in inputs.values()])
    return tiny_models.compiled(
        keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(joined))
    )


tuner = gk.RayTuner(build, "val_loss", 1, cv_folds=2, executor="inline", directory=sys.argv[1])
tuner.search(KINDS, jnp.asarray(Y), batch_size=16, verbose=0)
print(keras.backend.backend(), *tuner.results_dataframe()["status"])
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_data_of_jax_is_searched_with_on_either_backend(backend, tmp_path):
    """In a process of its own: one with JAX in it warns of each fork."""
    done = subprocess.run(
        [sys.executable, "-c", OF_JAX, str(tmp_path)],
        env=script_environment(KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.split() == [backend, "COMPLETED"], done.stderr
