"""Which of the names at a URI are of a project. Runs anywhere.

Others may have objects below the same URI, and an object's name may be any text, also one with `..`
in it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from glimr_keras._utils import untrusted_json
from glimr_keras.project import checkpoints
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
    """Whether a checkpoint is in a folder of this name."""
    found = _CHECKPOINT.fullmatch(folder)
    return found is not None and found["trial"] == trial_folder(found["id"])


def of_project(names: Iterable[str], journal: bytes | None) -> list[str]:
    """Which names are of a project: what is of its trials, checkpoints that no journal tells of,
    and its records.

    Args:
        names: All that there are.
        journal: The project's; `None` if there is none, and nothing is of a project.
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
    return first in trials or (is_checkpoint(folder) and file in OF_CHECKPOINTS)


def _trial_ids(journal: bytes) -> Iterator[str]:
    for line in journal.split(b"\n"):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # it may be damaged
            record = untrusted_json.parsed(line)
            if record["record"] == "trial" and isinstance(record["trial_id"], str):
                yield record["trial_id"]
