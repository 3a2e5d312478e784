"""How a search runs: from data and arguments to a job, an executor and a coordinator. Runs in the driver."""

from __future__ import annotations

import contextlib
import copy
import json
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras
from ray import tune
from ray.tune.schedulers import TrialScheduler

from glimr_keras.arguments import checked_objective
from glimr_keras.coordinator import Coordinator, Ongoing
from glimr_keras.data import FitArguments
from glimr_keras.discovery import Probe, built_space
from glimr_keras.errors import ModelError, ProjectError, StorageError
from glimr_keras.folds import Folds
from glimr_keras.folds import make as make_folds
from glimr_keras.inline import InlineExecutor
from glimr_keras.job import Job
from glimr_keras.journal import Journal, Project, serialized
from glimr_keras.limits import Limits, Tolerance
from glimr_keras.objective import Objective
from glimr_keras.overriding import Overridable
from glimr_keras.parameters import deserialize
from glimr_keras.progress import Progress
from glimr_keras.projects import is_of_a_project, learn_from, open_project
from glimr_keras.ray_executor import RayExecutor
from glimr_keras.results import Results
from glimr_keras.search_space import SearchSpace
from glimr_keras.shipping import check_sendable
from glimr_keras.storage import write_json
from glimr_keras.trials import Trial, TrialStatus


class _Told:
    """Tells of trials those who show them, and the user's own tuner."""

    def __init__(self, progress: Progress, tuner: Searching) -> None:
        self._tuner = tuner
        self.on_running, self._show_end = progress.on_running, progress.on_trial_end
        self.on_trial_begin = tuner.on_trial_begin

    def before_trial(self) -> None:
        if self._tuner._mirror is not None:
            self._tuner._mirror.check()
        self._tuner.pre_create_trial()

    def on_trial_end(self, trial: Trial) -> None:
        self._show_end(trial)
        self._tuner.on_trial_end(trial)


class Searching(Overridable, Results):
    """What a `Tuner` does when it searches; its arguments are that class'."""

    executions_per_trial: int
    cv_folds: int | None
    max_concurrent_trials: int | None
    max_trials_without_improvement: int | None
    max_model_size: int | None
    max_worker_memory: int | None
    resources_per_trial: dict[str, float]
    scheduler: TrialScheduler | None
    stopper: tune.Stopper | None
    reporter: tune.ProgressReporter | None
    _callbacks: tuple[tuple[keras.callbacks.Callback, ...], tuple[tune.Callback, ...]]
    warm_start: Sequence[pathlib.Path]
    _tolerance: Tolerance
    time_budget_s: float | None
    executor: str
    tuner_id: str
    address: str | None
    _fresh: bool
    _wanted: Objective

    @property
    def _executions(self) -> int:
        """How often a configuration is trained, or each of its folds."""
        return 1 if self.runs_once else self.executions_per_trial

    def _executor(self, verbose: int, at_most: int | None) -> RayExecutor | InlineExecutor:
        """Where trials run, with no more workers than `at_most`."""
        if self.executor == "inline":
            return InlineExecutor()
        return RayExecutor(
            self.resources_per_trial,
            min((bound for bound in (at_most, self.max_concurrent_trials) if bound is not None), default=None),
            self.max_worker_memory,
            self.scheduler,
            self._callbacks[1],
            self._place.parent,
            self.address,
            chatty=verbose >= 3,
            reporter=self.reporter,
        )

    def _folds(self, arguments: FitArguments, seed: int, **how: Any) -> Folds | None:
        """How the data is split for cross validation."""
        given = [name for name, value in how.items() if value is not None and not isinstance(value, str)]
        if self.cv_folds is None:
            if given:
                raise ValueError(f"`{given[0]}` is for cross validation. Pass `cv_folds` to {type(self).__name__}.")
            return None
        if given and arguments.x is None:
            raise ValueError(
                f"`{given[0]}` says how the data that `search()` is given is split. {type(self._model).__name__} brings "
                "its own: split it there, by `config.fold` and `config.num_folds`."
            )
        if arguments.x is None:
            return Folds(self.cv_folds)
        return make_folds(arguments, self.cv_folds, seed % 2**32, **how)

    def _project_seed(self) -> int:
        """The seed of the project that is continued, or else the user's, or a new one."""
        journal = Journal(self._place)
        if journal.exists() and not self._fresh:
            return journal.read().seed
        return self.oracle.seed

    def _job(
        self,
        arguments: FitArguments,
        callbacks: tuple[keras.callbacks.Callback, ...] = (),
        verbose: int = 0,
        folds: Folds | None = None,
    ) -> Job:
        tuner = self._in_worker(self._wanted, self.executor == "inline")
        if tuner is not None and tuner.has_own_loop and callbacks:  # which it passes on itself
            arguments, callbacks = FitArguments(arguments.args, {**arguments.kwargs, "callbacks": list(callbacks)}), ()
        job = Job(
            self._model,
            self.declared_space,
            self._wanted,
            arguments,
            callbacks + self._callbacks[0],
            cpus=self.resources_per_trial["cpu"],
            fit_verbose=2 if verbose >= 3 else 0,
            folds=folds,
            max_model_size=self.max_model_size,
            compiling=self._compiling,
            tuner=tuner,
        )
        if self.executor == "ray":
            parts = {"hypermodel": self.hypermodel, "space": self.declared_space, "callbacks": job.callbacks, "tuner": tuner}
            for name, part in {**parts, **dict(arguments.named())}.items():
                check_sendable(part, name)
        return job

    def _populate_initial_space(self) -> None:
        """Tells the oracle before a search what there is: what models ask for, as far as building some of them in this
        process tells. May be overridden.
        """
        job = Job(self._model, self.declared_space, self._wanted, FitArguments(), compiling=self._compiling)
        self.oracle._hyperparameters.merge(built_space(job), overwrite=False)

    def _take_own_entries(self) -> None:
        """Searches what the user's own code has told the oracle of."""
        if type(self)._populate_initial_space is not Searching._populate_initial_space:
            self._populate_initial_space()
        known = {parameter.key for parameter in self.declared_space.given}
        self.declared_space.given += tuple(each for each in self.oracle.own_entries if each.key not in known)

    def _discovered_space(self, found: Probe) -> SearchSpace:
        """The hyperparameters that are known before the first trial.

        Raises:
            ModelError: If the model could not be built.
            FatalError: If the user's code raised it.
        """
        if found.fatal is not None:
            raise found.fatal
        if found.error is not None:
            raise ModelError(
                "The model could not be built, neither with the default configuration nor with two others, so no trial was "
                f"started. The first error:\n\n{found.error}"
            )
        known = self.declared_space.parameters
        if self.declared_space.new_entries == "searched":
            return SearchSpace([*known, *found.parameters], found.observations, found.is_complete)
        return SearchSpace(known, found.observations)

    def _run(self, executor: RayExecutor | InlineExecutor, job: Job, seed: int, progress: Progress) -> None:
        searches: list[Ongoing] = []
        building = contextlib.ExitStack()

        def begin(found: Probe) -> Coordinator:
            building.close()
            searches.append(self._begin(job, found, seed, progress))
            return searches[0].coordinator

        remark = None
        is_over = False
        try:
            building.enter_context(progress.preparing("Building the model once"))
            executor.execute(job, begin)
            for search in searches:
                remark = search.remark(self._place)
            if searches and searches[0].coordinator.error is None:
                self.on_search_end()
            is_over = True
        except KeyboardInterrupt:
            remark = "Stopped. What has finished is kept; run the script again to go on from here."
            raise
        finally:
            building.close()
            for search in searches:
                progress.on_search_end(remark)
                is_first = is_over and search.coordinator.error is None  # what is raised then hides nothing
                try:
                    with contextlib.suppress(StorageError if is_first else Exception):
                        self.save()
                finally:
                    with contextlib.nullcontext() if is_first else contextlib.suppress(ProjectError, StorageError):
                        self._close(search.journal)
        for search in searches:
            if search.coordinator.error is not None:
                raise search.coordinator.error

    def _begin(self, job: Job, found: Probe, seed: int, progress: Progress) -> Ongoing:
        """Opens the project and queues what is left of it, when it is known what the model logs and asks for."""
        space = self._discovered_space(found)
        for oddity in filter(None, (parameter.oddity for parameter in space.parameters)):
            warnings.warn(oddity, stacklevel=2)
        objective = checked_objective(self._wanted, found, has_callbacks=bool(job.callbacks))
        journal, project = self._open(objective, space, seed, found)
        try:
            if self._mirror is not None:
                self._mirror.start(is_of_a_project if self._fresh else None)
            self._fresh = False
            coordinator = self._coordinator(journal, project, space, progress)
            done = [trial for trial in project.trials.values() if trial.status != TrialStatus.RUNNING]
            progress.on_search_begin(project.objective, self.oracle.max_trials, done)
            coordinator.resume()
            self.save()
            self.on_search_begin()
        except BaseException:
            with contextlib.suppress(ProjectError, StorageError):
                self._close(journal)
            raise
        return Ongoing(journal, coordinator, len(done))

    def _close(self, journal: Journal) -> None:
        """Sends the rest of a project at a URI, and ends the writing."""
        try:
            if self._mirror is not None:
                self._mirror.close()
        finally:
            journal.close()

    def _coordinator(self, journal: Journal, project: Project, space: SearchSpace, progress: Progress) -> Coordinator:
        """A coordinator that knows the trials of earlier sessions."""
        space.update(deserialize(stored) for stored in project.late_space)
        oracle = self.oracle
        oracle.begin(project.objective, project.seed, space)
        for directory in self.warm_start:
            learn_from(oracle, directory)
        for trial in project.trials.values():
            oracle.restore_trial(trial)
        for trial_id in project.end_order:
            oracle.trial_ended(project.trials[trial_id])
        oracle._set_project_dir(self._place.parent, self._place.name)
        oracle.restore_state()
        return Coordinator(
            oracle,
            journal,
            self._place,
            self._executions,
            _Told(progress, self),
            self._tolerance,
            Limits(oracle.objective, self.time_budget_s, self.max_trials_without_improvement, copy.deepcopy(self.stopper)),
            self.cv_folds,
            project.project_id,
            project.directions,
        )

    def _recall(self, project: Project) -> None:
        """Has the oracle know a project's trials, to look at them."""
        space = SearchSpace(project.parameters, is_whole=False)
        self.oracle.recall(project.objective, space, project.trials, project.end_order)
        self._restore_state()

    def _open(self, objective: Objective, space: SearchSpace, seed: int, found: Probe) -> tuple[Journal, Project]:
        wanted = Project(
            objective,
            seed,
            self._executions,
            serialized(space.parameters),
            space.is_whole,
            cv_folds=self.cv_folds,
            shapes=found.shapes,
            directions={**(found.log_directions or {}), **{part.name: part.direction for part in objective.parts}},
        )
        return open_project(self._place, wanted, self._fresh)

    def save(self) -> None:
        """Writes `oracle.json` and `tuner0.json` into the project's directory, for who reads them there.

        The search does so itself; nothing here reads them but an oracle with a `set_state` of its own.
        """
        self.oracle.save(self._place / "oracle.json")
        write_json(self._place / f"{self.tuner_id}.json", self.get_state())

    def get_state(self) -> dict[str, Any]:
        """What `save` writes of the tuner itself."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned in an earlier session. Called where a project is read."""

    def _restore_state(self) -> None:
        path = self._place / f"{self.tuner_id}.json"
        if type(self).set_state is not Searching.set_state and path.exists():
            self.set_state(json.loads(path.read_text("utf-8")))

    def _read(self) -> Project:
        if self._fresh:
            raise ProjectError("There are no results yet: `overwrite=True` starts over. Call `search()` first.")
        return super()._read()
