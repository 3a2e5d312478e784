"""When trials began, as KerasTuner's oracles keep it. Runs in the driver."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Protocol

from glimr_keras.trials.trial import Trial


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
        trial_start: When each trial began in this process, by id.
        trial_number: Which of the project's trials each of those is, counted from 1, by id.
    """

    def __init__(self, oracle: _HasTrials, verbose: int = 1) -> None:
        self.oracle, self.verbose = oracle, verbose
        self.search_start: datetime.datetime | None = None
        self.trial_start: dict[str, datetime.datetime] = {}
        self.trial_number: dict[str, int] = {}

    def on_trial_begin(self, trial: Trial) -> None:
        """Note that a trial begins, which is one of the oracle's."""
        self.trial_start[trial.trial_id] = datetime.datetime.now()
        self.search_start = self.search_start or self.trial_start[trial.trial_id]
        self.trial_number.setdefault(trial.trial_id, len(self.oracle.trials))

    def on_trial_end(self, trial: Trial) -> None:
        """Show nothing: that is the search's."""

    def get_state(self) -> dict[str, Any]:
        """Return all but `verbose`, as JSON types."""
        return {
            "search_start": None if self.search_start is None else self.search_start.isoformat(),
            "trial_start": {
                key: self.trial_start[key].isoformat()
                for key in self.oracle.trials
                if key in self.trial_start
            },
            "trial_number": {
                key: self.trial_number[key]
                for key in self.oracle.trials
                if key in self.trial_number
            },
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `get_state` returned."""
        start = state["search_start"]
        self.search_start = None if start is None else datetime.datetime.fromisoformat(start)
        self.trial_start = {
            key: datetime.datetime.fromisoformat(each) for key, each in state["trial_start"].items()
        }
        self.trial_number = dict(state["trial_number"])
