"""Trials as lines of a digest, which needs far fewer lines than a journal. Runs anywhere.

Nearly every ended trial is a JSON list. What it shares with others is a line of its own before it.
Its metrics and times are doubles in base64, which need no parsing. Any other trial is a JSON
object. A state that no journal can result in is rejected.
"""

from __future__ import annotations

import binascii
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from glimr_keras._utils.untrusted_json import LARGEST, is_step
from glimr_keras.project import records, usual_records
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.packed import SINGLE, Packed, Packer, Plain, kept_in, singles
from glimr_keras.trials.trial import Trial

_PLAIN = frozenset({bool, int, float, str, type(None)})
_FLOATS = frozenset({float, type(None)})
_LATEST = 9e9
"""The latest time, as in `records`."""
_WIDTH = 8
"""The bytes of a double."""
_SCORE, _MESSAGE = SINGLE.index("score"), SINGLE.index("message")
_WEIGHTS_SCORE = SINGLE.index("weights_score")
_NUM_ENDED = list(records.STATES["trial"]).index("num_ended")
_ATTEMPT, _LOST = SINGLE.index("attempt"), SINGLE.index("lost")
_Names = tuple[str, ...]
_Kept = tuple[bool, ...] | None
_Layout = tuple[_Names, _Names | None, tuple[_Names, ...], _Kept]


class LineWriter:
    """Write trials as lines, in their order."""

    def __init__(self) -> None:
        self._layouts: dict[_Layout, int] = {}

    def lines_of(self, trial: Trial) -> Iterator[bytes]:
        """Yield the lines that describe a trial, which stays packed."""
        packed = trial._packed
        plain = packed.plain() if isinstance(packed, Packed) else None
        if plain is None or not all(map(_is_bounded, plain.executions, plain.metrics)):
            yield line_of(_state(trial.to_read()))
            return
        layout: _Layout = plain[:4]
        if layout not in self._layouts:
            self._layouts[layout] = len(self._layouts)
            yield line_of({"layout": layout})
        about = (
            *(trial.trial_id, trial.num_ended, trial.status, trial.message),
            *(trial.given_score, trial._best_step, plain.sampling_key),
        )
        executions = [
            (*execution[:4], _text(execution[4]), execution[5], _text(execution[6]))
            for execution in plain.executions
        ]
        said = self._layouts[layout], about, plain.chosen, plain.values, executions
        yield line_of(said)


class LineReader:
    """Read trials from lines.

    Args:
        packer: Packs the trials.
        directions: The directions of the project's metrics; all trials share this object.

    Attributes:
        trials: The trials by id.
    """

    def __init__(self, packer: Packer, directions: Mapping[str, str | None]) -> None:
        self.trials: dict[str, Trial] = {}
        self._packer, self._directions = packer, directions
        self._layouts: list[tuple[_Layout, bool]] = []
        self._times = bytearray()
        self._counts: list[int] = []

    def add(self, said: Any) -> None:
        """Add the content of a line.

        Raises:
            ValueError, TypeError, KeyError, LookupError, ArithmeticError, AttributeError: If it is
                invalid.
        """
        if type(said) is list:
            trial = self._packed(*said)
        elif "layout" in said:
            layout = _layout(said["layout"])
            names = [*layout[0], *(layout[1] or ())]
            self._layouts.append((layout, not set(Stage.NAMES).isdisjoint(names)))
            return
        else:
            trial = _trial(said, self._directions)
            self._counts.append(said["trial"][_NUM_ENDED])
            for execution in trial.executions.values():
                self._counts += execution.attempt, execution.lost
        if trial.trial_id in self.trials:
            raise ValueError(f"there are two trials {trial.trial_id}")
        self.trials[trial.trial_id] = trial

    def check(self, lines: int) -> None:
        """Raise an error for impossible epoch times, and for counts that exceed the number of
        records.

        Args:
            lines: The number of lines of the journal.

        Raises:
            ValueError: If there are any.
        """
        if max(len(self.trials), max(self._counts, default=0)) > lines:
            raise ValueError("more is counted than there are records")
        times = np.frombuffer(self._times)
        if not ((times >= 0) & (times <= _LATEST)).all():
            raise ValueError("an epoch has a time that cannot be")

    def _packed(self, place: Any, about: Any, chosen: Any, values: Any, executions: Any) -> Trial:
        """Return an ended trial from a list."""
        (names, asked, metrics, kept), has_stage = self._layouts[_index(place)]
        trial_id, num_ended, status, message, score, step, key = about
        _check_values(names, chosen)
        if asked is not None:
            _check_values(asked, values)
        elif values is not None:
            raise ValueError("values have no names")
        if has_stage or not usual_records.is_ended_trial(about):
            own = dict(zip(names, chosen, strict=True))
            used = own if asked is None else dict(zip(asked, values, strict=True))
            state = trial_id, num_ended, status, message, score, step, own, used, key
            records.check_state("trial", *state)
        plain = Plain(
            *(names, asked, metrics, kept),
            tuple(chosen),
            None if values is None else tuple(values),
            tuple(key),
            tuple([self._execution(*each) for each in zip(executions, metrics, strict=True)]),
        )
        if len({number for number, *_ in plain.executions}) != len(metrics):
            raise ValueError("two executions have one number")
        self._counts.append(num_ended)
        return Trial.of_packed(
            trial_id,
            self._packer.packed(plain),
            num_ended,
            self._directions,
            sys.intern(status),
            records.readable(message),
            None if score is None else float(score),
            step,
        )

    def _execution(self, said: Any, metrics: _Names) -> tuple[Any, ...]:
        """Return an execution in the form of `Plain`."""
        number, single, returned, epochs, numbers, timed, times = said
        if returned or type(number) is not int or not usual_records.is_ended_execution(single):
            records.check_state("training", number, dict(returned))
            single = _checked(single)
        if not 0 <= number <= records.MOST_EXECUTIONS:
            raise ValueError("an execution has no number")
        found, moments = binascii.a2b_base64(numbers), binascii.a2b_base64(times)
        count, num_timed = _count(epochs), _count(epochs if timed is None else timed)
        if (
            len(found) != _WIDTH * count * len(metrics)
            or len(moments) != _WIDTH * num_timed
            or not _FLOATS.issuperset(map(type, (single[_SCORE], single[_WEIGHTS_SCORE])))
            or not _FLOATS.issuperset(map(type, dict(returned).values()))
            or (timed is not None and type(timed) is not list)
            or not (metrics or timed is None or type(epochs) is list)  # what would count it?
        ):
            raise ValueError("an execution has more or fewer numbers than epochs")
        self._times += moments
        self._counts += single[_ATTEMPT : _LOST + 1]
        return (
            *(number, tuple(single), tuple(map(tuple, returned))),
            *(epochs if type(epochs) is int else tuple(epochs), found),
            *(None if timed is None else tuple(timed), moments),
        )


def _layout(said: Any) -> _Layout:
    suggested, asked, metrics, kept = said
    names = _names(suggested)
    used = names if asked is None else _names(asked)
    same = used if kept is None else tuple(itertools.compress(used, kept))
    if not set(names).issuperset(same) or (
        kept is not None and (len(kept) != len(used) or set(map(type, kept)) - {bool})
    ):
        raise ValueError("what was asked for was not chosen")
    return (
        names,
        None if asked is None else used,
        tuple(map(_names, metrics)),
        None if kept is None else tuple(kept),
    )


def _trial(said: Mapping[str, Any], directions: Mapping[str, str | None]) -> Trial:
    """Return any trial from an object."""
    about = trial_id, num_ended, status, message, score, step, suggested, values, key = said[
        "trial"
    ]
    records.check_state("trial", *about)
    named = {
        name if type(name) is not str else sys.intern(name): suggested[name] for name in suggested
    }
    trial = Trial.of(trial_id, named, tuple(key), directions=directions)
    for name in itertools.compress(values, said["kept"]):
        values[name] = suggested[name]
    trial.values = values
    trial.num_ended, trial.status = num_ended, sys.intern(status)
    trial.message = records.readable(message)
    trial.score, trial.best_step = None if score is None else float(score), step
    for number, single, returned, history, times in said["executions"]:
        records.check_state("training", number, returned)
        execution = Execution(**dict(zip(SINGLE, _checked(single), strict=True)))
        for name in ("score", "weights_score"):
            value = getattr(execution, name)
            setattr(execution, name, None if value is None else float(value))
        execution.returned = {name: float(value) for name, value in returned.items()}
        for epoch, metrics in history:
            records.check_state("epoch", epoch, metrics)
            execution.history[epoch] = {
                sys.intern(name): float(value) for name, value in metrics.items()
            }
        for epoch, time in times:
            records.check_state("time", epoch, time)
            execution.epoch_times[epoch] = float(time)
        trial.executions[number] = execution
    return trial


def _checked(single: list[Any]) -> list[Any]:
    """Check and return the single values of an execution."""
    records.check_state("execution", *single)
    message = records.readable(single[_MESSAGE])
    return [*single[:_MESSAGE], message, *single[_MESSAGE + 1 :]]


def _state(trial: Trial) -> dict[str, Any]:
    """Return any trial as JSON types."""
    return {
        "trial": [
            *(trial.trial_id, trial.num_ended, trial.status, trial.message),
            *(trial.given_score, trial._best_step),
            *(trial.suggested, trial.values, trial.sampling_key),
        ],
        "kept": kept_in(trial),
        "executions": [
            [
                number,
                singles(execution),
                execution.returned,
                list(execution.history.items()),
                list(execution.epoch_times.items()),
            ]
            for number, execution in trial.executions.items()
        ],
    }


def line_of(said: Any) -> bytes:
    """Return content as a JSON line."""
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _is_bounded(execution: tuple[Any, ...], metrics: _Names) -> bool:
    """Return whether an execution's data determine its number of epochs."""
    return bool(metrics) or execution[5] is None or type(execution[3]) is not int


def _text(numbers: bytes) -> str:
    return binascii.b2a_base64(numbers, newline=False).decode()


def _names(said: Any) -> _Names:
    names = tuple([sys.intern(name) for name in said])
    if type(said) is not list or len(set(names)) != len(names):
        raise ValueError("names are no list, or one is there twice")
    return names


def _check_values(names: _Names, values: Any) -> None:
    if type(values) is not list or len(values) != len(names):
        raise ValueError("there are more or fewer values than names")
    if not _PLAIN.issuperset(map(type, values)):
        raise ValueError("a value is none that can be packed")


def _index(place: Any) -> int:
    if type(place) is not int or place < 0:
        raise ValueError("a place must be an integer from 0")
    return place


def _count(epochs: Any) -> int:
    """Return the number of epochs."""
    if type(epochs) is int and 0 <= epochs <= LARGEST:
        return epochs
    if type(epochs) is not list or len(set(epochs)) != len(epochs) or not all(map(is_step, epochs)):
        raise ValueError("epochs are neither a count nor a list of different ones")
    return len(epochs)
