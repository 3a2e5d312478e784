"""Which names at a URI belong to a project. Runs anywhere.

Others may have objects below the same URI, and an object's name may be any text, even with `..` in
it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator

from glimr_keras._utils import untrusted_json
from glimr_keras.project import checkpoints, predictions
from glimr_keras.project.directory import is_of_a_project
from glimr_keras.project.journal import FILE, HIDDEN
from glimr_keras.trials.layout import STATES, is_shard, trial_folder

_CHECKPOINT = re.compile(
    r"(?P<trial>(trials_[0-9]{1,32}/)?trial_(?P<id>[0-9]{1,32}))"
    rf"(/execution_[0-9]+)?(/{STATES}(/epoch_[0-9]+)?)?(/{checkpoints.BEST})?"
)
OF_CHECKPOINTS = (checkpoints.WEIGHTS, checkpoints.DESCRIPTION, checkpoints.NEW)
_TRIAL = "trial_"


def is_checkpoint(folder: str) -> bool:
    """Return whether a folder of this name is a checkpoint's."""
    found = _CHECKPOINT.fullmatch(folder)
    return found is not None and found["trial"] == trial_folder(found["id"])


def whole(content: Callable[[str], bytes | None], folder: str) -> dict[str, bytes] | None:
    """Return the files of a remote checkpoint, with a state's best weights, by name as in `packed`.

    Return `None` if it is not intact.

    Args:
        content: Returns the content of a remote file by name; `None` if it does not exist.
        folder: The checkpoint's folder.
    """
    files: dict[str, bytes] = {}
    for part in ("", f"{checkpoints.BEST}/"):
        description = content(f"{folder}/{part}{checkpoints.DESCRIPTION}")
        if description is None:
            continue
        found = (  # the second if a machine was lost while sending
            content(f"{folder}/{part}{file}") for file in (checkpoints.WEIGHTS, checkpoints.NEW)
        )
        fitting = (
            each for each in found if each is not None and checkpoints.fits(description, each)
        )
        weights = next(fitting, None)
        if weights is None:
            return None
        files |= {
            f"{part}{checkpoints.DESCRIPTION}": description,
            f"{part}{checkpoints.WEIGHTS}": weights,
        }
    return files if checkpoints.DESCRIPTION in files else None


def of_project(names: Iterable[str], journal: bytes | None) -> list[str]:
    """Return the names that belong to a project: its trials' files, checkpoints missing in the
    journal, and its records.

    Args:
        names: All names at the URI.
        journal: The project's journal. `None` if there is none, and then no name belongs to a
            project.
    """
    names = list(names)
    if journal is None and f"{HIDDEN}/{FILE}" not in names:
        return []
    trials = set(map(trial_folder, _trial_ids(journal or b"")))
    return [name for name in names if _is_of(name, trials)]


def _is_of(name: str, trials: set[str]) -> bool:
    first, *others = name.split("/")
    folder, _, file = name.rpartition("/")
    if is_shard(first):
        first = "/".join([first, *others[:1]])
    elif not first.startswith(_TRIAL):
        return is_of_a_project(first)
    return first in trials or (
        is_checkpoint(folder) and file in (*OF_CHECKPOINTS, predictions.FILE)
    )


def _trial_ids(journal: bytes) -> Iterator[str]:
    for line in journal.split(b"\n"):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # it may be damaged
            record = untrusted_json.parsed(line)
            if record["record"] == "trial" and isinstance(record["trial_id"], str):
                yield record["trial_id"]
