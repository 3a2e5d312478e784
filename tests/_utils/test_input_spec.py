"""The structure of what a model takes."""

import json

import keras
import numpy as np
import pytest

from glimr_keras._utils.input_spec import build_from, describe_inputs
from glimr_keras.errors import ModelError
from tests import tiny_models

BATCH = {"left": np.zeros((4, 3), "float32"), "right": [np.zeros((4, 2, 2), "int64")]}


def test_a_structure_is_described_by_one_sample_in_json_types():
    described = describe_inputs(BATCH)
    assert described == json.loads(json.dumps(described))
    assert described["dict"]["left"] == {"shape": [3], "dtype": "float32"}
    assert described["dict"]["right"] == {"list": [{"shape": [2, 2], "dtype": "int64"}]}


def test_a_model_is_built_from_a_description():
    model = tiny_models.Subclassed(4)
    build_from(model, describe_inputs(np.zeros((5, 6), "float32")), None)
    assert [tuple(weights.shape) for weights in model.weights] == [(6, 4), (4,), (4, 2), (2,)]
    before = model.get_weights()
    build_from(model, None, None)  # is left alone
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_model_of_which_nothing_is_known_is_named():
    with pytest.raises(ModelError, match="The Subclassed that was built has no weights yet"):
        build_from(tiny_models.Subclassed(4), None, None)
    model = keras.Sequential([keras.layers.Dense(2)])
    build_from(model, None, {"input_shape": (None, 6)})
    assert model.built
