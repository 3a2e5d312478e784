"""A script that searches, is interrupted, and is run again until it is done; and what must hold."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

from glimr_keras.errors import CheckpointError, ProjectError, StorageError
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.policies import FailurePolicy, StoppingPolicy
from glimr_keras.oracles import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    Oracle,
    RandomSearchOracle,
)
from glimr_keras.project import checkpoints
from glimr_keras.project.directory import open_project
from glimr_keras.project.journal import Journal, Project, serialized
from glimr_keras.project.remote_mirror import Mirror
from glimr_keras.space.hp_types import deserialize
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.layout import STATES, execution_directory
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial
from tests.simulation.cluster import Cluster, Hardware, Loss
from tests.simulation.disk import Fault
from tests.simulation.store import Uri
from tests.simulation.trainings import SPACE, Kind, loss, weights

OBJECTIVE = Objective("loss", "min")
ONE, PLAIN = Hardware(), Kind()


@dataclasses.dataclass(frozen=True)
class Session:
    """One run of the script, and what happens in it.

    Attributes:
        more: How many trials more it asks for than the one before.
        machine: Where the script runs, for a project at a URI.
        after: Seconds after the session before.
        rival: Seconds after which the script is also run on another machine, for a project at a
            URI; `None` if it is not.
        is_newer: Whether it finds a journal that a newer version began, for one in a directory.
    """

    hardware: Hardware = ONE
    faults: tuple[Fault, ...] = ()
    losses: tuple[Loss, ...] = ()
    more: int = 0
    machine: int = 0
    after: float = 0.0
    rival: float | None = None
    is_newer: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """A script, and all that happens to it. After these sessions it is run until it is done.

    Attributes:
        oracle: `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        trials: The first session's budget; Hyperband has its own.
        executions: Of each trial.
        kind: Of trainings.
        state_every: Epochs between two states that are kept; `None` for none.
        failures: How often a training goes on after its process was lost.
        retries: How often it is begun again when it failed.
        keep_top_k: Of so many trials the weights are kept.
        stops: Of a hundred epochs, after so many the training is stopped.
        pauses: Of a hundred epochs, after so many a scheduler pauses the training, where workers
            see the project's directory.
        uri: Where the project is; `None` for a directory.
        score_at: At which epochs trials are scored.
        seed: Of all that is left to chance.
    """

    oracle: str = "random"
    trials: int = 3
    executions: int = 1
    kind: Kind = PLAIN
    state_every: int | None = 1
    failures: int = -1
    retries: int = 0
    keep_top_k: int | None = None
    stops: int = 0
    sessions: tuple[Session, ...] = ()
    last: Hardware = ONE
    seed: int = 0
    uri: Uri | None = None
    pauses: int = 0
    score_at: str = "best"


class _Stopper:
    """Stops trainings after epochs that follow from the training."""

    def __init__(self, percent: int, seed: int) -> None:
        self._percent, self._seed = percent, seed

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return is_stopped(self._percent, self._seed, trial_id, result["training_iteration"])

    def stop_all(self) -> bool:
        return False


def is_stopped(percent: int, seed: int, training: str, epoch: int) -> bool:
    """Whether a training is stopped after an epoch."""
    drawn = checkpoints.hashlib.blake2b(f"{seed} {training} {epoch}".encode(), digest_size=2)
    return int.from_bytes(drawn.digest(), "big") % 100 < percent


class _Observer:
    """Remembers what a script was told to have ended.

    Args:
        sure: What each trial was then, by id.
        check: Called before each trial.
    """

    def __init__(self, sure: dict[str, Any], check: Callable[[], None]) -> None:
        self._sure, self.before_trial = sure, check

    def on_trial_end(self, trial: Trial) -> None:
        self._sure[trial.trial_id] = ended(trial)

    def __getattr__(self, name):
        return lambda *what: None


@dataclasses.dataclass
class Done:
    """What came of a script.

    Attributes:
        project: As the journal has it.
        proposed: What was chosen, by trial.
        errors: Of sessions that ended with one.
    """

    directory: pathlib.Path
    project: Project
    proposed: dict[str, dict[str, Any]]
    errors: list[Exception]
    happened: list[Fault]
    interrupted: int


def oracle_of(plan: Plan, max_trials: int) -> Oracle:
    """The oracle of the script, made anew as each run of it does."""
    common: dict[str, Any] = {
        "seed": plan.seed,
        "max_consecutive_failed_trials": 10**6,
        "max_retries_per_trial": plan.retries,
    }
    if plan.oracle == "hyperband":
        return HyperbandOracle(OBJECTIVE, max_epochs=plan.kind.epochs, factor=2, **common)
    kinds = {
        "random": RandomSearchOracle,
        "grid": GridSearchOracle,
        "bayesian": BayesianOptimizationOracle,
    }
    return kinds[plan.oracle](OBJECTIVE, max_trials, **common)


def search(
    plan: Plan,
    max_trials: int,
    directory: pathlib.Path,
    cluster: Cluster,
    sure: dict[str, Any],
    mirror: Mirror | None = None,
) -> None:
    """One run of the script, as a tuner's search goes about it.

    Args:
        sure: What each trial was that has ended, by id; it is added to.
        mirror: Of a project at a URI.

    Raises:
        Killed: If the script's process is gone.
        ProjectError: If another search has the project.
        StorageError: If something cannot be written, or read at the URI.
    """
    if mirror is not None:
        directory = mirror.begin(overwrite=False)
    oracle, space = oracle_of(plan, max_trials), SearchSpace(SPACE)
    wanted = Project(
        OBJECTIVE, plan.seed, plan.executions, serialized(SPACE), score_at=plan.score_at
    )
    journal, project = open_project(directory, wanted, overwrite=False)
    try:
        if mirror is not None:
            mirror.start()
        space.update(deserialize(stored) for stored in project.late_space)
        oracle.begin(project.objective, project.seed, space)
        oracle.restore_trials(project.trials, project.end_order)
        oracle._set_project_dir(directory.parent, directory.name)
        oracle.restore_state()
        coordinator = Coordinator(
            oracle,
            journal,
            directory,
            plan.executions,
            _Observer(sure, (lambda: None) if mirror is None else mirror.check),
            FailurePolicy(
                10**6,
                failures=plan.failures,
                retries=plan.retries,
                state_interval=None if plan.state_every is None else 0.0,
                keep_top_k=plan.keep_top_k,
            ),
            StoppingPolicy(oracle.objective, stopper=_Stopper(plan.stops, plan.seed)),
            project_id=project.project_id,
            directions=project.directions,
            remove=checkpoints.remove if mirror is None else mirror.remove,
            score_at=project.score_at,
        )
        coordinator.resume()
        cluster.run(coordinator)
        if coordinator.error is not None:
            raise coordinator.error
    except BaseException:
        with contextlib.suppress(ProjectError, StorageError):
            _close(journal, mirror)
        raise
    _close(journal, mirror)


def _close(journal: Journal, mirror: Mirror | None) -> None:
    try:
        if mirror is not None:
            mirror.close()
    finally:
        journal.close()


# What must hold at any time


def check_kept(
    directory: pathlib.Path, sure: dict[str, Any], proposed: dict[str, dict[str, Any]]
) -> None:
    """Whatever has happened: what had ended is as it was, and its weights are there."""
    journal = Journal(directory)
    if not journal.exists():
        assert not sure, "the project is gone"
        return
    project = journal.read()
    for trial in project.trials.values():
        assert proposed.setdefault(trial.trial_id, trial.suggested) == trial.suggested
    for trial_id, before in sure.items():
        now = ended(project.trials[trial_id]) if trial_id in project.trials else None
        assert now == before, f"trial {trial_id} was {before} when it had ended, and is {now}"


def ended(trial: Trial) -> Any:
    executions = {
        number: (each.status, each.score, each.best_epoch, each.saved_epoch, each.history)
        for number, each in trial.executions.items()
    }
    return trial.status, trial.score, executions, trial.values


# What must hold at the end


def check(plan: Plan, budget: int, done: Done) -> None:
    """What holds whatever has happened, when the script has come to its end.

    Raises:
        AssertionError: If something does not.
    """
    project = done.project
    _check_budget(plan, budget, project)
    counts = collections.Counter(project.end_order)
    assert set(counts) == set(project.trials), "a trial has not ended"
    assert max(counts.values(), default=1) == 1, "a trial has ended twice"
    for trial in project.trials.values():
        _check_trial(plan, trial)
    _check_weights(plan, done)
    if plan.uri is None:
        _check_files(plan, done)


def _check_budget(plan: Plan, budget: int, project: Project) -> None:
    ids = [int(trial_id) for trial_id in project.trials]
    assert ids == list(range(len(ids))), "a trial's number is missing"
    if plan.oracle == "hyperband":
        return
    size = 1
    for parameter in SPACE:
        size *= parameter.count
    assert len(ids) == min(budget, size), f"{len(ids)} trials, and not {budget}"


def _check_trial(plan: Plan, trial: Trial) -> None:
    executions = trial.executions.values()
    statuses = {execution.status for execution in executions}
    assert TrialStatus.RUNNING not in statuses, "an execution has not ended"
    if TrialStatus.FAILED in statuses:
        assert trial.status == TrialStatus.FAILED
    else:
        assert len(executions) == plan.executions, "an execution is missing"
        is_stage = "tuner/epochs" in trial.suggested  # which has left nothing to go on from
        stopped = is_stage and TrialStatus.STOPPED in statuses
        assert trial.status == (TrialStatus.STOPPED if stopped else TrialStatus.COMPLETED)
    for number, execution in trial.executions.items():
        _check_execution(plan, trial, number, execution)
    if trial.is_scored:
        _check_epochs(plan, list(executions))


def _check_epochs(plan: Plan, executions: list[Execution]) -> None:
    """Executions are scored at the epochs that the script asks for."""
    losses = [{e: seen["loss"] for e, seen in each.history.items()} for each in executions]
    epochs = [execution.best_epoch for execution in executions]
    if plan.score_at == "last":
        assert epochs == [max(each) for each in losses], f"scored at {epochs}"
    elif plan.score_at == "best" or len(losses) == 1:
        assert epochs == [min(each, key=each.__getitem__) for each in losses], f"scored at {epochs}"
    else:
        common = set(losses[0]).intersection(*losses)
        sums = {epoch: sum(each[epoch] for each in losses) for epoch in common}
        assert len(set(epochs)) == 1, f"scored at {epochs}"
        assert sums[epochs[0]] <= min(sums.values()) + 1e-9, f"scored at {epochs}, of {sums}"


def _check_execution(plan: Plan, trial: Trial, number: int, execution: Execution) -> None:
    first = trial.suggested.get("tuner/initial_epoch", 0) + 1
    last = trial.suggested.get("tuner/epochs", plan.kind.epochs)
    epochs = list(execution.history)
    if plan.uri is not None and epochs[:1] == [1]:
        first = 1  # what it was to go on from is gone with its machine
    assert epochs == sorted(set(epochs)), f"epochs {epochs}"
    assert epochs == list(range(first, first + len(epochs))), f"epochs {epochs}, not from {first}"
    for epoch, metrics in execution.history.items():
        expected = loss(trial.values, number, execution.attempt, epoch)
        assert metrics == {"loss": expected}, f"epoch {epoch}: {metrics}, not {expected}"
    if execution.status == TrialStatus.FAILED:
        was_lost = execution.lost > plan.failures >= 0
        assert execution.attempt == plan.retries or was_lost, "it was not begun again"
        assert "boom" in (execution.message or "") or was_lost, execution.message
        return
    if trial.status == TrialStatus.FAILED and execution.status == TrialStatus.STOPPED:
        return  # it was given up, since another had failed
    training = trial.trial_id if plan.executions == 1 else f"{trial.trial_id}_{number}"
    stops = (e for e in range(first, last) if is_stopped(plan.stops, plan.seed, training, e))
    end = next(stops, last)
    assert epochs[-1] == end, f"it ended after epoch {epochs[-1]}, not {end}"
    best = min(execution.history, key=lambda epoch: execution.history[epoch]["loss"])
    assert execution.score == execution.history[execution.best_epoch]["loss"]
    saved = execution.saved_epoch, execution.saved_score
    assert saved == (best, execution.history[best]["loss"])


def _check_weights(plan: Plan, done: Done) -> None:
    """The weights are those of the epoch that the project says."""
    scored = [trial for trial in done.project.trials.values() if trial.is_scored]
    kept = best_of(plan, scored, done.directory)
    for trial in scored:
        for number, execution in trial.executions.items():
            place = execution_directory(done.directory, trial.trial_id, number)
            if trial not in kept:
                assert not checkpoints.exists(place), f"weights are left in {place}"
                continue
            with contextlib.suppress(CheckpointError):
                content = checkpoints.packed(place)[checkpoints.WEIGHTS]
                expected = weights(
                    trial.values, number, execution.attempt, execution.saved_epoch or 0
                )
                assert content == expected, f"{content!r}, not {expected!r}"
                continue
            raise AssertionError(f"no weights in {place}")


def best_of(plan: Plan, scored: list[Trial], directory: pathlib.Path) -> list[Trial]:
    """The trials whose weights are to be there: the best ones. Of equal ones any may be."""
    if plan.keep_top_k is None:
        return scored

    def rank(trial: Trial) -> tuple[bool, float]:
        return trial.status != TrialStatus.COMPLETED, trial.score or 0.0

    def has_weights(trial: Trial) -> bool:
        return checkpoints.exists(execution_directory(directory, trial.trial_id, 0))

    return sorted(scored, key=lambda trial: (rank(trial), not has_weights(trial)))[
        : plan.keep_top_k
    ]


def _check_files(plan: Plan, done: Done) -> None:
    """Nothing is left behind, and what KerasTuner's scripts read is up to date."""
    for path in sorted(done.directory.rglob("*")):
        name = path.relative_to(done.directory).as_posix()
        assert STATES not in path.parts or plan.oracle == "hyperband", f"{name} is left"
        assert not path.name.startswith(".old_"), f"{name} is left"
        assert not path.name.startswith(".epoch"), f"{name} is left"
        assert path.name != checkpoints.NEW, f"{name} is left"
    for trial in done.project.trials.values():
        stored = json.loads((done.directory / f"trial_{trial.trial_id}/trial.json").read_text())
        assert stored["status"] == trial.status, f"trial.json has {stored['status']}"
        assert stored["score"] == trial.score
