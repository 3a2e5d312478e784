"""Convert a project's tables back to a project. Runs anywhere, without Ray or a model.

A table keeps in its `attrs` what its rows cannot hold: the objective and the hyperparameters.
Pandas keeps `attrs` when rows are selected or sorted, and in Parquet files, but not in CSV files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from glimr_keras.errors import ObjectiveError
from glimr_keras.project.journal import Project, serialized
from glimr_keras.space.hp_types import Choice, Fixed, Float, HyperParameter, Int, deserialize
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import Objective, objective_config, objective_from_config
from glimr_keras.trials.score_epochs import choose_epochs
from glimr_keras.trials.trial import Trial

ABOUT = "glimr_keras"
"""The key in a table's `attrs` that holds all of this."""
CONFIG = "config/"
"""The prefix of hyperparameter columns in a table of epochs."""
OF_TRIALS = ("trial_id", "status", "score", "best_epoch", "epochs", "duration", "std_score")
OF_TIMES = ("started", "ended", "worker")
OF_EPOCHS = (
    "config_enum",
    "trial_id",
    "execution",
    "cv_index",
    "status",
    "training_iteration",
    "reused_graph",
    "checkpoint_path",
)
CLASH = "hyperparameters/"
"""The prefix of a hyperparameter whose name equals that of another column."""


def with_about(frame: pd.DataFrame, project: Project, name: str) -> pd.DataFrame:
    """Return the table with the project's metadata in its `attrs`."""
    frame.attrs[ABOUT] = {
        "name": name,
        "objective": objective_config(project.objective),
        "space": project.space,
        "late_space": project.late_space,
        "cv_folds": project.cv_folds,
        "score_at": project.score_at,
        "directions": dict(project.directions),
    }
    return frame


def about(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a table's metadata; empty for a table that was read from a CSV file."""
    found: dict[str, Any] = frame.attrs.get(ABOUT, {})
    return found


def project_of(frame: pd.DataFrame, objective: Objective | None = None) -> Project:
    """Return the project of a table, as far as the table describes it.

    Args:
        frame: A table from `results_dataframe` or `experiment_table`, or some of its rows.
        objective: The objective, if the table does not name it. Defaults to `None`, which means the
            objective that the table names.

    Raises:
        ValueError: If it is any other table.
        ObjectiveError: If the optimised objective is unknown.
    """
    frame = frame.rename(columns=str)
    is_of_epochs = {"trial_id", "execution", "training_iteration", "status"} <= set(frame.columns)
    if not is_of_epochs and not {"trial_id", "status", "score"} <= set(frame.columns):
        raise ValueError(
            "A table must be one of `results_dataframe` or `experiment_table`. Received columns: "
            f"{', '.join(map(str, frame.columns)) or 'none'}"
        )
    said = about(frame)
    goal = _objective(said, objective)
    folds = said["cv_folds"] if said else _num_folds(frame)
    score_at = said.get("score_at", "best")
    trials = (
        _trials_of_epochs(frame, goal, score_at)
        if is_of_epochs
        else _trials_of_results(frame, goal, folds)
    )
    space = said["space"] if said else serialized(_inferred(trials))
    project = Project(
        goal,
        0,
        max((len(trial.executions) // (folds or 1) for trial in trials), default=1) or 1,
        space,
        late_space=said.get("late_space", []),
        trials={trial.trial_id: trial for trial in trials},
        cv_folds=folds,
        score_at=score_at,
        project_id=None,
        directions={**goal.name_to_direction, **said.get("directions", {})},
    )
    for trial in trials:
        trial.hyperparameters.define(project.parameters)
    return project


def _objective(said: Mapping[str, Any], objective: Objective | None) -> Objective:
    if said:
        return objective_from_config(said["objective"])
    if objective is None:
        raise ObjectiveError(
            "The table does not say what was optimised, as one that was read from a file. Pass "
            '`objective=`, such as `Objective("val_loss", "min")`.'
        )
    return objective.resolved({})


def _num_folds(frame: pd.DataFrame) -> int | None:
    if "cv_index" in frame:
        return None if frame.empty else int(frame["cv_index"].max()) + 1
    return sum(re.fullmatch(r"fold\d+_score", name) is not None for name in frame.columns) or None


def _trials_of_results(frame: pd.DataFrame, goal: Objective, folds: int | None) -> list[Trial]:
    of_folds = [f"fold{fold}_score" for fold in range(folds or 0)]
    known = {
        *OF_TRIALS,
        *OF_TIMES,
        *of_folds,
        "weights_epoch",
        "gpu_memory",
        "reused_graph",
        *(part.name for part in goal.parts),
    }
    names = {name: name.removeprefix(CLASH) for name in frame.columns if name not in known}
    configurations = Configurations(frame, names)
    trials = []
    for row in _rows(frame):
        scores = [row.get(name) for name in of_folds] if of_folds else [row["score"]]
        executions = {
            number: Execution(
                row["status"],
                best_epoch=_number(row, "best_epoch", int),
                score=None if score is None or pd.isna(score) else float(score),
                duration=None if number else _number(row, "duration", float),
                started=_seconds(row, "started"),
                ended=_seconds(row, "ended"),
                worker=row["worker"] if _is_there(row.get("worker")) else None,
            )
            for number, score in enumerate(scores)
        }
        trials.append(_trial(row, configurations.of(row), executions))
    return trials


def _trials_of_epochs(frame: pd.DataFrame, goal: Objective, score_at: str) -> list[Trial]:
    metrics = [
        name
        for name in frame.columns
        if name not in OF_EPOCHS
        and not name.startswith(CONFIG)
        and pd.api.types.is_numeric_dtype(frame[name])
    ]
    configurations = Configurations.in_epochs(frame)
    trials: dict[str, Trial] = {}
    for row in _rows(frame):
        trial = trials.get(row["trial_id"])
        if trial is None:
            trial = trials[row["trial_id"]] = _trial(row, configurations.of(row), {})
        execution = trial.executions.setdefault(row["execution"], Execution(row["status"]))
        logs = {name: float(row[name]) for name in metrics if _is_there(row[name])}
        execution.observe(int(row["training_iteration"]), logs, goal)
    for trial in trials.values():
        found = [execution.status for execution in trial.executions.values()]
        trial.status = next((status for status in _WORST_FIRST if status in found), found[0])
        if trial.is_scored:
            choose_epochs(trial, goal, score_at)
    return list(trials.values())


_WORST_FIRST = ("FAILED", "RUNNING", "STOPPED")
"""A trial has the first of these statuses that one of its executions has."""


class Configurations:
    """Read the configurations from the rows of a table.

    An empty cell means that the configuration lacks the hyperparameter, or that its value is
    `None`. Only a table that knows its space can distinguish the two. The value is `None` if the
    conditions hold and `None` is an option. Reserved values, which say which part of a training a
    trial is, become integers and ids again, as before they were saved.

    Args:
        frame: The table.
        names: The full names of hyperparameters, by column.
    """

    def __init__(self, frame: pd.DataFrame, names: Mapping[str, str]) -> None:
        said = about(frame)
        space = map(deserialize, [*said.get("space", []), *said.get("late_space", [])])
        self._names = names
        self._may_be_none = [parameter for parameter in space if parameter.allows(None)]
        ids = list(map(str, frame["trial_id"].unique() if "trial_id" in frame else ()))
        self._ids = {_integer(trial_id): trial_id for trial_id in ids}
        self._ids |= {trial_id: trial_id for trial_id in ids}

    @classmethod
    def in_epochs(cls, frame: pd.DataFrame) -> Configurations:
        """Return the reader for a table of epochs."""
        columns = [name for name in frame.columns if str(name).startswith(CONFIG)]
        return cls(frame, {name: name.removeprefix(CONFIG) for name in columns})

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a row, by full name."""
        cells = {name: row[column] for column, name in self._names.items()}
        values = {name: cell for name, cell in cells.items() if _is_there(cell)}
        for parameter in self._may_be_none:
            name = parameter.name
            if name in cells and name not in values and parameter.exists(values):
                values[name] = None
        values |= {name: _integer(values[name]) for name in _NUMBERS if name in values}
        if Stage.PARENT in values:
            values[Stage.PARENT] = self._id(values[Stage.PARENT])
        return {name: values[name] for name in cells if name in values}

    def _id(self, cell: Any) -> str:
        """Return the trial id of a cell as the table spells it: `7.0` may mean `"7"` or
        `"0007"`.
        """
        number = _integer(cell)
        return self._ids.get(str(cell)) or self._ids.get(number) or str(number)


_NUMBERS = [name for name in Stage.NAMES if name != Stage.PARENT]


def _integer(value: Any) -> Any:
    """Return a number or text as an integer where possible (`7` for `7.0` and `"0007"`).

    Any other value is returned unchanged.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else value


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")]


def _trial(
    row: Mapping[str, Any], values: Mapping[str, Any], executions: Mapping[int, Execution]
) -> Trial:
    return Trial.of(str(row["trial_id"]), values, executions=executions, status=row["status"])


def _is_there(value: Any) -> bool:
    """Return whether a cell has a value. A list counts as a value."""
    missing = pd.isna(value)
    return not (isinstance(missing, bool) and missing)


def _number(row: Mapping[str, Any], name: str, kind: type) -> Any:
    return kind(row[name]) if _is_there(row.get(name)) else None


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    return pd.Timestamp(row[name]).timestamp() if _is_there(row.get(name)) else None


def _inferred(trials: Iterable[Trial]) -> list[HyperParameter]:
    """Return hyperparameters whose ranges or options cover the trials' values."""
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for name, value in trial.values.items():
            if name not in Stage.NAMES:
                values.setdefault(name, []).append(value)
    return [_parameter(name, found) for name, found in values.items()]


def _parameter(name: str, values: list[Any]) -> HyperParameter:
    options = list(dict.fromkeys(value for value in values if not isinstance(value, list)))
    if len(options) == 1 and options[0] is not None:
        return Fixed(name, options[0])
    kinds = set(map(type, options))
    if kinds == {int}:
        return Int(name, min(options), max(options))
    if kinds <= {int, float}:
        return Float(name, float(min(options)), float(max(options)))
    return Choice(name, options)
