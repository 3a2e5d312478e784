"""What a tuner has beside the attributes that KerasTuner's have: what it was given, where its
project is, and in a worker the training that runs. Runs in driver and worker.
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
    """What a tuner was given, checked; the names are those of `BaseTuner`'s arguments.

    Attributes:
        keras_callbacks, ray_callbacks: Of `callbacks`.
        warm_start: The directories of the projects.
        failure_policy: What is done about failures.
    """

    cv_folds: int | None = None
    score_at: ScoreAt = "best"
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
    """Return what a tuner was given, checked.

    Args:
        given: `BaseTuner`'s arguments by name.

    Raises:
        ValueError, TypeError: If one of them cannot be used.
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
        score_at=checked_score_at(given["score_at"], counts["cv_folds"]),
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
    """Return the declared space of a search: the one that was given, or else the hypermodel's."""
    others: NewEntries = "searched" if oracle.tune_new_entries else "default"
    return DeclaredSpace(
        space if space is not None else declared_space(hypermodel),
        oracle.hyperparameters,
        others if oracle.allow_new_entries else "refused",
    )


class TunerState(ProjectReader):
    """What a tuner keeps for itself, under the one name that it adds to those of KerasTuner's.

    Args:
        space, place, mirror: As for `ProjectReader`.
        settings: What the tuner was given.
        is_fresh: Whether the trials that are there are removed when the first search starts.
        estimators: How a `SklearnTuner` stores its estimators.

    Attributes:
        runner: In the process that trains: the training that runs now.
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
        return self  # as of a callback that has its tuner: the training that runs is that of both

    def read(self) -> Project:
        if self.is_fresh:
            raise ProjectError(
                "There are no results yet: `overwrite=True` starts over. Call `search()` first."
            )
        return super().read()

    @contextlib.contextmanager
    def during(self, runner: ExecutionRunner, oracle: Oracle) -> Iterator[None]:
        """For the time of one training, of whose trial the tuner's oracle knows."""
        self.runner = runner
        if self.is_sent:
            oracle.trials[runner.trial.trial_id] = runner.trial
            oracle.start_order = list(oracle.trials)
        try:
            yield
        finally:
            self.runner = None

    def save(self, model: Any, epoch: int, file: str) -> None:
        """Save a model as that of the training that runs; in a loop of the user's own, its weights
        in this file.
        """
        if self.runner is None:
            model.save_weights(file)
        else:
            self.runner.save(model, epoch)

    def sent(self) -> TunerState:
        """What workers get of it: nothing that only the driver has."""
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
