import collections
import copy
import json
import math
import pickle
import weakref

import numpy as np
import pytest

from glimr_keras.space.hp_types import Float, Int
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.packed import Packer
from glimr_keras.trials.trial import Trial

SPACE = [Int("units", 1, 64), Float("rate", 0.0, 1.0)]
OBJECTIVE = Objective("val_loss", "min")
NAN = float("nan")
VALUES = {"units": 3, "rate": 0.25, "kind": "relu", "none": None, "flag": True, "zero": -0.0}


def ended(values=None, epochs=3, executions=1, **changes):
    trial = Trial.of("07", VALUES, (1, 7, 0), SPACE, status=TrialStatus.COMPLETED)
    trial.num_ended = 5
    for number in range(executions):
        execution = trial.executions[number] = Execution(TrialStatus.COMPLETED, worker="host:1")
        for epoch in range(1, epochs + 1):
            metrics = {"loss": 0.1 * epoch, "val_loss": 1 / (epoch + number)}
            execution.observe(epoch, metrics, OBJECTIVE)
            execution.epoch_times[epoch] = 1e9 + epoch / 7
        execution.started, execution.ended, execution.duration = 1e9, 1e9 + 5.5, 5.25
        for name, value in changes.items():
            setattr(execution, name, value)
    if values is not None:
        trial.values = values
    return trial


def state(trial):
    """All that a trial has, also what `==` does not look at."""
    hyperparameters = trial.hyperparameters
    return repr(
        (
            trial.get_state(),
            *(trial.trial_id, trial.status, trial.message, trial.sampling_key, trial.num_ended),
            *(list(trial.suggested.items()), list(trial.values.items())),
            list(hyperparameters._definitions.items()),
            *(sorted(hyperparameters._old), hyperparameters.asked, hyperparameters.sampling_key),
            [(number, each, each.epoch_times) for number, each in trial.executions.items()],
        )
    )


@pytest.mark.parametrize(
    "trial",
    [
        ended(),
        ended({"units": 3, "rate": 0.5}),
        ended(json.loads(json.dumps(VALUES))),
        ended(json.loads(json.dumps(VALUES | {"zero": 1.0}))),
        ended({"units": 3, "rate": 0.25, "late": 7, "zero": 0.0}),
        ended(epochs=0),
        ended(executions=3),
        ended(message="it \ud800 failed", score=NAN, best_epoch=None, attempt=2, lost=1),
        ended(returned={"val_loss": 0.5}, gpu_memory=2**40, reused_graph=True, is_told=True),
        ended(history={4: {"a": 1.0}, 2: {"a": -0.0}}, epoch_times={2: 3.0}),
        ended(history={1.0: {"a": math.inf}}, epoch_times={1: 3.0}),
    ],
)
def test_a_packed_trial_is_what_it_was(trial):
    before, score, twin = state(trial), trial.score, copy.deepcopy(trial)
    Packer().pack(trial)
    assert trial.is_packed
    assert repr(trial.score) == repr(score)
    assert trial.values_to_read() == (twin.suggested, twin.values)
    assert trial.is_packed
    assert state(trial.to_read()) == before
    assert trial.is_packed
    assert state(trial) == before
    assert not trial.is_packed


@pytest.mark.parametrize(
    "trial",
    [
        ended({"units": np.int64(3)}),
        ended({"units": np.float64(3)}),
        ended({"units": [3]}),
        ended(history={1: {"a": np.float64(1)}}),
        ended(history={1: {"a": 1.0}, 2: {"b": 1.0}}),
        ended(history={1: {"a": 1}}),
        ended(epoch_times={1: 3}),
        ended(returned={np.str_("auc"): 1.0}),
        ended(returned=collections.OrderedDict(auc=1.0)),
        ended(history={1: {np.str_("a"): 1.0}}),
        ended(history={np.int64(1): {"a": 1.0}}),
        ended(note="of the user's own"),
        ended({np.str_("units"): 3}),
    ],
)
def test_what_is_unusual_stays_as_it_is(trial):
    Packer().pack(trial)
    assert not trial.is_packed


@pytest.mark.parametrize(
    "part",
    [
        lambda trial: trial.hyperparameters,
        lambda trial: trial.values,
        lambda trial: trial.suggested,
        lambda trial: trial.executions,
        lambda trial: trial.executions[0],
        lambda trial: trial.executions[0].history,
        lambda trial: trial.executions[0].history[2],
        lambda trial: trial.executions[0].epoch_times,
        lambda trial: trial._tracker,
        lambda trial: trial._tracker.metrics,
    ],
)
def test_what_somebody_holds_a_part_of_is_not_packed(part):
    trial, packer = ended(), Packer()
    held = part(trial)
    packer.pack(trial)
    assert not trial.is_packed
    del held
    packer.pack(trial)
    assert trial.is_packed


@pytest.mark.parametrize(
    "part",
    [
        lambda trial: trial.hyperparameters,
        lambda trial: trial.executions[0],
        lambda trial: trial._tracker,
    ],
)
def test_what_somebody_refers_to_weakly_is_not_packed(part):
    trial = ended()
    known = weakref.ref(part(trial))
    Packer().pack(trial)
    assert known() is part(trial)


def test_what_is_held_is_packed_when_it_is_let_go():
    trials, packer = [ended() for _ in range(200)], Packer()
    held = trials[0].values
    for trial in trials[:100]:
        packer.pack_later(trial)
    assert [trial.is_packed for trial in trials[:2]] == [False, True]
    assert not trials[99].is_packed  # somebody may look at it
    held["units"] = 9
    assert trials[0].values["units"] == 9
    del held
    for trial in trials[100:]:
        packer.pack_later(trial)
    assert trials[0].is_packed
    assert trials[0].values["units"] == 9


@pytest.mark.parametrize(
    "change",
    [
        lambda trial: trial.values.update(units=5),
        lambda trial: setattr(trial, "values", {"units": 5}),
        lambda trial: setattr(trial, "executions", {}),
        lambda trial: setattr(trial, "suggested", {"units": 5}),
        lambda trial: setattr(trial.executions[0], "score", 4.0),
        lambda trial: trial.executions[0].observe(4, {"val_loss": 0.001}, OBJECTIVE),
        lambda trial: trial.hyperparameters.define([Int("more", 1, 2)]),
        lambda trial: setattr(trial, "score", 0.125),
        lambda trial: trial.begin_again(),
        lambda trial: trial.set_state(Trial(trial_id="1").get_state()),
    ],
)
def test_what_is_changed_stays_changed(change):
    packed, other, packer = ended(), ended(), Packer()
    packer.pack(packed)
    change(packed)
    change(other)
    assert state(packed) == state(other)
    packer.pack(packed)
    assert repr(packed.score) == repr(other.score)
    assert state(packed) == state(other)


def test_a_packed_trial_is_copied_and_pickled():
    trial = ended()
    before = state(trial)
    Packer().pack(trial)
    again = state(pickle.loads(pickle.dumps(ended())))
    assert state(pickle.loads(pickle.dumps(trial))) == again
    Packer().pack(trial)
    assert state(copy.deepcopy(trial)) == before
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trial.nothing  # noqa: B018


def test_trials_have_what_is_defined_after_they_were_packed():
    trial, packer = ended(), Packer()
    packer.pack(trial)
    late = Int("late", 1, 2)
    packer.define({late.key: late})
    assert trial.hyperparameters.space == [*SPACE, late]
    assert ended().hyperparameters.space == SPACE
