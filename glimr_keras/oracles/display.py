"""When trials began, as KerasTuner's oracles keep it. Runs in the driver."""

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
    """What a display needs of its oracle."""

    trials: dict[str, Trial]


class Display:
    """What KerasTuner's oracles keep to show a search, and write down.

    Args:
        oracle: Whose trials are counted.
        verbose: As for `search`, which takes it where it is given none.

    Attributes:
        search_start: When the first trial began in this process; `None` before.
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
        """When each trial began in this process, by id; the last time, where it did so again."""
        starts = (_FIRST + start * _UNIT for start in self._starts)
        begun = dict(zip(self._begun, starts, strict=True))
        return types.MappingProxyType({**self._starts_before, **begun})

    @property
    def trial_number(self) -> Mapping[str, int]:
        """Which of the project's trials each of those was at first, counted from 1, by id."""
        known = dict(self._numbers_before)
        for trial_id, number in zip(self._begun, self._numbers, strict=True):
            known.setdefault(trial_id, number)
        return types.MappingProxyType(known)

    def on_trial_begin(self, trial: Trial) -> None:
        """Note that a trial begins, which is one of the oracle's."""
        now = datetime.datetime.now()
        self.search_start = self.search_start or now
        self._begun.append(trial.trial_id)  # in few bytes, as there may be a hundred thousand
        self._starts.append((now - _FIRST) // _UNIT)
        self._numbers.append(len(self.oracle.trials))

    def on_trial_end(self, trial: Trial) -> None:
        """Show nothing: that is the search's."""

    def get_state(self) -> dict[str, Any]:
        """Return all but `verbose`, as JSON types."""
        starts, numbers = self.trial_start, self.trial_number
        return {
            "search_start": None if self.search_start is None else self.search_start.isoformat(),
            "trial_start": {
                key: starts[key].isoformat() for key in self.oracle.trials if key in starts
            },
            "trial_number": {key: numbers[key] for key in self.oracle.trials if key in numbers},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `get_state` returned."""
        start = state["search_start"]
        self.search_start = None if start is None else datetime.datetime.fromisoformat(start)
        self._starts_before = {
            key: datetime.datetime.fromisoformat(each) for key, each in state["trial_start"].items()
        }
        self._numbers_before = dict(state["trial_number"])
        self._begun.clear()
        self._starts, self._numbers = array.array("q"), array.array("q")
