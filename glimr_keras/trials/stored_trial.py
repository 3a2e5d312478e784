"""Trials read from a `trial.json`, which may be untrusted. Runs anywhere."""

from __future__ import annotations

import pathlib
import reprlib
from collections.abc import Mapping
from typing import Any

from glimr_keras._utils import untrusted_json
from glimr_keras._utils.untrusted_json import is_step
from glimr_keras.errors import ProjectError
from glimr_keras.trials.execution import STATUSES
from glimr_keras.trials.layout import trial_directories
from glimr_keras.trials.trial import Trial

FILE = "trial.json"
_LONGEST = 1 << 30
"""The largest file size in bytes: an oracle's file grows with its trials."""


def files_in(project: pathlib.Path) -> list[pathlib.Path]:
    """Return the `trial.json` of each trial that has one, sorted by folder name."""
    files = (place / FILE for place in trial_directories(project))
    return [file for file in files if file.exists()]


def read(path: pathlib.Path) -> Trial:
    """Return the trial whose `trial.json` is at `path`, in a folder `trial_<id>`.

    Raises:
        ProjectError: If it cannot be read, or describes an impossible trial.
    """
    state = read_object(path)
    try:
        _check(state, path.parent.name.removeprefix("trial_"))
        return Trial.from_state({"message": None, **state})
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ProjectError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def read_json(path: pathlib.Path) -> Any:
    """Return the content of a project's JSON file.

    Raises:
        ProjectError: If it cannot be read.
    """
    try:
        return untrusted_json.read(path, _LONGEST)
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} cannot be read: {error}") from error


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """Return the JSON object in a project's file.

    Raises:
        ProjectError: If it cannot be read, or is not an object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ProjectError(f"{path} cannot be read: it is no JSON object.")
    return content


def _check(state: Mapping[str, Any], trial_id: str) -> None:
    if state["trial_id"] != trial_id:  # the id becomes a part of paths
        raise ValueError(f"the folder's trial is not {reprlib.repr(state['trial_id'])}")
    histories = state["metrics"]["metrics"].values()
    observations = [each for history in histories for each in history["observations"]]
    values = [
        value
        for each in observations
        for value in (each["value"] if isinstance(each["value"], list) else [each["value"]])
    ]
    fields = {
        "status": state["status"] in STATUSES,
        "score": state["score"] is None or _is_number(state["score"]),
        "best_step": state["best_step"] is None or is_step(state["best_step"]),
        "message": isinstance(state.get("message"), (str, type(None))),
        "metrics": all(map(_is_number, values))
        and all(is_step(each["step"]) and each["value"] != [] for each in observations),
        "hyperparameters": isinstance(state["hyperparameters"]["values"], dict),
    }
    for name, is_right in fields.items():
        if not is_right:
            raise ValueError(f"`{name}` cannot be {reprlib.repr(state[name])}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))
