"""What made-up trainings yield: all of it follows from the configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import random
import types
import zlib
from collections.abc import Iterator
from typing import Any

from glimr_keras.errors import StorageError
from glimr_keras.project import checkpoints, training_states
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import Choice, Float
from glimr_keras.training.messages import ExecutionSpec, Outcome, Report
from glimr_keras.training.run_trial import _from_its_state
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.layout import state_directory

LATE = Float("late", 0, 1)
"""Some trainings ask for it, which nobody knew before."""
SPACE = [
    Choice("kind", ("a", "b", "c")),
    Choice("width", (1, 2, 3, 4)),
    Choice("depth", (1, 2, 3)),
    Choice("rate", (0.1, 0.2, 0.3)),
]
_CONTEXT: Any = types.SimpleNamespace(
    hypermodel=None, loop=types.SimpleNamespace(can_go_on=lambda hypermodel: True)
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """How trainings are.

    Attributes:
        epochs: Of each, unless the oracle says how many.
        fails: How many of a hundred fail at some epoch, in their first attempt.
        always: How many of a hundred fail in every attempt.
        asks_late: Whether some ask for a hyperparameter that nobody knew.
    """

    epochs: int = 4
    fails: int = 0
    always: int = 0
    asks_late: bool = False


def values_of(spec: ExecutionSpec, kind: Kind) -> dict[str, Any]:
    """What the training asks for."""
    asked = dict(spec.values)
    if kind.asks_late and spec.values["kind"] == "b":
        asked.setdefault("late", sample(LATE, spec.sampling_key))
    return asked


def loss(values: dict[str, Any], execution: int, attempt: int, epoch: int) -> float:
    """Of an epoch; some are as good as the best before."""
    own = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    key = [sorted(own.items()), execution, attempt, epoch]
    return random.Random(repr(key)).randint(0, 20) / 10


def end_of(spec: ExecutionSpec, kind: Kind) -> int:
    """The last epoch."""
    return kind.epochs if spec.epochs is None else spec.epochs


def failure(spec: ExecutionSpec, kind: Kind) -> int | None:
    """The epoch at which it fails; `None` if it does not."""
    own = {name: value for name, value in spec.values.items() if not name.startswith("tuner/")}
    drawn = random.Random(zlib.crc32(repr([sorted(own.items()), spec.execution]).encode()))
    is_always, is_first = drawn.random() * 100 < kind.always, drawn.random() * 100 < kind.fails
    at = drawn.randint(spec.initial_epoch + 1, end_of(spec, kind))
    return at if is_always or (is_first and spec.attempt == 0) else None


def weights(values: dict[str, Any], execution: int, attempt: int, epoch: int) -> bytes:
    """Of the model after an epoch."""
    return json.dumps([sorted(values.items()), execution, attempt, epoch]).encode()


def files_of(values: dict[str, Any], spec: ExecutionSpec, epoch: int, **known: Any):
    """A checkpoint after an epoch, as it is packed."""
    content = weights(values, spec.execution, spec.attempt, epoch)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    described = checkpoints.Checkpoint(
        epoch, values=values, digest=digest, attempt=spec.attempt, **known
    )
    description = json.dumps(dataclasses.asdict(described)).encode()
    return {checkpoints.DESCRIPTION: description, checkpoints.WEIGHTS: content}


@dataclasses.dataclass(frozen=True)
class Said:
    """A worker says something, and goes on.

    Attributes:
        state: From which it can go on, where it may be paused.
    """

    report: Report
    state: dict[str, bytes] | None = None


class Settle:
    """A worker waits until all that it has said was taken in."""


class Work:
    """A worker computes for a while."""


def train(
    spec: ExecutionSpec, kind: Kind, state_every: int | None
) -> Iterator[Said | Settle | Work]:
    """A training in a worker, step by step, with what `training.run_trial` writes and says.

    Args:
        state_every: Epochs between two states that are kept; `None` for none.
    """
    try:
        yield from _trained(spec, kind, state_every)
    except StorageError as error:
        yield Said(
            Report(None, {}, spec.values, [], Outcome(TrialStatus.RUNNING, 1.0, fatal=error))
        )


def _trained(given: ExecutionSpec, kind: Kind, state_every: int | None):
    spec = _from_its_state(_CONTEXT, given)
    directory, states = pathlib.Path(spec.directory), state_directory(spec.directory)
    values = values_of(spec, kind)
    new = [LATE] if "late" in values and "late" not in spec.values else []
    best = best_epoch = None
    carried: dict[str, dict[str, bytes]] = {}

    def said(epoch, outcome=None):
        nonlocal carried, new
        metrics = {} if epoch is None else {"loss": loss(values, *training, epoch)}
        report = Report(epoch, metrics, values, new, outcome, files=carried)
        carried, new = {}, []
        state = files_of(values, spec, epoch) if spec.reports_state and outcome is None else None
        return Said(report, state)

    training = spec.execution, spec.attempt
    first = spec.initial_epoch + 1
    if (spec.resumes or spec.reports_state) and spec.state is not None:
        if checkpoints.exists(directory):
            earlier = checkpoints.describe(directory)
            best, best_epoch = earlier.score, earlier.epoch
            if spec.is_carried:
                carried["best"] = checkpoints.packed(directory)
        first = checkpoints.describe(spec.state).epoch + (not spec.resumes)  # else it is said again
    last, fails_at = end_of(spec, kind), failure(given, kind)
    for epoch in range(first, last + 1):
        is_again = spec.resumes and spec.state is not None and epoch == first
        yield Work()
        if not is_again:
            if epoch == fails_at:
                yield said(None, Outcome(TrialStatus.FAILED, 1.0, message=f"boom at {epoch}"))
                return
            now = loss(values, *training, epoch)
            if best is None or now < best:
                best, best_epoch = now, epoch
                yield Settle()
                checkpoints.put(directory, files_of(values, spec, epoch, score=now))
                if spec.is_carried:
                    carried["best"] = checkpoints.packed(directory)
        is_last = epoch == last
        if not is_last:
            yield said(epoch)
            if spec.reports_state:  # it may be paused
                yield Settle()
        if (spec.keeps_state and is_last) or (
            state_every is not None and not is_last and epoch % state_every == 0 and not is_again
        ):
            yield Settle()
            _save_state(states, directory, values, spec, epoch)
            if spec.is_carried:
                newest = training_states.newest(states)
                carried["latest"] = checkpoints.packed(newest)
    yield said(last, Outcome(TrialStatus.COMPLETED, 1.0, best, best_epoch))


def _save_state(states, directory, values, spec, epoch) -> None:
    metrics = {"loss": loss(values, spec.execution, spec.attempt, epoch)}
    with training_states.new_state(states, epoch) as place:
        if checkpoints.exists(directory):
            training_states.link(directory, place / checkpoints.BEST)
        checkpoints.put(place, files_of(values, spec, epoch, metrics=metrics))
