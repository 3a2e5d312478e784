"""Weights are written and read back, whatever kind of model it is."""

import json
import pathlib

import keras
import numpy as np
import pytest

from glimr_keras._utils.input_spec import describe_inputs
from glimr_keras.errors import CheckpointError, ModelError, StorageError
from glimr_keras.project import checkpoints, model_weights
from glimr_keras.project.checkpoints import Checkpoint
from glimr_keras.space.hyperparameters import HyperParameters
from tests import tiny_models

KINDS = [
    (tiny_models.build, tiny_models.X),
    (tiny_models.build_deferred, tiny_models.X),
    (tiny_models.build_normalized, tiny_models.X),
    (tiny_models.build_subclassed, tiny_models.X),
    (tiny_models.build_subclassed_dict, tiny_models.halves((tiny_models.X,))),
    (tiny_models.build_two_inputs, tiny_models.halves((tiny_models.X,))),
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
    model_weights.save(model, tmp_path, Checkpoint(3, describe_inputs(x)))
    fresh = build(HyperParameters())
    assert model_weights.load(fresh, tmp_path).epoch == 3
    keras.tree.map_structure(
        np.testing.assert_array_equal, model.predict(x, verbose=0), fresh.predict(x, verbose=0)
    )


def test_the_optimizer_is_saved_only_if_asked_for_and_keeps_its_state(tmp_path):
    model = tiny_models.build(HyperParameters())
    model.fit(*tiny_models.TRAIN, verbose=0)
    model_weights.save(model, tmp_path / "with", Checkpoint(1, has_optimizer=True))
    model_weights.save(model, tmp_path / "without", Checkpoint(1))
    sizes = [(tmp_path / name / checkpoints.WEIGHTS).stat().st_size for name in ("with", "without")]
    assert sizes[0] > sizes[1]
    for name, iterations in (("with", 2), ("without", 0)):
        fresh = tiny_models.build(HyperParameters())
        model_weights.load(fresh, tmp_path / name)
        assert int(fresh.optimizer.iterations) == iterations
    assert model.optimizer is not None


def test_saving_leaves_only_the_two_files_and_replaces_them(tmp_path):
    for epoch in (1, 2):
        model_weights.save(trained(tiny_models.build, tiny_models.X), tmp_path, Checkpoint(epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        checkpoints.DESCRIPTION,
        checkpoints.WEIGHTS,
    ]
    assert json.loads((tmp_path / checkpoints.DESCRIPTION).read_text())["epoch"] == 2


def test_keras_itself_can_load_the_weights(tmp_path):
    model = trained(tiny_models.build, tiny_models.X)
    model_weights.save(model, tmp_path, Checkpoint(1))
    fresh = keras.models.clone_model(model)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        fresh.load_weights(tmp_path / checkpoints.WEIGHTS)
    np.testing.assert_array_equal(
        fresh.predict(tiny_models.X, verbose=0), model.predict(tiny_models.X, verbose=0)
    )


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_another_model_is_refused(tmp_path):
    model_weights.save(trained(tiny_models.build, tiny_models.X), tmp_path, Checkpoint(1))
    with pytest.raises(ModelError, match="do not fit the model that was built"):
        model_weights.load(tiny_models.build(HyperParameters({"units": 5})), tmp_path)


def test_a_model_that_cannot_be_built_is_explained(tmp_path):
    model_weights.save(
        trained(tiny_models.build_subclassed, tiny_models.X), tmp_path, Checkpoint(1, inputs=None)
    )
    with pytest.raises(
        ModelError,
        match=r"Subclassed .* shapes of its inputs are unknown. Give the model's class a `build",
    ):
        model_weights.load(tiny_models.build_subclassed(HyperParameters()), tmp_path)


def test_without_a_checkpoint_there_is_an_error(tmp_path):
    assert not checkpoints.exists(tmp_path)
    with pytest.raises(CheckpointError):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)


# Damage, and states


def saved(tmp_path, epoch=1, **described):
    model = tiny_models.build(HyperParameters())
    model_weights.save(model, tmp_path, Checkpoint(epoch, **described))
    return model


def same_weights(model, other):
    return all(
        np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True)
    )


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "of another"])
def test_damaged_weights_are_never_loaded(tmp_path, damage):
    saved(tmp_path)
    weights = tmp_path / checkpoints.WEIGHTS
    content = bytearray(weights.read_bytes())
    match damage:
        case "cut":
            weights.write_bytes(content[: len(content) // 2])
        case "changed":
            content[-100] ^= 1
            weights.write_bytes(content)
        case "gone":
            weights.unlink()
        case "of another":
            saved(tmp_path / "other")
            (tmp_path / "other" / checkpoints.WEIGHTS).replace(weights)
    with pytest.raises(
        CheckpointError, match="is damaged: its weights are not those that were written"
    ):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)


def test_a_damaged_description_is_said(tmp_path):
    saved(tmp_path)
    (tmp_path / checkpoints.DESCRIPTION).write_text("{")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json cannot be read"):
        model_weights.load(tiny_models.build(HyperParameters()), tmp_path)


class Killed(BaseException):
    """In the place of a kill."""


@pytest.mark.parametrize("survived", range(3))
def test_a_process_that_dies_while_it_saves_leaves_the_old_or_the_new(
    tmp_path, monkeypatch, survived
):
    old = saved(tmp_path, epoch=1)
    new = tiny_models.build(HyperParameters())
    replaced = []

    def replace(self, target):
        if len(replaced) == survived:
            raise Killed
        replaced.append(target)
        return original(self, target)

    original = pathlib.Path.replace
    monkeypatch.setattr(pathlib.Path, "replace", replace)
    if survived < 2:
        with pytest.raises(Killed):
            model_weights.save(new, tmp_path, Checkpoint(2))
    else:
        model_weights.save(new, tmp_path, Checkpoint(2))
    monkeypatch.undo()
    found = tiny_models.build(HyperParameters())
    epoch = model_weights.load(found, tmp_path).epoch
    assert epoch == (1 if survived == 0 else 2)
    assert same_weights(found, old if survived == 0 else new)


def test_what_cannot_be_written_is_an_error_of_storage(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="A checkpoint cannot be written to"):
        saved(tmp_path / "file")


@pytest.mark.parametrize("is_described", [False, True])
def test_what_a_killed_process_left_is_tidied_when_a_training_ends(tmp_path, is_described):
    """It died after it had written new weights: before their description, or after it."""
    saved(tmp_path)
    before = (tmp_path / checkpoints.WEIGHTS).read_bytes()
    (tmp_path / checkpoints.NEW).write_bytes(before if is_described else b"half")
    if is_described:
        (tmp_path / checkpoints.WEIGHTS).write_bytes(b"old")
    checkpoints.force(tmp_path)
    assert not (tmp_path / checkpoints.NEW).exists()
    assert (tmp_path / checkpoints.WEIGHTS).read_bytes() == before
