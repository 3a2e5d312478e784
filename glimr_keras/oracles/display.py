"""The start times of trials, in the form of KerasTuner's oracles. Runs in the driver."""

from __future__ import annotations

import array
import datetime
import types
from collections.abc import Mapping
from typing import Any, Protocol

from glimr_keras.trials.trial import Trial

_FIRST = datetime.datetime.min
_UNIT = datetime.timedelta(microseconds=1)


class _HasTrials(Protocol):
    """The part of an oracle that a display needs."""

    trials: dict[str, Trial]


class Display:
    """The state that KerasTuner's oracles keep and save to display a search.

    Args:
        oracle: The oracle whose trials are counted.
        verbose: The default verbosity of `search`. Defaults to `1`.

    Attributes:
        search_start: The start time of the first trial in this process; `None` before it.
    """

    def __init__(self, oracle: _HasTrials, verbose: int = 1) -> None:
        self.oracle, self.verbose = oracle, verbose
        self.search_start: datetime.datetime | None = None
        self._starts_before: Mapping[str, datetime.datetime] = {}
        self._numbers_before: Mapping[str, int] = {}
        self._begun: list[str] = []
        self._starts, self._numbers = array.array("q"), array.array("q")

    @property
    def trial_start(self) -> Mapping[str, datetime.datetime]:
        """Return the start time of each trial by id; for a restarted trial, the latest."""
        starts = (_FIRST + start * _UNIT for start in self._starts)
        begun = dict(zip(self._begun, starts, strict=True))
        return types.MappingProxyType({**self._starts_before, **begun})

    @property
    def trial_number(self) -> Mapping[str, int]:
        """Return each of these trials' first number in the project, counted from 1, by id."""
        known = dict(self._numbers_before)
        for trial_id, number in zip(self._begun, self._numbers, strict=True):
            known.setdefault(trial_id, number)
        return types.MappingProxyType(known)

    def on_trial_begin(self, trial: Trial) -> None:
        """Record that a trial of the oracle starts."""
        now = datetime.datetime.now()
        self.search_start = self.search_start or now
        self._begun.append(trial.trial_id)  # compact, as there may be a hundred thousand
        self._starts.append((now - _FIRST) // _UNIT)
        self._numbers.append(len(self.oracle.trials))

    def on_trial_end(self, trial: Trial) -> None:
        """Display nothing: the search does that."""

    def get_state(self) -> dict[str, Any]:
        """Return all state but `verbose`, as JSON types."""
        starts, numbers = self.trial_start, self.trial_number
        return {
            "search_start": None if self.search_start is None else self.search_start.isoformat(),
            "trial_start": {
                key: starts[key].isoformat() for key in self.oracle.trials if key in starts
            },
            "trial_number": {key: numbers[key] for key in self.oracle.trials if key in numbers},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_state` returned."""
        start = state["search_start"]
        self.search_start = None if start is None else datetime.datetime.fromisoformat(start)
        self._starts_before = {
            key: datetime.datetime.fromisoformat(each) for key, each in state["trial_start"].items()
        }
        self._numbers_before = dict(state["trial_number"])
        self._begun.clear()
        self._starts, self._numbers = array.array("q"), array.array("q")
