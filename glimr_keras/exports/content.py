"""What is exported: a project, and what it is called. Runs anywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from glimr_keras.project.journal import Project


@dataclasses.dataclass(frozen=True)
class Content:
    """A project to export.

    Args:
        project: As it was read.
        name: What other tools call it.
        directory: Where it is on this machine.
        uri: Where that is a copy of. Defaults to nowhere.
        epochs: Whether a table is to have a row for each epoch, and not for each trial.
        online: Whether it is sent to a server that could also take it later.
        track: Is given what is written one after the other, and yields it, so that it can be seen
            how far that is. Defaults to showing nothing.
    """

    project: Project
    name: str
    directory: pathlib.Path
    uri: str | None = None
    epochs: bool = False
    online: bool = False
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter

    @property
    def per_trial(self) -> int:
        """How many runs a trial has, when all of them are done."""
        return max(self.project.executions_per_trial, 1) * (self.project.cv_folds or 1)

    @property
    def owner(self) -> str:
        """Letters and digits that no other project has: its id; of one without, of its place."""
        place = self.uri or str(self.directory.resolve())
        return self.project.project_id or hashlib.sha256(place.encode()).hexdigest()[:32]

    @property
    def amount(self) -> str:
        """What it is, in words: `1 trial`, `20 trials`."""
        number = len(self.project.trials)
        return f"{number} trial{'' if number == 1 else 's'}"
