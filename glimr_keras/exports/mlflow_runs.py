"""A project as runs of MLflow. MLflow; runs anywhere.

A trial is a run of the experiment that has the project's name; where it has several trainings, each
is a run nested in it. A run that is there is brought up to date, and one whose training began anew
is replaced.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glimr_keras.errors import StorageError
from glimr_keras.exports.content import Content
from glimr_keras.exports.extras import needed
from glimr_keras.exports.runs import Run, Step, digest, runs_of
from glimr_keras.exports.sqlite import SUFFIXES, filled_at_once
from glimr_keras.trials.trial import Trial, TrialStatus

if TYPE_CHECKING:
    import mlflow.entities
    import mlflow.tracking

PROJECT, KEY, STATE = "glimr_keras.project", "glimr_keras.run", "glimr_keras.state"
"""Tags: whose a run is, which one it is, and what of it is written."""
_STATUS = {TrialStatus.RUNNING: "RUNNING", TrialStatus.FAILED: "FAILED"}
_LONGEST = 5000
"""Characters of a tag that every version takes."""
_METRICS, _PARAMETERS = 1000, 100
"""What it takes at once."""


def write_runs(content: Content, where: str | None) -> str:
    """Write the runs, or bring those that are there up to date.

    Args:
        content: What is written.
        where: The tracking URI; or a file (`.db`, `.sqlite`), which is a database of SQLite, or a
            directory. Defaults to the tracking URI that MLflow itself has.

    Returns:
        What was written, in a sentence.

    Raises:
        StorageError: If MLflow says that it cannot be.
    """
    with needed("mlflow", "mlflow"):
        import mlflow
    uri = None if where is None else _uri_of(where)
    with _telling(uri), _quiet(), filled_at_once(uri):
        client = mlflow.tracking.MlflowClient(uri)
        writer = _Writer(client, content)
        for trial in content.track(list(content.project.trials.values())):
            writer.write(trial)
    uri = uri or mlflow.get_tracking_uri()
    return f"The experiment {content.name!r} at {uri} has {content.amount}: {writer.said}."


def _uri_of(where: str) -> str:
    if re.match(r"[a-z+]+:", where):
        return where
    place = pathlib.Path(where).absolute()
    return f"sqlite:///{place}" if place.suffix in SUFFIXES else place.as_uri()


@contextlib.contextmanager
def _telling(uri: str | None) -> Iterator[None]:
    """Say of MLflow's errors where they are from."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise StorageError(f"MLflow cannot write to {uri or 'its store'}: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines on tables that MLflow makes in a new database."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Writer:
    """Writes the trials of a project.

    Args:
        client: Of the store.
        content: What is written.
    """

    def __init__(self, client: mlflow.tracking.MlflowClient, content: Content) -> None:
        self._client, self._content = client, content
        self._experiment = self._experiment_id()
        self._known = self._runs_there()
        self._written = self._extended = self._left = 0

    @property
    def said(self) -> str:
        """What was done, in words."""
        return (
            f"{self._written} runs written, {self._extended} brought up to date, "
            f"{self._left} as they were"
        )

    def write(self, trial: Trial) -> None:
        """Write the runs of a trial, or bring them up to date."""
        runs = list(runs_of(self._content, trial))
        if runs[0].is_alone:
            self._put(runs[0].key, _Said.of_run(runs[0]))
            return
        key = runs[0].key.removesuffix(f"_{runs[0].number}")
        parent = self._put(key, _Said.of_trial(runs))
        for run in runs:
            self._put(run.key, _Said.of_run(run), parent)

    def _put(self, key: str, said: _Said, parent: str | None = None) -> str:
        """Have a run be there, and return its id."""
        there = self._known.get(key)
        before = {} if there is None else there.data.tags
        if there is not None and before.get(STATE) == said.state:
            self._left += 1
            return there.info.run_id
        if there is not None and said.goes_on_from(there):
            self._extended += 1
            self._tell(there.info.run_id, said, number_of_steps(there))
            return there.info.run_id
        if there is not None:
            self._client.delete_run(there.info.run_id)
        self._written += 1
        run_id = self._new(key, said, parent)
        self._tell(run_id, said, 0)
        return run_id

    def _new(self, key: str, said: _Said, parent: str | None) -> str:
        tags = {**said.tags, PROJECT: self._content.owner, KEY: key}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        run = self._client.create_run(
            self._experiment, _milliseconds(said.started), tags, run_name=said.name
        )
        return run.info.run_id

    def _tell(self, run_id: str, said: _Said, told: int) -> None:
        """Write what is new of a run, of which so many epochs are there."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*each) for each in said.metrics(told)]
        params = [Param(name, value) for name, value in said.params.items()]
        tags = [RunTag(name, value) for name, value in said.tags.items()] if told else []
        while metrics or params or tags:
            self._client.log_batch(run_id, metrics[:_METRICS], params[:_PARAMETERS], tags)
            metrics, params, tags = metrics[_METRICS:], params[_PARAMETERS:], []
        if said.ended is not None:
            status = _STATUS.get(said.status, "FINISHED")
            self._client.set_terminated(run_id, status, _milliseconds(said.ended))

    def _experiment_id(self) -> str:
        there = self._client.get_experiment_by_name(self._content.name)
        if there is None:
            return self._client.create_experiment(self._content.name)
        if there.lifecycle_stage != "active":
            raise StorageError(
                f"The experiment {self._content.name!r} was deleted in MLflow. Restore it, or "
                "choose another name by `--name`."
            )
        return there.experiment_id

    def _runs_there(self) -> dict[str, mlflow.entities.Run]:
        """Return the runs of this project by their keys."""
        found: dict[str, mlflow.entities.Run] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{PROJECT}` = '{self._content.owner}'", page_token=token
            )
            found |= {run.data.tags[KEY]: run for run in page}
            token = page.token
            if not token:
                return found


def number_of_steps(run: mlflow.entities.Run) -> int:
    """Return how many epochs a run has."""
    return int(run.data.tags[STATE].split(" ")[0])


class _Said:
    """What MLflow is told of a run."""

    def __init__(
        self,
        run: Run,
        name: str,
        status: str,
        score: Mapping[str, float],
        times: tuple[float, float | None],
        steps: Sequence[Step],
    ) -> None:
        self.name, self.status, self._steps = name, status, list(steps)
        self.started, self.ended = times
        self._score = {} if self.ended is None else dict(score)
        names = _names(run.parameters)
        self.params = {names[n]: str(value)[:_LONGEST] for n, value in run.parameters.items()}
        self.state = f"{len(self._steps)} {digest(self._steps)} {status} {self._score}"
        names = _names(run.tags)
        self.tags = {names[n]: value[:_LONGEST] for n, value in run.tags.items()}
        self.tags |= {STATE: self.state, "status": status}

    def goes_on_from(self, run: mlflow.entities.Run) -> bool:
        """Tell whether all that a run in the store has is still so."""
        number, told = number_of_steps(run), run.data.tags[STATE].split(" ")[1]
        is_same = number <= len(self._steps) and told == digest(self._steps[:number])
        return is_same and run.data.params.items() <= self.params.items()

    def metrics(self, told: int) -> Iterator[tuple[str, float, int, int]]:
        """Yield name, value, time and epoch of what is measured, after the epochs that are told."""
        names = _names(name for step in self._steps for name in step.metrics)
        for step in self._steps[told:]:
            for name, value in step.metrics.items():
                yield names[name], value, _milliseconds(step.time), step.epoch
        for name, value in self._score.items():
            at = _milliseconds(self.ended or self.started)
            yield name, value, at, int(self._score.get("best_epoch", 0))

    @classmethod
    def of_run(cls, run: Run) -> _Said:
        """Return what is said of a training."""
        return cls(run, run.name, run.status, run.score, (run.started, run.ended), run.steps)

    @classmethod
    def of_trial(cls, runs: Sequence[Run]) -> _Said:
        """Return what is said of a trial that has several trainings."""
        trial = runs[0].trial
        score = {} if trial.score is None or not trial.is_scored else {"score": trial.score}
        is_over = trial.status != TrialStatus.RUNNING
        ended = max(run.ended or run.started for run in runs) if is_over else None
        started = min(run.started for run in runs)
        name = f"trial {trial.trial_id}"
        return cls(runs[0], name, trial.status, score, (started, ended), ())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _names(names: Any) -> dict[str, str]:
    """Return names as MLflow takes them: of letters, digits and a few others, and no path that
    leads elsewhere; those that are then the same have a number behind them.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        allowed = re.sub(r"[^\w\-. /:]", "_", name, flags=re.ASCII)[:240]
        normal = posixpath.normpath(allowed)
        if normal != allowed or normal.startswith(("/", ".")):
            allowed = allowed.replace("/", "_").replace("..", "_")
            allowed = f"_{allowed}" if allowed.startswith(".") else allowed
        number, given = 1, allowed
        while given in found.values():
            number += 1
            given = f"{allowed}_{number}"
        found[name] = given
    return found
