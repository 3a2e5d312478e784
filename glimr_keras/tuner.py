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
from glimr_keras.coordinator import Coordinator
from glimr_keras.data import FitArguments
from glimr_keras.errors import ModelError, ObjectiveError, ProjectError, did_you_mean
from glimr_keras.hypermodel import as_hypermodel, overrides
from glimr_keras.hyperparameters import HyperParameters
from glimr_keras.inline import InlineExecutor
from glimr_keras.journal import Journal, Project
from glimr_keras.objective import Objective, as_objective
from glimr_keras.oracles import Oracle, RandomSearchOracle, RaySearchOracle
from glimr_keras.parameters import HyperParameter, deserialize
from glimr_keras.progress import Progress
from glimr_keras.projects import check_place, open_project, serialized
from glimr_keras.ray_executor import RayExecutor, check_scheduler
from glimr_keras.shipping import check_sendable
from glimr_keras.space import DeclaredSpace
from glimr_keras.trials import Trial, TrialStatus, execution_directory, ranked
from glimr_keras.worker import Job, Probe, build, configuration

Executor = Literal["ray", "inline"]


class RayTuner:
    """Searches the hyperparameters of a `HyperModel`, many trials side by side on Ray.

    The constructor checks its arguments and starts nothing; `search` starts Ray on this machine if it is not running. Every
    trial is written down in the project directory as it happens. The same script run again continues its search.

    Args:
        hypermodel: A `HyperModel`, or a function `build(config)` that returns a compiled Keras model.
        objective: The metric to optimise, such as `"val_accuracy"`, or an `Objective` with its direction.
        max_trials: How many configurations the project may have in all, failed ones included.
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
        scheduler: One of `ray.tune.schedulers` that stops trials early, such as `ASHAScheduler()`.
        search_alg: One of `ray.tune.search`, new and without a space of its own; by default random search.
        space: A declared search space, instead of `HyperModel.space()`.
        callbacks: Keras callbacks, copied into every trial, and `ray.tune.Callback`s, which run here.
        max_consecutive_failed_trials: So many failed trials in a row stop the search.
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
        objective: str | Objective | None = None,
        max_trials: int = 10,
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
        callbacks: Sequence[keras.callbacks.Callback | tune.Callback] | None = None,
        max_consecutive_failed_trials: int = 3,
        executor: Executor = "ray",
        address: str | None = None,
    ) -> None:
        self.hypermodel = as_hypermodel(hypermodel)
        self.objective = as_objective(objective)
        self.max_trials = _count("max_trials", max_trials)
        self.executions_per_trial = _count("executions_per_trial", executions_per_trial)
        self.directory = os.fspath(directory) if directory is not None else "."
        self.project_name = project_name if project_name is not None else "untitled_project"
        self.project_dir = pathlib.Path(self.directory).absolute() / self.project_name
        self.overwrite = overwrite
        self.seed = None if seed is None else _count("seed", seed, at_least=0)
        self.max_concurrent_trials = (
            None if max_concurrent_trials is None else _count("max_concurrent_trials", max_concurrent_trials)
        )
        self.resources_per_trial = _resources(resources_per_trial)
        self.max_worker_memory = None if max_worker_memory is None else _count("max_worker_memory", max_worker_memory)
        check_scheduler(scheduler)
        self.scheduler = scheduler
        if search_alg is not None and not isinstance(search_alg, Searcher):
            raise TypeError(f"`search_alg` must be one of `ray.tune.search`. Received: search_alg={search_alg!r}")
        self.search_alg = search_alg
        self.declared_space = DeclaredSpace(space if space is not None else self.hypermodel.space())
        self.callbacks = _sorted_callbacks(callbacks)
        self.max_consecutive_failed_trials = _count("max_consecutive_failed_trials", max_consecutive_failed_trials)
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
        verbose = _verbosity(fit_kwargs.get("verbose", 1))
        of_keras, of_ray = _sorted_callbacks(fit_kwargs.pop("callbacks", None))
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
            executor = self._executor(verbose, self.max_trials * self.executions_per_trial)
        self._run(executor, job, progress)

    def make_oracle(self, objective: Objective, seed: int, space: Sequence[HyperParameter]) -> Oracle:
        """Makes what chooses the configurations. The one method that a variant of the tuner overrides."""
        if self.search_alg is not None:
            return RaySearchOracle(copy.deepcopy(self.search_alg), objective, self.max_trials, seed, space)
        return RandomSearchOracle(objective, self.max_trials, seed, space)

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
        return [self._load(trial, project) for trial in self._best(project, _count("num_models", num_models))]

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[HyperParameters]:
        """The configurations of the best trials, best first; each can be given to `hypermodel.build`."""
        best = self._best(self._read(), _count("num_trials", num_trials))
        return [configuration(self.declared_space, trial.values, None) for trial in best]

    def results_dataframe(self) -> pd.DataFrame:
        """A table with one row a trial; see `glimr_keras.analysis.results_dataframe` for its columns."""
        return analysis.results_dataframe(self._read())

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints the best trials."""
        print(analysis.results_summary(self._read(), self.project_dir, _count("num_trials", num_trials)))

    def search_space_summary(self) -> None:
        """Prints the hyperparameters: those of the project, or before the first search those that one build shows."""
        journal = Journal(self.project_dir)
        if journal.exists() and not self._fresh:
            project = journal.read()
            space = [deserialize(stored) for stored in project.space + project.late_space]
        else:
            space = []
            executor = self._executor(0, at_most=1)
            executor.execute(self._job(FitArguments(), (), 0), lambda found: space.extend(self._discovered_space(found)))
        print(analysis.search_space_summary(space))

    # How it works inside

    def _executor(self, verbose: int, at_most: int) -> RayExecutor | InlineExecutor:
        """Where trials run, with no more workers than `at_most`."""
        if self.executor == "inline":
            return InlineExecutor()
        return RayExecutor(
            self.resources_per_trial,
            min(at_most, self.max_concurrent_trials or at_most),
            self.max_worker_memory,
            self.scheduler,
            self.callbacks[1],
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

    def _discovered_space(self, found: Probe) -> list[HyperParameter]:
        """The hyperparameters that are known before the first trial.

        Raises:
            ModelError: If the model could not be built.
        """
        if found.error is not None:
            raise ModelError(
                "The model could not be built, neither with the default configuration nor with two others, so no trial was "
                f"started. The first error:\n\n{found.error}"
            )
        declared = self.declared_space.parameters
        names = {parameter.name for parameter in declared}
        return [*declared, *(parameter for parameter in found.parameters if parameter.name not in names)]

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
                remark = None if search.coordinator.error else self._remark(search.coordinator.oracle, search.done_before)
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
        self.objective = _checked_objective(self.objective, found, has_callbacks=bool(job.callbacks))
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

    def _coordinator(self, journal: Journal, project: Project, space: list[HyperParameter], progress: Progress) -> Coordinator:
        """A coordinator that knows the trials of earlier sessions."""
        late = (deserialize(stored) for stored in project.late_space)
        oracle = self.make_oracle(project.objective, project.seed, [*space, *late])
        for trial in project.trials.values():
            oracle.restore_trial(trial)
            if trial.status != TrialStatus.RUNNING:
                oracle.end_trial(trial)
        return Coordinator(
            oracle, journal, self.project_dir, self.executions_per_trial, self.max_consecutive_failed_trials, progress
        )

    def _open(self, objective: Objective, space: list[HyperParameter]) -> tuple[Journal, Project]:
        seed = self.seed if self.seed is not None else int(np.random.SeedSequence().generate_state(1)[0])
        wanted = Project(objective, seed, self.executions_per_trial, serialized(space))
        opened = open_project(self.project_dir, wanted, self._fresh)
        self._fresh = False
        return opened

    def _remark(self, oracle: Oracle, done_before: int) -> str | None:
        """Why a search ended with fewer trials than were asked for, or did nothing."""
        if done_before >= self.max_trials:
            return (
                f"Nothing to do: the project in {self.project_dir} already has {done_before} finished trials. Raise "
                "`max_trials` to go on, or pass `overwrite=True` to start over."
            )
        if len(oracle.trials) >= self.max_trials:
            return None
        return f"The search space is exhausted: after {len(oracle.trials)} trials, nothing new was found to try."

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
        config = configuration(self.declared_space, trial.values, trial.sampling_key)
        if overrides(self.hypermodel, "data"):
            self.hypermodel.data(config)  # `build` may use what `data` made, such as an adapted layer
        model = build(self.hypermodel, config)
        checkpoints.load(
            model, execution_directory(self.project_dir, trial.trial_id, trial.best_execution(project.objective) or 0)
        )
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


def _checked_objective(objective: Objective, found: Probe, has_callbacks: bool) -> Objective:
    """The objective with its direction, if the model logs it.

    Raises:
        ObjectiveError: If it does not.
    """
    directions = found.log_directions
    if directions is None:  # a custom `fit` decides what is logged
        return objective.resolved({objective.name: found.inferred_direction})
    if has_callbacks and objective.direction is not None:  # a callback of the user may log it
        return objective
    if objective.name not in directions:
        hint = did_you_mean(objective.name, directions)
        if objective.name.startswith("val_") and not any(name.startswith("val_") for name in directions):
            hint = " Names with `val_` need validation data: `validation_data`, `validation_split`, or from `HyperModel.data`."
        raise ObjectiveError(
            f"No metric of the compiled model is called {objective.name!r}.{hint} "
            f"Keras will log: {', '.join(sorted(directions))}"
        )
    return objective.resolved(directions)


def _count(name: str, value: Any, at_least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ValueError(f"`{name}` must be an integer of at least {at_least}. Received: {name}={value!r}")
    return int(value)


def _resources(resources: Mapping[str, float] | None) -> dict[str, float]:
    if resources is not None and not isinstance(resources, Mapping):
        raise TypeError(f"`resources_per_trial` must be a dict such as {{'cpu': 1, 'gpu': 0.5}}. Received: {resources!r}")
    given = {name.lower() if name.lower() in ("cpu", "gpu") else name: amount for name, amount in (resources or {}).items()}
    wanted = {"cpu": 1, "gpu": 0, **given}
    for name, amount in wanted.items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
            raise ValueError(f"`resources_per_trial[{name!r}]` must be a number of at least 0. Received: {amount!r}")
    if wanted["cpu"] == 0:
        raise ValueError(f"`resources_per_trial['cpu']` must be above 0. Received: resources_per_trial={dict(resources or {})}")
    return wanted


def _verbosity(verbose: Any) -> int:
    if verbose == "auto":
        return 1
    if isinstance(verbose, (bool, int)) and 0 <= verbose <= 3:
        return int(verbose)
    raise ValueError(f"`verbose` must be 0, 1, 2, 3 or 'auto'. Received: verbose={verbose!r}")


def _sorted_callbacks(callbacks: Any) -> tuple[tuple[keras.callbacks.Callback, ...], tuple[tune.Callback, ...]]:
    """Keras' callbacks, and Ray Tune's."""
    if isinstance(callbacks, (keras.callbacks.Callback, tune.Callback)):
        callbacks = [callbacks]
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"`callbacks` must be a list. Received: callbacks={callbacks!r}")
    for callback in callbacks or ():
        if not isinstance(callback, (keras.callbacks.Callback, tune.Callback)):
            raise TypeError(f"`callbacks` must be Keras or Ray Tune callbacks. Received: {callback!r}")
    of_keras = tuple(callback for callback in callbacks or () if isinstance(callback, keras.callbacks.Callback))
    return of_keras, tuple(callback for callback in callbacks or () if isinstance(callback, tune.Callback))
