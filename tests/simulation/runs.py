"""Runs a plan: its sessions, one after the other, until the script is done."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import tempfile
import warnings
from typing import Any
from unittest import mock

import pytest

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project import checkpoints
from glimr_keras.project.journal import FILE, HIDDEN, Journal
from glimr_keras.project.records import VERSION
from glimr_keras.project.remote_mirror import Mirror
from glimr_keras.trials.layout import STATES, execution_directory
from tests.simulation.clock import Clock, Process
from tests.simulation.cluster import Cluster
from tests.simulation.disk import Disk, Fault, Killed, PowerCut
from tests.simulation.searches import (
    Done,
    Plan,
    Session,
    check,
    check_kept,
    ended,
    is_stopped,
    search,
)
from tests.simulation.store import PLACE, ROOT, Store

_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files are fast, if there is such a place."""
_LONG = 100.0
"""Seconds after which nobody waits for a search that was killed, and what it left is removed."""
_NEW, _READER, _RIVAL = "new", "reader", "rival"
"""Machines, beside those of sessions, which have numbers."""


def run(plan: Plan) -> Done:
    """Run the script until it is done.

    Raises:
        AssertionError: If something does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="simulated-", dir=_MEMORY) as made:
        place = pathlib.Path(made, "disk")
        place.mkdir()
        kind = _Run if plan.uri is None else _AtUri
        return kind(plan, Disk(place, plan.seed), pathlib.Path(made)).done()


class _Run:
    """A script whose project is in a directory.

    Args:
        plan: Of it.
        disk: Where the project is.
        place: For what is not on that disk.
    """

    def __init__(self, plan: Plan, disk: Disk, place: pathlib.Path) -> None:
        self._plan, self._disk, self._place = plan, disk, place
        self._directory = disk.root / "project"
        self._clock = Clock()
        self._sure: dict[str, Any] = {}
        self._proposed: dict[str, dict[str, Any]] = {}
        self._errors: list[Exception] = []
        self._interrupted = 0

    def done(self) -> Done:
        """Run it until it is done."""
        budget = self._plan.trials
        for number, session in enumerate((*self._plan.sessions, self._last())):
            budget += session.more
            self._disk.begin(session.faults)
            with self._disk.watched():
                try:
                    self._search(number, session, budget)
                except PowerCut:
                    self._interrupted += 1
                    self._disk.cut_power()
                except Killed:
                    self._interrupted += 1
                except (ProjectError, StorageError) as error:
                    self._errors.append(error)
                    self._check_error(error)
            shutil.rmtree(self._place / "home", ignore_errors=True)
            self._check_kept()
        done = self._come_of_it()
        check(self._plan, budget, done)
        return done

    def _last(self) -> Session:
        return Session(self._plan.last)

    def _cluster(self, number: int, session: Session, home: str = "home") -> Cluster:
        return Cluster(
            session.hardware,
            self._plan.kind,
            self._plan.state_every,
            session.losses,
            self._disk,
            self._place / home,
            hash((self._plan.seed, number)),
            self._clock,
            lambda training, epoch: is_stopped(self._plan.pauses, -1, training, epoch),
        )

    def _search(self, number: int, session: Session, budget: int) -> None:
        cluster = self._cluster(number, session)
        if session.is_newer and Journal(self._directory).exists():
            self._check_refused(cluster, budget)
        else:
            search(self._plan, budget, self._directory, cluster, self._sure)

    def _check_refused(self, cluster: Cluster, budget: int) -> None:
        """A project that a newer version began is refused, and stays as it is."""
        journal = Journal(self._directory).path
        own = journal.read_bytes()
        newer = own.replace(
            f'"version": {VERSION}'.encode(), f'"version": {VERSION + 1}'.encode(), 1
        )
        assert newer != own
        self._disk.rewrite(journal, newer)
        before = _contents(self._disk.root)
        with pytest.raises(ProjectError, match="Update glimr_keras"):
            search(self._plan, budget, self._directory, cluster, self._sure)
        assert _contents(self._disk.root) == before, "a newer version's project was changed"
        self._disk.rewrite(journal, own)

    def _check_error(self, error: Exception) -> None:
        assert any(fault.kind == "full" for fault in self._disk.happened), error
        assert "cannot be written" in str(error) or "cannot be made" in str(error), error

    def _check_kept(self) -> None:
        check_kept(self._directory, self._sure, self._proposed)

    def _come_of_it(self) -> Done:
        return Done(
            self._directory,
            Journal(self._directory).read(),
            self._proposed,
            self._errors,
            self._happened(),
            self._interrupted,
        )

    def _happened(self) -> list[Fault]:
        return self._disk.happened


class _AtUri(_Run):
    """A script whose project is at a URI, run on several machines."""

    def __init__(self, plan: Plan, disk: Disk, place: pathlib.Path) -> None:
        super().__init__(plan, disk, place)
        assert plan.uri is not None
        self._store = Store(plan.uri, self._clock, plan.seed)
        self._machine: int | str = 0

    def done(self) -> Done:
        with self._store.there(), self._clock.told(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Another search has claimed", UserWarning)
            done = super().done()
        self._check_names(done)
        return done

    def _last(self) -> Session:
        return Session(self._plan.last, machine=_NEW, after=_LONG)

    def _mirror(self, machine: int | str, root: pathlib.Path) -> Mirror:
        with mock.patch.dict(os.environ, {"GLIMR_KERAS_CACHE": str(root / str(machine))}):
            return Mirror(PLACE)

    def _search(self, number: int, session: Session, budget: int) -> None:
        self._clock.sleep(session.after)
        if session.machine != self._machine:
            self._disk.settle()
        self._machine = session.machine
        process, mirror = Process(), self._mirror(session.machine, self._disk.root)
        cluster = self._cluster(number, session)
        self._store.begin(session.faults, process)
        self._clock.begin(
            lambda: search(self._plan, budget, mirror.directory, cluster, {}, mirror), process
        )
        rival = Process()
        if session.rival is not None:
            self._clock.begin(lambda: self._rival(session, budget), rival)
        self._clock.run()
        if rival.error is not None:
            self._check_conflict(rival.error)
            self._errors.append(rival.error)
        if process.error is None:
            ours = Journal(mirror.directory).path.read_bytes()
            assert self._store.journal.startswith(ours), "not all of it was sent"
            return
        raise process.error

    def _rival(self, session: Session, budget: int) -> None:
        """The same script, on another machine at the same time."""
        assert session.rival is not None
        self._clock.sleep(session.rival)
        mirror = self._mirror(_RIVAL, self._place)
        cluster = self._cluster(-1, Session(session.hardware), "rival_home")
        try:
            search(self._plan, budget, mirror.directory, cluster, {}, mirror)
        finally:
            shutil.rmtree(self._place / _RIVAL, ignore_errors=True)

    def _check_error(self, error: Exception) -> None:
        if isinstance(error, ProjectError):
            self._check_conflict(error)
        elif "cannot be read or written" in str(error):
            assert any(fault.by == "store" for fault in self._store.happened), error
        else:
            super()._check_error(error)

    def _check_conflict(self, error: BaseException) -> None:
        """Another search has the project, or had it."""
        assert isinstance(error, ProjectError), repr(error)
        if "were both continued" in str(error):
            self._give_up_copy()
            return
        said = ("Another search is running in the project", "Another search has written to")
        assert any(each in str(error) for each in said), error

    def _give_up_copy(self) -> None:
        """What the error asks for."""
        self._disk.begin(())
        with self._disk.watched():
            shutil.rmtree(self._mirror(self._machine, self._disk.root).directory)

    def _check_kept(self) -> None:
        """What had ended, and was at the URI, is there as it was, and its weights are."""
        assert not self._store.wrong, self._store.wrong
        if not self._store.journal:
            assert not self._sure, "the project is gone"
            return
        there = self._come_of_it()
        check_kept(there.directory, self._sure, self._proposed)
        project = there.project
        for trial in project.trials.values():
            if trial.trial_id in project.end_order:
                self._sure[trial.trial_id] = ended(trial)
        # where only the best are kept, a better one that is not there yet may have taken a place
        kept = [] if self._plan.keep_top_k else project.trials.values()
        for trial in (trial for trial in kept if trial.is_scored):
            for number, execution in trial.executions.items():
                place = execution_directory(there.directory, trial.trial_id, number)
                assert checkpoints.is_whole(place), f"no weights of {trial.trial_id} at the URI"
                assert checkpoints.describe(place).score == execution.saved_score

    def _come_of_it(self) -> Done:
        """The project as another machine gets it."""
        place = self._place / _READER
        shutil.rmtree(place, ignore_errors=True)
        self._store.begin((), None)
        mirror = self._mirror(_READER, self._place)
        mirror.pull_existing()
        mirror.fetch_all()
        project = Journal(mirror.directory).read()
        return Done(
            mirror.directory,
            project,
            self._proposed,
            self._errors,
            self._happened(),
            self._interrupted,
        )

    def _check_names(self, done: Done) -> None:
        """Nothing is left at the URI, but weights of a machine that was lost while it sent them."""
        for name in (path.removeprefix(f"{ROOT}/") for path in self._store.files):
            is_weights = name.endswith((checkpoints.WEIGHTS, checkpoints.DESCRIPTION))
            is_state = STATES in name.split("/")
            assert name == f"{HIDDEN}/{FILE}" or is_weights, f"{name} is left"
            assert not is_state or self._plan.oracle == "hyperband", f"{name} is left"

    def _happened(self) -> list[Fault]:
        return [*self._disk.happened, *self._store.happened]


def _contents(root: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def check_same_proposals(plan: Plan) -> None:
    """Where trials run one after the other, what happens changes nothing that is proposed.

    Raises:
        AssertionError: If it does.
    """
    calm = dataclasses.replace(
        plan,
        sessions=tuple(
            dataclasses.replace(session, faults=(), losses=()) for session in plan.sessions
        ),
    )
    broken, whole = (
        {int(trial_id): values for trial_id, values in run(each).proposed.items()}
        for each in (plan, calm)
    )  # ids have as many digits as the budget, which may grow before a trial begins or after it
    assert broken == whole
