"""The digest of a journal: the state after its first part, in a file that is much faster to read.
Written by the driver that holds the journal's lock; read anywhere.

The file is `<project>/.glimr_keras/digest.jsonl`, and contains nothing that the journal does not.
Its first line has the number of bytes of the journal that it covers, and their hash. So it is valid
only if the journal starts with exactly these bytes. Then come the project's own parts, and the
trials (`digest_lines`).

An invalid digest is ignored. A digest may be removed at any time, and is not sent to a URI.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any

from glimr_keras._utils import untrusted_json
from glimr_keras._utils.files import write_whole
from glimr_keras._utils.untrusted_json import LARGEST, LONGEST
from glimr_keras.project import records
from glimr_keras.project.digest_lines import LineReader, LineWriter, line_of
from glimr_keras.project.replay import Replayed
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.packed import Packer
from glimr_keras.trials.trial import Trial
from glimr_keras.version import __version__

FILE = "digest.jsonl"
MUCH = 20_000_000
"""The uncovered bytes of a journal that justify a new digest."""
_VERSION = [1, records.VERSION, __version__, sys.byteorder]
"""The version of a digest: its lines, the records, the glimr_keras that replayed them, and the
byte order.
"""
_BLOCK = _AT_LEAST = 1 << 20


@dataclasses.dataclass(frozen=True)
class Covered:
    """The part of a journal that a digest covers.

    Attributes:
        size: Its size in bytes.
        lines: Its number of lines.
    """

    size: int = 0
    lines: int = 0


def restore(
    journal: IO[bytes], directory: pathlib.Path, project: Replayed, packer: Packer
) -> Covered:
    """Restore a project from its digest, if there is a valid one, and return the part of the
    journal it covers.

    Only the project's description has been read before. Without a valid digest, the project is
    unchanged.

    Args:
        journal: The open journal; its position is moved.
        directory: The directory of the digest.
        project: The project of the description.
        packer: Packs the trials.
    """
    try:
        path = directory / FILE
        if not path.is_file():  # a pipe would block
            return Covered()
        with path.open("rb") as file:
            return _restore(journal, file, project, packer)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return Covered()


def _restore(journal: IO[bytes], file: IO[bytes], project: Replayed, packer: Packer) -> Covered:
    head = untrusted_json.parsed(file.readline(LONGEST + 1))
    covered = Covered(*head["covers"])
    counts = covered.size, covered.lines
    if (
        head["digest"] != _VERSION
        or not all(type(count) is int and 0 < count <= LARGEST for count in counts)
        or os.fstat(file.fileno()).st_size > _AT_LEAST + 2 * covered.size
        or not _ends_a_line(journal, covered.size)
        or _hashed(journal, covered.size) != head["journal"]
        or _hashed(file, None) != head["body"]
    ):
        return Covered()
    file.seek(0)
    file.readline()
    known = untrusted_json.parsed(file.readline(LONGEST + 1))
    late_space, directions, end_order = known
    records.check_state("project", late_space, directions, end_order)
    records.checked_space(late_space)
    reader = LineReader(packer, project.directions)
    while line := file.readline(LONGEST + 1):
        reader.add(untrusted_json.parsed(line))
    reader.check(covered.lines)
    _check_ends(reader.trials, end_order)
    project.late_space += late_space
    project.directions.clear()
    project.directions.update(directions)
    project.end_order += end_order
    project.trials.update(reader.trials)
    return covered


def write(journal: pathlib.Path, project: Replayed, covered: Covered) -> None:
    """Write a digest, if possible.

    Args:
        journal: The journal.
        project: The project exactly as read from there.
        covered: The part that was read.
    """
    body = list(_body(project))
    if max(map(len, body)) > LONGEST:
        return
    with contextlib.suppress(OSError, ValueError):  # as on a full disk; the journal has everything
        with journal.open("rb") as file:
            found = _hashed(file, covered.size)
        content = b"".join(body)
        head = {
            "digest": _VERSION,
            "covers": [covered.size, covered.lines],
            "journal": found,
            "body": hashlib.blake2b(content).hexdigest(),
        }
        write_whole(journal.with_name(FILE), line_of(head) + content)


def covered_size(directory: pathlib.Path) -> int:
    """Return the number of bytes of the journal that a digest claims to cover; 0 without one."""
    try:
        if not (directory / FILE).is_file():
            return 0
        with (directory / FILE).open("rb") as file:
            head = untrusted_json.parsed(file.readline(LONGEST + 1))
        size = head["covers"][0] if head["digest"] == _VERSION else 0
        return size if type(size) is int else 0
    except (OSError, ValueError, TypeError, LookupError):
        return 0


def _body(project: Replayed) -> Iterator[bytes]:
    yield line_of([project.late_space, project.directions, project.end_order])
    writer = LineWriter()
    for trial in project.trials.values():
        yield from writer.lines_of(trial)


def _check_ends(trials: Mapping[str, Trial], end_order: list[Any]) -> None:
    """Raise an error for ends of missing trials, and for ended trials without an end."""
    ended = set(end_order)
    if not ended <= trials.keys():
        raise ValueError("trials ended that are not there")
    if not all(
        trial.status == TrialStatus.RUNNING or trial_id in ended
        for trial_id, trial in trials.items()
    ):
        raise ValueError("a trial has ended, and no record says so")


def _ends_a_line(journal: IO[bytes], size: int) -> bool:
    """Return whether `size` bytes are complete lines; moves to the start of the file."""
    journal.seek(size - 1)
    end = journal.read(1)
    journal.seek(0)
    return end == b"\n"


def _hashed(file: IO[bytes], size: int | None) -> str:
    """Return the hash of the next `size` bytes of a file, or of the rest for `None`.

    Raises:
        ValueError: If there are fewer.
    """
    found, left = hashlib.blake2b(), size
    while left != 0:
        block = file.read(_BLOCK if left is None else min(_BLOCK, left))
        if not block:
            if left:
                raise ValueError(f"{left} bytes are missing")
            break
        found.update(block)
        left = None if left is None else left - len(block)
    return found.hexdigest()
