"""Tables of a project's trials, folds and epochs: DataFrames in, DataFrames out. Runs anywhere,
without Ray or a model.

A *configuration* is a trial of the search. With cross validation it is trained once per fold.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from glimr_keras._utils.garbage import without_garbage_collection
from glimr_keras._utils.nested import nested
from glimr_keras.errors import did_you_mean
from glimr_keras.project import checkpoints, keras_tuner_files
from glimr_keras.project.journal import Project
from glimr_keras.project.remote_files import project_name
from glimr_keras.project.remote_mirror import place_to_read
from glimr_keras.results.stored_tables import (
    CLASH,
    CONFIG,
    OF_TIMES,
    Configurations,
    with_about,
)
from glimr_keras.trials.execution import TrialStatus
from glimr_keras.trials.layout import execution_directory
from glimr_keras.trials.ranking import pareto_front as ranked_front
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial, fold_of

_OF_A_TRAINING = ["config_enum", "execution"]
_FIRST = ["config_enum", "trial_id", "execution", "status", "training_iteration"]
_EPOCH, _PATH = "training_iteration", "checkpoint_path"
_ABSENT = float("nan")


def experiment_table(source: Any, checkpointed: bool = False) -> pd.DataFrame:
    """Return a table with one row per epoch of each training run of a project.

    Args:
        source: The project's directory, its URI, or its tuner. A search may still be running in it.
            For a URI, all checkpoints are downloaded. A KerasTuner project has one row per training
            run, without its weights.
        checkpointed: Whether to return only the epochs whose weights exist: the best epoch of each
            training run. Defaults to `False`.

    Returns:
        A table with these columns:

        - `config_enum`: The number of the configuration, counted from 0; the same in all folds.
        - `trial_id` (str)
        - `execution`: Counted from 0.
        - `cv_index`: The fold, counted from 0; only with cross validation.
        - `status`: The status of the training run.
        - `training_iteration`: The epoch, counted from 1.
        - `reused_graph` (bool): Only if a training run reused graphs of an earlier one.
        - One column per metric.
        - `config/…`: One column per hyperparameter, empty if a configuration does not have it.
        - `checkpoint_path`: The directory with the weights of this epoch, or `None`.

    Raises:
        ProjectError: If there is no project.
    """
    directory, mirror = place_to_read(getattr(source, "project_dir", source))
    if mirror is not None:
        mirror.fetch_all()
    project = keras_tuner_files.read_any(directory)
    reader = getattr(source, "_glimr", None)
    name = project_name(source) if reader is None else reader.name
    return epochs_table(project, directory, name, checkpointed)


def epochs_table(
    project: Project, directory: pathlib.Path, name: str, checkpointed: bool = False
) -> pd.DataFrame:
    """Return a project's table of epochs; see `experiment_table`.

    Args:
        project: The project.
        directory: The directory of its weights on this machine.
        name: The project's name.
        checkpointed: See `experiment_table`. Defaults to `False`.
    """
    with without_garbage_collection():
        trainings = list(_trainings(project, directory, checkpointed))
        if not any(each.about["reused_graph"] for each in trainings):
            for each in trainings:
                del each.about["reused_graph"]
        trainings = [each for each in trainings if each.epochs]
        names = dict.fromkeys([*_FIRST, *_names_in(trainings)])
        of_values = [name for name in names if name.startswith(CONFIG)]
        others = [name for name in names if name not in of_values and name != _PATH]
        measured = {name for each in trainings for seen in each.epochs.values() for name in seen}
        of_epochs = [name for name in names if name == _EPOCH or name in measured - {_PATH}]
        of_trainings = [name for name in [*others, *of_values] if name not in of_epochs]
        lasting = _frame([_lasting(each, of_trainings) for each in trainings], of_trainings)
        changing = _frame(
            [row for each in trainings for row in _epochs(each, of_epochs)], of_epochs
        )
        counts = [len(each.epochs) for each in trainings]
        places = np.repeat(np.arange(len(trainings)), counts)
        repeated = lasting.take(places).reset_index(drop=True)
        table = pd.concat([repeated, changing], axis="columns")[[*others, *of_values]]
        paths = [
            each.path if epoch == each.saved else None
            for each in trainings
            for epoch in each.epochs
        ]
    return with_about(table.assign(**{_PATH: pd.Series(paths, table.index, object)}), project, name)


def _frame(rows: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    """Return a table that keeps integer hyperparameters as integers."""
    frame = pd.DataFrame(rows, columns=columns)
    for place, column in enumerate(columns):
        if column.startswith(CONFIG):
            values = (row[place] for row in rows)
            present = [value for value in values if value is not None and value is not _ABSENT]
            _keep_integers(frame, column, present)
    return frame


@dataclasses.dataclass(frozen=True, slots=True)
class _Training:
    """The contents of a training run's rows.

    Attributes:
        about: The values that all its rows share, by column.
        values: The hyperparameters, by column.
        epochs: The metrics of each epoch that has a row.
        path: The directory of its weights.
        saved: The epoch of its weights; `None` if there are none.
    """

    about: dict[str, Any]
    values: dict[str, Any]
    epochs: dict[int, dict[str, float]]
    path: str
    saved: int | None


def _lasting(training: _Training, columns: list[str]) -> tuple[Any, ...]:
    """Return the values that all rows of a training run share."""
    known = training.about | training.values
    return tuple([known.get(column, _ABSENT) for column in columns])


def _epochs(training: _Training, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values that differ between the rows of a training run: its epochs and metrics."""
    for epoch, metrics in training.epochs.items():
        row = {**training.about, _EPOCH: epoch, **metrics, **training.values}
        yield tuple([row.get(column, _ABSENT) for column in columns])


def _trainings(
    project: Project, directory: pathlib.Path, checkpointed: bool
) -> Iterator[_Training]:
    """Yield the contents of each training run's rows; see `epochs_table`."""
    is_flat = keras_tuner_files.exists(directory)
    for index, trial in enumerate(map(Trial.to_read, project.trials.values())):
        values = {f"{CONFIG}{name}": value for name, value in trial.values.items()}
        for number, execution in sorted(trial.executions.items()):
            about = {"config_enum": index, "trial_id": trial.trial_id, "execution": number}
            if project.cv_folds is not None:
                about["cv_index"] = fold_of(number, project.cv_folds)
            about["reused_graph"] = execution.reused_graph
            about["status"] = execution.status
            place = execution_directory(directory, trial.trial_id, number, is_flat)
            saved = execution.saved_epoch if checkpoints.exists(place) else None
            epochs = execution.history
            if checkpointed:
                epochs = {each: seen for each, seen in epochs.items() if each == saved}
            yield _Training(about, values, epochs, str(place), saved)


def _names_in(trainings: Iterable[_Training]) -> Iterator[str]:
    """Yield the column names of the rows in order of appearance; some may repeat."""
    seen = set()
    for training in trainings:
        before, after = tuple(training.about), tuple(training.values)
        for metrics in training.epochs.values():
            names = (before, tuple(metrics), after)
            if names not in seen:
                seen.add(names)
                yield from (*before, *metrics, *after)


def default_checkpoints(df: pd.DataFrame) -> pd.DataFrame:
    """Return the row of each training run whose weights exist: its best epoch by the objective.

    Args:
        df: A table from `experiment_table`.
    """
    return df[df["checkpoint_path"].notna()].reset_index(drop=True)


def top_k_trials(
    df: pd.DataFrame,
    metric: str,
    mode: str = "max",
    k: int | None = 10,
    fold: int | None = None,
    config_filter: Callable[[dict[str, Any]], bool] | None = None,
) -> pd.DataFrame:
    """Return the best training runs from best to worst, each with its best epoch.

    Failed training runs are left out.

    Args:
        df: A table from `experiment_table`, or some of its rows.
        metric: The column to rank by.
        mode: `"max"` or `"min"`. Defaults to `"max"`.
        k: The number of training runs, at least 1; `None` for all. Defaults to `10`.
        fold: The only fold to include, counted from 0. Defaults to `None`, which means all folds.
        config_filter: A function that receives a configuration as nested dicts; only those for
            which it returns true are included. Defaults to `None`, which means all.

    Raises:
        ValueError: If there is no such metric or fold, `mode` is invalid, or `k` is below 1.
    """
    _check(df, metric, mode, k)
    if fold is not None:
        if "cv_index" not in df or fold not in set(df["cv_index"]):
            there = (
                sorted(set(df["cv_index"]))
                if "cv_index" in df
                else "no folds, the project has no cross validation"
            )
            raise ValueError(
                f"`fold` must be one of the folds. Received: fold={fold!r}; there are {there}"
            )
        df = df[df["cv_index"] == fold]
    if config_filter is not None:
        chosen = [name for name in df.columns if name.startswith(CONFIG)]
        known = Configurations.in_epochs(df)
        configs = [nested(known.of(row)) for row in df[chosen].to_dict("records")]
        df = df[[bool(config_filter(config)) for config in configs]]
    return _best_epochs(df, metric, mode).head(len(df) if k is None else k).reset_index(drop=True)


def config_table(
    df: pd.DataFrame, metric: str, mode: str = "max", statistic: Callable[[Any], float] = np.mean
) -> pd.DataFrame:
    """Return one row per configuration, from best to worst, with the values of its folds.

    Without cross validation, the values are those of its executions. Each training run counts with
    its own best epoch, regardless of `score_at`; failed ones do not count.

    Args:
        df: A table from `experiment_table`, or some of its rows.
        metric: The column to rank by.
        mode: `"max"` or `"min"`. Defaults to `"max"`.
        statistic: The function that ranks configurations. It receives the values of the folds,
            shape (folds,). Defaults to `np.mean`.

    Returns:
        A table with these columns:

        - `config_enum` and `trial_id`
        - `rank_<metric>`: Counted from 1; equal configurations share the better rank.
        - `mean_<metric>`
        - `std_<metric>`: Of the population, as in scikit-learn.
        - `<its name>_<metric>`: The statistic, if it is not the mean.
        - `fold0_<metric>`, …: Without cross validation, `execution0_<metric>`, ….
        - `config/…`: The hyperparameters.

        Configurations with a stopped training run come after the others. Last are those that lack
        folds which others have.

    Raises:
        ValueError: If there is no such metric, or `mode` is invalid.
    """
    _check(df, metric, mode)
    best = _best_epochs(df, metric, mode)
    part, word = ("cv_index", "fold") if "cv_index" in best else ("execution", "execution")
    parts = best.pivot_table(index="config_enum", columns=part, values=metric, aggfunc="mean")
    values = best.groupby("config_enum")[metric]
    name = getattr(statistic, "__name__", "statistic")
    table = pd.DataFrame({f"mean_{metric}": values.mean(), f"std_{metric}": values.std(ddof=0)})
    ranking = values.apply(lambda folds: float(statistic(folds.to_numpy())))
    if name != "mean":
        table[f"{name}_{metric}"] = ranking
    missing = parts.isna().sum(axis=1)
    stopped = best["status"].eq(TrialStatus.STOPPED).groupby(best["config_enum"]).any()
    order = pd.DataFrame(
        {"missing": missing, "stopped": stopped, "cost": -ranking if mode == "max" else ranking}
    )
    table.insert(0, f"rank_{metric}", order.apply(tuple, axis=1).rank(method="min").astype(int))
    table = table.join(parts.rename(columns=lambda number: f"{word}{number}_{metric}"))
    kept = ["trial_id", *(column for column in best.columns if column.startswith(CONFIG))]
    configurations = best.groupby("config_enum")[kept].first()
    table = configurations[["trial_id"]].join(table).join(configurations[kept[1:]])
    return table.sort_values([f"rank_{metric}", "trial_id"]).rename_axis(columns=None).reset_index()


def top_k_configs(
    df: pd.DataFrame,
    metric: str,
    mode: str = "max",
    k: int | None = 10,
    statistic: Callable[[Any], float] = np.median,
) -> pd.DataFrame:
    """Return the training runs of the best configurations, each with its best epoch.

    Configurations are ordered from best to worst.

    Args:
        df: A table from `experiment_table`, or some of its rows.
        metric: The column to rank by.
        mode: `"max"` or `"min"`. Defaults to `"max"`.
        k: The number of configurations, at least 1; `None` for all. Defaults to `10`.
        statistic: The function that ranks configurations. It receives the values of the folds,
            shape (folds,). Defaults to `np.median`.

    Returns:
        One row per training run of these configurations, in the order of the folds. The columns are
        those of `experiment_table` and the additional ones of `config_table`.

    Raises:
        ValueError: If there is no such metric, `mode` is invalid, or `k` is below 1.
    """
    _check(df, metric, mode, k)
    ranked = config_table(df, metric, mode, statistic)
    ranked = ranked.head(len(ranked) if k is None else k)
    new = [column for column in ranked.columns if column not in df.columns]
    rows = _best_epochs(df, metric, mode).merge(ranked[["config_enum", *new]], on="config_enum")
    order = {number: place for place, number in enumerate(ranked["config_enum"])}
    return rows.sort_values(
        _OF_A_TRAINING,
        key=lambda column: column.map(order) if column.name == "config_enum" else column,
    ).reset_index(drop=True)


def _best_epochs(df: pd.DataFrame, metric: str, mode: str) -> pd.DataFrame:
    """Return the best row of each training run, best first. Failed training runs are left out."""
    ordered = (
        df[df["status"] != TrialStatus.FAILED]
        .dropna(subset=[metric])
        .sort_values(metric, ascending=mode == "min", kind="stable")
    )
    return ordered.drop_duplicates(_OF_A_TRAINING)


def _check(df: pd.DataFrame, metric: str, mode: str, k: int | None = None) -> None:
    if metric not in df.columns or not pd.api.types.is_numeric_dtype(df[metric]):
        known = [
            column
            for column in df.columns
            if pd.api.types.is_numeric_dtype(df[column])
            and column not in (*_OF_A_TRAINING, "cv_index", "training_iteration", "reused_graph")
            and not column.startswith(CONFIG)
        ]
        raise ValueError(
            f"There is no metric {metric!r} in the table.{did_you_mean(metric, known)} It has: "
            f"{', '.join(known)}"
        )
    if mode not in ("max", "min"):
        raise ValueError(f"`mode` must be 'max' or 'min'. Received: mode={mode!r}")
    if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1):
        raise ValueError(f"`k` must be a positive integer or None. Received: k={k!r}")


COLUMNS = ("trial_id", "status", "score", "best_epoch", "epochs", "duration")


def results_dataframe(project: Project, name: str = "") -> pd.DataFrame:
    """Return one row per trial, from best to worst.

    Completed trials come first, then trials that were stopped early, then trials without a score.

    Args:
        project: The project.
        name: The project's name. Defaults to `""`.

    Returns:
        A table with these columns:

        - `trial_id` (str)
        - `status` (str)
        - `score` (float): NaN without one. With cross validation the mean, followed by `std_score`
          (of the population, as in scikit-learn) and `fold0_score`, ….
        - `best_epoch`: The epoch of the score in the best execution, counted from 1.
        - `weights_epoch`: The epoch of the weights of the best execution. Only if a trial was
          scored at another epoch than a training run's best one. `experiment_table` has it for each
          execution.
        - `epochs`: The number of epochs that the model has seen in the longest execution, including
          those of the trial that it continues.
        - `duration`: In seconds, summed over executions.
        - `gpu_memory`: The most bytes on one GPU. Only if a trial had a GPU.
        - `reused_graph` (bool): Whether a training run of the trial reused graphs of an earlier
          one. Only if one did.
        - One column per hyperparameter, by full name, empty if a trial did not have it. A name that
          equals another column's gets the prefix `hyperparameters/`.
        - `started` and `ended`: In UTC, empty if unknown.
        - `worker`: The process that trained the trial, as `"host:pid"`, empty if unknown. Several
          are joined by commas.
    """
    of_folds = (
        []
        if project.cv_folds is None
        else ["std_score", *(f"fold{fold}_score" for fold in range(project.cv_folds))]
    )
    place = COLUMNS.index("score") + 1
    with without_garbage_collection():
        trials = ranked(list(project.trials.values()), project.objective)
        rows = [(_row(trial.outlined(), project), trial.values_to_read()[1]) for trial in trials]
        of_gpus = [] if all(row["gpu_memory"] is None for row, _ in rows) else ["gpu_memory"]
        of_graphs = ["reused_graph"] if any(row["reused_graph"] for row, _ in rows) else []
        columns = [*COLUMNS[:place], *of_folds, *COLUMNS[place:], *of_gpus, *of_graphs]
        if any(row["is_scored_elsewhere"] for row, _ in rows):
            columns.insert(columns.index("best_epoch") + 1, "weights_epoch")
        known = {*columns, *OF_TIMES}
        given = dict.fromkeys(name for _, values in rows for name in values)
        shown = {name: f"{CLASH}{name}" if name in known else name for name in given}
        if any(name in known for name in given):
            rows = [
                (row, {shown[name]: value for name, value in values.items()})
                for row, values in rows
            ]
        names = list(dict.fromkeys(shown.values()))
        frame = pd.DataFrame(
            [
                (
                    *[row.get(name, _ABSENT) for name in columns],
                    *[values.get(name, _ABSENT) for name in names],
                    *[row[name] for name in OF_TIMES],
                )
                for row, values in rows
            ],
            columns=[*columns, *names, *OF_TIMES],
        )
        for hyperparameter in names:
            found = (values.get(hyperparameter) for _, values in rows)
            _keep_integers(frame, hyperparameter, [each for each in found if each is not None])
    numbers = dict.fromkeys(["score", *of_folds, "duration"], "float64")
    of_epochs = [name for name in ("best_epoch", "weights_epoch", "epochs") if name in columns]
    counts = dict.fromkeys([*of_epochs, *of_gpus], "Int64")
    frame = frame.astype({**numbers, **counts, "worker": object})
    for moment in ("started", "ended"):
        milliseconds = (pd.to_numeric(frame[moment]) * 1000).round()
        moments = pd.to_datetime(milliseconds, unit="ms", utc=True)
        frame[moment] = moments.astype("datetime64[ns, UTC]")
    return with_about(frame, project, name)


def _keep_integers(frame: pd.DataFrame, name: str, present: Sequence[Any]) -> None:
    """Keep integers of a column as integers where some rows are empty: 32 instead of 32.0.

    Args:
        frame: The table, which is changed.
        name: The name of the column.
        present: The values of the rows that have one.
    """
    is_integer = all(type(value) is int and abs(value) < 2**63 for value in present)
    if len(present) < len(frame) and is_integer:
        frame[name] = frame[name].astype("Int64")


def pareto_front(project: Project, name: str = "") -> pd.DataFrame:
    """Return the rows of `results_dataframe` on the Pareto front, with one column per objective."""
    front = ranked_front(list(project.trials.values()), project.objective)
    frame = (
        results_dataframe(project, name)
        .set_index("trial_id")
        .loc[[trial.trial_id for trial in front]]
        .reset_index()
    )
    values = [trial.objective_values(project.objective) or () for trial in front]
    for number, part in enumerate(project.objective.parts):
        frame.insert(
            COLUMNS.index("score") + 1 + number,
            part.name,
            [value[number] for value in values],
            allow_duplicates=True,
        )
    return frame


def _row(trial: Trial, project: Project) -> dict[str, Any]:
    """Return a trial's row, without its hyperparameters."""
    number = trial.best_execution(project.objective)
    best = None if number is None else trial.executions[number]
    row = {
        "trial_id": trial.trial_id,
        "status": trial.status,
        "score": trial.score,
        "best_epoch": None if best is None else best.best_epoch,
        "weights_epoch": None if best is None or best.is_told else best.saved_epoch,
        "is_scored_elsewhere": any(e.weights_epoch is not None for e in trial.executions.values()),
        "epochs": max(
            (max(execution.history, default=0) for execution in trial.executions.values()),
            default=0,
        ),
        "duration": trial.duration,
        "started": trial.started,
        "ended": trial.ended,
        "worker": trial.worker,
        "gpu_memory": trial.gpu_memory,
        "reused_graph": any(each.reused_graph for each in trial.executions.values()),
    }
    if project.cv_folds is not None:
        scores = trial.fold_scores(project.cv_folds)
        row |= {
            "std_score": float(np.std(list(scores.values())))
            if len(scores) == project.cv_folds
            else None
        }
        row |= {f"fold{fold}_score": score for fold, score in scores.items()}
    return row
