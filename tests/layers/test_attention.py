"""Pooling of bags by attention, against the paper's equations in NumPy."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras.layers import GatedAttentionPooling

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 4)).astype("float32")
SIZES = np.array([7, 3, 5])
MASK = np.arange(7) < SIZES[:, None]


def pooled(layer, x, mask=None):
    return [keras.ops.convert_to_numpy(part) for part in layer(x, mask=mask)]


def by_hand(layer, bag):
    """Equation 9, or 8 without a gate, of one bag without padding."""
    weights = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
    hidden = np.tanh(bag @ weights[0] + weights[1])
    if layer.gated:
        hidden = hidden / (1 + np.exp(-(bag @ weights[2] + weights[3])))
    scores = np.exp(hidden @ weights[-1][:, 0])
    return scores / scores.sum() @ bag, scores / scores.sum()


@pytest.mark.parametrize("gated", [True, False])
def test_the_mean_of_each_bag_is_that_of_the_paper_whatever_the_padding_is(gated):
    layer = GatedAttentionPooling(5, gated, return_attention=True)
    padded = np.where(MASK[..., None], X, np.nan)
    mean, weights = pooled(layer, padded, MASK)
    assert mean.shape == (3, 4)
    assert weights.shape == (3, 7)
    for place, size in enumerate(SIZES):
        found, shares = by_hand(layer, X[place, :size])
        np.testing.assert_allclose(mean[place], found, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(weights[place, :size], shares, rtol=1e-4)
        assert not weights[place, size:].any()


def test_without_a_mask_all_instances_count():
    layer = GatedAttentionPooling(5, return_attention=True)
    mean, weights = pooled(layer, X)
    np.testing.assert_allclose(mean[1], by_hand(layer, X[1])[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_a_bag_that_is_all_padding_is_zero():
    layer = GatedAttentionPooling(5, return_attention=True)
    mean, weights = pooled(layer, X, MASK & np.array([[True], [False], [True]]))
    assert not mean[1].any()
    assert not weights[1].any()
    assert np.isfinite(mean).all()


def test_gradients_are_finite_where_a_bag_is_all_padding():
    bag = keras.Input((7, 4))
    mask = keras.Input((7,), dtype="bool")
    model = keras.Model([bag, mask], GatedAttentionPooling(5)(bag, mask=mask))
    model.compile("sgd", "mse")
    empty = MASK & np.array([[True], [False], [True]])
    model.fit([X, empty], np.zeros((3, 4)), verbose=0)
    assert all(
        np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in model.get_weights()
    )


def test_half_precision_counts_ten_thousand_instances():
    layer = GatedAttentionPooling(5, return_attention=True, dtype="mixed_float16")
    bags = np.full((1, 10_000, 4), 3.0, "float16")
    mean, weights = pooled(layer, bags, np.ones((1, 10_000), bool))
    assert mean.dtype == "float16"
    assert weights.dtype == "float32"
    np.testing.assert_allclose(mean, 3.0, rtol=1e-3)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-3)


def test_a_model_with_it_is_saved_and_says_its_shapes(tmp_path):
    bag = keras.Input((None, 4), name="bag")
    mask = keras.Input((None,), dtype="bool", name="mask")
    layer = GatedAttentionPooling(5, gated=False, return_attention=True)
    model = keras.Model({"bag": bag, "mask": mask}, layer(bag, mask=mask))
    assert [tuple(output.shape) for output in model.outputs] == [(None, 4), (None, None)]
    assert layer.compute_output_shape((2, 9, 4)) == ((2, 4), (2, 9))
    assert GatedAttentionPooling(5).compute_output_shape((2, 9, 4)) == (2, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    given = {"bag": X, "mask": MASK}
    for one, other in zip(
        model.predict(given, verbose=0), loaded.predict(given, verbose=0), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_mask_of_keras_own_layer_counts():
    bag = keras.Input((7, 4))
    masked = keras.layers.Masking()(bag)
    layer = GatedAttentionPooling(5, return_attention=True)
    model = keras.Model(bag, layer(masked))
    _, weights = model.predict(np.where(MASK[..., None], X, 0), verbose=0)
    assert ((weights > 0) == MASK).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is of TensorFlow")
def test_ragged_bags_are_as_padded_ones():
    import tensorflow as tf

    layer = GatedAttentionPooling(5, return_attention=True)
    mean, weights = pooled(layer, X, MASK)
    ragged = tf.RaggedTensor.from_tensor(X, lengths=SIZES)
    for one, other in zip(pooled(layer, ragged), (mean, weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    bag = keras.Input((None, 4), ragged=True)
    model = keras.Model(bag, layer(bag))
    found = model.predict(ragged, verbose=0)
    np.testing.assert_allclose(found[0], mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(3, 4), (3, 7, 4, 4)])
def test_other_ranks_are_refused(shape):
    with pytest.raises(ValueError, match=r"Bags must have shape \(batch, instances, features\)"):
        gk.layers.GatedAttentionPooling(5)(np.zeros(shape, "float32"))
    with pytest.raises(ValueError, match="`units` must be an integer"):
        gk.layers.GatedAttentionPooling(0)
