"""Run a search: turn data and arguments into a context, an executor and a coordinator. Runs in the
driver.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import ModelError, OtherOracleError, ProjectError, StorageError
from glimr_keras.executors.base import Executor
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.policies import StoppingPolicy
from glimr_keras.models import data
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.data import FitArguments
from glimr_keras.models.folds import Folds
from glimr_keras.models.folds import make as make_folds
from glimr_keras.models.hypermodel import overrides
from glimr_keras.oracles.base import kind_of
from glimr_keras.project import checkpoints
from glimr_keras.project.directory import (
    check_oracle,
    check_place,
    open_project,
)
from glimr_keras.project.journal import Journal, Project, serialized
from glimr_keras.space.hp_types import HyperParameter, deserialize
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import Probe
from glimr_keras.training.kept_predictions import keeps_predictions
from glimr_keras.training.messages import Change
from glimr_keras.training.trial_loop import TrialLoop, loop_of
from glimr_keras.transport.serialization import check_sendable
from glimr_keras.trials import stored_trial
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.score_epochs import default_rule
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners import failed_trials
from glimr_keras.tuners.arguments import (
    check_copyable,
    checked_objective,
    checked_verbosity,
    sorted_callbacks,
)
from glimr_keras.tuners.console import say
from glimr_keras.tuners.executor_choice import Choice, change_warning, choose, made
from glimr_keras.tuners.hooks import Overridden, SearchingTuner, hypermodel_of
from glimr_keras.tuners.progress import Progress, progress_of
from glimr_keras.tuners.tracking import tracked
from glimr_keras.tuners.trial_code import TrialCode, look_at
from glimr_keras.tuners.tuner_loop import TunerLoop
from glimr_keras.tuners.visible_space import visible_space
from glimr_keras.tuners.warm_start import learn_from

_NO_ARGUMENTS = FitArguments()


@dataclasses.dataclass(frozen=True)
class Ongoing:
    """A search that has started, and the journal that it writes.

    Attributes:
        done_before: Number of the project's trials that ended in earlier sessions.
    """

    journal: Journal
    coordinator: Coordinator
    done_before: int

    def remark(self, project: pathlib.Path) -> str | None:
        """Return why the search ran fewer trials than requested; `None` if it did not."""
        oracle = self.coordinator.oracle
        if self.coordinator.error is not None:
            return None
        if oracle.max_trials is not None and self.done_before >= oracle.max_trials:
            return (
                f"Nothing to do: the project in {project} already has {self.done_before} "
                "finished trials. Raise `max_trials` to go on, or pass `overwrite=True` to "
                "start over."
            )
        if self.coordinator.remark is not None:
            return f"{self.coordinator.remark} The project has {len(oracle.trials)} trials."
        if oracle.max_trials is None or len(oracle.trials) >= oracle.max_trials:
            return None
        return (
            f"The search space is exhausted: after {len(oracle.trials)} trials, nothing new was "
            "found to try."
        )


class _Told:
    """Notify the progress display and the user's tuner of trials."""

    def __init__(self, progress: Progress, tuner: SearchingTuner, code: TrialCode | None) -> None:
        self._tuner, self._code = tuner, code
        self._told: set[Change] = set()
        self.on_running, self._show_end = progress.on_running, progress.on_trial_end
        self.on_trial_begin, self.say = tuner.on_trial_begin, progress.say

    def before_trial(self) -> None:
        mirror = self._tuner._glimr.mirror
        if mirror is not None:
            mirror.check()
        self._tuner.pre_create_trial()

    def on_trial_end(self, trial: Trial) -> None:
        self._show_end(trial)
        self._tuner.on_trial_end(trial)

    def on_changes(self, changes: Sequence[Change]) -> None:
        """Warn once of each change in a worker that the script may expect to see here."""
        for change in changes:
            if change in self._told or (self._code is not None and self._code.expects(change)):
                continue
            self._told.add(change)
            warnings.warn(change_warning(change), stacklevel=2)


class SearchSession:
    """The search of a tuner.

    It reads the attributes that KerasTuner reads during a search from the tuner, and everything
    else from the tuner's settings.

    Args:
        tuner: The user's tuner.
        own: The hooks that the tuner overrides.
    """

    def __init__(self, tuner: SearchingTuner, own: Overridden) -> None:
        self._tuner, self._own = tuner, own
        self._state, self._settings = tuner._glimr, tuner._glimr.settings
        self._choice: Choice | None = None
        self._code: TrialCode | None = None

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any], how: Mapping[str, Any]) -> None:
        """Search with the arguments of `BaseTuner.search`.

        Args:
            args, kwargs: Arguments of `fit`, or of a user-defined `run_trial`.
            how: How to split the data for cross validation.
        """
        own, oracle = self._own, self._tuner.oracle
        is_passed_on = "run_trial" in own.names  # a user-defined `run_trial` receives all arguments
        of_keras, of_ray = sorted_callbacks(None if is_passed_on else kwargs.pop("callbacks", None))
        if of_ray:
            raise TypeError(
                "`search(callbacks=…)` takes Keras callbacks; pass Ray's to "
                f"{type(self._tuner).__name__}. Received: {of_ray}"
            )
        is_own = own.has("loop") or overrides(hypermodel_of(self._tuner), "fit")
        if self._settings.cv_folds is None and is_own:  # they are the method's own arguments
            kwargs |= {
                name: value for name, value in how.items() if value is not None and value != "auto"
            }
            how = {}
        if "verbose" in kwargs:
            oracle.verbose = checked_verbosity(kwargs["verbose"])
        self.search(FitArguments(args, kwargs), of_keras, how, oracle.verbose)

    def search(
        self,
        arguments: FitArguments,
        callbacks: tuple[keras.callbacks.Callback, ...] = (),
        how: Mapping[str, Any] | None = None,
        verbose: Any = 1,
    ) -> None:
        """Run trials until the project has all.

        Args:
            arguments: Arguments of `fit`, or of a user-defined `run_trial`.
            callbacks: Keras callbacks, in addition to the tuner's. Defaults to `()`.
            how: How to split the data for cross validation. Defaults to `None`.
            verbose: As for `BaseTuner.search`. Defaults to `1`.
        """
        tuner, settings, state = self._tuner, self._settings, self._state
        verbose = checked_verbosity(verbose)
        if not self._own.has("loop"):
            data.check_one_source(hypermodel_of(tuner), arguments)
        progress = progress_of(tuner, verbose)
        self._tell(self._chosen(callbacks, arguments), progress)
        if self._chosen().sends:
            arguments.check_repeatable()
        if state.mirror is not None:
            state.place = state.mirror.begin(state.is_fresh)
        check_place(state.place, state.is_fresh)
        self._take_own_entries()
        seed = self._project_seed()
        folds = self.folds(arguments, seed, **(how or {}))
        context = tracked(self.context(arguments, callbacks, verbose, folds), tuner)
        runs, max_trials = self._executions * (settings.cv_folds or 1), tuner.oracle.max_trials
        executor = self._executor(verbose, None if max_trials is None else max_trials * runs)
        with contextlib.closing(executor):
            with progress.preparing(executor.start_label):
                executor.prepare(context)
            progress.on_ready(executor.line)
            self._run(executor, context, seed, progress)

    def known_space(self) -> list[HyperParameter]:
        """Return the project's hyperparameters; before the first search, those of one build."""
        journal = Journal(self._state.place)
        if journal.exists() and not self._state.is_fresh:
            return journal.read().parameters
        space: list[HyperParameter] = []
        folds = None if self._settings.cv_folds is None else Folds(self._settings.cv_folds)
        context = self.context(FitArguments(), folds=folds)
        with contextlib.closing(self._executor(0, at_most=1)) as executor:
            executor.prepare(context)
            executor.execute(
                context, lambda found: space.extend(self._discovered_space(found).parameters)
            )
        return space

    def visible_space(self) -> list[HyperParameter]:
        """Return the hyperparameters that building some models in this process finds."""
        return visible_space(self._tuner, self._own)

    def recall_what_is_there(self) -> None:
        """Load an existing project; for one at a URI, its local copy.

        Other problems with the project are reported by the search.

        Raises:
            OtherOracleError: If the project was started with another kind of oracle.
        """
        try:
            self.recall(Journal(self._state.place).read())
            say(f"Reloading Tuner from {self._tuner._get_tuner_fname()}")
        except OtherOracleError:
            raise
        except ProjectError:
            return

    def recall(self, project: Project) -> None:
        """Load a project's trials into the oracle, and the tuner's state, for inspection."""
        space = SearchSpace(project.parameters, is_whole=False)
        tuner = self._tuner
        tuner.oracle.recall(project.objective, space, project.trials, project.end_order)
        check_oracle(self._state.place, project, kind_of(tuner.oracle), tuner.oracle.has_own_state)
        path = pathlib.Path(tuner._get_tuner_fname())
        if "set_state" in self._own.names and path.exists():
            tuner.set_state(stored_trial.read_json(path))

    def folds(self, arguments: FitArguments, seed: int, **how: Any) -> Folds | None:
        """Return how the data is split for cross validation; `None` without it."""
        given = [
            name for name, value in how.items() if value is not None and not isinstance(value, str)
        ]
        count = self._settings.cv_folds
        if count is None:
            if given:
                raise ValueError(
                    f"`{given[0]}` is for cross validation. Pass `cv_folds` to "
                    f"{type(self._tuner).__name__}."
                )
            return None
        if given and arguments.x is None:
            raise ValueError(
                f"`{given[0]}` says how the data that `search()` is given is split. "
                f"{type(hypermodel_of(self._tuner)).__name__} brings its own: split it there, by "
                "`config.fold` and `config.num_folds`."
            )
        if arguments.x is None:
            return Folds(count)
        return make_folds(arguments, count, seed % 2**32, **how)

    def context(
        self,
        arguments: FitArguments,
        callbacks: tuple[keras.callbacks.Callback, ...] = (),
        verbose: int = 0,
        folds: Folds | None = None,
    ) -> TrialContext:
        """Return the context that all trials share.

        Raises:
            ShippingError: If part of it cannot be sent to workers.
        """
        tuner, settings, size = self._tuner, self._settings, self._tuner.max_model_size
        wanted = settings.resources_per_trial or {}
        if self._own.has("loop") and callbacks:  # the user's loop passes them on
            arguments, callbacks = (
                FitArguments(arguments.args, {**arguments.kwargs, "callbacks": list(callbacks)}),
                (),
            )
        context = TrialContext(
            hypermodel_of(tuner),
            self._state.space,
            tuner.oracle.wanted,
            arguments,
            callbacks + settings.keras_callbacks,
            # Ray's executor overrides this; an inline one has all CPUs of this process
            cpus=wanted.get("cpu", None if self._chosen().executor == "inline" else 1.0),
            gpus=wanted.get("gpu", 0),
            fit_verbose=2 if verbose >= 3 else 0,
            folds=folds,
            max_model_size=None if size is None else checked_count("max_model_size", size),
            compile_overrides=CompileOverrides.of(tuner),
            reuse_graphs=settings.reuse_graphs,
            keep_predictions=keeps_predictions(settings.keep_predictions, hypermodel_of(tuner)),
            loop=self.loop(),
        )
        sends = self._chosen().sends
        check_copyable(context.callbacks, sends)
        if sends:
            parts = {
                "hypermodel": tuner.hypermodel,
                "space": context.space,
                "tuner": tuner if self._own.runs_in_worker else None,
            }
            for name, part in {**parts, **dict(arguments.named())}.items():
                check_sendable(part, name)
        return context

    def loop(self) -> TrialLoop:
        """Choose how each execution trains."""
        own, loop = self._own, loop_of(hypermodel_of(self._tuner))
        if not own.runs_in_worker:
            return loop
        return TunerLoop(self._tuner, loop, own.has("loop"), own.has("batches"))

    def _chosen(
        self,
        callbacks: tuple[keras.callbacks.Callback, ...] = (),
        arguments: FitArguments = _NO_ARGUMENTS,
    ) -> Choice:
        """Return where trials run. The choice is made once.

        Args:
            callbacks, arguments: Those of this search.
        """
        if self._choice is None:
            given = (*callbacks, *self._settings.keras_callbacks)
            self._code = look_at(self._tuner, self._own, given, arguments)
            self._choice = choose(self._settings, self._code.kept if self._code else ())
        return self._choice

    def _tell(self, choice: Choice, progress: Progress) -> None:
        """Report where trials run, if there is something to report."""
        if choice.line is not None:
            progress.say(choice.line)
        if choice.warning is not None:
            warnings.warn(choice.warning, stacklevel=5)

    @property
    def _executions(self) -> int:
        """Return the number of trainings per configuration, or per fold of it."""
        return (
            1
            if self._own.is_whole_trial
            else checked_count("executions_per_trial", self._tuner.executions_per_trial)
        )

    def _executor(self, verbose: int, at_most: int | None) -> Executor:
        """Return an executor with at most `at_most` workers."""
        kept = () if self._code is None else self._code.kept
        place = self._state.place.parent
        return made(self._chosen(), self._settings, kept, place, verbose >= 3, at_most)

    def _project_seed(self) -> int:
        """Return the seed of the continued project, or else the oracle's.

        Raises:
            OtherOracleError: If the project was started with another kind of oracle.
        """
        journal, oracle = Journal(self._state.place), self._tuner.oracle
        if not journal.exists() or self._state.is_fresh:
            return oracle.seed
        project = journal.read()
        check_oracle(self._state.place, project, kind_of(oracle), oracle.has_own_state)
        return project.seed

    def _take_own_entries(self) -> None:
        """Search the hyperparameters that the user's code added to the oracle."""
        if "_populate_initial_space" in self._own.names:
            self._tuner._populate_initial_space()
        space = self._state.space
        known = {parameter.key for parameter in space.given}
        space.given += tuple(
            each for each in self._tuner.oracle.own_entries if each.key not in known
        )

    def _discovered_space(self, found: Probe) -> SearchSpace:
        """Return the hyperparameters that are known before the first trial.

        Raises:
            ModelError: If the model could not be built.
            FatalError: If the user's code raised it.
        """
        if found.fatal is not None:
            raise found.fatal
        if found.error is not None:
            raise ModelError(
                "The model could not be built, neither with the default configuration nor with "
                f"two others, so no trial was started. The first error:\n\n{found.error}"
            )
        known, drawn = self._state.space.parameters, self._state.space.drawn_names
        if self._state.space.new_entries == "searched":
            parameters = [*known, *found.parameters]
            return SearchSpace(parameters, found.observations, found.is_complete, drawn)
        return SearchSpace(known, found.observations, drawn=drawn)

    def _run(
        self, executor: Executor, context: TrialContext, seed: int, progress: Progress
    ) -> None:
        searches: list[Ongoing] = []
        building = contextlib.ExitStack()

        def begin(found: Probe) -> Coordinator:
            building.close()
            searches.append(self._begin(context, found, seed, progress))
            return searches[0].coordinator

        remark = None
        is_over = False
        try:
            building.enter_context(progress.preparing("Building the model once"))
            executor.execute(context, begin)
            for search in searches:
                remark = search.remark(self._state.place)
            if searches and searches[0].coordinator.error is None:
                self._tuner.on_search_end()
            is_over = True
        except KeyboardInterrupt:
            remark = "Stopped. What has finished is kept; run the script again to go on from here."
            raise
        finally:
            with contextlib.ExitStack() as closing:  # even if the final display fails
                for search in searches:
                    closing.callback(self._end, search, is_over)
                building.close()
                progress.on_search_end(remark if searches else None)
        for search in searches:
            if search.coordinator.error is not None:
                raise search.coordinator.error

    def _begin(self, context: TrialContext, found: Probe, seed: int, progress: Progress) -> Ongoing:
        """Open the project and queue the remaining trials, once the model has been inspected."""
        space = self._discovered_space(found)
        for oddity in filter(None, (parameter.oddity for parameter in space.parameters)):
            warnings.warn(oddity, stacklevel=2)
        for remark in found.remarks:
            warnings.warn(remark, stacklevel=2)
        objective = checked_objective(
            self._tuner.oracle.wanted, found, has_callbacks=bool(context.callbacks)
        )
        journal, project = self._open(objective, space, seed, found)
        try:
            if self._state.mirror is not None:
                self._state.mirror.start(self._state.is_fresh)
            self._state.is_fresh = False
            if self._settings.retry_failed:
                failed_trials.begin_again(journal, project, self._state.place, self._remove)
            progress.say(failed_trials.notice(project))
            coordinator = self._coordinator(journal, project, space, progress)
            done = [project.trials[trial_id] for trial_id in project.end_order]
            runs = self._executions * (self._settings.cv_folds or 1)
            progress.on_search_begin(project.objective, done, runs, self._settings.time_budget_s)
            coordinator.resume()
            self._tuner.save()
            self._tuner.on_search_begin()
        except BaseException:
            with contextlib.suppress(ProjectError, StorageError):
                self._close(journal)
            raise
        return Ongoing(journal, coordinator, len(done))

    def _end(self, search: Ongoing, is_over: bool) -> None:
        """Save the tuner's state and close the journal.

        Args:
            search: The search that ends.
            is_over: Whether it ended without an error. Otherwise, errors here are suppressed.
        """
        is_first = is_over and search.coordinator.error is None
        try:
            with contextlib.suppress(StorageError if is_first else Exception):
                self._tuner.save()
        finally:
            errors = () if is_first else (ProjectError, StorageError)
            with contextlib.suppress(*errors):
                self._close(search.journal, is_over)

    def _close(self, journal: Journal, is_over: bool = False) -> None:
        """Upload the rest of a project at a URI, and close the journal.

        Args:
            journal: The search's journal.
            is_over: Whether to write a digest. Defaults to `False`.
        """
        try:
            if self._state.mirror is not None:
                self._state.mirror.close()
            if is_over:
                journal.keep_digest()
        finally:
            journal.close()

    def _coordinator(
        self, journal: Journal, project: Project, space: SearchSpace, progress: Progress
    ) -> Coordinator:
        """Return a coordinator with the trials of earlier sessions."""
        space.update(deserialize(stored) for stored in project.late_space)
        oracle, settings, place = self._tuner.oracle, self._settings, self._state.place
        failure_policy = dataclasses.replace(
            settings.failure_policy,
            failed_in_a_row=oracle.max_consecutive_failed_trials,
            retries=oracle.max_retries_per_trial,
        )
        without_improvement, stopper = (
            settings.max_trials_without_improvement,
            copy.deepcopy(settings.stopper),
        )
        oracle.begin(project.objective, project.seed, space)
        for directory in settings.warm_start:
            learn_from(oracle, directory)
        oracle.restore_trials(project.trials, project.end_order)
        oracle._set_project_dir(place.parent, place.name)
        oracle.restore_state()
        return Coordinator(
            oracle,
            journal,
            place,
            self._executions,
            _Told(progress, self._tuner, self._code),
            failure_policy,
            StoppingPolicy(oracle.objective, settings.time_budget_s, without_improvement, stopper),
            settings.cv_folds,
            project.project_id,
            project.directions,
            self._state.space.drawn_values,
            self._remove,
            project.score_at,
        )

    @property
    def _remove(self) -> Callable[[pathlib.Path], None]:
        """Return a function that removes an execution's weights, uploaded ones included."""
        mirror = self._state.mirror
        return checkpoints.remove if mirror is None else mirror.remove

    def _open(
        self, objective: Objective, space: SearchSpace, seed: int, found: Probe
    ) -> tuple[Journal, Project]:
        given, cv_folds = self._settings.score_at, self._settings.cv_folds
        wanted = Project(
            objective,
            seed,
            self._executions,
            serialized(space.parameters),
            space.is_whole,
            cv_folds=cv_folds,
            score_at=given or default_rule(cv_folds),
            shapes=found.shapes,
            directions={**(found.log_directions or {}), **objective.name_to_direction},
            oracle=kind_of(self._tuner.oracle),
        )
        defaults = ("score_at",) if given is None else ()
        return open_project(self._state.place, wanted, self._state.is_fresh, defaults)
