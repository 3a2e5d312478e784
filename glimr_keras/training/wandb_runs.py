"""Weights & Biases runs to which `wandb.integration.keras.WandbMetricsLogger` logs: one for each
execution, in the script's project. Runs in driver and worker.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from glimr_keras._utils import versions
from glimr_keras.training.messages import ExecutionSpec, this_worker
from glimr_keras.trials.execution import TrialStatus

_GLOBALS = (
    *("run", "config", "summary", "log", "save", "define_metric", "alert", "mark_preempting"),
    *("watch", "unwatch", "use_artifact", "log_artifact", "use_model", "log_model", "link_model"),
)
"""The attributes of `wandb` that belong to the active run, which the callbacks log to."""
_NOT_IN_IDS = re.compile(r"[/\\#?%:]")


@dataclasses.dataclass(frozen=True)
class Wandb:
    """Where the script logs to.

    Attributes:
        settings: The settings of the script's run, as arguments of `wandb.init`.
        base_url: The URL of the server; `None` for the default one.
        run: The id of the script's run, which stays unchanged; `None` if there is none.
        process: The script's process.
    """

    settings: Mapping[str, Any]
    base_url: str | None = None
    run: str | None = None
    process: str = dataclasses.field(default_factory=this_worker)

    @classmethod
    def of_script(cls, project: str) -> Wandb:
        """Return where the script logs to now.

        Args:
            project: The name of the tuner's project, which is the group of the runs unless the
                script's run has one.

        Raises:
            ImportError: If W&B is too old for a second run beside the script's.
        """
        import wandb

        versions.check_version("wandb", wandb.__version__, versions.WANDB)
        if wandb.run is None:
            return cls(
                {
                    "project": os.environ.get("WANDB_PROJECT") or project,
                    "group": os.environ.get("WANDB_RUN_GROUP") or project,
                    "dir": os.environ.get("WANDB_DIR"),
                    "mode": os.environ.get("WANDB_MODE"),
                }
            )
        its = wandb.run.settings
        settings = {
            "project": its.project,
            "entity": its.entity,
            "group": its.run_group or project,
            "job_type": its.run_job_type,
            "tags": its.run_tags,
            "dir": its.root_dir,
            "mode": its.mode,
        }
        return cls(settings, its.base_url, wandb.run.id)

    def is_taken(self) -> bool:
        """Return whether a run other than the script's is active in this process."""
        import wandb

        return wandb.run is not None and wandb.run.id != self.run

    def begin(self, spec: ExecutionSpec, callbacks: Sequence[Any]) -> WandbRun:
        """Begin the run of an execution, or resume its existing one."""
        import wandb

        machine = self.process.rpartition(":")[0]
        if this_worker().rpartition(":")[0] != machine:  # its service is not reachable
            os.environ.pop("WANDB_SERVICE", None)
        server = {} if self.base_url is None else {"base_url": self.base_url}
        run = wandb.init(
            **self.settings,
            id=_NOT_IN_IDS.sub("_", spec.unique_name),
            name=spec.name,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", **server),
        )
        for callback in callbacks:
            _define_steps(run, callback)
        return WandbRun(run)


class WandbRun:
    """A run that replaces the script's as the active one until it ends."""

    def __init__(self, run: Any) -> None:
        import wandb

        self._run = run
        self._before = {name: getattr(wandb, name) for name in _GLOBALS}
        for name in _GLOBALS:
            setattr(wandb, name, run if name == "run" else getattr(run, name))

    def log(self, values: Mapping[str, Any]) -> None:
        """Set the hyperparameters as the run's configuration."""
        self._run.config.update(dict(values), allow_val_change=True)

    def end(self, status: str) -> None:
        """End the run, and mark it as failed if the execution failed or was interrupted."""
        import wandb

        if status != TrialStatus.RUNNING:
            self._run.summary["trial_status"] = status
        has_ended = status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)
        try:
            self._run.finish(exit_code=0 if has_ended else 1)
        finally:
            for name, value in self._before.items():
                setattr(wandb, name, value)


def _define_steps(run: Any, callback: Any) -> None:
    """Define the steps of metrics, by epoch or by batch, as `WandbMetricsLogger` does when it is
    created: there it uses the script's run.
    """
    if not hasattr(callback, "logging_batch_wise"):
        return
    name, step = ("batch", "batch_step") if callback.logging_batch_wise else ("epoch", "epoch")
    run.define_metric(f"{name}/{step}")
    run.define_metric(f"{name}/*", step_metric=f"{name}/{step}")
