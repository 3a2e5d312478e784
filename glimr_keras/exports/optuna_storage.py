"""A project as a study in an Optuna storage. Uses Optuna; runs anywhere."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from glimr_keras.exports.content import Content
from glimr_keras.exports.places import outside_projects, shown, telling
from glimr_keras.exports.sqlite import SUFFIXES, filled_at_once
from glimr_keras.results.study import to_study


def write_study(content: Content, where: str) -> str:
    """Write the study, or update an existing one.

    Args:
        content: The content to write.
        where: The storage's URL, such as `"sqlite:///study.db"` or `"journal:///study.log"`, or a
            file. A file with the suffix `.db`, `.sqlite` or `.sqlite3` is an SQLite database; any
            other file is an Optuna journal.

    Returns:
        A sentence that says what was written.

    Raises:
        ProjectError: If a study of this name belongs to something else, or the file is inside a
            project.
        StorageError: If the storage cannot be written to.
    """
    from optuna.exceptions import StorageInternalError

    storage = storage_of(where)
    project = dataclasses.replace(content.project, project_id=content.owner)
    url = storage if isinstance(storage, str) else None
    with telling("Optuna", where, StorageInternalError), filled_at_once(url):
        study = to_study(project, storage, content.name, content.directory)
    return f"The study {study.study_name!r} in {shown(where)} has {content.amount}."


def storage_of(where: str) -> Any:
    """Return the storage for a URL or file, in a form that `to_study` accepts."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" in where and not where.startswith("journal://"):
        return where
    place = outside_projects(pathlib.Path(where.removeprefix("journal://")).absolute())
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix in SUFFIXES:
        return f"sqlite:///{place}"
    return JournalStorage(JournalFileBackend(str(place)))
