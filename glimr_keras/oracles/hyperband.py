"""Hyperband, with asynchronous promotion. Runs in the driver."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Set
from typing import Any

import numpy as np

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.oracles.ahead import Ahead
from glimr_keras.oracles.base import Oracle
from glimr_keras.oracles.batches import Batch, Batches
from glimr_keras.oracles.random_search import RandomSearchOracle, untried
from glimr_keras.oracles.suggestions import Nothing, Suggestion, completed
from glimr_keras.oracles.surrogate import Several
from glimr_keras.oracles.trial_surrogates import TrialSurrogates
from glimr_keras.oracles.unit_cube import conditions_in
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Goal, Objective
from glimr_keras.trials.trial import Trial

_RANDOM_EVERY = 3
_MIN_RESULTS = 8


@dataclasses.dataclass
class _Rung:
    """Trials of one bracket that are trained for equally many epochs.

    Attributes:
        size: The final number of trials.
        epochs: The epoch up to which they are trained.
        trials: The started trials.
        ended: The scores of the trials that have ended.
        promoted: The trials that continue in the next rung.
    """

    size: int
    epochs: int
    trials: set[str] = dataclasses.field(default_factory=set)
    ended: dict[str, float | None] = dataclasses.field(default_factory=dict)
    promoted: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class _Outlook:
    """The outlook of a bracket in its present state.

    Attributes:
        promotion: The rung of the next promotion and the promoted trial; `None` if none is allowed.
        is_filled: Whether all configurations were started.
        is_over: Whether all trials have ended.
        trials, epochs: The total numbers it will have, as far as known.
    """

    promotion: tuple[int, str] | None = None
    is_filled: bool = False
    is_over: bool = False
    trials: int = 0
    epochs: int = 0


class HyperbandOracle(Oracle):
    """Train many configurations for a few epochs, and continue the best ones.

    The search runs in brackets, which differ in how early they stop trials; they and their sizes
    are as in Hyperband (Li et al., 2018). A configuration is promoted as soon as it is among the
    best 1/`factor` of those that have ended in its rung. So no worker waits for the slowest of them
    (Li et al., 2020). Each promotion is a separate trial. It continues the training of the promoted
    trial from its weights and its optimizer's state. Its values record this: `tuner/epochs`,
    `tuner/initial_epoch`, `tuner/bracket`, `tuner/round`, `tuner/iteration`, and `tuner/trial_id`
    for the trial that it continues.

    New configurations are random until there are enough results. After that, the model of
    `BayesianOptimizationOracle` proposes two of every three. It learns from the longest trainings
    that have enough results (as in Falkner et al.).

    The other arguments are as for `Oracle`.

    Args:
        max_epochs: The number of epochs of the longest training, at least 1. Defaults to `100`.
        factor: From rung to rung, the number of configurations is divided by it and the number of
            epochs multiplied; at least 2. Defaults to `3`.
        hyperband_iterations: The number of times all brackets are run; 0 or `None` for no end.
            Defaults to `1`.

    Raises:
        ValueError: If `factor` is below 2 or `max_epochs` is below 1.

    References:
        Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR
        2018.
        Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.
        Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", ICML
        2018.
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
        self._outlooks: list[_Outlook] = []
        self._changed: set[int] = set()  # brackets whose outlook must be recomputed
        self._promoting: set[int] = set()
        self._unfilled: set[int] = set()
        self._going: set[int] = set()
        self._trials_due = self._epochs_due = 0
        self._continuing: dict[str, list[Trial]] = {}  # by the trial that each continues
        self._forgotten_in: set[int] = set()  # brackets with fewer trials to continue than before
        self._surrogates = TrialSurrogates(self, _epochs_of)
        self._batches = Batches(self, share=8)  # the model proposes only some of them
        self._shared: Ahead[Several | None] = Ahead()
        self._is_exhausted = False
        self._points, self._initial_points = (
            self._initial_points,
            [],
        )  # they take places in the lowest rungs

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        self._look()
        if self._promoting:
            number = min(self._promoting)
            index, promoted = self._outlooks[number].promotion  # type: ignore[misc]  # it has one
            self._brackets[number][index - 1].promoted.add(promoted)
            self._touch(number)
            return self._promotion(number, index, self.trials[promoted])
        if self._unfilled or self._may_open():
            return self._beginning(
                trial_id, min(self._unfilled) if self._unfilled else self._open()
            )
        return Nothing.YET if self._going else Nothing.LEFT

    @property
    def num_trials_planned(self) -> int | None:
        """Return the number of trials in all brackets, at most `max_trials`.

        Trials are subtracted that failures or an exhausted space leave no room for.
        """
        if self.hyperband_iterations is None:
            return self.max_trials
        self._look()
        planned = self._trials_due + sum(size for size, _ in self._planned_unopened())
        return planned if self.max_trials is None else min(planned, self.max_trials)

    @property
    def num_epochs_planned(self) -> int | None:
        """Return the number of epochs in all brackets; `None` if `max_trials` ends them earlier.

        Also `None` for an endless number of iterations.
        """
        if self.hyperband_iterations is None:
            return None
        self._look()
        rungs = list(self._planned_unopened())
        trials = self._trials_due + sum(size for size, _ in rungs)
        is_cut = self.max_trials is not None and self.max_trials < trials
        return None if is_cut else self._epochs_due + sum(size * epochs for size, epochs in rungs)

    def restore_trial(self, trial: Trial) -> None:
        super().restore_trial(trial)
        bracket, number = self._place(trial)
        bracket[number].trials.add(trial.trial_id)
        parent = trial.suggested.get(Stage.PARENT)
        if parent is not None:
            bracket[number - 1].promoted.add(parent)
            self._continuing.setdefault(parent, []).append(trial)
        self._touch(self._bracket_of(trial))

    def trial_ended(self, trial: Trial) -> None:
        super().trial_ended(trial)
        bracket, number = self._place(trial)
        is_whole = (
            trial.status == TrialStatus.COMPLETED
        )  # a stopped trial leaves nothing to continue from
        bracket[number].ended[trial.trial_id] = (
            trial.score if is_whole and trial.is_scored else None
        )
        self._touch(self._bracket_of(trial))

    def is_continued(self, trial: Trial) -> bool:
        rungs, number = self._place(trial)
        rung = rungs[number]
        if number + 1 == len(rungs) or rung.ended.get(trial.trial_id) is None:
            return False
        if trial.trial_id in rung.promoted:
            continuing = self._continuing.get(trial.trial_id, ())
            return any(other.status == TrialStatus.RUNNING for other in continuing)
        room = rungs[number + 1].size
        if len(rung.promoted) >= room:
            return False
        return not self._is_settled(rungs, number) or trial.trial_id in self._best(rung, room)

    def ends_of_continuation(self, trial_ids: Set[str]) -> list[str]:
        if is_overridden(self, "is_continued", HyperbandOracle):
            return super().ends_of_continuation(trial_ids)
        changed, self._forgotten_in = self._forgotten_in, set()
        rungs = (rung for number in changed for rung in self._brackets[number])
        affected = [each for rung in rungs for each in rung.trials if each in trial_ids]
        return super().ends_of_continuation(set(affected))

    # Brackets

    def _touch(self, number: int) -> None:
        """Mark a bracket as changed."""
        self._changed.add(number)
        self._forgotten_in.add(number)

    def _look(self) -> None:
        """Update the outlook of the brackets that have changed."""
        for number in self._changed:
            before, now = self._outlooks[number], self._outlook(self._brackets[number])
            self._outlooks[number] = now
            self._trials_due += now.trials - before.trials
            self._epochs_due += now.epochs - before.epochs
            for numbers, belongs in (
                (self._promoting, now.promotion is not None),
                (self._unfilled, not now.is_filled),
                (self._going, not now.is_over),
            ):
                (numbers.add if belongs else numbers.discard)(number)
        self._changed.clear()

    def _outlook(self, rungs: list[_Rung]) -> _Outlook:
        """Return the outlook of a bracket."""
        promotions = (
            (index, self._promotable(rungs, index - 1)) for index in reversed(range(1, len(rungs)))
        )
        planned = list(self._planned_in(rungs))
        return _Outlook(
            next(((index, found) for index, found in promotions if found is not None), None),
            len(rungs[0].trials) >= rungs[0].size,
            all(len(rung.ended) >= self._due(rungs, index) for index, rung in enumerate(rungs)),
            sum(size for size, _ in planned),
            sum(size * epochs for size, epochs in planned),
        )

    def _bracket_of(self, trial: Trial) -> int:
        """Return the number of a trial's bracket."""
        return int(
            trial.suggested.get(Stage.ITERATION, 0) * (self._first + 1)
            + self._first
            - trial.suggested[Stage.BRACKET]
        )

    def _sizes(self, bracket: int) -> Iterator[tuple[int, int]]:
        """Yield the number of trials and the final epoch of each rung, from the lowest rung."""
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
        """Open the next bracket, and return its number.

        The first bracket has the most rungs; the last trains everything to the end.
        """
        number = len(self._brackets)
        self._brackets.append(self._bracket(number))
        self._outlooks.append(_Outlook())
        self._touch(number)
        return number

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

    def _planned_unopened(self) -> Iterator[tuple[int, int]]:
        """Yield the size and the epochs per trial of each rung of every unopened bracket.

        Identical brackets are taken together.
        """
        if self._is_exhausted:
            return
        opened, kinds = len(self._brackets), self._first + 1
        last = (self.hyperband_iterations or 0) * kinds
        for number in range(opened, min(opened + kinds, last)):
            times = len(range(number, last, kinds))  # the number of identical brackets
            for size, epochs in self._planned_in(self._bracket(number)):
                yield size * times, epochs

    def _planned_in(self, rungs: list[_Rung]) -> Iterator[tuple[int, int]]:
        """Yield the size of each rung of one bracket, and the epochs each trial trains there."""
        size, before = rungs[0].size, 0
        for number, rung in enumerate(rungs):
            yield size, rung.epochs - before
            if number + 1 < len(rungs):
                failed = sum(score is None for score in rung.ended.values())
                size, before = min(rungs[number + 1].size, size - failed), rung.epochs

    def _due(self, rungs: list[_Rung], index: int) -> int:
        """Return the number of trials a rung will have, given the failures below it."""
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
        """Return whether a rung has all the trials that it will have, and all have ended."""
        rung = rungs[index]
        below_is = index == 0 or self._is_settled(rungs, index - 1)
        return below_is and len(rung.ended) == len(rung.trials) >= self._due(rungs, index)

    def _promotable(self, rungs: list[_Rung], index: int) -> str | None:
        """Return the best trial of a rung that may be promoted now."""
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
        """Return this many of a rung's ended trials, best first."""
        scored = [trial_id for trial_id, score in rung.ended.items() if score is not None]
        return sorted(scored, key=lambda trial_id: self.objective.sort_key(rung.ended[trial_id]))[
            :count
        ]

    def _place(self, trial: Trial) -> tuple[list[_Rung], int]:
        """Return the bracket and the rung of a trial.

        Brackets are reopened in the order in which they were opened.
        """
        number = self._bracket_of(trial)
        while len(self._brackets) <= number:
            self._open()
        return self._brackets[number], trial.suggested[Stage.ROUND]

    # Trials

    def _beginning(self, trial_id: str, number: int) -> Suggestion | Nothing:
        started = sum(len(rungs[0].trials) for rungs in self._brackets) if self._points else 0
        if started < len(self._points):
            chosen: Suggestion | Nothing = completed(
                self._points[started], self.space, (self.seed, int(trial_id))
            )
        else:
            chosen = self._new(trial_id)
        if isinstance(chosen, Nothing):
            self._is_exhausted = True
            for bracket, rungs in enumerate(self._brackets):
                rungs[0].size = len(rungs[0].trials)
                self._touch(bracket)
            return self._propose(trial_id)
        return dataclasses.replace(chosen, values=chosen.values | self._stage(number, 0))

    def _new(self, trial_id: str) -> Suggestion | Nothing:
        """Return a configuration that a model of the longest trainings expects to be good.

        Every third one is random.
        """
        key = (self.seed, int(trial_id))
        for values in self._modelled(key) if _has_model(trial_id) else ():
            if not self.is_tried(values):
                return Suggestion(values, key)
        return untried(self, trial_id, RandomSearchOracle.max_collisions)

    def _modelled(self, key: tuple[int, int]) -> Iterable[dict[str, Any]]:
        """Return configurations that a model proposes, the most promising first.

        Empty while there are too few results. If many trials run, several proposals are made at
        once.
        """
        batch = self._batches.of_next() if self._is_asked_by_search else None
        if batch is None or batch.size == 1:
            epochs = self._learned_epochs(len(self.end_order))
            if epochs is None:
                return ()
            running = [trial.suggested for trial in self.running_trials]
            surrogate = self._surrogates.by_kind[epochs]
            return surrogate.prepared(running).ranked(np.random.default_rng(key))
        made = self._shared.share((batch, conditions_in(self.space)), lambda: self._several(batch))
        earlier = (self.trials[trial_id] for trial_id in self.start_order[batch.first :])
        number = sum(
            trial.suggested[Stage.ROUND] == 0 and _has_model(trial.trial_id) for trial in earlier
        )
        return () if made is None else made.of(number)

    def _several(self, batch: Batch) -> Several | None:
        """Return the proposals for a batch's trials; `None` while there are too few results."""
        epochs = self._learned_epochs(batch.num_ended)
        if epochs is None:
            return None
        count = self._surrogates.told_after(batch.num_ended, epochs)
        running = [trial.suggested for trial in self._batches.running(batch)]
        prepared = self._surrogates.by_kind[epochs].prepared(running, count)
        return prepared.several(np.random.default_rng((self.seed, batch.first)), batch.size)

    def _learned_epochs(self, num_ended: int) -> int | None:
        """Return the most epochs with enough results after this many ended trials, or `None`."""
        searched = self.space.num_searched
        wanted = max(_MIN_RESULTS, 2 * searched)
        counts = {
            epochs: known.num_scored(self._surrogates.told_after(num_ended, epochs))
            for epochs, known in self._surrogates.by_kind.items()
        }
        enough = [epochs for epochs, count in counts.items() if count >= wanted]
        return max(enough) if searched and enough else None

    def _promotion(self, number: int, rung: int, parent: Trial) -> Suggestion:
        parent = parent.to_read()
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
        if number > self._first:  # KerasTuner lacks this value
            stage[Stage.ITERATION] = number // (self._first + 1)
        return stage if parent is None else {**stage, Stage.PARENT: parent.trial_id}


def _has_model(trial_id: str) -> bool:
    """Return whether a model, if there is one, proposes this new configuration."""
    return int(trial_id) % _RANDOM_EVERY != 0


def _epochs_of(trial: Trial) -> int:
    """Return the number of epochs after which a trial has its result."""
    return int(trial.suggested[Stage.EPOCHS])
