"""A project as one JSON document, for programs in any language. Runs anywhere."""

from __future__ import annotations

import datetime
import json
import math
import pathlib
from typing import Any

from glimr_keras.exports.content import Content
from glimr_keras.exports.files import put
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import objective_config
from glimr_keras.trials.trial import Trial, fold_of

FORMAT = 1
"""The version of the format. It increases when the meaning of a name changes."""


def write_json(content: Content, where: str) -> str:
    """Write the document to a file.

    Returns:
        A sentence that says what was written.
    """
    text = json.dumps(document(content), indent=1, ensure_ascii=False, allow_nan=False)
    put(pathlib.Path(where), text.encode())
    return f"Wrote {where} ({content.amount})."


def document(content: Content) -> dict[str, Any]:
    """Return everything known about a project, as JSON types.

    Times are ISO 8601 strings in UTC. Numbers that JSON cannot represent are the strings `"nan"`,
    `"inf"` and `"-inf"`.
    """
    project = content.project
    return {
        "format": FORMAT,
        "name": content.name,
        "project_id": project.project_id,
        "created": _moment(project.created),
        "oracle": project.oracle,
        "objective": objective_config(project.objective),
        "directions": dict(project.directions),
        "seed": project.seed,
        "executions_per_trial": project.executions_per_trial,
        "cv_folds": project.cv_folds,
        "score_at": project.score_at,
        "space": _json(project.space + project.late_space),
        "trials": [_trial(content, trial) for trial in project.trials.values()],
    }


def _trial(content: Content, trial: Trial) -> dict[str, Any]:
    number = trial.best_execution(content.project.objective)
    return {
        "trial_id": trial.trial_id,
        "status": trial.status,
        "score": _number(trial.score),
        "best_execution": number,
        "values": _json(trial.values),
        "started": _moment(trial.started),
        "ended": _moment(trial.ended),
        "duration": trial.duration,
        "message": trial.message,
        "executions": [
            _execution(content, index, execution)
            for index, execution in sorted(trial.executions.items())
        ],
    }


def _execution(content: Content, number: int, execution: Execution) -> dict[str, Any]:
    times = execution.epoch_times
    return {
        "execution": number,
        "fold": fold_of(number, content.project.cv_folds),
        "status": execution.status,
        "score": _number(execution.score),
        "best_epoch": execution.best_epoch,
        "weights_epoch": execution.saved_epoch,
        "started": _moment(execution.started),
        "ended": _moment(execution.ended),
        "duration": execution.duration,
        "worker": execution.worker,
        "gpu_memory": execution.gpu_memory,
        "reused_graph": execution.reused_graph,
        "message": execution.message,
        "returned": _json(execution.returned),
        "epochs": [
            {"epoch": epoch, "time": _moment(times.get(epoch)), "metrics": _json(metrics)}
            for epoch, metrics in sorted(execution.history.items())
        ],
    }


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(part) for part in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
