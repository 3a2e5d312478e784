"""The base class of all oracles: the next trial, its results and the budget.

Subclasses choose values. Runs in the driver.

Oracles have an ask-and-tell interface. A user-defined loop without a tuner uses KerasTuner's
methods: `create_trial`, `update_trial`, `end_trial`.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from glimr_keras._utils.overriding import is_overridden
from glimr_keras.errors import add_note, did_you_mean
from glimr_keras.oracles.locks import synchronized
from glimr_keras.oracles.record import TrialRecord
from glimr_keras.oracles.suggestions import (
    Nothing,
    Response,
    Suggestion,
    checked_point,
    completed,
    suggested,
)
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.objective import Objective, as_objective
from glimr_keras.trials.trial import Trial

_WHILE_OTHERS_RUN = (
    "The oracle was asked while other trials were running, which have no score yet. If it looks at "
    "the results of the last trial, pass `max_concurrent_trials=1` to the tuner, so that trials "
    "run one after the other."
)


class Oracle(TrialRecord):
    """Choose the next configuration, and keep the record of every trial.

    A subclass overrides `populate_space`, and optionally `score_trial`. An oracle depends on
    neither Ray nor Keras: a search calls `next_trial` and reports results with `end_trial`. Its
    state follows from its arguments and its trials alone. An oracle that receives the trials of an
    earlier session therefore resumes as that session would have continued. It receives them by
    `restore_trial`, and by `trial_ended` for those that ended.

    Args:
        objective: The objective to optimise: a metric's name, an `Objective`, or a list of them.
            Defaults to `None`, which means that `fit` or `run_trial` returns one number, which is
            minimised.
        max_trials: The maximum number of trials in the project, failed ones included. Defaults to
            `None`, which means no limit.
        hyperparameters: Hyperparameters that override a model's hyperparameters of the same name.
            Defaults to `None`: no overrides.
        allow_new_entries: Whether a model may request other hyperparameters; if `False`, that is an
            error. Defaults to `True`.
        tune_new_entries: Whether those other hyperparameters are searched; if `False`, they keep
            their defaults. Defaults to `True`.
        seed: The random seed. Two oracles with the same seed and the same results make the same
            choices. Defaults to `None`: derived from the state of Python's `random`.
        max_retries_per_trial: The number of times a failed training is restarted, unless it raised
            `FailedTrialError`. Defaults to `0`.
        max_consecutive_failed_trials: Stop the search after this many consecutive failed trials.
            Defaults to `3`.
        space: The hyperparameters known so far; a `SearchSpace` also knows when each one exists.
            Defaults to `()`.
        initial_points: Configurations to try first: value by name, flat or nested. Missing values
            are drawn at random. Defaults to `()`.

    Attributes:
        trials: The trials by id, in order of creation.
        start_order, end_order: Ids of the trials in the order in which they started and ended.
        ongoing_trials: The trials that have not ended, by the tuner that runs each one.
        own_entries: Hyperparameters that `update_space` received before a search.
        has_own_state: Whether it resumes only projects of its own kind, as in KerasTuner.
        learns: Whether results of earlier trials change later choices.

    Raises:
        ValueError: If an initial point has an unknown name or a value that its hyperparameter
            cannot have; or if new hyperparameters are not allowed and no others are given.
    """

    learns = False
    has_own_state = False
    _max_collisions = 20

    def __init__(
        self,
        objective: str | Objective | Sequence[str | Objective] | None = None,
        max_trials: int | None = None,
        hyperparameters: HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        seed: int | None = None,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        *,
        space: SearchSpace | Iterable[HyperParameter] = (),
        initial_points: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if hyperparameters is None and not (allow_new_entries and tune_new_entries):
            name = "tune_new_entries" if allow_new_entries else "allow_new_entries"
            raise ValueError(
                f"If you set `{name}=False`, you must pass the search space as `hyperparameters`."
            )
        super().__init__(
            HyperParameters() if hyperparameters is None else hyperparameters,
            allow_new_entries,
            tune_new_entries,
        )
        self.max_trials = max_trials
        self.max_retries_per_trial = max_retries_per_trial
        self.max_consecutive_failed_trials = max_consecutive_failed_trials
        self.initial_points = tuple(initial_points)
        self.tuner_ids: set[str] = set()
        self._is_asked_by_search = False
        known = (
            space
            if isinstance(space, SearchSpace)
            else SearchSpace([*self._hyperparameters.space, *space])
        )
        drawn = _drawn_seed() if seed is None else seed
        self.wanted = as_objective(objective)
        self.begin(self.wanted.inferred(), drawn, known)

    def begin(self, objective: Objective, seed: int, space: SearchSpace) -> None:
        """Prepare the oracle for a search: without trials, and with the space known now.

        Args:
            objective: The objective, with its direction.
            seed: The project's seed.
            space: The search space.

        Raises:
            ValueError: If an initial point does not fit the space.
        """
        super().begin(objective, seed, space)
        self._initial_points = [checked_point(point, space) for point in self.initial_points]

    def restore_trials(self, trials: Mapping[str, Trial], end_order: Iterable[str]) -> None:
        """Restore the trials of an earlier session, and learn from those that ended.

        Args:
            trials: The trials by id.
            end_order: Ids of the trials that ended, in that order.
        """
        for trial in trials.values():
            self.restore_trial(trial)
        for trial_id in end_order:
            self.trial_ended(trials[trial_id])

    def take_over(
        self,
        objective: Objective,
        seed: int,
        space: SearchSpace,
        trials: Mapping[str, Trial],
        end_order: Iterable[str],
    ) -> None:
        """Resume the trials of a project in a user-defined loop. Unfinished trials run again.

        Args:
            objective, seed, space: As for `begin`.
            trials: The trials by id.
            end_order: Ids of the trials that ended, in that order.
        """
        self.begin(objective, seed, space)
        self.restore_trials(trials, end_order)
        self._retry_queue = list(reversed(self.ongoing_trials))
        self.ongoing_trials.clear()

    @property
    def verbose(self) -> int:
        """Return the default verbosity of a search."""
        return self._display.verbose

    @verbose.setter
    def verbose(self, verbose: int | str) -> None:
        self._display.verbose = 1 if verbose == "auto" else int(verbose)

    # Asking

    def ask(self) -> Trial | Nothing:
        """Return a trial for a search from `next_trial`, or from an overridden `create_trial`."""
        self._is_asked_by_search = True
        try:
            if not is_overridden(self, "create_trial", Oracle):
                return self.next_trial()
            trial = self.create_trial(f"tuner{len(self.trials)}")
        except Exception as error:
            if self.is_running:
                add_note(error, _WHILE_OTHERS_RUN)
            raise
        finally:
            self._is_asked_by_search = False
        return {TrialStatus.IDLE: Nothing.YET, TrialStatus.STOPPED: Nothing.LEFT}.get(
            trial.status, trial
        )

    def next_trial(self) -> Trial | Nothing:
        """Return a new trial to run, or the reason for not having one."""
        if self.remaining_trials() == 0:
            return Nothing.LEFT
        trial_id = str(len(self.trials)).zfill(
            4 if self.max_trials is None else len(str(self.max_trials))
        )  # as KerasTuner's
        if len(self.trials) < len(self._initial_points):
            chosen: Any = completed(
                self._initial_points[len(self.trials)], self.space, (self.seed, int(trial_id))
            )
        else:
            chosen = self.populate_space(trial_id)
        if isinstance(chosen, Mapping):
            chosen = suggested(chosen, self.space, (self.seed, int(trial_id)))
        if isinstance(chosen, Nothing):
            return chosen
        trial = Trial.of(trial_id, chosen.values, chosen.sampling_key, self.space.parameters)
        trial.num_ended = len(self.end_order)
        self.restore_trial(trial)
        self._display.on_trial_begin(trial)
        return trial

    def populate_space(self, trial_id: str) -> Suggestion | Nothing | Mapping[str, Any]:
        """Choose the values of a new trial.

        Args:
            trial_id: The trial's id; `int(trial_id)` is its index in the project.

        Returns:
            A dict as in KerasTuner, with `"status"` and `"values"`, or a `Suggestion`, or
            `Nothing`.
            The status is `"RUNNING"`; `"IDLE"` if no trial can start before a running one has
            ended; or `"STOPPED"` at the end. Missing values are drawn at random.
        """
        if not self._is_asked_by_search:
            self._take_in_hyperparameters()
        return Response(self._propose(trial_id))

    def _propose(self, trial_id: str) -> Suggestion | Nothing:
        """Choose the values of a new trial, in this package's oracles."""
        raise NotImplementedError(
            f"{type(self).__name__} must override `populate_space(trial_id)`."
        )

    def _populate_space(self, trial_id: str) -> Any:
        warnings.warn(
            "Call `populate_space`, without the underscore.", DeprecationWarning, stacklevel=2
        )
        return self.populate_space(trial_id)

    def _random_values(self) -> dict[str, Any] | None:
        """Draw values that have not been tried; return `None` if none are found."""
        for _ in range(self._max_collisions + 1):
            self._seed_state += 1
            key, count = [self.seed, self._seed_state], itertools.count()
            space = SearchSpace(self.hyperparameters.space)
            values = space.walk(lambda parameter: parameter.random_sample([*key, next(count)]))  # noqa: B023  # at once
            if not self._duplicate(values):
                return values
        return None

    def remaining_trials(self) -> int | None:
        """Return how many more trials may start; `None` means no limit."""
        return None if self.max_trials is None else max(self.max_trials - len(self.trials), 0)

    @property
    def num_trials_planned(self) -> int | None:
        """Return the number of trials planned for the project, as far as known; `None` if unknown.

        A search may end earlier.
        """
        return self.max_trials

    @property
    def num_epochs_planned(self) -> int | None:
        """Return the total number of epochs of the planned trials.

        `None` unless the oracle sets the number of epochs of each trial.
        """
        return None

    # Telling

    def score_trial(self, trial: Trial) -> None:
        """Score a trial that has ended, by setting `trial.score` and `trial.best_step`.

        By default, the score is the objective at its best step. For a trial that a tuner trained,
        it is the mean over executions, which the trial itself holds. Otherwise it is the best of
        the values that `update_trial` received.
        """
        if trial.executions:
            return
        self.objective = self.objective.inferred().resolved({})
        step = self.objective.best_step(trial.told)
        score = None if step is None else self.objective.get_value(trial.told[step])
        trial.score, trial.best_step = (
            (None, None) if score is None or math.isnan(score) else (score, step)
        )

    def _score_trial(self, trial: Trial) -> None:
        warnings.warn(
            "Call `score_trial`, without the underscore.", DeprecationWarning, stacklevel=2
        )
        self.score_trial(trial)

    @synchronized
    def end_trial(self, trial: Trial | str, status: str | None = None) -> None:
        """Report to the oracle that a trial ended, and score it.

        If a trial fails (`"INVALID"`) in a user-defined loop, it is run again, up to
        `max_retries_per_trial` times.

        Args:
            trial: The trial, with its final values and status.
            status: Deprecated: the status, if `trial` is an id. Defaults to `None`, which means
                `"COMPLETED"` for an id.

        Raises:
            RuntimeError: If too many consecutive trials failed in a user-defined loop.
        """
        own = self._own(trial, status)
        if own.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED):
            if own.executions and is_overridden(self, "update_trial", Oracle):
                self._tell_own_update(own)
            self.score_trial(own)
        is_of_own_loop = not own.executions
        if is_of_own_loop and self._is_retried(own):
            self._record_end(own)
            return
        self.trial_ended(own)
        self.save_trial(own)
        if is_of_own_loop:
            self.save()
            self._record_end(own)
            self._check_consecutive_failures()
        else:
            self._save_if_due()

    def _tell_own_update(self, trial: Trial) -> None:
        """Call an overridden `update_trial`, as a user-defined loop does."""
        means = {
            name: history.get_history()[0].mean() for name, history in trial.metrics.metrics.items()
        }
        self.update_trial(trial.trial_id, means, step=trial.best_step)

    def is_continued(self, trial: Trial) -> bool:
        """Return whether a later trial may continue this one, so that its state is kept."""
        return False

    def ends_of_continuation(self, trial_ids: Set[str]) -> list[str]:
        """Return which of these trials no later trial can continue any more.

        Args:
            trial_ids: All trials for which this was not returned before.
        """
        return [each for each in trial_ids if not self.is_continued(self.trials[each])]

    def learn(self, trial: Trial) -> None:
        """Learn from a trial of another project, which uses up no budget.

        For oracles that learn.
        """

    # A user-defined loop, with KerasTuner's methods

    @synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial to run: the one `tuner_id` already runs, one to retry, or a new one.

        Args:
            tuner_id: The id of whoever runs the trial.

        Returns:
            A trial whose status is `"RUNNING"`; `"IDLE"` if no trial can start before another has
            ended; or `"STOPPED"` if none will start any more.
        """
        if not self._is_asked_by_search:
            self._begin_own_loop()
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        self.tuner_ids.add(tuner_id)
        is_again = bool(self._retry_queue)
        trial = self.trials[self._retry_queue.pop()] if is_again else self.next_trial()
        if isinstance(trial, Nothing):
            if trial is Nothing.LEFT:
                self.tuner_ids.discard(tuner_id)
            return Trial(
                self.hyperparameters.copy(),
                status=TrialStatus.STOPPED if trial is Nothing.LEFT else TrialStatus.IDLE,
            )
        trial.status = TrialStatus.RUNNING
        self.ongoing_trials.pop(trial.trial_id, None)
        self.ongoing_trials[tuner_id] = trial
        if is_again:
            self._display.on_trial_begin(trial)
        self.save_trial(trial)
        if self._is_asked_by_search:
            self._save_if_due()
        else:
            self.save()
            self._record_begin(trial)
        return trial

    @synchronized
    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Record metrics of a running trial.

        Args:
            trial_id: The id of a running trial.
            metrics: Value by name, including the objective.
            step: The step, such as the epoch, counted from 0. Defaults to `0`.

        Raises:
            ValueError: If the objective is missing.
        """
        trial = self.trials[trial_id]
        self._check_objective_found(metrics)
        directions = self.objective.name_to_direction
        tracker = trial.metrics
        for name, value in metrics.items():
            if not tracker.exists(name):
                tracker.register(name, directions.get(name))
            tracker.update(name, value, step)
        self.save_trial(trial)
        return trial

    def _own(self, trial: Trial | str, status: str | None) -> Trial:
        """Return the oracle's own trial, updated with what a copy of it reports."""
        if isinstance(trial, str):
            warnings.warn(
                "Call `end_trial(trial)` with the trial instead of its id and status.",
                DeprecationWarning,
                stacklevel=3,
            )
            own = self.trials[trial]
            own.status = status or TrialStatus.COMPLETED
            return own
        own = self.trials[trial.trial_id]
        if own is not trial:
            own.hyperparameters, own.status, own.message = (
                trial.hyperparameters,
                trial.status,
                trial.message,
            )
        if not own.executions:
            self.update_space(own.hyperparameters)
        return own

    def _is_retried(self, trial: Trial) -> bool:
        """Return whether a trial that ran in a user-defined loop is to run again."""
        if trial.status == TrialStatus.COMPLETED and trial.score is None:
            trial.status = TrialStatus.INVALID  # its score is missing or nan
        self._run_times[trial.trial_id] += 1
        return self._retry(trial)

    def _retry(self, trial: Trial) -> bool:
        """Queue an invalid trial to run again, if allowed, and return whether it was queued."""
        if trial.status != TrialStatus.INVALID:
            return False
        if self._run_times[trial.trial_id] > self.max_retries_per_trial:
            trial.status = TrialStatus.FAILED
            return False
        self._retry_queue.append(trial.trial_id)
        self._leaves(trial)
        return True

    def _check_objective_found(self, metrics: Mapping[str, Any]) -> None:
        missing = self.objective.missing(metrics)
        if missing is not None:
            raise ValueError(
                f"Objective value missing in metrics reported to the Oracle: expected {missing!r}, "
                f"received {sorted(metrics)}.{did_you_mean(missing, metrics)}"
            )

    def _check_consecutive_failures(self) -> None:
        """Stop the user's loop if too many consecutive trials failed.

        Raises:
            RuntimeError: If that is the case.
        """
        last = [
            self.trials[trial_id]
            for trial_id in self.end_order[-self.max_consecutive_failed_trials :]
        ]
        if len(last) == self.max_consecutive_failed_trials and all(
            trial.status == TrialStatus.FAILED for trial in last
        ):
            raise RuntimeError(
                "Number of consecutive failures exceeded the limit of "
                f"{self.max_consecutive_failed_trials}.\n"
                f"{last[-1].message or ''}"
            )


def kind_of(oracle: Oracle) -> str:
    """Return the name of the class of this package that an oracle is, or inherits from."""
    package = f"{__name__.partition('.')[0]}."
    return next(
        kind.__name__ for kind in type(oracle).__mro__ if kind.__module__.startswith(package)
    )


def _drawn_seed() -> int:
    """Return a seed that depends on the state of Python's `random`, as in KerasTuner.

    A script that seeds `random` therefore repeats the same search. The state is left as KerasTuner
    leaves it, so the script's next draws are also the same.
    """
    seed = zlib.crc32(repr(random.getstate()).encode())
    random.randint(1, 10_000)
    return seed
