"""Validation of a journal's records: types, ids and numbers, checked before a record is replayed.
Runs anywhere.

A project may come from someone else, or be damaged. Ids become parts of paths, times become dates,
and counts become loops. So impossible values are rejected on reading, and no reader of a project
needs to expect them.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from glimr_keras._utils import untrusted_json
from glimr_keras._utils.untrusted_json import LARGEST, is_step
from glimr_keras.project.usual_records import USUAL
from glimr_keras.space.hp_types import HyperParameter, deserialize
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import STATUSES
from glimr_keras.trials.objective import DIRECTIONS
from glimr_keras.trials.score_epochs import RULES

VERSION = 2
"""The version of the format written.

Version 1 had no losses, retries, data shapes or metric directions; it can be read too.
"""
_LONGEST_MESSAGE = 1_000_000
"""In characters."""
_NUMBER_OF = re.compile(r"[0-9]{1,9}")
_TRIAL_ID = re.compile(r"[0-9]{1,32}")
_PROJECT_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NO_NUMBERS = ("nan", "inf", "-inf")
MOST_EXECUTIONS, _MOST_FOLDS = 10**6, 10**5
_LATEST = 9e9
"""The latest time, in seconds since 1970, UTC: the year 2255. Tables hold times in nanoseconds."""
_LONGEST_DURATION = 1e12
_SCALARS = (bool, int, float, str, type(None))


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of field value.

    Attributes:
        words: The description for messages.
        has: A function that tells whether a value is of this kind.
    """

    words: str
    has: Callable[[Any], Any]


def _int(words: str, low: int, high: int) -> _Kind:
    return _Kind(words, lambda value: type(value) is int and low <= value <= high)


def _span(words: str, low: float, high: float) -> _Kind:
    return _Kind(words, lambda value: type(value) in (int, float) and low <= value <= high)


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(f"{kind.words} or null", lambda value: value is None or kind.has(value))


def _is_number(value: Any) -> bool:
    return type(value) in (float, int, bool) or value in _NO_NUMBERS


def _is_stage(values: Any) -> bool:
    """Return whether values have names, and the oracle's reserved ones have valid kinds."""
    if type(values) is not dict:
        return False
    return all(
        (_PARENT if name == Stage.PARENT else _STAGE).has(values[name])
        for name in Stage.NAMES
        if name in values
    )


def _is_shape(shape: Any) -> bool:
    match shape:
        case {"shape": list(sizes), "dtype": str()}:
            return all(type(size) in (int, type(None)) for size in sizes)
        case {"dict": dict(parts)}:
            return all(map(_is_shape, parts.values()))
        case {"list": list(parts)}:
            return all(map(_is_shape, parts))
    return False


def _is_objective(config: Any) -> bool:
    match config:
        case {"objectives": list(parts), "pareto": bool()}:
            return all(map(_is_objective, parts))
        case {"name": str(), "direction": str() | None}:
            return True
    return False


_BOOLEAN = _Kind("true or false", lambda value: type(value) is bool)
_TEXT = _Kind("a text", lambda value: type(value) is str)
_ID = _Kind("a trial's id", lambda value: type(value) is str and _TRIAL_ID.fullmatch(value))
_PARENT = _or_none(_ID)
_STAGE = _or_none(_int("a count", 0, 2**31))
_EXECUTION = _int("a number of an execution", 0, MOST_EXECUTIONS)
_EPOCH = _Kind("an epoch", is_step)
_TIME = _span("a time in seconds since 1970", 0, _LATEST)
_MOMENT = _Kind(_TIME.words, lambda value: type(value) is float and _TIME.has(value))
_STATUS = _Kind("a status", lambda value: type(value) is str and value in STATUSES)
_NUMBER = _Kind("a number", _is_number)
_NUMBERS = _Kind(
    "numbers by name",
    lambda value: type(value) is dict and all(map(_is_number, value.values())),
)
_VALUES = _Kind("values by name", _is_stage)
_KEY = _Kind(
    "a list of integers from 0",
    lambda value: type(value) is list and all(type(part) is int and part >= 0 for part in value),
)
_PARTS = _Kind("a list", lambda value: type(value) is list)
_DIRECTIONS = _Kind(
    "directions by name",
    lambda value: type(value) is dict and all(way in (None, *DIRECTIONS) for way in value.values()),
)
_EPOCHS = _Kind(
    "epochs by number of the execution",
    lambda value: (
        type(value) is dict
        and all(_NUMBER_OF.fullmatch(name) and is_step(epoch) for name, epoch in value.items())
    ),
)
_EXECUTION_OF = {"trial_id": _ID, "execution": _EXECUTION}
_RECORDS: Mapping[str, Mapping[str, _Kind]] = {
    "project": {
        "objective": _Kind("an objective", _is_objective),
        "seed": _Kind("an integer", lambda value: type(value) is int),
        "executions_per_trial": _int("a number of executions", 1, MOST_EXECUTIONS),
        "space": _PARTS,
    },
    "space": {"parameters": _PARTS},
    "trial": {"trial_id": _ID, "values": _VALUES, "sampling_key": _KEY},
    "start": _EXECUTION_OF,
    "epoch": {**_EXECUTION_OF, "epoch": _EPOCH, "metrics": _NUMBERS},
    "loss": _EXECUTION_OF,
    "retry": _EXECUTION_OF,
    "again": {"trial_id": _ID},
    "execution": {
        **_EXECUTION_OF,
        "status": _STATUS,
        "score": _or_none(_NUMBER),
        "best_epoch": _or_none(_EPOCH),
        "duration": _or_none(_span("seconds", -_LONGEST_DURATION, _LONGEST_DURATION)),
        "message": _or_none(_TEXT),
    },
    "end": {
        "trial_id": _ID,
        "status": _STATUS,
        "values": _VALUES,
        "message": _or_none(_TEXT),
    },
    "directions": {"directions": _DIRECTIONS},
}
"""The required fields of each kind of record. Other kinds are ignored."""
_MORE: Mapping[str, Mapping[str, _Kind]] = {
    "project": {
        "version": _int("a version", 0, LARGEST),
        "is_whole": _BOOLEAN,
        "cv_folds": _or_none(_int("a number of folds", 1, _MOST_FOLDS)),
        "score_at": _Kind("a choice of epochs", lambda value: value in RULES),
        "shapes": _Kind(
            "shapes by name",
            lambda value: type(value) is dict and all(map(_is_shape, value.values())),
        ),
        "project_id": _or_none(
            _Kind("an id", lambda value: type(value) is str and _PROJECT_ID.fullmatch(value))
        ),
        "directions": _DIRECTIONS,
        "oracle": _or_none(_TEXT),
        "time": _or_none(_TIME),
    },
    "start": {"time": _or_none(_TIME)},
    "epoch": {"time": _TIME, "worker": _TEXT},
    "execution": {
        "told": _BOOLEAN,
        "returned": _NUMBERS,
        "gpu_memory": _int("bytes", 0, 2**63),
        "reused_graph": _BOOLEAN,
        "started": _or_none(_TIME),
        "time": _or_none(_TIME),
        "worker": _TEXT,
        "values": _VALUES,
    },
    "end": {
        "score": _NUMBER,
        "best_step": _or_none(_span("an epoch", -LARGEST, LARGEST)),
        "scored_at": _EPOCHS,
    },
}
"""The optional fields of each kind of record."""
_COUNT = _int("a count", 0, LARGEST)
_EXECUTION_STATE = {
    **{name: _RECORDS["execution"][name] for name in ("status", "best_epoch", "score", "duration")},
    "message": _or_none(_TEXT),
    "attempt": _COUNT,
    "lost": _COUNT,
    "is_told": _BOOLEAN,
    "gpu_memory": _or_none(_MORE["execution"]["gpu_memory"]),
    "reused_graph": _BOOLEAN,
    "started": _or_none(_MOMENT),
    "ended": _or_none(_MOMENT),
    "worker": _or_none(_TEXT),
    "weights_epoch": _or_none(_EPOCH),
    "weights_score": _or_none(_NUMBER),
}
_TRIAL_STATE = {
    "trial_id": _ID,
    "num_ended": _COUNT,
    "status": _STATUS,
    "message": _or_none(_TEXT),
    "score": _or_none(_NUMBER),
    "best_step": _MORE["end"]["best_step"],
    "suggested": _VALUES,
    "values": _VALUES,
    "sampling_key": _KEY,
}
STATES: Mapping[str, Mapping[str, _Kind]] = {
    "project": {"late_space": _PARTS, "directions": _DIRECTIONS, "end_order": _PARTS},
    "trial": _TRIAL_STATE,
    "execution": _EXECUTION_STATE,
    "epoch": {"epoch": _EPOCH, "metrics": _NUMBERS},
    "time": {"epoch": _EPOCH, "time": _TIME},
    "training": {"number": _EXECUTION, "returned": _NUMBERS},
}
"""The fields of replayed state, by the part of a project that they describe."""
_NEEDED, _OPTIONAL = (
    {
        kind: tuple((name, expected.has, expected) for name, expected in fields.items())
        for kind, fields in table.items()
    }
    for table in (_RECORDS, _MORE)
)
"""Both tables in the form used for iteration."""


def parsed(line: bytes) -> dict[str, Any]:
    """Parse a line and return its record.

    Raises:
        ValueError: If it is not JSON, exceeds the limits, or has an invalid field.
        TypeError: If it is not an object.
    """
    record = untrusted_json.parsed(line)
    if not isinstance(record, dict):
        raise TypeError(f"a record must be an object, not {type(record).__name__}")
    kind = record.get("record", "")  # a missing kind is found when it is replayed
    if type(kind) is not str:
        raise TypeError(f"`record` must be a text. Received: {reprlib.repr(kind)}")
    is_usual = USUAL.get(kind)
    if is_usual is not None and is_usual(record):
        return record
    if kind == "project" and is_newer(record):
        return record
    for name, has, expected in _NEEDED.get(kind, ()):
        if not has(record[name]):
            raise _unlike(name, record[name], expected)
    for name, has, expected in _OPTIONAL.get(kind, ()):
        if name in record and not has(record[name]):
            raise _unlike(name, record[name], expected)
    return record


def check_state(kind: str, *values: Any) -> None:
    """Raise an error for a state that no records can result in.

    Args:
        kind: A key of `STATES`.
        *values: The values of its fields, in their order.

    Raises:
        ValueError: If a value is impossible, or there are too many or too few.
    """
    for (name, expected), value in zip(STATES[kind].items(), values, strict=True):
        if not expected.has(value):
            raise _unlike(name, value, expected)


def is_newer(record: Mapping[str, Any]) -> bool:
    """Return whether the record describes a project that a later version started."""
    version = record.get("version", 0)
    return record.get("record") == "project" and type(version) is int and version > VERSION


def _unlike(name: str, value: Any, kind: _Kind) -> ValueError:
    return ValueError(f"`{name}` must be {kind.words}. Received: {reprlib.repr(value)}")


def checked_space(stored: list[Any]) -> list[HyperParameter]:
    """Return stored hyperparameters, each able to compute its values.

    Raises:
        ValueError, TypeError, ArithmeticError, KeyError, AttributeError: If one is invalid.
    """
    parameters = [deserialize(each) for each in stored]
    for parameter in parameters:
        for condition in parameter.conditions:
            if type(condition.name) is not str or any(
                type(value) not in _SCALARS for value in condition.values
            ):
                raise TypeError(f"{parameter.name!r} has a condition that is none")
        if parameter.is_known and not hasattr(parameter, "definition"):
            parameter.prob_to_value(0.5), parameter.count  # numbers may be too large
    return parameters


def shortened(message: str) -> str:
    """Return a message, without its middle if it is very long."""
    if len(message) <= _LONGEST_MESSAGE:
        return message
    half = _LONGEST_MESSAGE // 2
    return f"{message[:half]}\n… {len(message) - 2 * half} characters …\n{message[-half:]}"


def readable(message: str | None) -> str | None:
    """Return a message that can be written to any file; file names in it may not be valid text."""
    return message and message.encode("utf-8", "backslashreplace").decode()
