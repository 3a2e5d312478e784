"""Project directories: who owns them, and whether a search may resume there. Runs in the driver."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Sequence
from typing import Any

from glimr_keras.errors import OtherOracleError, ProjectError
from glimr_keras.project import keras_tuner_files
from glimr_keras.project.journal import HIDDEN, Journal, Project, cannot_be_made
from glimr_keras.trials.layout import is_in_shard, is_shard

_OURS = re.compile(rf"{re.escape(HIDDEN)}|trial_(\d+|[0-9a-f]{{32}})|oracle\.json|tuner\d+\.json")


def open_project(
    directory: pathlib.Path, wanted: Project, overwrite: bool, defaults: Collection[str] = ()
) -> tuple[Journal, Project]:
    """Open the project in `directory` for a search, or start it.

    Args:
        directory: The project's directory, created if missing.
        wanted: The project as the search would start it.
        overwrite: Whether to remove the existing trials first. Other files are left unchanged.
        defaults: The names of settings in `wanted` that are only defaults: an existing project
            keeps its own. Defaults to `()`.

    Raises:
        ProjectError: If the directory belongs to something else, to a search that differs from
            `wanted`, or to a search that is running. Nothing is changed then.
    """
    journal = Journal(directory)
    try:
        if journal.exists():
            if not overwrite:
                journal.check_version()
            journal.claim()
        if overwrite:
            journal.close()
            _clear(directory)
        if journal.exists():
            there = journal.read()
            _check_same(directory, there, wanted, defaults)
            _check_links(directory)
            journal.keep_digest_of(there)
            return journal, there
        check_place(directory, overwrite)
        journal.create(wanted)
        return journal, wanted
    except BaseException:
        journal.close()
        raise


def check_place(directory: pathlib.Path, overwrite: bool) -> None:
    """Raise an error if a directory belongs to something else.

    Raises:
        ProjectError: If it is a file, or holds files named like ours without a glimr_keras project.
            Other files are allowed.
        StorageError: If it does not exist and cannot be created.
    """
    _check_can_be_made(directory)
    if directory.exists() and not directory.is_dir():
        raise ProjectError(
            f"The project directory {directory} is a file. Choose another `directory` or "
            "`project_name`."
        )
    if overwrite or Journal(directory).exists() or not directory.exists():
        return
    if keras_tuner_files.exists(directory):
        raise ProjectError(
            f"The project in {directory} is KerasTuner's, and cannot be continued. Choose "
            "another `directory` or `project_name`, and give this one as `warm_start`, or its "
            "best configurations as `initial_points`; `glimr_keras.open_keras_tuner_project` "
            "reads it. `overwrite=True` removes it."
        )
    ours = (
        path for path in directory.iterdir() if path.name != HIDDEN and is_of_a_project(path.name)
    )
    content = sorted(path.name for path in ours if _has_content(path))
    if content:
        raise ProjectError(
            f"The project directory {directory} has files of a project, and holds no glimr_keras "
            f"project. Received: {', '.join(content[:5])}{', …' if len(content) > 5 else ''}. "
            "Choose another `directory` or `project_name`, or pass `overwrite=True` to start a "
            "project there beside what it holds."
        )


def _has_content(path: pathlib.Path) -> bool:
    """Return whether a path is more than an empty folder.

    An empty folder results from merely asking for its path.
    """
    if is_shard(path.name):
        return any(map(_has_content, filter(is_in_shard, path.glob("trial_*"))))
    return not path.is_dir() or any(path.iterdir())


def _check_can_be_made(directory: pathlib.Path) -> None:
    """Raise an error if a directory does not exist and this user cannot create it.

    Only checks what can be known without creating it.
    """
    try:
        places = (directory, *directory.parents)
        nearest = next((place for place in places if place.exists()), None)
        if nearest is None:  # such as one on a missing drive
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory.anchor)
        if nearest != directory and not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
        if nearest != directory and not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))
    except OSError as error:
        raise cannot_be_made(directory, error) from error


def check_oracle(directory: pathlib.Path, there: Project, kind: str, has_own_state: bool) -> None:
    """Raise an error if an oracle cannot resume the project of a different kind of oracle.

    This concerns oracles that resume only from their own state, as in KerasTuner.

    Args:
        directory: The project's directory, for the message.
        there: The project in `directory`.
        kind: The kind of the oracle that would resume it.
        has_own_state: Whether that oracle resumes only from its own state.

    Raises:
        OtherOracleError: If the oracle cannot resume the project.
    """
    if has_own_state and there.oracle not in (None, kind):
        raise OtherOracleError(
            f"The project in {directory} was begun by a {there.oracle}, and a {kind} cannot go on "
            "with it. Choose another `project_name`, and give this one as `warm_start`, so that "
            "its results are learned from; or pass `overwrite=True` to start over."
        )


def is_of_a_project(name: str) -> bool:
    """Return whether glimr_keras (or KerasTuner) gives such a name to a file or directory of a
    project.
    """
    return _OURS.fullmatch(name) is not None or is_shard(name)


def _clear(directory: pathlib.Path) -> None:
    """Remove what glimr_keras (or KerasTuner) wrote into a project, and nothing else."""
    if not (directory / HIDDEN).exists() and not (directory / "oracle.json").exists():
        return
    for path in directory.iterdir():
        if is_of_a_project(path.name):
            _remove(path)


def _remove(path: pathlib.Path) -> None:
    """Remove a path of a project; in a folder of trial folders, remove only these."""
    is_folder = path.is_dir() and not path.is_symlink()
    if is_shard(path.name):
        for trial in path.glob("trial_*") if is_folder else ():
            if is_in_shard(trial):
                _remove(trial)
        with contextlib.suppress(OSError):  # it is not empty
            path.rmdir()
    elif is_folder:
        shutil.rmtree(path)
    else:
        path.unlink()


def _check_links(directory: pathlib.Path) -> None:
    """Raise an error if a project has links out of it, through which a search would write."""
    folders, inside = [directory], os.path.realpath(directory)
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                name, path = entry.name, pathlib.Path(entry.path)
                if path.parent == directory and not is_of_a_project(name):
                    continue
                if not entry.is_symlink():
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                elif not pathlib.Path(os.path.realpath(path)).is_relative_to(inside):
                    raise ProjectError(
                        f"{path} is a link out of the project, and a search would write through "
                        "it. Put what it leads to in its place, or choose another `project_name`."
                    )


def _check_same(
    directory: pathlib.Path, there: Project, wanted: Project, defaults: Collection[str]
) -> None:
    differences = _space_differences(there.space, wanted.space, there.is_whole and wanted.is_whole)
    for name in ("objective", "executions_per_trial", "cv_folds", "score_at"):
        before, now = getattr(there, name), getattr(wanted, name)
        if before != now and name not in defaults:
            differences.append(f"{name} was {before}, is {now}")
    for name, shape in there.shapes.items():
        if wanted.shapes.get(name, shape) != shape:
            differences.append(f"{name} were {_shown(shape)}, are {_shown(wanted.shapes[name])}")
    if differences:
        raise ProjectError(
            f"The project in {directory} holds results of a different search, with "
            f"{len(there.trials)} trials: "
            + "; ".join(differences)
            + ". Choose another `project_name`, or pass `overwrite=True` to remove those results."
        )


def _shown(shapes: Any) -> str:
    """Format the shapes of one sample for messages: `(8,) float32`."""
    if "dict" in shapes:
        return (
            "{"
            + ", ".join(f"{name!r}: {_shown(part)}" for name, part in shapes["dict"].items())
            + "}"
        )
    if "list" in shapes:
        return "[" + ", ".join(map(_shown, shapes["list"])) + "]"
    return f"{tuple(shapes['shape'])} {shapes['dtype']}"


def _space_differences(
    before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], is_known: bool
) -> list[str]:
    """Return the differences between two spaces.

    If either may have further parameters, compare only those that both have.
    """
    old, new = _definitions(before), _definitions(now)
    different = [
        f"hyperparameter {name!r} was {old[name]}, is {new[name]}"
        for name in old
        if new.get(name, old[name]) != old[name]
    ]
    if not is_known:
        return different
    return (
        [f"hyperparameter {name!r} is gone" for name in old if name not in new]
        + [f"hyperparameter {name!r} is new" for name in new if name not in old]
        + different
    )


def _definitions(space: Sequence[dict[str, Any]]) -> dict[str, str]:
    named: dict[str, list[str]] = {}
    for stored in space:
        named.setdefault(stored["config"]["name"], []).append(_canonical(stored))
    return {name: " or ".join(sorted(definitions)) for name, definitions in named.items()}


def _canonical(stored: dict[str, Any]) -> str:
    config = {
        name: value
        for name, value in stored["config"].items()
        if name not in ("name", "conditions") and value is not None
    }
    if "min_value" in config and config.get("default") == config["min_value"]:
        del config["default"]  # equal to the value used when no default is given
    conditions = [
        condition.get("config", condition) for condition in stored["config"].get("conditions") or []
    ]
    text = f"{stored['class_name']}({json.dumps(config, sort_keys=True)[1:-1]})"
    return text + (f" where {json.dumps(conditions)}" if conditions else "")
