"""The overview of a tuner or of results: what is searched, and the results so far. Runs anywhere,
without Ray or a model, and changes nothing.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import Journal, Project
from glimr_keras.project.remote_files import without_keys
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:  # imports Keras
    from glimr_keras.results.reader import ProjectReader


@dataclasses.dataclass(frozen=True)
class Overview:
    """The current state of a tuner or of results.

    Attributes:
        kind: The name of the class.
        name: The project's name.
        place: The project's directory or URI, in readable form.
        objective: The optimised objective; `None` if unknown.
        planned: The planned number of trials; `None` if unknown.
        project: The recorded project; `None` before the first search.
        space: The known hyperparameters.
        note: A sentence that says why there is no project.
    """

    kind: str
    name: str
    place: str
    objective: Objective | None = None
    planned: int | None = None
    project: Project | None = None
    space: Sequence[HyperParameter] = ()
    note: str | None = None

    def best(self, count: int) -> list[Trial]:
        """Return the best trials with a score, best first."""
        trials = [] if self.project is None else list(self.project.trials.values())
        scored = [trial for trial in trials if trial.is_scored]
        return [] if self.project is None else ranked(scored, self.project.objective)[:count]

    @property
    def ended(self) -> list[Trial]:
        """Return the trials that have ended, ordered by end time, or by start time if none is
        recorded.
        """
        if self.project is None:
            return []
        trials = self.project.trials
        order = self.project.end_order or list(trials)
        return [trials[trial_id] for trial_id in order]


def overview_of(results: Any) -> Overview:
    """Return the overview of a tuner or of results from `open`.

    Nothing is built, and no directory is created.

    Args:
        results: A `Results`. If it is a tuner, its oracle gives the planned number of trials.
    """
    reader: ProjectReader = results._glimr
    oracle = getattr(results, "oracle", None)
    project, note = _read(reader)
    place = shown_place(reader)
    objective = getattr(oracle, "objective", None) if project is None else project.objective
    return Overview(
        type(results).__name__,
        reader.name,
        place,
        objective,
        getattr(oracle, "num_trials_planned", None),
        project,
        reader.space.parameters if project is None else project.parameters,
        note,
    )


def in_short(results: Any) -> str:
    """Return the `repr` of a tuner or of results, without reading anything."""
    reader = getattr(results, "_glimr", None)
    if reader is None:  # its constructor has not run
        return object.__repr__(results)
    oracle = getattr(results, "oracle", None)
    said = [f"project={shown_place(reader)!r}"]
    if oracle is not None:
        goal = ", ".join(part.name for part in oracle.objective.parts)
        said += [f"objective={goal!r}", f"trials={len(oracle.trials)}"]
    return f"<{type(results).__name__} {' '.join(said)}>"


def shown_place(reader: ProjectReader) -> str:
    """Return where a project is, in readable form.

    This is its URI or its directory, which is relative if it is below the working directory.
    """
    if reader.mirror is not None:
        return without_keys(reader.mirror.uri)
    place = reader.place
    try:
        here = pathlib.Path.cwd()
    except OSError:  # it no longer exists
        return str(place)
    return os.path.relpath(place, here) if place.is_relative_to(here) else str(place)


def _read(reader: ProjectReader) -> tuple[Project | None, str | None]:
    """Return the project, or the reason why there is none."""
    try:
        return reader.read(), None
    except StorageError as error:
        return None, str(error)
    except ProjectError as error:
        is_there = Journal(reader.place).exists() or keras_tuner_files.exists(reader.place)
        is_told = is_there and not getattr(reader, "is_fresh", False)
        return None, str(error) if is_told else "No search yet."
