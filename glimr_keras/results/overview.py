"""What is shown of a tuner or of results: what was searched, and what came out. Runs anywhere;
needs neither Ray nor a model, and changes nothing.
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

if TYPE_CHECKING:  # which imports Keras
    from glimr_keras.results.reader import ProjectReader


@dataclasses.dataclass(frozen=True)
class Overview:
    """A tuner or results, as they are now.

    Attributes:
        kind: The name of their class.
        name: The project's.
        place: Its directory, as a person writes it.
        objective: What is optimised; `None` where nothing says it.
        planned: How many trials the search will have; `None` where that is not known.
        project: What is recorded; `None` before the first search.
        space: The hyperparameters that are known.
        note: Why there is no project, in a sentence.
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
        """Return the best trials, best first; those without a score are not among them."""
        trials = [] if self.project is None else list(self.project.trials.values())
        scored = [trial for trial in trials if trial.is_scored]
        return [] if self.project is None else ranked(scored, self.project.objective)[:count]

    @property
    def ended(self) -> list[Trial]:
        """The trials that have ended, in that order; where it is not recorded, in that of their
        beginnings.
        """
        if self.project is None:
            return []
        trials = self.project.trials
        order = self.project.end_order or list(trials)
        return [trials[trial_id] for trial_id in order]


def overview_of(results: Any) -> Overview:
    """Return what there is to show of a tuner, or of what `open` returned; nothing is built, and no
    directory is made.

    Args:
        results: A `Results`; of a tuner, its oracle says what is planned.
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
    """Return a tuner or results in one line, without reading anything: what `repr` shows."""
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
    """Return where a project is, as a person writes it: its URI, or its directory, relative where
    it is below the working directory.
    """
    if reader.mirror is not None:
        return without_keys(reader.mirror.uri)
    place = reader.place
    try:
        here = pathlib.Path.cwd()
    except OSError:  # which is gone
        return str(place)
    return os.path.relpath(place, here) if place.is_relative_to(here) else str(place)


def _read(reader: ProjectReader) -> tuple[Project | None, str | None]:
    """Return the project, or why there is none."""
    try:
        return reader.read(), None
    except StorageError as error:
        return None, str(error)
    except ProjectError as error:
        is_there = Journal(reader.place).exists() or keras_tuner_files.exists(reader.place)
        is_told = is_there and not getattr(reader, "is_fresh", False)
        return None, str(error) if is_told else "No search yet."
