"""The coordinator of one search, which asks the oracle, hands executions to an executor and records
the results. Runs in the driver.

It is independent of Ray. An executor calls `next_spec` for work and passes on the worker's reports.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from glimr_keras.errors import FatalError, SearchError, StorageError
from glimr_keras.executors.gpu_use import GpuUse
from glimr_keras.executors.policies import FailurePolicy, StoppingPolicy, hung
from glimr_keras.oracles import Nothing, Oracle
from glimr_keras.project import checkpoints, predictions, training_states
from glimr_keras.project.journal import Journal, now
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.reserved_names import Stage
from glimr_keras.training.messages import Change, ExecutionSpec, Outcome, Report
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.layout import execution_directory, state_directory
from glimr_keras.trials.packed import Packer
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.score_epochs import choose_epochs
from glimr_keras.trials.trial import Trial, fold_of


class Observer(Protocol):
    """The interface through which the coordinator shows the progress of a search."""

    def on_running(self, running: int) -> None: ...
    def before_trial(self) -> None: ...
    def on_trial_begin(self, trial: Trial) -> None: ...
    def on_trial_end(self, trial: Trial) -> None: ...
    def on_changes(self, changes: Sequence[Change]) -> None: ...
    def say(self, what: str) -> None: ...


class Coordinator:
    """Manage a search's trials and executions, and record them.

    Args:
        oracle: Chooses configurations; it already knows the project's earlier trials.
        journal: The project's journal, open for writing.
        directory: The project's directory.
        executions_per_trial: How often each configuration, or each of its folds, is trained.
        observer: Notified of every change.
        failure_policy: How failures are handled. Defaults to `None`, which means `FailurePolicy()`.
        stopping_policy: When the search or a trial stops early. Defaults to `None`, which means
            never.
        cv_folds: The number of cross-validation folds. Defaults to `None`, which means no
            cross-validation.
        project_id: The project's ID. Defaults to `None`.
        directions: The directions of the logged metrics by name, as far as they are known; the
            coordinator adds to it. Defaults to `None`, which means an empty dict.
        draw: Draws the values of a new trial that are not hyperparameters, given its values and
            sampling key. Defaults to `None`, which means none.
        remove: Removes the weights in an execution's folder, and any copies that were uploaded.
            Defaults to `checkpoints.remove`.
        score_at: The epochs at which a trial is scored (`trials.score_epochs`). Defaults to
            `"best"`.

    Attributes:
        error: Why the search stopped early, or `None`.
        finished: Whether nothing more will be started.
        all_given_out: Whether nothing is left to start, unless a process is lost.
        remark: Why the search ended before its budget was spent, if there was no error.
        shares_gpus: Whether several executions share a GPU, so that one that ran out of memory is
            retried alone, once.
        gpu_use: The GPU memory that this session's executions used.
    """

    def __init__(
        self,
        oracle: Oracle,
        journal: Journal,
        directory: pathlib.Path,
        executions_per_trial: int,
        observer: Observer,
        failure_policy: FailurePolicy | None = None,
        stopping_policy: StoppingPolicy | None = None,
        cv_folds: int | None = None,
        project_id: str | None = None,
        directions: dict[str, str | None] | None = None,
        draw: Callable[[Mapping[str, Any], tuple[int, ...]], dict[str, Any]] | None = None,
        remove: Callable[[pathlib.Path], None] = checkpoints.remove,
        score_at: str = "best",
    ) -> None:
        self.oracle = oracle
        self.error: Exception | None = None
        self.finished = self.all_given_out = False
        self.remark: str | None = None
        self.shares_gpus = False
        self.gpu_use = GpuUse()
        self._draw, self._remove, self._score_at = draw, remove, score_at
        self._stopping_policy = stopping_policy or StoppingPolicy(oracle.objective)
        self._journal, self._directory = journal, directory
        self._cv_folds, self._project_id = cv_folds, project_id
        self._directions: dict[str, str | None] = {} if directions is None else directions
        self._executions = executions_per_trial * (cv_folds or 1)
        self._failure_policy = failure_policy or FailurePolicy()
        self._ended: set[str] = set()  # trials whose states may still exist
        self._kept: list[Trial] = []  # trials whose weights are kept, if their number is limited
        self._observer = observer
        self._packer = Packer()
        self._failed_in_a_row = 0
        self._begun: set[str] = set()  # in this session
        self._waiting: collections.deque[ExecutionSpec] = collections.deque()
        # Executions that ran out of memory on a shared GPU, with their outcomes; those that now run
        # alone; and those that have run alone
        self._alone: collections.deque[tuple[ExecutionSpec, Outcome]] = collections.deque()
        self._running_alone: dict[tuple[str, int], Outcome] = {}
        self._was_alone: set[tuple[str, int]] = set()
        self._open: set[tuple[str, int]] = set()  # given out and not ended
        self._running: set[tuple[str, int]] = set()
        self._ends_as: dict[tuple[str, int], str] = {}  # statuses of executions being stopped

    def resume(self) -> None:
        """Queue the executions that were running when an earlier session of this project ended."""
        for trial in self.oracle.trials.values():
            if trial.status != TrialStatus.RUNNING:
                self._stopping_policy.observe(trial)
                self._keep_best(trial)
                self._ended.add(trial.trial_id)
                continue
            for execution in trial.executions.values():
                if execution.status == TrialStatus.RUNNING and not execution.history:
                    execution.started = None  # it restarts now
            if not any(each.status == TrialStatus.FAILED for each in trial.executions.values()):
                self._queue(trial)
            if not self._is_waiting(trial.trial_id):
                self._end_trial(trial)  # only the record of its end was missing
        self._forget_states()

    def next_spec(self) -> ExecutionSpec | None:
        """Return the next execution to start, or `None`; then `finished` tells whether to ask again
        after an execution has ended.
        """
        if self.error is not None:
            self.finished = True
            return None
        self.remark = self.remark or self._stopping_policy.reached()
        if self.remark is not None:
            self.finished = True
            return None
        if not self._waiting:
            self._tell(self._observer.before_trial)
            if self.error is not None:
                return self.next_spec()
            trial = self.oracle.ask()
            if isinstance(trial, Nothing):
                self.all_given_out = trial is Nothing.LEFT
                self.finished = not self._open  # an open one may have to be restarted
                return None
            trial.directions = self._directions
            trial.suggested |= self._drawn(trial.suggested, trial.sampling_key)
            trial.values = trial.values | trial.suggested
            if self.error is not None:
                return self.next_spec()
            self._write(self._journal.add_trial, trial)
            self._write(self.oracle.save_trial, trial)
            if self.error is not None:
                return self.next_spec()
            self._queue(trial)
        return self._given_out(self._waiting.popleft())

    @property
    def has_alone(self) -> bool:
        """Return whether an execution waits that ran out of memory on a shared GPU."""
        return self.error is None and bool(self._alone)

    @property
    def num_open(self) -> int:
        """Return the number of executions that were given out and have not ended."""
        return len(self._open)

    @property
    def num_left(self) -> int | None:
        """Return how many executions may still be given out; `None` if unlimited."""
        trials = self.oracle.remaining_trials()
        return None if trials is None else trials * self._executions + len(self._waiting)

    def goes_on(self) -> bool:
        """Return whether another phase may have work left; if so, reset `finished`."""
        if self.error is not None or self.remark is not None or self.all_given_out:
            return False
        self.finished = False
        return True

    def say(self, what: str | None) -> None:
        """Show the user a message, if there is one."""
        if what is not None:
            self._tell(self._observer.say, what)

    def next_alone(self) -> ExecutionSpec | None:
        """Return the next execution that ran out of memory on a shared GPU. The executor must have
        ended all others, and must give it its own GPU.
        """
        self.remark = self.remark or self._stopping_policy.reached()
        if self.error is not None or self.remark is not None or not self._alone:
            return None
        spec, outcome = self._alone.popleft()
        self._running_alone[spec.key] = outcome
        return self._given_out(spec)

    def end_alone(self) -> None:
        """End the executions that ran out of memory on a shared GPU and are not retried."""
        while self.has_alone:
            spec, outcome = self._alone.popleft()
            self._was_alone.add(spec.key)
            self._end(self._given_out(spec), dataclasses.replace(outcome, final=True))

    def _given_out(self, spec: ExecutionSpec) -> ExecutionSpec:
        self._open.add(spec.key)
        executions = self.oracle.trials[spec.trial_id].executions
        if not spec.resumes:
            executions[spec.execution] = Execution(attempt=spec.attempt)
        if spec.trial_id not in self._begun:
            self._begun.add(spec.trial_id)
            self._tell(self._observer.on_trial_begin, self.oracle.trials[spec.trial_id])
        return spec

    def on_start(self, spec: ExecutionSpec) -> None:
        """Record that a worker has started the execution."""
        self._running.add(spec.key)
        execution = self.oracle.trials[spec.trial_id].executions[spec.execution]
        if execution.started is None:  # otherwise it resumes
            execution.started = now()
            self._write(
                self._journal.start_execution, spec.trial_id, spec.execution, execution.started
            )
        self._observer.on_running(len(self._running))

    def on_report(self, spec: ExecutionSpec, report: Report) -> None:
        """Record a worker's report on an execution."""
        trial = self.oracle.trials[spec.trial_id]
        trial.values = report.values
        trial.hyperparameters.define(report.parameters)
        new = self.oracle.update_space(report.parameters)
        if new:
            self._write(self._journal.add_parameters, new)
        self._put(spec, report.files)
        execution = trial.executions[spec.execution]
        is_another = execution.worker != report.worker
        execution.worker = report.worker
        if report.epoch is not None:
            execution.observe(report.epoch, report.metrics, self.oracle.objective)
            self._write(
                self._journal.add_epoch,
                spec.trial_id,
                spec.execution,
                report.epoch,
                report.metrics,
                report.worker if is_another else None,
            )
        if report.outcome is not None:
            self._learn_directions(report.outcome.directions)
            if report.changes:
                self._tell(self._observer.on_changes, report.changes)
            self._end(spec, report.outcome)

    def _learn_directions(self, directions: Mapping[str, str | None]) -> None:
        """Record the directions of metrics that were unknown before the search."""
        known = self._directions
        new = {name: each for name, each in directions.items() if name not in known}
        if new:
            self._directions.update(new)
            self._write(self._journal.add_directions, new)

    def stops(self, spec: ExecutionSpec, report: Report) -> bool:
        """Return whether an execution must stop with this report, although it could continue."""
        if report.outcome is not None or report.epoch is None:
            return False
        training = spec.trial_id if self._executions == 1 else f"{spec.trial_id}_{spec.execution}"
        status = self._stopping_policy.stops(training, report.epoch, report.metrics)
        if status is not None:
            # one that a later trial was to continue has left no state
            self._ends_as[spec.key] = TrialStatus.STOPPED if spec.keeps_state else status
        return status is not None

    def on_stopped(self, spec: ExecutionSpec, duration: float) -> None:
        """Record that the execution was stopped. Do nothing if it has already ended, or if the
        whole search is stopping.
        """
        if self.error is not None:
            return
        execution = self.oracle.trials[spec.trial_id].executions[spec.execution]
        status = self._ends_as.pop(spec.key, TrialStatus.STOPPED)
        self._end(spec, Outcome(status, duration, execution.score, execution.best_epoch))

    def on_lost(self, spec: ExecutionSpec, duration: float, message: str) -> None:
        """Record that the process of an execution was lost. Another continues it, unless that has
        happened too often. Do nothing if it has already ended, or if the whole search is stopping.
        """
        if self.error is not None or spec.key not in self._open:
            return
        execution = self.oracle.trials[spec.trial_id].executions[spec.execution]
        if self._failure_policy.seconds is not None and duration >= self._failure_policy.seconds:
            self._end(spec, hung(execution, duration, self._failure_policy.seconds, spec.directory))
            return
        execution.lost += 1
        self._write(self._journal.add_loss, spec.trial_id, spec.execution, message)
        if 0 <= self._failure_policy.failures < execution.lost:
            times = (
                ""
                if execution.lost == 1
                else f" {execution.lost} times, as often as `max_failures` allows and once more"
            )
            message = f"The process that trained this was lost{times}. The last time:\n{message}"
            self._end(spec, Outcome(TrialStatus.FAILED, duration, message=message))
        else:
            self._again(spec, resumes=True)

    def mutated(self, spec: ExecutionSpec, values: Mapping[str, Any]) -> ExecutionSpec:
        """Return the execution with the values that a population-based scheduler changed, each
        adjusted to one that its hyperparameter allows.
        """
        if all(values.get(name, value) == value for name, value in spec.values.items()):
            return spec

        def choose(parameter: HyperParameter) -> Any:
            for known in (values, spec.values):
                nearest = parameter.nearest(parameter.encode(known.get(parameter.name)))
                if nearest is not None:
                    return nearest
            return sample(parameter, spec.sampling_key)

        mutated = spec.values | self.oracle.space.walk(choose)
        for name in self._drawn(mutated, spec.sampling_key):
            mutated.pop(name, None)  # values derived from a changed value change with it
        return dataclasses.replace(spec, values=mutated | self._drawn(mutated, spec.sampling_key))

    def _drawn(self, values: Mapping[str, Any], key: tuple[int, ...]) -> dict[str, Any]:
        """Return a configuration's values that are not hyperparameters. If drawing fails here, the
        worker reports why.
        """
        try:
            return {} if self._draw is None else self._draw(values, key)
        except FatalError as error:
            self.error = self.error or error
            return {}
        except Exception:  # from the user's code; it fails the trial with its traceback
            return {}

    def give_back(self, spec: ExecutionSpec) -> None:
        """Put back, at the front, an execution on which nothing was done since it was given out or
        paused.
        """
        self._open.discard(spec.key)
        self._running.discard(spec.key)
        trial = self.oracle.trials[spec.trial_id]
        if trial.executions[spec.execution].started is not None:  # otherwise it starts
            spec = self._spec_of(trial, spec.execution, resumes=True)
        if spec.key in self._running_alone:
            self._alone.appendleft((spec, self._running_alone.pop(spec.key)))
            return
        self._waiting.appendleft(spec)
        self._reopen()

    def _again(self, spec: ExecutionSpec, resumes: bool, lacked: Outcome | None = None) -> None:
        """Queue the execution as the next one, to resume or to restart.

        Args:
            lacked: Its outcome when it ran out of memory on a shared GPU, if it is to be retried
                alone.
        """
        self._open.discard(spec.key)
        self._running.discard(spec.key)
        lacked = self._running_alone.pop(spec.key, lacked)
        again = self._spec_of(self.oracle.trials[spec.trial_id], spec.execution, resumes)
        if lacked is not None:
            self._alone.appendleft((again, lacked))
        else:
            self._waiting.appendleft(again)
            self._reopen()
        self._observer.on_running(len(self._running))

    def _reopen(self) -> None:
        """Allow more starts, unless the search has reached a limit and Ray no longer asks."""
        if self.remark is None:
            self.finished = self.all_given_out = False

    def _queue(self, trial: Trial) -> None:
        for number in range(self._executions):
            execution = trial.executions.get(number)
            if execution is None or execution.status == TrialStatus.RUNNING:
                self._waiting.append(self._spec_of(trial, number, resumes=execution is not None))

    def _spec_of(self, trial: Trial, number: int, resumes: bool) -> ExecutionSpec:
        chosen, parent = trial.suggested, trial.suggested.get(Stage.PARENT)
        execution = trial.executions.get(number, Execution())
        first = chosen.get(Stage.INITIAL_EPOCH, 0)
        return ExecutionSpec(
            trial.trial_id,
            number,
            chosen,
            trial.sampling_key,
            str(execution_directory(self._directory, trial.trial_id, number)),
            self.oracle.objective.name_to_direction,
            epochs=chosen.get(Stage.EPOCHS),
            initial_epoch=first,
            state=None
            if parent is None
            else str(state_directory(execution_directory(self._directory, parent, number))),
            keeps_state=Stage.EPOCHS in chosen,
            resumes=resumes,
            last_epoch=max(execution.history, default=first),
            attempt=execution.attempt,
            state_interval=self._failure_policy.state_interval,
            time_limit=self._failure_policy.seconds,
            project=self._project_id,
            fold=fold_of(number, self._cv_folds),
            num_folds=self._cv_folds,
        )

    def _end(self, spec: ExecutionSpec, outcome: Outcome) -> None:
        if spec.key not in self._open:
            return
        trial = self.oracle.trials[spec.trial_id]
        execution = trial.executions[spec.execution]
        if spec.key in self._running_alone:
            self._was_alone.add(spec.key)
        if outcome.status == TrialStatus.RUNNING:  # it resumes when the search is resumed
            self.error = outcome.fatal
        elif outcome.status == TrialStatus.FAILED and (
            self._needs_room(spec, outcome) or self._may_retry(spec, execution, outcome)
        ):
            self._write(self._journal.add_retry, spec.trial_id, spec.execution, outcome.message)
            trial.executions[spec.execution] = Execution(attempt=execution.attempt + 1)
            training_states.remove_states(state_directory(spec.directory))
            self._remove(pathlib.Path(spec.directory))
            predictions.remove(spec.directory)
            self._again(
                spec, resumes=False, lacked=outcome if self._needs_room(spec, outcome) else None
            )
            return
        self._open.discard(spec.key)
        self._running.discard(spec.key)
        self._running_alone.pop(spec.key, None)
        if outcome.status == TrialStatus.RUNNING:
            return
        execution.gpu_memory, execution.reused_graph = outcome.gpu_memory, outcome.reused_graph
        self.gpu_use.add(outcome)
        execution.status, execution.duration, execution.message = (
            outcome.status,
            outcome.duration,
            outcome.message,
        )
        execution.score, execution.best_epoch = outcome.score, outcome.best_epoch
        execution.returned, execution.is_told = outcome.returned, outcome.is_told
        execution.ended = now()
        if spec.keeps_state:
            self._write(training_states.force, state_directory(spec.directory))
        self._write_end(trial, spec.execution)
        if isinstance(self.error, StorageError):
            return
        if not spec.keeps_state:
            training_states.remove_states(state_directory(spec.directory))
        if outcome.fatal is not None:
            self.error = outcome.fatal
        if outcome.status == TrialStatus.FAILED:
            self._waiting = collections.deque(
                waiting for waiting in self._waiting if waiting.trial_id != spec.trial_id
            )
            self._alone = collections.deque(
                waiting for waiting in self._alone if waiting[0].trial_id != spec.trial_id
            )
        others = ((spec.trial_id, number) for number in range(self._executions))
        if self._open.isdisjoint(others) and not self._is_waiting(spec.trial_id):
            self._end_trial(trial, outcome.expected)
        self._observer.on_running(len(self._running))

    def _write_end(self, trial: Trial, number: int) -> None:
        """Record the end of an execution and its trial's values, once its weights are safe."""
        place = execution_directory(self._directory, trial.trial_id, number)
        self._write(checkpoints.force, place)
        self._write(predictions.force, place)
        values = None if trial.values == trial.suggested else trial.values
        execution = trial.executions[number]
        self._write(self._journal.end_execution, trial.trial_id, number, execution, values)

    def _is_waiting(self, trial_id: str) -> bool:
        alone = [spec for spec, _ in self._alone]
        return any(spec.trial_id == trial_id for spec in (*self._waiting, *alone))

    def _give_up(self, trial: Trial) -> None:
        """End a failed trial's executions that began in an earlier session and will not resume.
        Remove the files of those whose start could not be recorded.
        """
        for number in range(self._executions):
            execution = trial.executions.get(number)
            place = execution_directory(self._directory, trial.trial_id, number)
            if execution is None:
                self._remove(place)
            elif execution.status == TrialStatus.RUNNING:
                execution.status, execution.ended = TrialStatus.STOPPED, now()
                self._write_end(trial, number)

    def _end_trial(self, trial: Trial, expected: bool = False) -> None:
        self._give_up(trial)
        failed = [each for each in trial.executions.values() if each.status == TrialStatus.FAILED]
        stopped = any(each.status == TrialStatus.STOPPED for each in trial.executions.values())
        trial.status = TrialStatus.STOPPED if stopped else TrialStatus.COMPLETED
        remarks = [e.message for e in trial.executions.values() if e.message is not None]
        trial.message = "\n".join(dict.fromkeys(remarks)) or None
        if failed:
            trial.status, trial.message = TrialStatus.FAILED, failed[0].message
        else:
            choose_epochs(trial, self.oracle.objective, self._score_at)
        self._write(self.oracle.end_trial, trial)
        self._write(self._journal.end_trial, trial)
        if isinstance(self.error, StorageError):
            return
        self._keep_best(trial)
        self._ended.add(trial.trial_id)
        self._begun.discard(trial.trial_id)
        self._forget_states()
        self._tell(self._observer.on_trial_end, trial)
        self._stopping_policy.observe(trial)
        self._packer.pack_later(trial)
        if not failed:
            self._failed_in_a_row = 0
        elif not expected:
            self._failed_in_a_row += 1
        if self._failed_in_a_row >= self._failure_policy.failed_in_a_row and self.error is None:
            self.error = SearchError(
                "Number of consecutive failures exceeded the limit of "
                f"{self._failure_policy.failed_in_a_row} (`max_consecutive_failed_trials`), so "
                "the search was stopped. When the cause is mended, `retry_failed=True` has failed "
                f"trials tried again. The last one, trial {trial.trial_id} with "
                f"{trial.values}, failed with:\n\n{trial.message}"
            )

    def _forget_states(self) -> None:
        """Remove the states of ended trainings, unless a later trial may resume from them."""
        for trial_id in self.oracle.ends_of_continuation(self._ended):
            self._ended.discard(trial_id)
            for number in range(self._executions):
                states = state_directory(execution_directory(self._directory, trial_id, number))
                training_states.remove_states(states)

    def _needs_room(self, spec: ExecutionSpec, outcome: Outcome) -> bool:
        """Return whether the execution may have run out of memory only because others shared its
        GPU.
        """
        return (
            self.shares_gpus
            and outcome.lacks_memory
            and outcome.fatal is None
            and not outcome.final
            and spec.key not in self._was_alone
        )

    def _may_retry(self, spec: ExecutionSpec, execution: Execution, outcome: Outcome) -> bool:
        tried = execution.attempt - (spec.key in self._was_alone)  # the shared GPU's failure
        return outcome.fatal is None and not outcome.final and tried < self._failure_policy.retries

    def _keep_best(self, trial: Trial) -> None:
        """Remove the weights of trials that are not among the best, if only those are kept."""
        most = self._failure_policy.keep_top_k
        if most is None:
            return
        kept = ranked([*self._kept, trial], self.oracle.objective)
        self._kept, others = kept[:most], kept[most:]
        for other in others:
            for number in range(self._executions):
                self._remove(execution_directory(self._directory, other.trial_id, number))

    def _put(self, spec: ExecutionSpec, files: Mapping[str, Mapping[str, bytes]]) -> None:
        """Write the files in a report from a machine that does not see the project's directory."""
        if "best" in files:
            self._write(checkpoints.put, spec.directory, files["best"])
        if "latest" in files:
            self._write(training_states.put_state, state_directory(spec.directory), files["latest"])
        if "predictions" in files:
            self._write(predictions.put, spec.directory, files["predictions"])

    def _tell(self, tell: Callable[..., None], *what: Any) -> None:
        """Notify the observer, which may run the user's code. An error in it ends the search."""
        try:
            tell(*what)
        except Exception as error:
            self.error = self.error or error

    def _write(self, write: Callable[..., None], *record: Any) -> None:
        """Write to the project. If that fails, the search ends, and nothing more is written."""
        if isinstance(self.error, StorageError):
            return
        try:
            write(*record)
        except StorageError as error:
            self.error = error
