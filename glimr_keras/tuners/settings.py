"""A tuner's state beyond the attributes that KerasTuner's tuners have: its settings, its project's
place, and in a worker the current training. Runs in driver and worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from glimr_keras._utils.checks import checked_kind, optional_count, optional_seconds
from glimr_keras._utils.late_imports import if_imported
from glimr_keras.errors import ProjectError
from glimr_keras.executors.policies import FailurePolicy
from glimr_keras.models.hypermodel import HyperModel, declared_space
from glimr_keras.oracles import Oracle
from glimr_keras.project.journal import Project
from glimr_keras.project.remote_mirror import Mirror
from glimr_keras.results.reader import ProjectReader
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.space.define_by_run import NewEntries
from glimr_keras.training.execution import ExecutionRunner
from glimr_keras.trials.score_epochs import ScoreAt
from glimr_keras.tuners.arguments import (
    ExecutorChoice,
    TrialsPerGpu,
    checked_executor,
    checked_failure_policy,
    checked_resources,
    checked_score_at,
    checked_trials_per_gpu,
    sorted_callbacks,
    tune,
)
from glimr_keras.tuners.warm_start import project_directories


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """The checked settings of a tuner, named like the arguments of `BaseTuner`.

    Attributes:
        keras_callbacks, ray_callbacks: The two kinds of `callbacks`.
        warm_start: The directories of the projects.
        failure_policy: How to handle failures.
    """

    cv_folds: int | None = None
    score_at: ScoreAt | None = None
    max_concurrent_trials: int | None = None
    resources_per_trial: dict[str, float] | None = None
    trials_per_gpu: TrialsPerGpu | None = None
    max_worker_memory: int | None = None
    reuse_graphs: bool = True
    scheduler: tune.schedulers.TrialScheduler | None = None
    warm_start: Sequence[pathlib.Path] = ()
    keras_callbacks: tuple[keras.callbacks.Callback, ...] = ()
    ray_callbacks: tuple[tune.Callback, ...] = ()
    failure_policy: FailurePolicy = dataclasses.field(default_factory=FailurePolicy)
    max_trials_without_improvement: int | None = None
    time_budget_s: float | None = None
    stopper: tune.Stopper | None = None
    reporter: tune.ProgressReporter | None = None
    executor: ExecutorChoice = "auto"
    address: str | None = None
    retry_failed: bool = False
    keep_predictions: bool = False


def checked_settings(oracle: Oracle, given: Mapping[str, Any]) -> SearchSettings:
    """Check a tuner's arguments and return its settings.

    Args:
        given: `BaseTuner`'s arguments by name.

    Raises:
        ValueError, TypeError: If an argument is invalid.
    """
    of_keras, of_ray = sorted_callbacks(given["callbacks"])
    counts = {
        name: optional_count(name, given[name], at_least)
        for name, at_least in (
            ("cv_folds", 2),
            ("max_concurrent_trials", 1),
            ("max_worker_memory", 1),
            ("max_trials_without_improvement", 1),
        )
    }
    kinds = {
        name: checked_kind(name, given[name], if_imported(f"ray.tune.{place}", kind), described)
        for name, place, kind, described in (
            (
                "scheduler",
                "schedulers.trial_scheduler",
                "TrialScheduler",
                "one of `ray.tune.schedulers`",
            ),
            ("stopper", "stopper.stopper", "Stopper", "a ray.tune.Stopper"),
            (
                "reporter",
                "progress_reporter",
                "ProgressReporter",
                "a ray.tune.ProgressReporter",
            ),
        )
    }
    return SearchSettings(
        **counts,
        **kinds,
        score_at=checked_score_at(given["score_at"]),
        resources_per_trial=checked_resources(given["resources_per_trial"]),
        trials_per_gpu=checked_trials_per_gpu(given),
        warm_start=project_directories(given["warm_start"]),
        keras_callbacks=of_keras,
        ray_callbacks=of_ray,
        failure_policy=checked_failure_policy(oracle, given),
        time_budget_s=optional_seconds("time_budget_s", given["time_budget_s"]),
        executor=checked_executor(given, of_ray),
        address=given["address"],
        reuse_graphs=checked_kind("reuse_graphs", given["reuse_graphs"], bool, "a bool")
        is not False,
        retry_failed=checked_kind("retry_failed", given["retry_failed"], bool, "a bool") or False,
        keep_predictions=checked_kind("keep_predictions", given["keep_predictions"], bool, "a bool")
        or False,
    )


def space_of(
    hypermodel: HyperModel, oracle: Oracle, space: Mapping[str, Any] | None
) -> DeclaredSpace:
    """Return the declared space of a search: `space`, or else the hypermodel's."""
    others: NewEntries = "searched" if oracle.tune_new_entries else "default"
    return DeclaredSpace(
        space if space is not None else declared_space(hypermodel),
        oracle.hyperparameters,
        others if oracle.allow_new_entries else "refused",
    )


class TunerState(ProjectReader):
    """The private state of a tuner, under the only attribute that it adds to KerasTuner's.

    Args:
        space, place, mirror: As for `ProjectReader`.
        settings: The tuner's settings.
        is_fresh: Whether existing trials are removed when the first search starts.
        estimators: Storage of a `SklearnTuner`'s estimators. Defaults to `None`.

    Attributes:
        runner: The current training, in the process that trains.
        is_sent: Whether the tuner is a copy that was sent to a worker.
    """

    runner: ExecutionRunner | None = None
    is_sent = False

    def __init__(
        self,
        space: DeclaredSpace,
        place: pathlib.Path,
        mirror: Mirror | None,
        settings: SearchSettings,
        is_fresh: bool,
        estimators: Any = None,
    ) -> None:
        super().__init__(space, place, mirror)
        self.settings, self.is_fresh, self.estimators = settings, is_fresh, estimators

    def __deepcopy__(self, memo: dict[int, Any]) -> TunerState:
        return self  # e.g. when a callback holds its tuner: the copy shares the current training

    def read(self) -> Project:
        if self.is_fresh:
            raise ProjectError(
                "There are no results yet: `overwrite=True` starts over. Call `search()` first."
            )
        return super().read()

    @contextlib.contextmanager
    def during(self, runner: ExecutionRunner, oracle: Oracle) -> Iterator[None]:
        """Set the current training, whose trial the tuner's oracle then knows."""
        self.runner = runner
        if self.is_sent:
            oracle.trials[runner.trial.trial_id] = runner.trial
            oracle.start_order = list(oracle.trials)
        try:
            yield
        finally:
            self.runner = None

    def save(self, model: Any, epoch: int, file: str) -> None:
        """Save a model for the current training; in a user-defined loop, its weights in `file`."""
        if self.runner is None:
            model.save_weights(file)
        else:
            self.runner.save(model, epoch)

    def sent(self) -> TunerState:
        """Return the copy for workers, without the driver's own state."""
        here = TunerState(
            self.space,
            self.place,
            None,
            SearchSettings(),
            is_fresh=False,
            estimators=self.estimators,
        )
        here.is_sent = True
        return here
