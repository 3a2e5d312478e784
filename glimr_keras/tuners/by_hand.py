"""User-defined loops over a tuner's oracle, or over its `run_trial`, without `search()`. They are
recorded in a project and can be continued. Runs in the driver.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.models.compile_overrides import CompileOverrides
from glimr_keras.models.data import FitArguments
from glimr_keras.models.hypermodel import method_name
from glimr_keras.oracles.base import kind_of
from glimr_keras.project import training_states
from glimr_keras.project.directory import check_oracle, check_place, open_project
from glimr_keras.project.journal import Journal, Project, now, serialized
from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.context import TrialContext
from glimr_keras.training.execution import ExecutionRunner
from glimr_keras.training.messages import ExecutionSpec, Report, this_worker
from glimr_keras.training.trial_callback import ReportSender, TrialCallback
from glimr_keras.training.trial_loop import TrialLoop
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.layout import execution_directory, state_directory
from glimr_keras.trials.trial import Trial
from glimr_keras.tuners.hooks import SearchingTuner, hypermodel_of
from glimr_keras.tuners.tracking import with_trackers


class OwnLoopRecorder:
    """Record the trials of a user-defined loop in the tuner's project.

    The journal is open only while a record is written, so that a search in the same process can
    continue the project.

    Args:
        tuner: The user's tuner, whose oracle the loop uses.
    """

    def __init__(self, tuner: SearchingTuner) -> None:
        self._tuner = tuner
        self._known: set[Any] = set()
        self._written: set[str] = set()
        self._directed: set[str] = set()
        self._started: dict[str, tuple[float, float]] = {}
        self._size: int | None = None

    def begin(self) -> None:
        """Open the project, unless a search or this loop has, and load its trials into the oracle.

        Trials that have not ended run again.

        Raises:
            ProjectError: If the directory cannot be used for this project, or another search has
                written to it in the meantime.
        """
        place = self._tuner._glimr.place
        is_open = self._tuner.oracle._project_dir == place and Journal(place).exists()
        if not is_open:
            self._open()
        with self._writing():  # checks the journal
            pass

    def _open(self) -> None:
        tuner, state, oracle = self._tuner, self._tuner._glimr, self._tuner.oracle
        if state.mirror is not None or state.settings.cv_folds is not None:
            raise ProjectError(
                "A loop of your own over `create_trial` needs a project in a directory of this "
                "machine, and no `cv_folds`. Use `search()`, or another `directory`."
            )
        check_place(state.place, state.is_fresh)
        space = SearchSpace([*oracle.space.parameters, *oracle.hyperparameters.space])
        journal, project = open_project(state.place, self._wanted(space), state.is_fresh)
        journal.close()
        state.is_fresh = False
        check_oracle(state.place, project, kind_of(oracle), oracle.has_own_state)
        self._take_in(project)
        self._size = journal.path.stat().st_size
        if project.trials:
            oracle.take_over(
                project.objective, project.seed, space, project.trials, project.end_order
            )
        else:
            oracle.objective = project.objective
        oracle._set_project_dir(state.place.parent, state.place.name)
        tuner.save()

    def _take_in(self, project: Project) -> None:
        """Note which entries the journal already has."""
        self._known = {parameter.key for parameter in project.parameters}
        self._written, self._directed = set(project.trials), set(project.directions)

    def _wanted(self, space: SearchSpace) -> Project:
        oracle = self._tuner.oracle
        objective = oracle.objective.inferred().resolved({})
        return Project(
            objective,
            oracle.seed,
            self._tuner.executions_per_trial,
            serialized(space.parameters),
            is_whole=False,
            directions=objective.name_to_direction,
            oracle=kind_of(oracle),
        )

    def trial_begins(self, trial: Trial) -> None:
        """Record a new trial. One that runs again is already recorded."""
        self._started[trial.trial_id] = now(), time.monotonic()
        with self._writing() as journal:
            if trial.trial_id not in self._written:
                self._written.add(trial.trial_id)
                journal.add_trial(trial)

    def trial_ends(self, trial: Trial) -> None:
        """Record a trial's result, or that it runs again. Ignore a trial that is still running."""
        if trial.status == TrialStatus.RUNNING:
            return
        with self._writing() as journal:
            new = self._tuner.oracle.space.unknown_to(self._known)
            if new:
                journal.add_parameters(new)
                self._known |= {parameter.key for parameter in new}
            if trial.status == TrialStatus.INVALID:
                journal.add_retry(trial.trial_id, 0, trial.message)
                return
            directions: dict[str, str | None] = {
                name: history.direction for name, history in trial.metrics.metrics.items()
            }
            if directions.keys() - self._directed:
                journal.add_directions(directions)
                self._directed |= directions.keys()
            for step, metrics in trial.told.items():
                journal.add_epoch(trial.trial_id, 0, step + 1, metrics)
            journal.end_execution(trial.trial_id, 0, self._execution(trial))
            journal.end_trial(trial)

    def _execution(self, trial: Trial) -> Execution:
        """Return the only execution of a trial in a user-defined loop."""
        started, since = self._started.pop(trial.trial_id, (None, None))
        return Execution(
            trial.status,
            best_epoch=None if trial.score is None else trial.best_step + 1,
            score=trial.score,
            duration=None if since is None else time.monotonic() - since,
            message=trial.message,
            is_told=True,
            started=started,
            ended=now(),
            worker=this_worker(),
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Journal]:
        """Open the journal.

        Raises:
            ProjectError: If another process writes to it, or has written to it in the meantime.
        """
        journal = Journal(self._tuner._glimr.place)
        file = journal.claim()
        try:
            if os.fstat(file.fileno()).st_size != self._size:
                self._read_again(journal)
            yield journal
            self._size = os.fstat(file.fileno()).st_size
        finally:
            journal.close()

    def _read_again(self, journal: Journal) -> None:
        """Read what a search of this tuner has written in the meantime.

        Raises:
            ProjectError: If another search has written to the project.
        """
        project = journal.read()
        if project.trials.keys() - self._tuner.oracle.trials.keys():
            raise ProjectError(
                f"Another search has written to the project in {self._tuner._glimr.place} while "
                "this loop ran. Make a tuner anew to go on from there, or choose another "
                "`project_name`."
            )
        self._take_in(project)


def run_trial(
    tuner: Any,
    trial: Trial,
    loop: TrialLoop,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Any]:
    """Train a trial `executions_per_trial` times in this process, and return each result of `fit`.

    The best weights are saved in the project, as in a search.

    Args:
        tuner: The user's tuner.
        trial: A trial of its oracle. Its `hyperparameters` are passed to `build`.
        loop: How the hypermodel is trained.
        args, kwargs: As for `search`.
    """
    hypermodel = hypermodel_of(tuner)
    if not loop.has_model:
        return [hypermodel.run(trial.hyperparameters)]
    verbose = kwargs.get("verbose", 1)
    context = with_trackers(
        TrialContext(
            hypermodel,
            tuner._glimr.space,
            tuner.oracle.objective.inferred(),
            FitArguments(args, kwargs),
            tuner._glimr.settings.keras_callbacks,
            fit_verbose=1 if verbose == "auto" else int(verbose),
            max_model_size=tuner.max_model_size,
            compile_overrides=CompileOverrides.of(tuner),
            keep_predictions=tuner._glimr.settings.keep_predictions,
            loop=loop,
        ),
        tuner.project_name,
    )
    return [_run(tuner, trial, context, number) for number in range(tuner.executions_per_trial)]


def _run(tuner: Any, trial: Trial, context: TrialContext, number: int) -> Any:
    """Train a trial once, and return the result of `fit`."""
    spec = _spec_of(tuner, trial, number)
    # Each training has its own callbacks, as in a worker
    context = dataclasses.replace(context, callbacks=tuner._deepcopy_callbacks(context.callbacks))
    sender = ReportSender(_nobody, _at_once, context.space)
    sender.config = trial.hyperparameters
    sender.callback = TrialCallback(context.objective, spec, sender, context.max_model_size)
    runner = ExecutionRunner(context, spec, trial.hyperparameters, sender.callback)
    status = TrialStatus.RUNNING  # if it is interrupted
    try:
        with tuner._glimr.during(runner, tuner.oracle):
            given = runner.data()
            kwargs = dict(given.kwargs)
            if kwargs.get("callbacks"):
                kwargs["callbacks"] = tuner._deepcopy_callbacks(kwargs["callbacks"])
            kwargs = runner.arguments(given.args, kwargs)
            returned = tuner._build_and_fit_model(trial, *given.args, **kwargs)
            runner.scored(returned, method_name(context.hypermodel, "fit"))
            if spec.keeps_state and sender.callback.model is not None:
                sender.callback.save_state()
        status = TrialStatus.COMPLETED
    except StorageError:
        raise
    except (Exception, SystemExit):
        status = TrialStatus.FAILED
        raise
    finally:
        runner.over(status)
        sender.callback.take_held()
    return returned


def _spec_of(tuner: Any, trial: Trial, number: int) -> ExecutionSpec:
    chosen, place = trial.suggested, tuner._glimr.place
    parent, state = chosen.get(Stage.PARENT), None
    if parent is not None:
        state = training_states.newest(state_directory(execution_directory(place, parent, number)))
    return ExecutionSpec(
        trial.trial_id,
        number,
        chosen,
        trial.sampling_key,
        str(execution_directory(place, trial.trial_id, number)),
        tuner.oracle.objective.inferred().name_to_direction,
        epochs=chosen.get(Stage.EPOCHS),
        initial_epoch=0 if state is None else chosen[Stage.INITIAL_EPOCH],
        state=None if state is None else str(state),
        keeps_state=Stage.EPOCHS in chosen,
        project=Journal(place).project_id,
    )


def _nobody(report: Report) -> None:
    """Ignore the report: the user-defined loop updates the oracle."""


def _at_once() -> None:
    """Return without waiting."""
