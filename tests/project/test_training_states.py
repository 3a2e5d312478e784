"""States of trainings, from which they are continued."""

import shutil

import numpy as np
import pytest

from glimr_keras.project import checkpoints, model_weights, training_states
from glimr_keras.project.checkpoints import Checkpoint
from glimr_keras.space.hyperparameters import HyperParameters
from tests import tiny_models


def saved(tmp_path, epoch=1, **described):
    model = tiny_models.build(HyperParameters())
    model_weights.save(model, tmp_path, Checkpoint(epoch, **described))
    return model


def same_weights(model, other):
    return all(
        np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True)
    )


class Killed(BaseException):
    """In the place of a kill."""


def test_the_newest_whole_state_is_found_and_earlier_ones_are_removed(tmp_path):
    model = tiny_models.build(HyperParameters())
    assert training_states.newest(tmp_path / "nothing") is None
    for epoch in (1, 2, 3, 3):
        model_weights.save_state(model, tmp_path, Checkpoint(epoch))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_000003"]
    saved(tmp_path / "epoch_000002", epoch=2)
    (tmp_path / "epoch_000003" / checkpoints.WEIGHTS).write_bytes(b"cut")
    assert training_states.newest(tmp_path) == tmp_path / "epoch_000002"


def test_a_state_has_what_was_the_best_then(tmp_path):
    best, states = tmp_path / "trial", tmp_path / "trial" / "latest"
    then = saved(best, epoch=2, score=0.5)
    model_weights.save_state(tiny_models.build(HyperParameters()), states, Checkpoint(3), best)
    saved(best, epoch=4, score=0.4)
    training_states.go_back(best, training_states.newest(states))
    found = tiny_models.build(HyperParameters())
    assert model_weights.load(found, best).score == 0.5
    assert same_weights(found, then)


def test_a_state_from_before_the_first_best_has_none(tmp_path):
    model_weights.save_state(
        tiny_models.build(HyperParameters()), tmp_path / "latest", Checkpoint(1), tmp_path
    )
    saved(tmp_path, epoch=2)
    training_states.go_back(tmp_path, training_states.newest(tmp_path / "latest"))
    assert not checkpoints.exists(tmp_path)


def test_a_process_that_dies_while_it_writes_a_state_leaves_the_one_before(tmp_path, monkeypatch):
    saved(tmp_path, epoch=1, score=0.5)
    states = tmp_path / "latest"
    model = tiny_models.build(HyperParameters())
    model_weights.save_state(model, states, Checkpoint(1), tmp_path)

    def dies(*args):
        raise Killed

    monkeypatch.setattr(model_weights, "link", dies)
    with pytest.raises(Killed):
        model_weights.save_state(model, states, Checkpoint(2), tmp_path)
    assert checkpoints.describe(training_states.newest(states)).epoch == 1


def test_what_is_left_of_a_state_that_was_being_removed_is_none(tmp_path):
    """A state that was saved again for its epoch was being removed when the process was killed."""
    saved(tmp_path, epoch=1, score=0.5)
    states, model = tmp_path / "latest", tiny_models.build(HyperParameters())
    model_weights.save_state(model, states, Checkpoint(2), tmp_path)
    whole, left = states / ".epoch_000002", states / ".old_epoch_000002"
    shutil.copytree(states / "epoch_000002", whole)
    (states / "epoch_000002").rename(left)
    (left / checkpoints.BEST / checkpoints.DESCRIPTION).unlink()
    assert training_states.newest(states) == whole
    shutil.rmtree(whole)
    assert training_states.newest(states) is None


def test_a_state_whose_best_weights_are_damaged_is_none(tmp_path):
    saved(tmp_path, epoch=1, score=0.5)
    model_weights.save_state(
        tiny_models.build(HyperParameters()), tmp_path / "latest", Checkpoint(1), tmp_path
    )
    (best,) = tmp_path.glob("latest/*/best/checkpoint.weights.h5")
    best.write_bytes(b"cut")
    assert training_states.newest(tmp_path / "latest") is None


def test_a_state_that_is_packed_and_put_elsewhere_is_the_same(tmp_path):
    saved(tmp_path / "here", epoch=1, score=0.5)
    model_weights.save_state(
        tiny_models.build(HyperParameters()), tmp_path / "states", Checkpoint(3), tmp_path / "here"
    )
    state = training_states.newest(tmp_path / "states")
    training_states.put_state(tmp_path / "there", checkpoints.packed(state))
    there = training_states.newest(tmp_path / "there")
    assert checkpoints.packed(there) == checkpoints.packed(state)
    assert checkpoints.describe(there / "best").score == 0.5
