"""The base of all oracles: the trials so far, the known space, the budget. Subclasses choose
values.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras.oracles.keras_tuner_protocol import Display, OwnLoop, synchronized
from glimr_keras.oracles.suggestions import Nothing, Suggestion, checked_point, completed
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.objective import Objective, as_objective
from glimr_keras.trials.trial import Trial, TrialStatus, ranked


class Oracle(OwnLoop):
    """Decides which configuration is tried next, and keeps the record of every trial.

    A subclass overrides `populate_space`, and maybe `score_trial`. An oracle knows neither Ray nor
    Keras: a search asks it by `next_trial` and tells it by `end_trial`. All that it knows is in its
    arguments and in the trials, so one that is told the trials of an earlier session
    (`restore_trial`, and `trial_ended` for those that ended) goes on as that session would have.

    Args:
        objective: What is optimised: a metric's name, an `Objective`, or a list of them; `None`
            where `fit` or `run_trial` returns one number, which is then minimised.
        max_trials: How many trials the project may have, failed ones included; `None` for no bound.
        hyperparameters: Hyperparameters that win over those of the same name that a model asks for.
        allow_new_entries: Whether a model may ask for others. If not, that is an error.
        tune_new_entries: Whether those others are searched. If not, they have their defaults.
        seed: Two oracles with the same seed, told the same, choose the same.
        max_retries_per_trial: How often a training that failed is begun again, except by
            `FailedTrialError`.
        max_consecutive_failed_trials: So many failed trials in a row stop the search.
        space: The hyperparameters that are known so far; a `SearchSpace` also knows where each
            exists.
        initial_points: Configurations that are tried first: value by name, flat or nested. What
            they leave out is drawn at random.

    Attributes:
        trials: By id, in the order of their creation.
        start_order, end_order: Ids of the trials in the order in which they began, and ended.
        ongoing_trials: Those that have not ended, by who runs them.
        own_entries: Hyperparameters that `update_space` was told of before a search.
        learns: Whether results of earlier trials change what is chosen next.

    Raises:
        ValueError: If an initial point has an unknown name, or a value that its hyperparameter
            cannot have; or new hyperparameters are not allowed and no others given.
    """

    learns = False

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
        self.max_trials = max_trials
        self._hyperparameters = HyperParameters() if hyperparameters is None else hyperparameters
        self._discover: Callable[[], None] | None = None
        self.allow_new_entries, self.tune_new_entries = allow_new_entries, tune_new_entries
        self.max_retries_per_trial = max_retries_per_trial
        self.max_consecutive_failed_trials = max_consecutive_failed_trials
        self.initial_points = tuple(initial_points)
        self.tuner_ids: set[str] = set()
        self.own_entries: list[HyperParameter] = []
        self._display = Display(self)
        self._tried_so_far, self._times_tried = set(), collections.Counter()
        known = (
            space
            if isinstance(space, SearchSpace)
            else SearchSpace([*self._hyperparameters.space, *space])
        )
        drawn = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.wanted = as_objective(objective)
        self.begin(self.wanted.inferred(), drawn, known)

    def begin(self, objective: Objective, seed: int, space: SearchSpace) -> None:
        """Readies the oracle for a search: without any trial, and with what is known now.

        Args:
            objective: With its direction.
            seed: Of the project.
            space: What there is to search.
        """
        self.objective, self.seed, self.space = objective, seed, space
        self._discover = None
        self._hyperparameters.merge(space.parameters, overwrite=False)
        self.trials: dict[str, Trial] = {}
        self.start_order: list[str] = []
        self.end_order: list[str] = []
        self.ongoing_trials: dict[str, Trial] = {}
        self._begin_own_loop()
        self._initial_points = [checked_point(point, space) for point in self.initial_points]

    def recall(
        self,
        objective: Objective,
        space: SearchSpace,
        trials: Mapping[str, Trial],
        end_order: Iterable[str],
    ) -> None:
        """Takes in the trials of a project to be looked at, whichever oracle chose them."""
        Oracle.begin(self, objective, self.seed, space)
        for trial in trials.values():
            Oracle.restore_trial(self, trial)
        for trial_id in end_order:
            Oracle.trial_ended(self, trials[trial_id])

    @property
    def is_running(self) -> bool:
        """Whether a trial has not ended."""
        return any(trial.status == TrialStatus.RUNNING for trial in self.trials.values())

    @property
    def hyperparameters(self) -> HyperParameters:
        """All that is known to be searched: the object that was passed, if any, with what models
        ask for.

        Before the first search a model is built in this process to find that out, when this is
        looked at.
        """
        discover, self._discover = self._discover, None
        if discover is not None:
            discover()
        return self._hyperparameters

    @hyperparameters.setter
    def hyperparameters(self, hyperparameters: HyperParameters) -> None:
        self._hyperparameters = hyperparameters

    def discover_by(self, discover: Callable[[], None]) -> None:
        """How `hyperparameters` learn what models ask for, if that is wanted before a search."""
        self._discover = discover

    # Asking

    def ask(self) -> Trial | Nothing:
        """What a search asks: `next_trial`, unless a subclass has a `create_trial` of its own."""
        if type(self).create_trial is Oracle.create_trial:
            return self.next_trial()
        trial = self.create_trial(f"tuner{len(self.trials)}")
        return {TrialStatus.IDLE: Nothing.YET, TrialStatus.STOPPED: Nothing.LEFT}.get(
            trial.status, trial
        )

    def next_trial(self) -> Trial | Nothing:
        """A new trial to run, or why there is none."""
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
            chosen = self._suggestion(chosen, trial_id)
        if isinstance(chosen, Nothing):
            return chosen
        trial = Trial.of(trial_id, chosen.values, chosen.sampling_key, self.space.parameters)
        self.restore_trial(trial)
        self._display.on_trial_begin(trial)
        return trial

    def populate_space(self, trial_id: str) -> Suggestion | Nothing | Mapping[str, Any]:
        """Chooses the values of a new trial.

        Args:
            trial_id: Its id; `int(trial_id)` is its index in the project.

        Returns:
            A `Suggestion`, or `Nothing`; or as for KerasTuner a dict with `"status"` (`"RUNNING"`,
            or `"IDLE"` where there is nothing to try before a running trial has ended, or
            `"STOPPED"`) and `"values"`. Values that are left out are drawn at random.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override `populate_space(trial_id)`."
        )

    def _suggestion(self, response: Mapping[str, Any], trial_id: str) -> Suggestion | Nothing:
        """What a dict that `populate_space` returned means."""
        if response["status"] == TrialStatus.STOPPED:
            return Nothing.LEFT
        if response["status"] == TrialStatus.IDLE:
            return Nothing.YET
        return completed(response.get("values") or {}, self.space, (self.seed, int(trial_id)))

    # Telling

    def restore_trial(self, trial: Trial) -> None:
        """Takes a trial into the record, as `next_trial` does; also for those of an earlier
        session.
        """
        self.trials[trial.trial_id] = self.ongoing_trials[trial.trial_id] = trial
        self.start_order.append(trial.trial_id)
        self._record_values(trial)

    @synchronized
    def end_trial(self, trial: Trial | str, status: str | None = None) -> None:
        """Tells the oracle that a trial ended, and gives it its score.

        A trial that a loop of the user's own ran, and that failed (`"INVALID"`), is run again as
        often as `max_retries_per_trial` says.

        Args:
            trial: With its final values and status.
            status: Deprecated, with an id in the place of the trial.

        Raises:
            RuntimeError: If a loop of the user's own has too many failed trials in a row.
        """
        own = self._own(trial, status)
        if own.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED):
            if (
                own.executions and type(self).update_trial is not Oracle.update_trial
            ):  # which a loop of the user's own calls
                means = {
                    name: history.get_history()[0].mean()
                    for name, history in own.metrics.metrics.items()
                }
                self.update_trial(own.trial_id, means, step=own.best_step)
            self.score_trial(own)
        is_of_own_loop = not own.executions
        if is_of_own_loop and self._is_retried(own):
            return
        self.trial_ended(own)
        self.save_trial(own)
        self.save()
        if is_of_own_loop:
            self._check_consecutive_failures()

    def trial_ended(self, trial: Trial) -> None:
        """Learns from a trial that has ended, and has its score."""
        self._leaves(trial)
        self.end_order.append(trial.trial_id)
        if (
            trial.status == TrialStatus.COMPLETED
        ):  # others may have asked for a part of their values only
            self.space.observe(trial.values)
            self._record_values(trial)

    def is_continued(self, trial: Trial) -> bool:
        """Whether a later trial may go on from where this one ended, so that its state is to be
        kept.
        """
        return False

    def learn(self, trial: Trial) -> None:
        """Tells the oracle of a trial of another project, which counts for no budget. For oracles
        that learn.
        """

    def update_space(
        self, hyperparameters: HyperParameters | Iterable[HyperParameter]
    ) -> list[HyperParameter]:
        """Adds hyperparameters that a trial met, and returns those that were new.

        Raises:
            RuntimeError: If there are new ones, and `allow_new_entries` is `False`.
        """
        found = (
            hyperparameters.space
            if isinstance(hyperparameters, HyperParameters)
            else list(hyperparameters)
        )
        new = self.space.unknown(found)
        if new and not self.allow_new_entries:
            raise RuntimeError(f"`allow_new_entries` is `False`, but found new entries {new}")
        if not new or not self.tune_new_entries:
            return []
        if self._project_dir is None:
            self.own_entries += new
        self._hyperparameters.merge(new, overwrite=False)
        return self.space.update(new)

    # Looking

    def get_trial(self, trial_id: str) -> Trial:
        """The trial of this id, with or without its leading zeros.

        Raises:
            KeyError: If there is none.
        """
        if trial_id in self.trials or not trial_id.isdigit():
            return self.trials[trial_id]
        return (
            next(
                (trial for known, trial in self.trials.items() if int(known) == int(trial_id)), None
            )
            or self.trials[trial_id]
        )

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """The best trials, best first; where there are fewer with a score, then others."""
        return ranked(list(self.trials.values()), self.objective)[:num_trials]

    def get_space(self) -> HyperParameters:
        """A copy of `hyperparameters`."""
        return self.hyperparameters.copy()

    def remaining_trials(self) -> int | None:
        """How many trials may still be started; `None` for any number."""
        return None if self.max_trials is None else max(self.max_trials - len(self.trials), 0)

    def is_tried(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial agrees with these values in all that it asked for, so that it would only
        be repeated.
        """
        return self._duplicate(values)
