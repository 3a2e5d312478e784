"""`RayTuner`: how to search, and what came out. Runs in the driver."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from glimr_keras import analysis, checkpoints, data
from glimr_keras.arguments import (
    checked_count,
    checked_objective,
    checked_points,
    checked_resources,
    checked_seconds,
    checked_verbosity,
    sorted_callbacks,
)
from glimr_keras.coordinator import Coordinator
from glimr_keras.data import FitArguments
from glimr_keras.discovery import Probe
from glimr_keras.errors import ModelError, ProjectError
from glimr_keras.hypermodel import as_hypermodel, overrides
from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.inline import InlineExecutor
from glimr_keras.journal import Journal, Project
from glimr_keras.limits import Limits
from glimr_keras.objective import Objective, as_objective
from glimr_keras.oracles import Oracle, RandomSearchOracle, RaySearchOracle
from glimr_keras.parameters import deserialize
from glimr_keras.progress import Progress
from glimr_keras.projects import check_place, learn_from, open_project, project_directory, serialized
from glimr_keras.ray_executor import RayExecutor
from glimr_keras.search_space import SearchSpace
from glimr_keras.shipping import check_sendable
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Trial, TrialStatus, execution_directory, ranked
from glimr_keras.worker import Job, build, configuration

Executor = Literal["ray", "inline"]


class RayTuner:
    """Searches the hyperparameters of a `HyperModel`, many trials side by side on Ray.

    The constructor checks its arguments and starts nothing; `search` starts Ray on this machine if it is not running. Every
    trial is written down in the project directory as it happens. The same script run again continues its search.

    Args:
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras model.
        objective: The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its direction; a list of several for
            a Pareto front.
        max_trials: How many configurations the project may have in all, failed ones included; `None` for as many as the oracle
            finds.
        executions_per_trial: How often each configuration is trained; its score is the mean.
        directory: Where projects are, by default the working directory.
        project_name: The project's own directory in there, by default `"untitled_project"`.
        overwrite: Start over, and remove the project's earlier trials when the first search starts.
        seed: Makes the search draw the same configurations, and each trial the same weights and batches.
        max_concurrent_trials: At most so many executions at once; by default what the machine has room for.
        resources_per_trial: CPUs (also the number of threads) and GPUs (fractions allowed) of one execution, and custom
            resources of a cluster by name. By default one CPU and no GPU.
        max_worker_memory: Bytes of memory that a worker process may have for itself (data in shared memory does not count);
            one with more is replaced when its trial has ended, and no trial is lost. By default there is no bound. On Linux.
        scheduler: One of `ray.tune.schedulers`, which stops trials early, such as `ASHAScheduler()`, or pauses them and changes
            their values, such as `PopulationBasedTraining(…)`.
        search_alg: One of `ray.tune.search`, new and without a space of its own; by default random search.
        space: A declared search space, instead of `HyperModel.space()`.
        initial_points: Configurations to try first: dicts of value by name, flat or nested. What they leave out is drawn.
        warm_start: Finished projects (directories, or tuners) whose results the search learns from. They count for no budget.
        callbacks: Keras callbacks, copied into every trial, and `ray.tune.Callback`s, which run here.
        max_consecutive_failed_trials: So many failed trials in a row stop the search.
        max_trials_without_improvement: So many trials in a row that are not better than the best before them end the search.
        time_budget_s: Seconds of wall-clock time that one call of `search` may take; then running trials are stopped.
        stopper: A `ray.tune.Stopper`, asked after each epoch of each trial.
        executor: `"ray"`, or `"inline"` for trials in this process, one at a time, where breakpoints work.
        address: Of a Ray cluster to join, as `ray.init` takes it, unless this process already has a Ray. By default
            `RAY_ADDRESS`, or the Ray that runs on this machine, or a new one.

    Attributes:
        hypermodel: The object that was passed (a function is wrapped).
        objective: The `Objective`; its direction is known when the first search has built the model once.
        project_dir: The project's directory.

    Raises:
        ValueError, TypeError: If an argument cannot be used; the message says what was received and how to mend it.

    Example:
        tuner = RayTuner(Digits(), objective="val_accuracy", max_trials=20, directory="runs", project_name="digits")
        tuner.search(epochs=10)
        model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: Any,
        objective: str | Objective | Sequence[str | Objective] | None = None,
        max_trials: int | None = 10,
        executions_per_trial: int = 1,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        seed: int | None = None,
        max_concurrent_trials: int | None = None,
        resources_per_trial: Mapping[str, float] | None = None,
        max_worker_memory: int | None = None,
        scheduler: TrialScheduler | None = None,
        search_alg: Searcher | None = None,
        space: Mapping[str, Any] | None = None,
        initial_points: Sequence[Mapping[str, Any]] | None = None,
        warm_start: Sequence[str | os.PathLike[str] | RayTuner] = (),
        callbacks: Sequence[keras.callbacks.Callback | tune.Callback] | None = None,
        max_consecutive_failed_trials: int = 3,
        max_trials_without_improvement: int | None = None,
        time_budget_s: float | None = None,
        stopper: tune.Stopper | None = None,
        executor: Executor = "ray",
        address: str | None = None,
    ) -> None:
        self.hypermodel = as_hypermodel(hypermodel)
        self.objective = as_objective(objective)
        self.max_trials = None if max_trials is None else checked_count("max_trials", max_trials)
        self.executions_per_trial = checked_count("executions_per_trial", executions_per_trial)
        self.directory = os.fspath(directory) if directory is not None else "."
        self.project_name = project_name if project_name is not None else "untitled_project"
        self.project_dir = pathlib.Path(self.directory).absolute() / self.project_name
        self.overwrite = overwrite
        self.seed = None if seed is None else checked_count("seed", seed, at_least=0)
        self.max_concurrent_trials = (
            None if max_concurrent_trials is None else checked_count("max_concurrent_trials", max_concurrent_trials)
        )
        self.resources_per_trial = checked_resources(resources_per_trial)
        self.max_worker_memory = None if max_worker_memory is None else checked_count("max_worker_memory", max_worker_memory)
        if scheduler is not None and not isinstance(scheduler, TrialScheduler):
            raise TypeError(f"`scheduler` must be one of `ray.tune.schedulers`. Received: scheduler={scheduler!r}")
        self.scheduler = scheduler
        if search_alg is not None and not isinstance(search_alg, Searcher):
            raise TypeError(f"`search_alg` must be one of `ray.tune.search`. Received: search_alg={search_alg!r}")
        self.search_alg = search_alg
        self.declared_space = DeclaredSpace(space if space is not None else self.hypermodel.space())
        self.initial_points = checked_points(initial_points)
        sources = [warm_start] if isinstance(warm_start, (str, os.PathLike, RayTuner)) else warm_start
        self.warm_start = [project_directory(source) for source in sources]
        self.callbacks = sorted_callbacks(callbacks)
        self.max_consecutive_failed_trials = checked_count("max_consecutive_failed_trials", max_consecutive_failed_trials)
        if max_trials_without_improvement is not None:
            checked_count("max_trials_without_improvement", max_trials_without_improvement)
        self.max_trials_without_improvement = max_trials_without_improvement
        self.time_budget_s = None if time_budget_s is None else checked_seconds("time_budget_s", time_budget_s)
        if stopper is not None and not isinstance(stopper, tune.Stopper):
            raise TypeError(f"`stopper` must be a ray.tune.Stopper. Received: stopper={stopper!r}")
        self.stopper = stopper
        if executor not in ("ray", "inline"):
            raise ValueError(f"`executor` must be 'ray' or 'inline'. Received: executor={executor!r}")
        if executor == "inline" and scheduler is not None:
            raise ValueError("A Ray `scheduler` needs `executor='ray'`. Received: executor='inline'")
        self.executor = executor
        self.address = address
        self._fresh = overwrite

    # Searching

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Runs trials until the project has `max_trials`; continues where an earlier search of this project ended.

        Args:
            *fit_args: What Keras' `fit` takes, such as `x, y`. Nothing when the `HyperModel` has `data`.
            **fit_kwargs: Likewise, such as `epochs`, `validation_data`, `validation_split`, `batch_size`, `callbacks`.
                `verbose` is for the search: 0 shows nothing, 1 (and `"auto"`) one live line, 2 also a line for each
                finished trial, 3 also what Ray prints and, if this search starts Ray, what the workers print.

        Raises:
            ModelError, ObjectiveError: If the model cannot be built or does not log the objective; found before any trial.
            ProjectError: If the directory belongs to something else or to a different search.
            ResourcesError: If no machine has what a trial asks for.
            ShippingError: If something cannot be sent to the workers.
            SearchError: If `max_consecutive_failed_trials` failed in a row.
            FatalError: If the user's code raised it.
        """
        verbose = checked_verbosity(fit_kwargs.get("verbose", 1))
        of_keras, of_ray = sorted_callbacks(fit_kwargs.pop("callbacks", None))
        if of_ray:
            raise TypeError(
                f"`search(callbacks=…)` takes Keras callbacks; pass Ray's to {type(self).__name__}. Received: {of_ray}"
            )
        arguments = FitArguments(fit_args, fit_kwargs)
        data.check_one_source(self.hypermodel, arguments)
        if self.executor == "ray":
            arguments.check_repeatable()
        check_place(self.project_dir, self._fresh)
        progress = Progress(verbose)
        job = self._job(arguments, of_keras + self.callbacks[0], verbose)
        with progress.preparing("Starting Ray"):
            at_most = None if self.max_trials is None else self.max_trials * self.executions_per_trial
            executor = self._executor(verbose, at_most)
        self._run(executor, job, progress)

    def make_oracle(self, objective: Objective, seed: int, space: SearchSpace) -> Oracle:
        """Makes what chooses the configurations. The one method that a variant of the tuner overrides."""
        if self.search_alg is not None:
            searcher = copy.deepcopy(self.search_alg)
            return RaySearchOracle(searcher, objective, self.max_trials, seed, space, self.initial_points)
        return RandomSearchOracle(objective, self.max_trials, seed, space, self.initial_points)

    # Results

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Builds the models of the best trials and loads the weights of their best epoch.

        Each is compiled, and evaluates on the validation data to the score of its trial (with several executions, of the best
        one). As in a trial, `data` runs before `build`.

        Args:
            num_models: How many; fewer are returned if fewer trials have a score.

        Returns:
            Models from best to worst.

        Raises:
            ProjectError: If there is no finished trial with a score.
            ModelError: If the weights do not fit the model that `build` returns now.
        """
        project = self._read()
        return [self._load(trial, project) for trial in self._best(project, checked_count("num_models", num_models))]

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[HyperParameters]:
        """The configurations of the best trials, best first; each can be given to `hypermodel.build`."""
        best = self._best(self._read(), checked_count("num_trials", num_trials))
        return [configuration(self.declared_space, trial.values, None) for trial in best]

    def results_dataframe(self) -> pd.DataFrame:
        """A table with one row a trial; see `glimr_keras.analysis.results_dataframe` for its columns."""
        return analysis.results_dataframe(self._read())

    def pareto_front(self) -> pd.DataFrame:
        """The best compromises between several objectives: trials that no other beats in one without being worse in another.

        Returns:
            The rows of `results_dataframe()` that these trials have, from best to worst in the first objective, with a column
            for each objective after `score`.
        """
        return analysis.pareto_front(self._read())

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints the best trials."""
        print(analysis.results_summary(self._read(), self.project_dir, checked_count("num_trials", num_trials)))

    def search_space_summary(self) -> None:
        """Prints the hyperparameters: those of the project, or before the first search those that one build shows."""
        journal = Journal(self.project_dir)
        if journal.exists() and not self._fresh:
            project = journal.read()
            space = [deserialize(stored) for stored in project.space + project.late_space]
        else:
            space = []
            executor = self._executor(0, at_most=1)
            executor.execute(
                self._job(FitArguments(), (), 0), lambda found: space.extend(self._discovered_space(found).parameters)
            )
        print(analysis.search_space_summary(space))

    # How it works inside

    def _executor(self, verbose: int, at_most: int | None) -> RayExecutor | InlineExecutor:
        """Where trials run, with no more workers than `at_most`."""
        if self.executor == "inline":
            return InlineExecutor()
        return RayExecutor(
            self.resources_per_trial,
            min((bound for bound in (at_most, self.max_concurrent_trials) if bound is not None), default=None),
            self.max_worker_memory,
            self.scheduler,
            self.callbacks[1],
            self.project_dir.parent,
            self.address,
            chatty=verbose >= 3,
        )

    def _job(self, arguments: FitArguments, callbacks: tuple[keras.callbacks.Callback, ...], verbose: int) -> Job:
        job = Job(
            self.hypermodel,
            self.declared_space,
            self.objective,
            arguments,
            callbacks,
            cpus=self.resources_per_trial["cpu"],
            fit_verbose=2 if verbose >= 3 else 0,
        )
        if self.executor == "ray":
            parts = {"hypermodel": self.hypermodel, "space": self.declared_space, "callbacks": callbacks}
            for name, part in {**parts, **dict(arguments.named())}.items():
                check_sendable(part, name)
        return job

    def _discovered_space(self, found: Probe) -> SearchSpace:
        """The hyperparameters that are known before the first trial.

        Raises:
            ModelError: If the model could not be built.
        """
        if found.error is not None:
            raise ModelError(
                "The model could not be built, neither with the default configuration nor with two others, so no trial was "
                f"started. The first error:\n\n{found.error}"
            )
        return SearchSpace([*self.declared_space.parameters, *found.parameters], found.observations, found.is_complete)

    def _run(self, executor: RayExecutor | InlineExecutor, job: Job, progress: Progress) -> None:
        searches: list[_Search] = []
        building = contextlib.ExitStack()

        def begin(found: Probe) -> Coordinator:
            building.close()
            searches.append(self._begin(job, found, progress))
            return searches[0].coordinator

        remark = None
        try:
            building.enter_context(progress.preparing("Building the model once"))
            executor.execute(job, begin)
            for search in searches:
                remark = None if search.coordinator.error else self._remark(search)
        except KeyboardInterrupt:
            remark = "Stopped. What has finished is kept; run the script again to go on from here."
            raise
        finally:
            building.close()
            for search in searches:
                progress.on_search_end(remark)
                search.journal.close()
        for search in searches:
            if search.coordinator.error is not None:
                raise search.coordinator.error

    def _begin(self, job: Job, found: Probe, progress: Progress) -> _Search:
        """Opens the project and queues what is left of it, when it is known what the model logs and asks for."""
        space = self._discovered_space(found)
        self.objective = checked_objective(self.objective, found, has_callbacks=bool(job.callbacks))
        journal, project = self._open(self.objective, space)
        try:
            coordinator = self._coordinator(journal, project, space, progress)
            done = [trial for trial in project.trials.values() if trial.status != TrialStatus.RUNNING]
            progress.on_search_begin(project.objective, self.max_trials, done)
            coordinator.resume()
        except BaseException:
            journal.close()
            raise
        return _Search(journal, coordinator, len(done))

    def _coordinator(self, journal: Journal, project: Project, space: SearchSpace, progress: Progress) -> Coordinator:
        """A coordinator that knows the trials of earlier sessions."""
        space.update(deserialize(stored) for stored in project.late_space)
        oracle = self.make_oracle(project.objective, project.seed, space)
        for directory in self.warm_start:
            learn_from(oracle, directory)
        for trial in project.trials.values():
            oracle.restore_trial(trial)
            if trial.status != TrialStatus.RUNNING:
                oracle.end_trial(trial)
        return Coordinator(
            oracle,
            journal,
            self.project_dir,
            self.executions_per_trial,
            self.max_consecutive_failed_trials,
            progress,
            Limits(oracle.objective, self.time_budget_s, self.max_trials_without_improvement, copy.deepcopy(self.stopper)),
        )

    def _open(self, objective: Objective, space: SearchSpace) -> tuple[Journal, Project]:
        seed = self.seed if self.seed is not None else int(np.random.SeedSequence().generate_state(1)[0])
        wanted = Project(objective, seed, self.executions_per_trial, serialized(space.parameters), space.is_whole)
        opened = open_project(self.project_dir, wanted, self._fresh)
        self._fresh = False
        return opened

    def _remark(self, search: _Search) -> str | None:
        """Why a search ended with fewer trials than were asked for, or did nothing."""
        if self.max_trials is not None and search.done_before >= self.max_trials:
            return (
                f"Nothing to do: the project in {self.project_dir} already has {search.done_before} finished trials. Raise "
                "`max_trials` to go on, or pass `overwrite=True` to start over."
            )
        trials = search.coordinator.oracle.trials
        if search.coordinator.remark is not None:
            return f"{search.coordinator.remark} The project has {len(trials)} trials."
        if self.max_trials is None or len(trials) >= self.max_trials:
            return None
        return f"The search space is exhausted: after {len(trials)} trials, nothing new was found to try."

    def _read(self) -> Project:
        if self._fresh:
            raise ProjectError("There are no results yet: `overwrite=True` starts over. Call `search()` first.")
        return Journal(self.project_dir).read()

    def _best(self, project: Project, count: int) -> list[Trial]:
        trials = [trial for trial in project.trials.values() if trial.is_scored]
        if not trials:
            raise ProjectError(
                f"No trial of the project in {self.project_dir} has finished with a score. "
                f"Received: {len(project.trials)} trials."
            )
        return ranked(trials, project.objective)[:count]

    def _load(self, trial: Trial, project: Project) -> keras.Model:
        if overrides(self.hypermodel, "run"):
            raise ModelError(f"There are no models to load: the trials of {type(self.hypermodel).__name__} are its own `run`.")
        place = execution_directory(self.project_dir, trial.trial_id, trial.best_execution(project.objective) or 0)
        values = checkpoints.describe(place).values or {}  # a scheduler may have changed them since
        config = configuration(self.declared_space, trial.values | values, trial.sampling_key)
        if overrides(self.hypermodel, "data"):
            self.hypermodel.data(config)  # `build` may use what `data` made, such as an adapted layer
        model = build(self.hypermodel, config)
        checkpoints.load(model, place)
        return model


@dataclasses.dataclass(frozen=True)
class _Search:
    """A search that has begun.

    Attributes:
        done_before: How many trials of the project ended in earlier sessions.
    """

    journal: Journal
    coordinator: Coordinator
    done_before: int
