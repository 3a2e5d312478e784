"""A project as MLflow runs. Uses MLflow; runs anywhere.

A trial is a run of the experiment with the project's name. If it has several training runs, each of
them is a nested run. A run that is still going is updated. A run that had ended, or whose training
restarted, is replaced if its content has changed. The state tag is written last, so the next export
replaces a run that an earlier export did not finish.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
import posixpath
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glimr_keras.errors import StorageError
from glimr_keras.exports.content import Content
from glimr_keras.exports.extras import needed
from glimr_keras.exports.places import outside_projects, shown, telling
from glimr_keras.exports.runs import Run, Step, digest, runs_of
from glimr_keras.exports.sqlite import SUFFIXES, file_of, filled_at_once
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:
    import mlflow.entities
    import mlflow.tracking

PROJECT, KEY, STATE = "glimr_keras.project", "glimr_keras.run", "glimr_keras.state"
"""Tags: the run's project, its key in the project, and its state once it is fully written."""
_PARENT = "mlflow.parentRunId"
_OF_ONE = ("execution", "fold", "worker", "attempt")
"""Tags that a trial with several training runs does not have."""
_STATUS = {TrialStatus.RUNNING: "RUNNING", TrialStatus.FAILED: "FAILED"}
_LONGEST = 5000
"""The maximum number of characters of a tag that every MLflow version accepts."""
_METRICS, _PARAMETERS = 1000, 100
"""The maximum numbers that MLflow accepts in one batch."""


def write_runs(content: Content, where: str | None) -> str:
    """Write the runs, or update existing ones.

    Args:
        content: The content to write.
        where: The tracking URI, an SQLite file (`.db`, `.sqlite` or `.sqlite3`), or a directory.
            `None` means MLflow's own tracking URI.

    Returns:
        A sentence that says what was written.

    Raises:
        ProjectError: If the location is inside a project.
        StorageError: If it cannot be written to.
    """
    with needed("mlflow", "mlflow"):
        import mlflow
    from mlflow.exceptions import MlflowException

    uri = None if where is None else _uri_of(where)
    place = uri or mlflow.get_tracking_uri()
    _check(place)
    with telling("MLflow", place, MlflowException), _quiet(), filled_at_once(uri):
        client = mlflow.tracking.MlflowClient(uri)
        writer = _Writer(client, content)
        for trial in content.track(list(content.project.trials.values())):
            writer.write(trial)
    return f"The experiment {content.name!r} at {shown(place)} has {content.amount}: {writer.said}."


def _uri_of(where: str) -> str:
    if re.match(r"[a-z+]+:", where):
        return where
    place = pathlib.Path(where).absolute()
    return f"sqlite:///{place}" if place.suffix in SUFFIXES else place.as_uri()


def _check(uri: str) -> None:
    """Raise a `ProjectError` if the URI is a file or directory inside a project."""
    parts = urllib.parse.urlsplit(uri)
    file = pathlib.Path(urllib.parse.unquote(parts.path)) if parts.scheme == "file" else None
    if (place := file or file_of(uri)) is not None:
        outside_projects(place)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence MLflow's log lines about the tables that it creates in a new database."""
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
    """Write the trials of a project.

    Args:
        client: The client of the store.
        content: The content to write.
    """

    def __init__(self, client: mlflow.tracking.MlflowClient, content: Content) -> None:
        self._client, self._content = client, content
        self._experiment = self._experiment_id()
        self._known = self._runs_there()
        self._written = self._extended = self._left = 0

    @property
    def said(self) -> str:
        """Return a text that says what was done."""
        return (
            f"{self._written} runs written, {self._extended} brought up to date, "
            f"{self._left} as they were"
        )

    def write(self, trial: Trial) -> None:
        """Write the runs of a trial, or update them."""
        runs = list(runs_of(self._content, trial))
        if runs[0].is_alone:
            self._put(runs[0].key, _Said.of_run(runs[0]))
            return
        key = runs[0].key.removesuffix(f"_{runs[0].number}")
        parent = self._put(key, _Said.of_trial(runs))
        for run in runs:
            self._put(run.key, _Said.of_run(run), parent)

    def _put(self, key: str, said: _Said, parent: str | None = None) -> str:
        """Write, update or keep a run, and return its id."""
        there = self._known.get(key)
        if there is not None and there.data.tags.get(STATE) == said.state:
            self._left += 1
            return self._below(parent, there)
        if there is not None and said.goes_on_from(there):
            self._extended += 1
            self._client.delete_tag(there.info.run_id, STATE)
            self._tell(there.info.run_id, said, number_of_steps(there))
            return self._below(parent, there)
        if there is not None:
            self._client.delete_run(there.info.run_id)
        self._written += 1
        run_id = self._new(key, said, parent)
        self._tell(run_id, said, 0)
        return run_id

    def _below(self, parent: str | None, run: mlflow.entities.Run) -> str:
        """Set the parent of a run, which may have been replaced, and return the run's id."""
        if parent is not None and run.data.tags.get(_PARENT) != parent:
            self._client.set_tag(run.info.run_id, _PARENT, parent)
        return run.info.run_id

    def _new(self, key: str, said: _Said, parent: str | None) -> str:
        tags = {PROJECT: self._content.owner, KEY: key}
        if parent is not None:
            tags[_PARENT] = parent
        run = self._client.create_run(
            self._experiment, _milliseconds(said.started), tags, run_name=said.name
        )
        return run.info.run_id

    def _tell(self, run_id: str, said: _Said, told: int) -> None:
        """Write what is new in a run that already has `told` epochs."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*each) for each in said.metrics(told)]
        params = [Param(name, value) for name, value in said.params.items()]
        tags = [RunTag(name, value) for name, value in said.tags.items()]
        while metrics or params or tags:
            self._client.log_batch(run_id, metrics[:_METRICS], params[:_PARAMETERS], tags)
            metrics, params, tags = metrics[_METRICS:], params[_PARAMETERS:], []
        if said.ended is not None:
            status = _STATUS.get(said.status, "FINISHED")
            self._client.set_terminated(run_id, status, _milliseconds(said.ended))
        self._client.set_tag(run_id, STATE, said.state)

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
        """Return the existing runs of this project by key."""
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
    """Return the number of epochs of a run."""
    return int(run.data.tags[STATE].split(" ")[0])


class _Said:
    """The content of an MLflow run."""

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
        self.tags["status"] = status

    def goes_on_from(self, run: mlflow.entities.Run) -> bool:
        """Return whether a run in the store can be extended.

        It can if it was fully written, had not ended, and everything in it still holds.
        """
        if STATE not in run.data.tags or run.info.status != _STATUS[TrialStatus.RUNNING]:
            return False
        number, told = number_of_steps(run), run.data.tags[STATE].split(" ")[1]
        is_same = number <= len(self._steps) and told == digest(self._steps[:number])
        return is_same and run.data.params.items() <= self.params.items()

    def metrics(self, told: int) -> Iterator[tuple[str, float, int, int]]:
        """Yield name, value, time and epoch of each metric, after the first `told` epochs."""
        measured = (name for step in self._steps for name in step.metrics)
        names = _names([*measured, *self._score])
        for step in self._steps[told:]:
            for name, value in step.metrics.items():
                yield names[name], value, _milliseconds(step.time), step.epoch
        for name, value in self._score.items():
            at = _milliseconds(self.ended or self.started)
            yield names[name], value, at, int(self._score.get("best_epoch", 0))

    @classmethod
    def of_run(cls, run: Run) -> _Said:
        """Return the content of a training run."""
        return cls(run, run.name, run.status, run.score, (run.started, run.ended), run.steps)

    @classmethod
    def of_trial(cls, runs: Sequence[Run]) -> _Said:
        """Return the content of a trial with several training runs."""
        trial = runs[0].trial
        score = {} if trial.score is None or not trial.is_scored else {"score": trial.score}
        is_over = trial.status != TrialStatus.RUNNING
        ended = max(run.ended or run.started for run in runs) if is_over else None
        started = min(run.started for run in runs)
        name = f"trial {trial.trial_id}"
        whole = Run(runs[0].content, trial, 0, Execution(trial.status, message=trial.message))
        said = cls(whole, name, trial.status, score, (started, ended), ())
        said.tags = {name: value for name, value in said.tags.items() if name not in _OF_ONE}
        return said


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _names(names: Any) -> dict[str, str]:
    """Return names that MLflow accepts: of letters, digits and a few others, without `..` in paths.

    Names that become equal get a number as suffix.
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
