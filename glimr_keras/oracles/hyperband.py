"""Hyperband, with asynchronous promotion. Runs in the driver."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.random_search import RandomSearchOracle, untried
from glimr_keras.oracles.suggestions import Nothing, Suggestion, completed
from glimr_keras.oracles.surrogate import Surrogate
from glimr_keras.oracles.trial_surrogates import TrialSurrogates
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import Goal, Objective
from glimr_keras.trials.trial import Trial, TrialStatus

_RANDOM_EVERY = 3
_MIN_RESULTS = 8


@dataclasses.dataclass
class _Rung:
    """Trials of one bracket that are trained for equally many epochs.

    Attributes:
        size: How many trials there are at the end.
        epochs: To how many epochs they are trained.
        trials: Those that were started.
        ended: Those of them that have ended, with their score.
        promoted: Those of them that go on in the next rung.
    """

    size: int
    epochs: int
    trials: set[str] = dataclasses.field(default_factory=set)
    ended: dict[str, float | None] = dataclasses.field(default_factory=dict)
    promoted: set[str] = dataclasses.field(default_factory=set)


class HyperbandOracle(Oracle):
    """Trains many configurations for a few epochs and goes on with the best of them, in brackets of
    different thrift.

    Brackets and their sizes are those of Hyperband (Li et al., "Hyperband: A Novel Bandit-Based
    Approach to Hyperparameter Optimization", JMLR 2018). A configuration is promoted as soon as it
    is among the best 1/`factor` of those that have ended in its rung, so no worker waits for the
    slowest of them (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys
    2020). Each promotion is a trial of its own, which continues the training of the promoted one
    from its weights and its optimizer's state. Its values say so: `tuner/epochs`,
    `tuner/initial_epoch`, `tuner/bracket`, `tuner/round`, `tuner/iteration`, and `tuner/trial_id`
    for the trial that it continues.

    New configurations are random until there are enough results; then two of three are what the
    model of `BayesianOptimizationOracle` proposes, told the results of the longest trainings of
    which there are enough (as in Falkner et al., "BOHB: Robust and Efficient Hyperparameter
    Optimization at Scale", ICML 2018).

    Args:
        max_epochs: Epochs of the longest training.
        factor: What the number of configurations is divided by from rung to rung, and the epochs
            are multiplied by.
        hyperband_iterations: How often all brackets are run; 0 or `None` for no end.

    Raises:
        ValueError: If `factor` is below 2, or another number is below 1.
    """

    learns = True
    has_own_state = True

    def __init__(
        self,
        objective: Goal = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int | None = 1,
        seed: int | None = None,
        hyperparameters: HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        max_trials: int | None = None,
        **kwargs: Any,
    ) -> None:
        if factor < 2:
            raise ValueError(f"The factor needs to be at least 2. Received: factor={factor}")
        if max_epochs < 1:
            raise ValueError(f"`max_epochs` must be at least 1. Received: max_epochs={max_epochs}")
        self.max_epochs, self.factor = max_epochs, factor
        self.hyperband_iterations = hyperband_iterations or None
        self._first = next(
            bracket for bracket in range(max_epochs + 1) if factor ** (bracket + 1) > max_epochs
        )
        super().__init__(
            objective,
            max_trials,
            hyperparameters,
            allow_new_entries,
            tune_new_entries,
            seed,
            max_retries_per_trial,
            max_consecutive_failed_trials,
            **kwargs,
        )

    def begin(self, objective: Objective, seed: int, space: SearchSpace) -> None:
        super().begin(objective, seed, space)
        self._brackets: list[list[_Rung]] = []
        self._surrogates = TrialSurrogates(self, _epochs_of)
        self._is_exhausted = False
        self._points, self._initial_points = (
            self._initial_points,
            [],
        )  # they have their places in the lowest rungs

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        for number, rungs in enumerate(self._brackets):
            for index in reversed(range(1, len(rungs))):
                promoted = self._promotable(rungs, index - 1)
                if promoted is not None:
                    rungs[index - 1].promoted.add(promoted)
                    return self._promotion(number, index, self.trials[promoted])
        unfilled = [
            number
            for number, rungs in enumerate(self._brackets)
            if len(rungs[0].trials) < rungs[0].size
        ]
        if unfilled or self._may_open():
            return self._beginning(trial_id, unfilled[0] if unfilled else self._open())
        is_over = all(
            len(rung.ended) >= self._due(rungs, index)
            for rungs in self._brackets
            for index, rung in enumerate(rungs)
        )
        return Nothing.LEFT if is_over else Nothing.YET

    @property
    def num_trials_planned(self) -> int | None:
        """Return how many trials all brackets have, less those that failures and an exhausted space
        leave no room for; with `max_trials`, no more than these.
        """
        if self.hyperband_iterations is None:
            return self.max_trials
        planned = sum(size for size, _ in self._planned())
        return planned if self.max_trials is None else min(planned, self.max_trials)

    @property
    def num_epochs_planned(self) -> int | None:
        """Return how many epochs all brackets train, where `max_trials` does not end them before;
        else `None`.
        """
        if self.hyperband_iterations is None:
            return None
        rungs = list(self._planned())
        trials = sum(size for size, _ in rungs)
        is_cut = self.max_trials is not None and self.max_trials < trials
        return None if is_cut else sum(size * epochs for size, epochs in rungs)

    def restore_trial(self, trial: Trial) -> None:
        super().restore_trial(trial)
        bracket, number = self._place(trial)
        bracket[number].trials.add(trial.trial_id)
        parent = trial.suggested.get(Stage.PARENT)
        if parent is not None:
            bracket[number - 1].promoted.add(parent)

    def trial_ended(self, trial: Trial) -> None:
        super().trial_ended(trial)
        bracket, number = self._place(trial)
        is_whole = (
            trial.status == TrialStatus.COMPLETED
        )  # one that was stopped has left nothing to continue from
        bracket[number].ended[trial.trial_id] = (
            trial.score if is_whole and trial.is_scored else None
        )

    def is_continued(self, trial: Trial) -> bool:
        rungs, number = self._place(trial)
        rung = rungs[number]
        if number + 1 == len(rungs) or rung.ended.get(trial.trial_id) is None:
            return False
        if trial.trial_id in rung.promoted:
            continuing = (
                other
                for other in self.trials.values()
                if other.suggested.get(Stage.PARENT) == trial.trial_id
            )
            return any(other.status == TrialStatus.RUNNING for other in continuing)
        room = rungs[number + 1].size
        if len(rung.promoted) >= room:
            return False
        return not self._is_settled(rungs, number) or trial.trial_id in self._best(rung, room)

    # Brackets

    def _sizes(self, bracket: int) -> Iterator[tuple[int, int]]:
        """How many trials each rung has and to how many epochs they are trained, from the lowest
        rung.
        """
        levels = next(
            number
            for number in itertools.count(1)
            if self.factor ** (number - 1) >= self.max_epochs
        )
        for rung in range(bracket + 1):
            ratio = self.factor ** (bracket - rung)
            yield (
                -(-levels * ratio // (bracket + 1)),
                -(-self.max_epochs // ratio),
            )  # both rounded up

    def _open(self) -> int:
        """Opens the next bracket: from the one with the most rungs down to the one that trains
        everything to the end.
        """
        self._brackets.append(self._bracket(len(self._brackets)))
        return len(self._brackets) - 1

    def _bracket(self, number: int) -> list[_Rung]:
        """Return the rungs of a bracket, empty."""
        bracket = self._first - number % (self._first + 1)
        return [_Rung(size, epochs) for size, epochs in self._sizes(bracket)]

    def _may_open(self) -> bool:
        if self._is_exhausted:
            return False
        return self.hyperband_iterations is None or len(
            self._brackets
        ) < self.hyperband_iterations * (self._first + 1)

    def _planned(self) -> Iterator[tuple[int, int]]:
        """Yield how many trials each rung of every bracket will have, and how many epochs each of
        them trains there; brackets that are alike are taken together.
        """
        for rungs in self._brackets:
            yield from self._planned_in(rungs)
        if self._is_exhausted:
            return
        opened, kinds = len(self._brackets), self._first + 1
        last = (self.hyperband_iterations or 0) * kinds
        for number in range(opened, min(opened + kinds, last)):
            times = len(range(number, last, kinds))  # so many are alike
            for size, epochs in self._planned_in(self._bracket(number)):
                yield size * times, epochs

    def _planned_in(self, rungs: list[_Rung]) -> Iterator[tuple[int, int]]:
        """Yield it for each rung of one bracket."""
        size, before = rungs[0].size, 0
        for number, rung in enumerate(rungs):
            yield size, rung.epochs - before
            if number + 1 < len(rungs):
                failed = sum(score is None for score in rung.ended.values())
                size, before = min(rungs[number + 1].size, size - failed), rung.epochs

    def _due(self, rungs: list[_Rung], index: int) -> int:
        """How many trials a rung will have, given how many failed below it."""
        if index == 0:
            return rungs[0].size
        below = rungs[index - 1]
        usable = (
            sum(score is not None for score in below.ended.values())
            + len(below.trials)
            - len(below.ended)
        )
        return min(rungs[index].size, usable)

    def _is_settled(self, rungs: list[_Rung], index: int) -> bool:
        """Whether a rung has all the trials that it will have, and all have ended."""
        rung = rungs[index]
        below_is = index == 0 or self._is_settled(rungs, index - 1)
        return below_is and len(rung.ended) == len(rung.trials) >= self._due(rungs, index)

    def _promotable(self, rungs: list[_Rung], index: int) -> str | None:
        """The best trial of a rung that may go on now."""
        below, above = rungs[index], rungs[index + 1]
        room = (
            above.size
            if self._is_settled(rungs, index)
            else min(above.size, len(below.ended) // self.factor)
        )
        if len(below.promoted) >= room:
            return None
        return next(
            (trial_id for trial_id in self._best(below, room) if trial_id not in below.promoted),
            None,
        )

    def _best(self, rung: _Rung, count: int) -> list[str]:
        """So many of a rung's trials that have ended, best first."""
        scored = [trial_id for trial_id, score in rung.ended.items() if score is not None]
        return sorted(scored, key=lambda trial_id: self.objective.sort_key(rung.ended[trial_id]))[
            :count
        ]

    def _place(self, trial: Trial) -> tuple[list[_Rung], int]:
        """The bracket and the rung of a trial; brackets are found again in the order in which they
        were opened.
        """
        number = (
            trial.suggested.get(Stage.ITERATION, 0) * (self._first + 1)
            + self._first
            - trial.suggested[Stage.BRACKET]
        )
        while len(self._brackets) <= number:
            self._open()
        return self._brackets[number], trial.suggested[Stage.ROUND]

    # Trials

    def _beginning(self, trial_id: str, number: int) -> Suggestion | Nothing:
        started = sum(len(rungs[0].trials) for rungs in self._brackets)
        if started < len(self._points):
            chosen: Suggestion | Nothing = completed(
                self._points[started], self.space, (self.seed, int(trial_id))
            )
        else:
            chosen = self._new(trial_id)
        if isinstance(chosen, Nothing):
            self._is_exhausted = True
            for rungs in self._brackets:
                rungs[0].size = len(rungs[0].trials)
            return self._propose(trial_id)
        return dataclasses.replace(chosen, values=chosen.values | self._stage(number, 0))

    def _new(self, trial_id: str) -> Suggestion | Nothing:
        """A configuration that a model of the longest trainings expects to be good; every third is
        random.
        """
        key = (self.seed, int(trial_id))
        surrogate = None if int(trial_id) % _RANDOM_EVERY == 0 else self._surrogate()
        if surrogate is not None:
            running = [trial.suggested for trial in self.running_trials]
            for values in surrogate.prepared(running).ranked(np.random.default_rng(key)):
                if not self.is_tried(values):
                    return Suggestion(values, key)
        return untried(self, trial_id, RandomSearchOracle.max_collisions)

    def _surrogate(self) -> Surrogate | None:
        """The model of the most epochs of which there are enough results; `None` while there are
        none.
        """
        searched = sum(parameter.count != 1 for parameter in self.space.parameters)
        wanted = max(_MIN_RESULTS, 2 * searched)
        of_epochs = self._surrogates.by_kind
        enough = [epochs for epochs, known in of_epochs.items() if known.num_scored() >= wanted]
        return of_epochs[max(enough)] if searched and enough else None

    def _promotion(self, number: int, rung: int, parent: Trial) -> Suggestion:
        values = {name: value for name, value in parent.values.items() if name not in Stage.NAMES}
        stage = self._stage(number, rung, parent)
        return Suggestion({**values, **stage}, parent.sampling_key)

    def _stage(self, number: int, rung: int, parent: Trial | None = None) -> dict[str, Any]:
        rungs = self._brackets[number]
        stage = {
            Stage.EPOCHS: rungs[rung].epochs,
            Stage.INITIAL_EPOCH: 0 if parent is None else rungs[rung - 1].epochs,
            Stage.BRACKET: len(rungs) - 1,
            Stage.ROUND: rung,
        }
        if number > self._first:  # KerasTuner has no such value
            stage[Stage.ITERATION] = number // (self._first + 1)
        return stage if parent is None else {**stage, Stage.PARENT: parent.trial_id}


def _epochs_of(trial: Trial) -> int:
    """After how many epochs a trial has its result."""
    return int(trial.suggested[Stage.EPOCHS])
