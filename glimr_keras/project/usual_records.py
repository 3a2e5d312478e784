"""Fast validation of the usual records that a search writes, since a journal has millions. Runs
anywhere.

Nothing is rejected here. An unusual record is checked against the tables of `records`, which define
what is valid. Every usual record is valid by these too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import STATUSES

Record = Mapping[str, Any]
_LATEST = 9e9
_MOST = 10**5
_FLOAT, _INT = frozenset({float}), frozenset({int})


def _is_training(record: Record) -> bool:
    """Return whether a record names a valid execution of a trial."""
    number = record.get("execution")
    return type(number) is int and 0 <= number <= _MOST and _is_trial(record)


def _is_trial(record: Record) -> bool:
    """Return whether a record has a trial's id and a time."""
    name, time = record.get("trial_id"), record.get("time")
    return (
        type(name) is str
        and len(name) < 32
        and name.isascii()
        and name.isdecimal()
        and type(time) is float
        and 0 <= time <= _LATEST
    )


def _is_epoch(record: Record) -> bool:
    number, epoch, metrics = record.get("execution"), record.get("epoch"), record.get("metrics")
    return (
        type(number) is type(epoch) is int
        and 0 <= number <= _MOST
        and 0 <= epoch <= _MOST
        and _is_trial(record)
        and type(metrics) is dict
        and _FLOAT.issuperset(map(type, metrics.values()))
        and type(record.get("worker", "")) is str
    )


def _is_beginning(record: Record) -> bool:
    key = record.get("sampling_key")
    return (
        _is_trial(record)
        and _are_values(record.get("values"))
        and type(key) is list
        and all(type(part) is int and part >= 0 for part in key)
    )


def _is_execution(record: Record) -> bool:
    epoch, started = record.get("best_epoch"), record.get("started")
    return (
        len(record) == 11  # none of the rare fields
        and _is_training(record)
        and _is_ending(record)
        and type(record.get("score")) is float
        and type(epoch) is int
        and 0 <= epoch <= _MOST
        and type(record.get("duration")) is float
        and 0 <= record["duration"] <= _LATEST
        and type(started) is float
        and 0 <= started <= _LATEST
        and type(record.get("worker")) is str
    )


def _is_end(record: Record) -> bool:
    return (
        len(record) == 6
        and _is_trial(record)
        and _is_ending(record)
        and _are_values(record.get("values"))
    )


_NONE = type(None)
_OF_TRIAL = [str, int, str, _NONE, _NONE, _NONE, list]
_OF_EXECUTION = [
    *(str, int, float, float, _NONE, int, int, bool),
    *(_NONE, bool, float, float, str, _NONE, _NONE),
]
_OF_FOLD = [*_OF_EXECUTION[:-2], int, float]


def is_ended_trial(about: Sequence[Any]) -> bool:
    """Return whether a digest's line describes a usual trial, apart from its values."""
    if list(map(type, about)) != _OF_TRIAL:
        return False
    name, num_ended, status, _, _, _, key = about
    return (
        len(name) < 32
        and name.isascii()
        and name.isdecimal()
        and 0 <= num_ended <= _LATEST
        and status in STATUSES
        and _INT.issuperset(map(type, key))
        and min(key, default=0) >= 0
    )


def is_ended_execution(single: Sequence[Any]) -> bool:
    """Return whether a digest's line describes a usual execution, apart from its number and
    measurements.
    """
    if list(map(type, single)) not in (_OF_EXECUTION, _OF_FOLD):
        return False
    status, epoch, _, duration, _, attempt, lost, *_, started, ended, _, weights_epoch, _ = single
    return (
        status in STATUSES
        and 0 <= epoch <= _MOST
        and 0 <= (weights_epoch or 0) <= _MOST
        and 0 <= duration <= _LATEST
        and 0 <= attempt <= _MOST
        and 0 <= lost <= _MOST
        and 0 <= started <= _LATEST
        and 0 <= ended <= _LATEST
    )


def _is_ending(record: Record) -> bool:
    status = record.get("status")
    return type(status) is str and status in STATUSES and record.get("message", "") is None


def _are_values(values: Any) -> bool:
    return type(values) is dict and values.keys().isdisjoint(Stage.NAMES)


USUAL: Mapping[str, Callable[[Record], bool]] = {
    "epoch": _is_epoch,
    "start": _is_training,
    "trial": _is_beginning,
    "execution": _is_execution,
    "end": _is_end,
}
"""The check for usual records, by kind of record."""
