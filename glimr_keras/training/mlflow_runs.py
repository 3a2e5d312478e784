"""MLflow runs to which `mlflow.keras.MlflowCallback` logs: one for each execution, in the script's
experiment. Runs in driver and worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from glimr_keras.errors import StorageError
from glimr_keras.training.messages import ExecutionSpec
from glimr_keras.trials.execution import TrialStatus

_EXECUTION = "glimr_keras.execution"
"""The tag that identifies the run of a training that resumes."""
_STATUSES = {TrialStatus.FAILED: "FAILED", TrialStatus.RUNNING: "KILLED"}
_AT_ONCE = 100
"""The maximum number of parameters in one request to MLflow."""
_NOT_IN_NAMES = re.compile(r"[^\w\-./ ]")


@dataclasses.dataclass(frozen=True)
class MLflow:
    """Where the script logs to.

    Attributes:
        uri: The URI of the tracking server or the database.
        experiment: The id of the active experiment or, if none is active, of the one with the
            project's name.
        parent: The id of the script's active run, which is the parent of the trials' runs; `None`
            if there is none.
    """

    uri: str
    experiment: str
    parent: str | None = None

    @classmethod
    def of_script(cls, project: str) -> MLflow:
        """Return where the script logs to now.

        Args:
            project: The project's name.

        Raises:
            StorageError: If the experiment was deleted.
        """
        import mlflow

        active = mlflow.active_run()
        if active is None:
            return cls(mlflow.get_tracking_uri(), _experiment(project))
        return cls(mlflow.get_tracking_uri(), active.info.experiment_id, active.info.run_id)

    def is_taken(self) -> bool:
        """Return whether a run other than the script's is active in this thread."""
        import mlflow

        active = mlflow.active_run()
        return active is not None and active.info.run_id != self.parent

    def begin(self, spec: ExecutionSpec, callbacks: object = ()) -> MLflowRun:
        """Begin the run of an execution, or resume its existing one."""
        import mlflow

        if mlflow.get_tracking_uri() != self.uri:
            mlflow.set_tracking_uri(self.uri)
        known = self._known(spec)
        with _without_run_id():
            mlflow.start_run(
                run_id=known,
                experiment_id=None if known else self.experiment,
                run_name=spec.name,
                nested=True,
                tags=self._tags(spec),
            )
        return MLflowRun(self)

    def _known(self, spec: ExecutionSpec) -> str | None:
        """Return the id of an execution's run from before it was interrupted or paused."""
        from mlflow.tracking import MlflowClient

        if spec.project is None:
            return None
        where = f"tags.`{_EXECUTION}` = '{spec.project}/{spec.name}'"
        found = MlflowClient().search_runs([self.experiment], where, max_results=1)
        return found[0].info.run_id if found else None

    def _tags(self, spec: ExecutionSpec) -> dict[str, str]:
        tags = {
            _EXECUTION: f"{spec.project}/{spec.name}",
            "trial_id": spec.trial_id,
            "execution": str(spec.execution),
        }
        if spec.fold is not None:
            tags["fold"] = str(spec.fold)
        if self.parent is not None:
            tags["mlflow.parentRunId"] = self.parent
        return tags


class MLflowRun:
    """The active run, which belongs to an execution."""

    def __init__(self, tracker: MLflow) -> None:
        import mlflow
        from mlflow.tracking import MlflowClient

        active = mlflow.active_run()
        self._client, self._id = MlflowClient(), active.info.run_id
        self._parent = tracker.parent
        self._logged: dict[str, str] = dict(active.data.params)

    def log(self, values: Mapping[str, Any]) -> None:
        """Log hyperparameters. MLflow keeps the first value of each; a value that a
        population-based scheduler has changed becomes a tag of the same name.
        """
        from mlflow.entities import Param, RunTag

        named = {_NOT_IN_NAMES.sub("_", name): str(value) for name, value in values.items()}
        changed = {n: value for n, value in named.items() if self._logged.get(n, value) != value}
        new = [Param(n, value) for n, value in named.items() if n not in self._logged]
        tags = [RunTag(n, value) for n, value in changed.items()]
        for start in range(0, len(new), _AT_ONCE):
            self._client.log_batch(self._id, params=new[start : start + _AT_ONCE])
        if tags:
            self._client.log_batch(self._id, tags=tags)
        self._logged = named | self._logged

    def end(self, status: str) -> None:
        """End the run, and all runs that were begun below it."""
        import mlflow

        mlflow.flush_async_logging()
        if status != TrialStatus.RUNNING:
            self._client.set_tag(self._id, "trial_status", status)
        with _without_run_id():
            while (now := mlflow.active_run()) is not None and now.info.run_id != self._parent:
                mlflow.end_run(_STATUSES.get(status, "FINISHED"))


@contextlib.contextmanager
def _without_run_id() -> Iterator[None]:
    """Hide the run that the environment names: MLflow would resume it, and then forget it."""
    of_script = os.environ.pop("MLFLOW_RUN_ID", None)
    try:
        yield
    finally:
        if of_script is not None:
            os.environ["MLFLOW_RUN_ID"] = of_script


def _experiment(project: str) -> str:
    """Return the id of the script's experiment or, if it has not chosen one, of the project's.

    Raises:
        StorageError: If it was deleted, so that no run can begin.
    """
    from mlflow.tracking import MlflowClient, fluent

    names = ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
    chosen = getattr(fluent, "_active_experiment_id", None)
    client = MlflowClient()
    if chosen is not None or any(os.environ.get(name) for name in names):
        known = client.get_experiment(fluent._get_experiment_id())
    else:
        known = client.get_experiment_by_name(project)
    if known is None:
        return str(client.create_experiment(project))
    if known.lifecycle_stage != "active":
        raise StorageError(
            f"The experiment {known.name!r} was deleted in MLflow. Restore it, or choose another "
            "by `mlflow.set_experiment`."
        )
    return str(known.experiment_id)
