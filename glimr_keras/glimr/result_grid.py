"""A project as a Ray Tune `ResultGrid`, with one result per training. Runs in the driver."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.fs
from ray import tune

from glimr_keras._utils.nested import nested
from glimr_keras.project.journal import Journal
from glimr_keras.results import tables
from glimr_keras.space.declared_space import DeclaredSpace
from glimr_keras.trials.execution import TrialStatus

_SCOPES = {"all": None, "avg": 0, "last-5-avg": 5, "last-10-avg": 10}


class ProjectResultGrid(tune.ResultGrid):
    """The results of a project, one per training, in the order of configurations and folds.

    Metrics are those of the last epoch, `best_checkpoints` has the epoch whose weights were saved,
    and `config` is the configuration as nested dicts.

    Args:
        directory: The project's directory.
        space: The declared space, whose fixed values are added to each result's `config`. Defaults
            to `None`: `config` has the searched values only.
    """

    def __init__(self, directory: pathlib.Path, space: DeclaredSpace | None = None) -> None:
        self._directory = directory
        project = Journal(directory).read()
        self._metric, self._mode = project.objective.name, project.objective.direction
        self._table = tables.experiment_table(directory)
        epochs = dict(list(self._table.groupby(["trial_id", "execution"])))
        self._results, self._statuses = [], []
        for trial in project.trials.values():
            for number, execution in sorted(trial.executions.items()):
                rows = epochs.get((trial.trial_id, number), self._table.iloc[:0])
                error = (
                    None
                    if execution.status != TrialStatus.FAILED
                    else RuntimeError(execution.message)
                )
                config = nested(trial.values) if space is None else space.fill(trial.values)
                self._results.append(_result(rows.reset_index(drop=True), config, directory, error))
                self._statuses.append(execution.status)

    @property
    def experiment_path(self) -> str:
        """Return the project's directory."""
        return str(self._directory)

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """Return the file system of `experiment_path`, which is local."""
        return pyarrow.fs.LocalFileSystem()

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> tune.Result:
        """Return the best training among those that did not fail.

        Args:
            metric: Name of the metric. Defaults to `None`, which means the search's objective.
            mode: `"min"` or `"max"`. Defaults to `None`, which means the search's direction.
            scope: Which epochs of a training count: the `"last"`; the best of `"all"`; the mean of
                all (`"avg"`), of the last five (`"last-5-avg"`) or of the last ten
                (`"last-10-avg"`). Defaults to `"last"`.
            filter_nan_and_inf: Whether to leave out trainings whose value is NaN or infinite.
                Defaults to `True`.

        Raises:
            ValueError: If `scope` or `mode` is invalid, or there is no such metric.
            RuntimeError: If no training has a value.
        """
        metric, mode = metric or self._metric, mode or self._mode
        if scope not in ("last", *_SCOPES):
            raise ValueError(
                f"`scope` must be one of 'last', {', '.join(map(repr, _SCOPES))}. Received: "
                f"scope={scope!r}"
            )
        tables.top_k_trials(
            self._table, metric, mode or "", 1
        )  # raises an error for an invalid metric or mode
        scored = []
        for result in (result for result in self._results if result.error is None):
            values = _values(result.metrics_dataframe, metric)
            score = _scored(values, scope, mode or "") if len(values) else math.nan
            if len(values) and (math.isfinite(score) or not filter_nan_and_inf):
                scored.append((score, result))
        if not scored:
            raise RuntimeError(f"No training has a value of {metric!r}.")
        return (max if mode == "max" else min)(scored, key=lambda pair: pair[0])[1]

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> pd.DataFrame:
        """Return one row per training, as in `experiment_table`: its last or its best epoch.

        Args:
            filter_metric: Metric that selects the best epoch. Defaults to `None`: the last epoch.
            filter_mode: `"min"` or `"max"`. Defaults to `None`: the search's direction.
        """
        if filter_metric is None:
            return self._table.drop_duplicates(["trial_id", "execution"], keep="last").reset_index(
                drop=True
            )
        best = tables.top_k_trials(
            self._table, filter_metric, filter_mode or self._mode or "", None
        )
        return best.sort_values(["config_enum", "execution"]).reset_index(drop=True)

    @property
    def num_errors(self) -> int:
        """Return the number of trainings that failed."""
        return self._statuses.count(TrialStatus.FAILED)

    @property
    def num_terminated(self) -> int:
        """Return the number of trainings that ended without an error."""
        return len(self._statuses) - self.num_errors - self._statuses.count(TrialStatus.RUNNING)


def _result(
    rows: pd.DataFrame, config: dict[str, Any], directory: pathlib.Path, error: Exception | None
) -> tune.Result:
    names = [
        name
        for name in rows.columns
        if not name.startswith("config/") and name != "checkpoint_path"
    ]
    saved = rows[rows["checkpoint_path"].notna()]
    checkpoints = [
        (tune.Checkpoint.from_directory(row["checkpoint_path"]), row[names].dropna().to_dict())
        for _, row in saved.iterrows()
    ]
    last = rows.iloc[-1][names].dropna().to_dict() if len(rows) else {}
    return tune.Result(
        metrics={**last, "config": config},
        checkpoint=checkpoints[0][0] if checkpoints else None,
        error=error,
        path=checkpoints[0][0].path if checkpoints else str(directory),
        metrics_dataframe=rows,
        best_checkpoints=checkpoints,
    )


def _values(rows: Any, metric: str) -> np.ndarray:
    return rows[metric].dropna().to_numpy(float)


def _scored(values: np.ndarray, scope: str, mode: str) -> float:
    if scope == "last":
        return float(values[-1])
    if scope == "all":
        return float(values.max() if mode == "max" else values.min())
    return float(values[-(_SCOPES[scope] or len(values)) :].mean())
