"""The user's scheduler, which Ray Tune consults for the search's own trials. Runs in the driver."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from glimr_keras.executors.ray_bridge import Bridge


class FilteredScheduler(FIFOScheduler):
    """Consult the user's scheduler for the search's own trials only; without one, first come, first
    served.

    In a cross-validation, each fold has its own scheduler, so that only trials of the same fold are
    compared.
    """

    def __init__(self, scheduler: TrialScheduler | None, bridge: Bridge) -> None:
        super().__init__()
        self._scheduler, self._bridge = scheduler or FIFOScheduler(), bridge
        self._of_folds: dict[int, TrialScheduler] = {}
        self._folds: dict[str, int] = {}

    @property
    def metric(self) -> str | None:
        return self._scheduler.metric

    @property
    def supports_buffered_results(self) -> bool:
        return self._scheduler.supports_buffered_results

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True  # `on_trial_add` says them, when they are known

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        coordinator = self._bridge.coordinator
        if coordinator is None or self._bridge.is_ours(trial.trial_id):
            return
        fold = self._bridge.specs[trial.trial_id].fold
        if fold is not None:
            self._folds[trial.trial_id] = fold
            if fold not in self._of_folds:
                self._of_folds[fold] = copy.deepcopy(self._scheduler)
        scheduler = self._of_fold(fold)
        if scheduler.metric is None:
            objective = coordinator.oracle.objective
            scheduler.set_search_properties(objective.name, objective.direction)
        scheduler.on_trial_add(self._controller(tune_controller, fold), trial)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            fold = self._folds.get(trial.trial_id)
            self._of_fold(fold).on_trial_error(self._controller(tune_controller, fold), trial)

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        if self._bridge.is_ours(trial.trial_id):
            return TrialScheduler.CONTINUE
        coordinator = self._bridge.coordinator
        if coordinator is not None and coordinator.oracle.objective.has_value(
            result
        ):  # a sum of several is in no report
            objective = coordinator.oracle.objective
            result.setdefault(objective.name, objective.get_value(result))
            if objective.is_void(objective.get_value(result)):  # for schedulers, as bad as can be
                worst = sys.float_info.max / 1e8  # of which some can be added up
                result = {
                    **result,
                    objective.name: -worst if objective.direction == "max" else worst,
                }
        fold = self._folds.get(trial.trial_id)
        return self._of_fold(fold).on_trial_result(
            self._controller(tune_controller, fold), trial, result
        )

    def on_trial_complete(
        self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]
    ) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            fold = self._folds.get(trial.trial_id)
            self._of_fold(fold).on_trial_complete(
                self._controller(tune_controller, fold), trial, result
            )
        _forget_cancelled(tune_controller)

    def on_trial_remove(self, tune_controller: Any, trial: RayTrial) -> None:
        if not self._bridge.is_ours(trial.trial_id):
            fold = self._folds.get(trial.trial_id)
            self._of_fold(fold).on_trial_remove(self._controller(tune_controller, fold), trial)

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        live = tune_controller.get_live_trials()
        # One that has a process, which is just made ready, needs none. If it were chosen again, Ray
        # would give the next free process to any other, and end the one that is started for that
        given = getattr(getattr(tune_controller, "_tune_controller", None), "_resetting_trials", ())
        pending = {
            trial.trial_id: trial
            for trial in live
            if trial.status == RayTrial.PENDING and trial not in given
        }
        first = next(
            (pending[ray_id] for ray_id in self._bridge.in_order() if ray_id in pending), None
        )
        if not self._bridge.pauses or (first is not None and self._bridge.is_ours(first.trial_id)):
            return first
        running = sum(
            trial.status == RayTrial.RUNNING and not self._bridge.is_ours(trial.trial_id)
            for trial in live
        )
        if running == self._bridge.max_running:
            return None
        for fold in list(self._of_folds) or (None,):
            chosen = self._of_fold(fold).choose_trial_to_run(
                self._controller(tune_controller, fold)
            )
            if chosen is not None:
                self._bridge.prepare(chosen.trial_id, chosen.config)
                if fold is not None:
                    self._of_folds[fold] = self._of_folds.pop(
                        fold
                    )  # it is the last to be asked next time
                return chosen
        return None

    def debug_string(self) -> str:
        return str(self._scheduler.debug_string())

    def _of_fold(self, fold: int | None) -> TrialScheduler:
        return self._scheduler if fold is None else self._of_folds[fold]

    def _controller(self, controller: Any, fold: int | None) -> _Controller:
        """Return Ray's controller with the trials of one fold only."""

        def is_seen(ray_id: str) -> bool:
            return not self._bridge.is_ours(ray_id) and self._folds.get(ray_id, fold) == fold

        return _Controller(controller, is_seen)


def _forget_cancelled(tune_controller: Any) -> None:
    """Remove what Ray would keep forever of each actor that it requested and then did not need,
    because another was reused.
    """
    manager = getattr(tune_controller, "_actor_manager", None)
    tasks = getattr(manager, "_pending_actors_to_enqueued_actor_tasks", {})
    pending = getattr(manager, "_pending_actors_to_attrs", tasks)
    for actor in [actor for actor in tasks if actor not in pending]:
        del tasks[actor]


class _Controller:
    """Ray's controller as the user's scheduler sees it: with the search's own trials only, and
    without our searcher.

    Population-based schedulers refuse searchers, since these do not know changed configurations;
    ours does.
    """

    search_alg = None

    def __init__(self, controller: Any, is_seen: Callable[[str], bool]) -> None:
        self._controller, self._is_seen = controller, is_seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_trials(self) -> list[RayTrial]:
        return [trial for trial in self._controller.get_trials() if self._is_seen(trial.trial_id)]

    def get_live_trials(self) -> list[RayTrial]:
        return [
            trial for trial in self._controller.get_live_trials() if self._is_seen(trial.trial_id)
        ]


def pauses(scheduler: TrialScheduler | None) -> bool:
    """Return whether a scheduler may pause trials: all but those known to only stop them."""
    return scheduler is not None and type(scheduler) not in (FIFOScheduler, AsyncHyperBandScheduler)
