"""The content of an export: a project and its name. Runs anywhere."""

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
        project: The project.
        name: The name that other tools show.
        directory: The project's directory on this machine.
        uri: The URI that `directory` is a local copy of. Defaults to `None`, which means that it is
            not a copy.
        epochs: Whether a table has one row per epoch instead of one per trial. Defaults to `False`.
        online: Whether to send the runs to a server now, if the tool can also send them later.
            Defaults to `False`.
        track: A function that receives the items to write and yields them, for example to show
            progress. Defaults to `iter`, which shows nothing.
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
        """Return the number of runs of a trial once all are done."""
        return max(self.project.executions_per_trial, 1) * (self.project.cv_folds or 1)

    @property
    def owner(self) -> str:
        """Return a unique identifier of letters and digits: the project's id, or a hash of its
        location.
        """
        place = self.uri or str(self.directory.resolve())
        return self.project.project_id or hashlib.sha256(place.encode()).hexdigest()[:32]

    @property
    def amount(self) -> str:
        """Return the number of trials as text: `1 trial`, `20 trials`."""
        number = len(self.project.trials)
        return f"{number} trial{'' if number == 1 else 's'}"
