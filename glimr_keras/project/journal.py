"""The journal: every trial of a project, appended to one file as it happens. Written by the driver
only; read anywhere.

The file is `<project>/.glimr_keras/journal.jsonl`, with one JSON object per line. The first line
describes the project. Then come new hyperparameters, new trials, starts, epochs, and ends of
executions and trials. Every record has its time of writing (`time`, in seconds since 1970, UTC).

A record is passed to the operating system before the search continues, so a killed process loses
none. The description, and the starts and ends of trials, are also forced to the disk (fsync); a
trial's weights are forced before its end. So power loss costs at most epochs of unfinished trials.
All results are read from the journal; it holds no code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import math
import os
import pathlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from glimr_keras._utils.files import lock
from glimr_keras._utils.garbage import without_garbage_collection
from glimr_keras._utils.untrusted_json import LONGEST
from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project import digest, records
from glimr_keras.project.records import VERSION
from glimr_keras.project.replay import replay, time_in
from glimr_keras.space import ray_kinds  # noqa: F401  # kinds that a journal may contain
from glimr_keras.space.hp_types import HyperParameter, deserialize, serialize
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Objective, objective_config, objective_from_config
from glimr_keras.trials.packed import Packer
from glimr_keras.trials.score_epochs import chosen_epochs
from glimr_keras.trials.trial import Trial

HIDDEN = ".glimr_keras"
FILE = "journal.jsonl"
_BLOCK = 1 << 16


def now() -> float:
    """Return the time as in the journal: seconds since 1970, UTC, to the millisecond."""
    return round(time.time(), 3)


@dataclasses.dataclass
class Project:
    """The content of a journal.

    Attributes:
        objective: The objective of the search.
        seed: The seed of the search.
        executions_per_trial: The number of executions of each trial.
        space: The hyperparameters known before the first trial, serialized.
        is_whole: Whether every branch of the user's code was searched for them.
        late_space: The hyperparameters that trials discovered later, serialized.
        trials: The trials by id, in the order of their creation.
        cv_folds: The number of folds of the cross-validation; `None` without.
        score_at: The epochs at which trials are scored (`trials.score_epochs`).
        project_id: A unique id; `None` for projects of the first version.
        shapes: The shapes of one sample of the inputs and of the labels, as far as known.
        directions: The directions of the metrics by name, as far as known.
        end_order: The ids of the ended trials, in the order of their ends.
        oracle: The kind of oracle that started it; `None` for projects of earlier versions.
        created: When it was started, in seconds since 1970, UTC; `None` for projects of earlier
            versions.
    """

    objective: Objective
    seed: int
    executions_per_trial: int
    space: list[dict[str, Any]]
    is_whole: bool = True
    late_space: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    trials: dict[str, Trial] = dataclasses.field(default_factory=dict)
    cv_folds: int | None = None
    score_at: str = "best"
    shapes: dict[str, Any] = dataclasses.field(default_factory=dict)
    project_id: str | None = dataclasses.field(
        default_factory=lambda: uuid.uuid4().hex, compare=False
    )
    directions: dict[str, str | None] = dataclasses.field(default_factory=dict)
    end_order: list[str] = dataclasses.field(default_factory=list)
    oracle: str | None = dataclasses.field(default=None, compare=False)
    created: float | None = dataclasses.field(default_factory=now, compare=False)

    @property
    def parameters(self) -> list[HyperParameter]:
        """Return all known hyperparameters."""
        return [deserialize(stored) for stored in self.space + self.late_space]

    @property
    def failed(self) -> list[Trial]:
        """Return the failed trials, in the order of their creation."""
        return [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]

    def begin_again(self, trial: Trial) -> None:
        """Restart a trial: forget how it ended, so that it counts as running."""
        trial.begin_again()
        if trial.trial_id in self.end_order:
            self.end_order.remove(trial.trial_id)


def serialized(space: Sequence[HyperParameter]) -> list[dict[str, Any]]:
    """Return a space as JSON types, as in a journal."""
    stored: list[dict[str, Any]] = json.loads(
        json.dumps([serialize(parameter) for parameter in space])
    )
    return stored


class Journal:
    """The journal of the project in `directory`.

    Args:
        directory: The project's directory; it need not exist.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.path = directory / HIDDEN / FILE
        self._file: io.FileIO | None = None
        self._covered = self._reached = digest.Covered()

    def exists(self) -> bool:
        """Return whether there is a project: a journal whose first line is complete."""
        return self._first_line().endswith(b"\n")

    def _first_line(self) -> bytes:
        """Return the first line, up to the maximum length; empty if there is no journal."""
        if not self.path.is_file():  # a pipe would block
            return b""
        with self.path.open("rb") as file:
            return file.readline(LONGEST + 1)

    @property
    def project_id(self) -> str | None:
        """Return the id of the project without reading all of it; `None` if there is no project.

        Raises:
            ProjectError: If the project's description is damaged.
        """
        first = self._first_line()
        if not first.endswith(b"\n"):
            return None
        with self._damage() as place:
            place.number = 1
            project_id: str | None = records.parsed(first).get("project_id")
        return project_id

    def is_of(self, project_id: str) -> bool:
        """Return whether this is the journal of a given project, without parsing it."""
        try:
            return f'"project_id": "{project_id}"'.encode() in self._first_line()
        except OSError:
            return False

    # Writing

    def create(self, project: Project) -> None:
        """Start the journal of a new project."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_be_made(self.path.parent.parent, error) from error
        self._append(
            "project",
            project.created,
            version=VERSION,
            objective=objective_config(project.objective),
            seed=project.seed,
            executions_per_trial=project.executions_per_trial,
            space=project.space,
            is_whole=project.is_whole,
            cv_folds=project.cv_folds,
            score_at=project.score_at,
            shapes=project.shapes,
            project_id=project.project_id,
            directions=project.directions,
            **({} if project.oracle is None else {"oracle": project.oracle}),
        )
        self._force()

    def add_parameters(self, parameters: Sequence[HyperParameter]) -> None:
        self._append("space", parameters=[serialize(parameter) for parameter in parameters])

    def add_directions(self, directions: dict[str, str | None]) -> None:
        """Record the directions of metrics that were unknown when the project was created."""
        self._append("directions", directions=directions)

    def add_trial(self, trial: Trial) -> None:
        self._append(
            "trial",
            trial_id=trial.trial_id,
            values=trial.suggested,
            sampling_key=list(trial.sampling_key),
        )
        self._force()  # or power loss might leave its folder without a trial

    def start_execution(self, trial_id: str, execution: int, started: float) -> None:
        """Record that a process started an execution."""
        self._append("start", started, trial_id=trial_id, execution=execution)

    def add_epoch(
        self,
        trial_id: str,
        execution: int,
        epoch: int,
        metrics: dict[str, float],
        worker: str | None = None,
    ) -> None:
        """Record the end of an epoch.

        Args:
            worker: The process that trained it, if it differs from the one before. Defaults to
                `None`, which means the same process.
        """
        self._append(
            "epoch",
            trial_id=trial_id,
            execution=execution,
            epoch=epoch,
            metrics=_as_json(metrics),
            **({} if worker is None else {"worker": worker}),
        )

    def add_loss(self, trial_id: str, execution: int, message: str) -> None:
        """Record that the process of an execution was lost, and another one resumes it."""
        self._append("loss", trial_id=trial_id, execution=execution, message=message)

    def add_retry(self, trial_id: str, execution: int, message: str | None) -> None:
        """Record that an execution failed and restarts."""
        self._append("retry", trial_id=trial_id, execution=execution, message=message)

    def add_again(self, trial: Trial) -> None:
        """Record that a trial whose failure was final is run again from the start."""
        self._append("again", trial_id=trial.trial_id)

    def end_execution(
        self,
        trial_id: str,
        number: int,
        execution: Execution,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the end of an execution.

        Args:
            values: The values its trial has requested so far, if they differ from the oracle's.
                Defaults to `None`, which means they do not differ.
        """
        self._append(
            "execution",
            execution.ended,
            trial_id=trial_id,
            execution=number,
            status=execution.status,
            score=_as_json(execution.score),
            best_epoch=execution.best_epoch,
            duration=execution.duration,
            message=execution.message,
            **({"told": True} if execution.is_told else {}),
            **({"returned": _as_json(execution.returned)} if execution.returned else {}),
            **({} if execution.gpu_memory is None else {"gpu_memory": execution.gpu_memory}),
            **({"reused_graph": True} if execution.reused_graph else {}),
            **({} if execution.started is None else {"started": execution.started}),
            **({} if execution.worker is None else {"worker": execution.worker}),
            **({} if values is None else {"values": values}),
        )

    def end_trial(self, trial: Trial) -> None:
        given = (
            {}
            if trial.given_score is None
            else {"score": _as_json(trial.given_score), "best_step": trial.best_step}
        )
        self._append(
            "end",
            trial_id=trial.trial_id,
            status=trial.status,
            values=trial.values,
            message=trial.message,
            **given,
            **chosen_epochs(trial),
        )
        self._force()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, record: str, at: float | None = None, /, **fields: Any) -> None:
        said = {"record": record, "time": now() if at is None else at}
        if fields.get("message") is not None:
            fields["message"] = records.shortened(fields["message"])
        line = (json.dumps({**said, **fields}) + "\n").encode()
        if len(line) > LONGEST:
            raise StorageError(
                f"{self.path} takes records of up to {LONGEST} bytes. Received: one of "
                f"{len(line)} bytes, {record!r}. Make values and messages shorter."
            )
        self.extend(line)

    def extend(self, lines: bytes) -> None:
        """Append complete lines that another machine wrote."""
        with self._storing():
            file = self.claim()
            size = os.fstat(file.fileno()).st_size
            try:
                written = file.write(lines)
                while written < len(lines):  # a nearly full disk takes only a part
                    written += file.write(lines[written:])
            except OSError:
                file.truncate(size)
                raise

    def _force(self) -> None:
        """Force the file to the disk (fsync)."""
        if self._file is not None:
            with self._storing():
                os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = "make room" if is_full(error) else "see that this user may write there"
            raise StorageError(
                f"{self.path} cannot be written: {error}. What is in the project is whole; "
                f"{remedy}, and run the script again to go on from here."
            ) from error

    def claim(self) -> io.FileIO:
        """Open the journal for writing, as the only writer.

        Raises:
            ProjectError: If another search is writing to it.
        """
        if self._file is None:
            self._check_place()
            self._file = self.path.open("ab", buffering=0)
            self._lock(self._file)
            self._cut_torn_end()
        return self._file

    def _check_place(self) -> None:
        """Raise an error for a journal that is not a regular file of this project."""
        for place in (self.path.parent, self.path):
            if place.is_symlink() or (place == self.path and place.exists() != place.is_file()):
                raise ProjectError(
                    f"{place} is a link or no file, and a search would write through it. Put "
                    "what it leads to in its place."
                )

    def _lock(self, file: io.FileIO) -> None:
        """Lock the project against a second search, where the system has locks."""
        try:
            lock(file, waits=False)
        except BlockingIOError:
            self.close()
            raise ProjectError(
                f"Another search is running in {self.path.parent.parent}. Wait for its end, or "
                "choose another `project_name`."
            ) from None

    def _cut_torn_end(self) -> None:
        """Remove an incomplete last line, left by a killed process."""
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - _BLOCK)
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    end = start + found + 1
                    break
                end = start
            file.truncate(end)

    # Reading

    def read(self) -> Project:
        """Read the whole project.

        Raises:
            ProjectError: If there is no journal, it is damaged, or a newer version of glimr_keras
                wrote it.
        """
        project, self._covered, self._reached = self._read()
        return project

    def keep_digest_of(self, project: Project) -> None:
        """Write a digest of a project just read, if much of it was not in a digest, to speed up the
        next read.

        Only the journal's writer may do so.
        """
        if self._reached.size - self._covered.size > digest.MUCH:
            digest.write(self.path, project, self._reached)

    def keep_digest(self) -> None:
        """Write a digest at the end of a search if much of the project is not in one.

        A failure to do so is not an error.
        """
        with contextlib.suppress(OSError, ProjectError):
            size, covered = self.path.stat().st_size, digest.covered_size(self.path.parent)
            if covered > size or size - covered > digest.MUCH:
                self.keep_digest_of(self.read())

    def _read(self) -> tuple[Project, digest.Covered, digest.Covered]:
        """Return the project, the part of it read from a digest, and all that was read."""
        if not self.exists():
            raise ProjectError(
                f"There is no glimr_keras project in {self.path.parent.parent}. Call `search()` "
                "first."
            )
        with without_garbage_collection(), self._damage() as place, self.path.open("rb") as file:
            place.number = 1
            header = records.parsed(file.readline(LONGEST + 1))
            self._check_header(header)
            project, packer = _begun(header), Packer()
            first = digest.Covered(file.tell(), 1)
            covered = digest.restore(file, self.path.parent, project, packer)
            place.size, place.number = dataclasses.astuple(covered if covered.size else first)
            for record in _records(file, place):
                replay(project, record)
                if record["record"] == "end":
                    packer.pack_alone(project.trials[record["trial_id"]])
            space = {parameter.key: parameter for parameter in project.parameters}
            packer.define(space)
            for trial in project.trials.values():
                if not trial.is_packed:
                    trial.hyperparameters.define_by_key(space)
        return project, covered, digest.Covered(place.size, place.number)

    def check_version(self) -> None:
        """Raise an error if a newer version started the project, without reading all of it.

        Nothing in such a project may be changed.

        Raises:
            ProjectError: If a newer version of glimr_keras wrote it, its description is damaged, or
                it is not a file.
        """
        self._check_place()
        with self._damage() as place:
            place.number = 1
            self._check_header(records.parsed(self._first_line()))

    def _check_header(self, header: dict[str, Any]) -> None:
        if header.get("record") != "project":
            raise ProjectError(
                f"{self.path} does not start with the description of a project; it is damaged."
            )
        if records.is_newer(header):
            raise ProjectError(
                f"{self.path} has version {header['version']}, and this glimr_keras reads up to "
                f"{VERSION}. Update glimr_keras."
            )

    @contextlib.contextmanager
    def _damage(self) -> Iterator[_Place]:
        """Add the line number to errors inside."""
        place = _Place()
        try:
            yield place
        except ProjectError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ProjectError(
                f"{self.path} is damaged in line {place.number}: {type(error).__name__}: {error}"
            ) from error


@dataclasses.dataclass
class _Place:
    """A position in a journal that is being read.

    Attributes:
        number: The line number, counted from 1.
        size: The bytes of the complete lines before.
    """

    number: int = 0
    size: int = 0


def _records(file: IO[bytes], place: _Place) -> Iterator[dict[str, Any]]:
    """Yield the records from `place.size` on, with `place` at the line of each.

    At the end, `place` is at the last complete line, and `place.size` is its end.
    """
    file.seek(place.size)
    while line := file.readline(LONGEST + 1):
        if not line.endswith(b"\n") and len(line) <= LONGEST:
            break  # it is incomplete
        place.number += 1
        yield records.parsed(line)
    place.size = file.tell() - len(line)


def is_full(error: OSError) -> bool:
    """Return whether an error means that there is no space left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def cannot_be_made(directory: pathlib.Path, error: OSError) -> StorageError:
    """Return the error of a project whose directory cannot be created."""
    remedy = (
        "Make room there, or choose another `directory`."
        if is_full(error)
        else "Choose a `directory` in which this user may write, or make it writable."
    )
    return StorageError(f"The project directory {directory} cannot be made: {error}. {remedy}")


def _begun(header: dict[str, Any]) -> Project:
    """Return the project of a description, without its trials."""
    records.checked_space(header["space"])
    return Project(
        objective_from_config(header["objective"]),
        header["seed"],
        header["executions_per_trial"],
        header["space"],
        header.get("is_whole", True),
        cv_folds=header.get("cv_folds"),
        score_at=header.get("score_at", "best"),
        shapes=header.get("shapes", {}),
        project_id=header.get("project_id"),
        directions=header.get("directions", {}),
        oracle=header.get("oracle"),
        created=time_in(header, "time"),
    )


def _as_json(value: Any) -> Any:
    """Return numbers as JSON has them.

    JSON lacks nan and the infinities; they become strings, which `float` parses.
    """
    if isinstance(value, dict):
        return {name: _as_json(number) for name, number in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
