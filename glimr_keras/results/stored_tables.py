"""Tables of a project, and the way back: a project from a table. Runs anywhere; needs neither Ray
nor a model.

A table remembers in its `attrs` what its rows cannot say: the objective and the hyperparameters.
Pandas keeps them when rows are chosen or sorted, and in Parquet files, but not in CSV files.
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
"""The attribute of a table in which all of that is."""
CONFIG = "config/"
"""What the names of hyperparameters have before them in a table of epochs."""
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
"""What a hyperparameter has before its name that has the name of another column."""


def with_about(frame: pd.DataFrame, project: Project, name: str) -> pd.DataFrame:
    """Return the table with what it is about."""
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
    """Return what a table is about; nothing of one that was read from a CSV file."""
    found: dict[str, Any] = frame.attrs.get(ABOUT, {})
    return found


def project_of(frame: pd.DataFrame, objective: Objective | None = None) -> Project:
    """Return the project that a table shows, as far as it does.

    Args:
        frame: As `results_dataframe` or `experiment_table` returns it, or some of its rows.
        objective: What is optimised, where the table does not say that.

    Raises:
        ValueError: If it is another table.
        ObjectiveError: If it is not known what was optimised.
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
"""What a trial is if one of its executions is it."""


class Configurations:
    """Reads the configurations that rows of a table have.

    An empty cell is of a hyperparameter that the configuration does not have, or of one whose value
    is `None`. Only a table that knows its space tells which: where the conditions hold and `None`
    is an option, it is the value. What says which part of a training a trial is, becomes the
    integers and the id that it was before it was in a file.

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
        """Return those of a table of epochs."""
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
        """Return the id that a cell means, as the table has it: `7.0` may be `"7"` or `"0007"`."""
        number = _integer(cell)
        return self._ids.get(str(cell)) or self._ids.get(number) or str(number)


_NUMBERS = [name for name in Stage.NAMES if name != Stage.PARENT]


def _integer(value: Any) -> Any:
    """Return the integer that a number or a text is, such as `7` for `7.0` and `"0007"`; anything
    else as it is.
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
    """Tell whether a cell has something; a list in it has."""
    missing = pd.isna(value)
    return not (isinstance(missing, bool) and missing)


def _number(row: Mapping[str, Any], name: str, kind: type) -> Any:
    return kind(row[name]) if _is_there(row.get(name)) else None


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    return pd.Timestamp(row[name]).timestamp() if _is_there(row.get(name)) else None


def _inferred(trials: Iterable[Trial]) -> list[HyperParameter]:
    """Return hyperparameters that could have had the values that trials have."""
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
