"""Weights are written and read back, whatever kind of model it is."""

import json

import keras
import numpy as np
import pytest

from glimr_keras import checkpoints
from glimr_keras.checkpoints import Checkpoint
from glimr_keras.errors import ModelError
from glimr_keras.hyperparameters import HyperParameters
from tests import models

KINDS = [
    (models.build, models.X),
    (models.build_deferred, models.X),
    (models.build_normalized, models.X),
    (models.build_subclassed, models.X),
    (models.build_subclassed_dict, models.halves((models.X,))),
    (models.build_two_inputs, models.halves((models.X,))),
]


def trained(build, x):
    """A model that was called, with weights that no fresh model has."""
    model = build(HyperParameters())
    model.predict(x, verbose=0)
    for weight in model.weights:
        if "seed" not in weight.path and not weight.path.startswith("normalization"):
            weight.assign(weight + 0.5)
    return model


@pytest.mark.parametrize(("build", "x"), KINDS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_fresh_model_predicts_as_the_saved_one_did(tmp_path, build, x):
    model = trained(build, x)
    checkpoints.save(model, tmp_path, Checkpoint(3, checkpoints.describe_inputs(x)))
    fresh = build(HyperParameters())
    assert checkpoints.load(fresh, tmp_path).epoch == 3
    keras.tree.map_structure(np.testing.assert_array_equal, model.predict(x, verbose=0), fresh.predict(x, verbose=0))


def test_the_optimizer_is_saved_only_if_asked_for_and_keeps_its_state(tmp_path):
    model = models.build(HyperParameters())
    model.fit(*models.TRAIN, verbose=0)
    checkpoints.save(model, tmp_path / "with", Checkpoint(1, has_optimizer=True))
    checkpoints.save(model, tmp_path / "without", Checkpoint(1))
    sizes = [(tmp_path / name / checkpoints.WEIGHTS).stat().st_size for name in ("with", "without")]
    assert sizes[0] > sizes[1]
    for name, iterations in (("with", 2), ("without", 0)):
        fresh = models.build(HyperParameters())
        checkpoints.load(fresh, tmp_path / name)
        assert int(fresh.optimizer.iterations) == iterations
    assert model.optimizer is not None


def test_saving_leaves_only_the_two_files_and_replaces_them(tmp_path):
    for epoch in (1, 2):
        checkpoints.save(trained(models.build, models.X), tmp_path, Checkpoint(epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoints.DESCRIPTION, checkpoints.WEIGHTS]
    assert json.loads((tmp_path / checkpoints.DESCRIPTION).read_text())["epoch"] == 2


def test_keras_itself_can_load_the_weights(tmp_path):
    model = trained(models.build, models.X)
    checkpoints.save(model, tmp_path, Checkpoint(1))
    fresh = keras.models.clone_model(model)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        fresh.load_weights(tmp_path / checkpoints.WEIGHTS)
    np.testing.assert_array_equal(fresh.predict(models.X, verbose=0), model.predict(models.X, verbose=0))


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_another_model_is_refused(tmp_path):
    checkpoints.save(trained(models.build, models.X), tmp_path, Checkpoint(1))
    with pytest.raises(ModelError, match="do not fit the model that was built"):
        checkpoints.load(models.build(HyperParameters({"units": 5})), tmp_path)


def test_a_model_that_cannot_be_built_is_explained(tmp_path):
    checkpoints.save(trained(models.build_subclassed, models.X), tmp_path, Checkpoint(1, inputs=None))
    with pytest.raises(ModelError, match=r"Subclassed .* shapes of its inputs are unknown. Give the model's class a `build"):
        checkpoints.load(models.build_subclassed(HyperParameters()), tmp_path)


def test_without_a_checkpoint_there_is_an_error(tmp_path):
    assert not checkpoints.exists(tmp_path)
    with pytest.raises(FileNotFoundError):
        checkpoints.load(models.build(HyperParameters()), tmp_path)
