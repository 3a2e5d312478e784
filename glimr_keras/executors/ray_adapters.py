"""The searcher, callbacks and stopper given to Ray Tune, which pass on its events. Runs in the
driver.
"""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.search import Searcher

from glimr_keras.errors import reason_of
from glimr_keras.executors.losses import lost
from glimr_keras.executors.ray_bridge import Bridge, nest
from glimr_keras.executors.ray_worker import REPORT, SAYINGS, TASK


class BridgeSearcher(Searcher):
    """Present the coordinator to Ray Tune as a searcher."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self._bridge.next_task(trial_id)
        if task is not None:
            shown = nest(task["spec"]["values"]) if self._bridge.shows and "spec" in task else {}
            return {**shown, TASK: task}
        return Searcher.FINISHED if self._bridge.finished else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the listener is notified of every end and tells the coordinator."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the record."""


class TrialListener(tune.Callback):
    """Pass on the events of Ray's trials."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._bridge.check_begun()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.start(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        # Ray would keep both for the whole search
        self._bridge.hear(result.pop(SAYINGS, ()))
        self._bridge.report(trial.trial_id, result.pop(REPORT))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        reason = reason_of(trial.get_error() or "It died without a message.")
        self._bridge.lose(trial.trial_id, lost(self._bridge.stage(trial.trial_id), reason))


class FilteredReporter(tune.ProgressReporter):
    """Show the search's own trials, and no others, to the user's progress reporter."""

    def __init__(self, reporter: tune.ProgressReporter, bridge: Bridge) -> None:
        self._reporter, self._bridge = reporter, bridge

    def setup(self, *args: Any, **info: Any) -> None:
        self._reporter.setup(*args, **info)

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return bool(self._own(trials)) and self._reporter.should_report(self._own(trials), done)

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        self._reporter.report(self._own(trials), done, *sys_info)

    def _own(self, trials: list[Any]) -> list[Any]:
        return [trial for trial in trials if not self._bridge.is_ours(trial.trial_id)]


class FinishedTrialCleaner(tune.Callback):
    """Remove statistics and configuration, about 16 KB, from each finished Ray trial, since Ray
    keeps the trials.
    """

    def __init__(self) -> None:
        self._first: Any = None

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}
        trial.run_metadata.last_result = {}
        trial.config.clear()
        trial.evaluated_params.clear()
        self._first = self._first or trial  # all trials share the first one's objects
        trial.placement_group_factory = self._first.placement_group_factory
        trial.storage.syncer, trial.storage.sync_config = (
            self._first.storage.syncer,
            self._first.storage.sync_config,
        )

    on_trial_error = on_trial_complete


class SearchStopper(tune.Stopper):
    """Stop the search on an error, and standby trials when they are no longer needed."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._bridge.may_leave(trial_id) or self._bridge.wants_stop(
            trial_id, result.get(REPORT)
        )

    def stop_all(self) -> bool:
        coordinator = self._bridge.coordinator
        return self._bridge.error is not None or (
            coordinator is not None and coordinator.error is not None
        )
