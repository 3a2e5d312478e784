"""A project as TensorBoard event files, including the HParams tab. Uses TensorBoard without
TensorFlow; runs anywhere.

`<where>/<name>/trial_0042/` is a run: one training run, with a scalar for each metric by epoch. The
runs of a trial are one row of the HParams tab, which shows their means.
"""

from __future__ import annotations

import io
import math
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from glimr_keras._utils.files import write_whole
from glimr_keras.errors import ProjectError
from glimr_keras.exports.content import Content
from glimr_keras.exports.extras import needed
from glimr_keras.exports.places import outside_projects
from glimr_keras.exports.runs import Run, all_runs
from glimr_keras.space.hp_types import Float, HyperParameter, Int
from glimr_keras.trials.execution import TrialStatus

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

SCORE = "score"
_MOST_VALUES = 100
"""Up to this many values of a hyperparameter have a checkbox each in the HParams tab."""


def write_events(content: Content, where: str) -> str:
    """Write the event files. An existing file is extended if its content still holds.

    Args:
        content: The content to write.
        where: The directory that is TensorBoard's `--logdir`.

    Returns:
        A sentence that says what was written.

    Raises:
        ProjectError: If the directory has the events of another project with this name, or would be
            inside a project.
    """
    with needed("tensorboard", "tensorboard"):
        import tensorboard.plugins.hparams.summary_v2  # noqa: F401
    root = outside_projects(pathlib.Path(where) / content.name)
    file = f"events.out.tfevents.0.glimr_keras.{content.owner}"
    others = [path.name for path in root.glob("events.out.tfevents.*") if path.name != file]
    if others:
        raise ProjectError(
            f"{root} has events of something else. Received: {', '.join(sorted(others))}. Choose "
            "another directory, or another name by `--name`."
        )
    hyperparameters = _Hyperparameters(content)
    _write(root / file, [_event(content.project.created or 0.0, hyperparameters.summary)])
    runs = list(all_runs(content))
    for run in content.track(runs):
        _write(root / run.key / file, _events(run, hyperparameters))
    return f"Wrote {len(runs)} run{'' if len(runs) == 1 else 's'} of {content.amount} into {root}."


class _Hyperparameters:
    """The hyperparameters of a project for the HParams tab."""

    def __init__(self, content: Content) -> None:
        self._content = content
        by_name: dict[str, list[HyperParameter]] = {}
        for parameter in content.project.parameters:
            by_name.setdefault(parameter.name, []).append(parameter)
        self._domains = {name: _domain(found) for name, found in by_name.items()}

    @property
    def summary(self) -> Summary:
        """Return names, domains and metrics, the score first."""
        from tensorboard.plugins.hparams import summary_v2

        metrics = dict.fromkeys(
            [SCORE, *(part.name for part in self._content.project.objective.parts)]
        )
        for trial in self._content.project.trials.values():
            for execution in trial.executions.values():
                for log in (*execution.history.values(), execution.returned):
                    metrics |= dict.fromkeys(log)
        return summary_v2.hparams_config_pb(
            [summary_v2.HParam(name, domain) for name, domain in self._domains.items()],
            [summary_v2.Metric(name) for name in metrics],
            time_created_secs=self._content.project.created or 0.0,
        )

    def values(self, run: Run) -> dict[str, Any]:
        """Return a run's values, each of a type that its domain contains."""
        return {
            name: value if _is_plain(value) and not self._is_text(name) else str(value)
            for name, value in run.parameters.items()
        }

    def _is_text(self, name: str) -> bool:
        return getattr(self._domains.get(name), "dtype", None) is str


def _domain(parameters: list[HyperParameter]) -> Any:
    """Return the domain of hyperparameters that share a name; `None` if unknown."""
    from tensorboard.plugins.hparams import summary_v2

    numbers = [each for each in parameters if isinstance(each, (Int, Float))]
    if len(numbers) == len(parameters):
        low = min(each.min_value for each in numbers)
        high = max(each.max_value for each in numbers)
        if all(isinstance(each, Int) for each in numbers):
            return summary_v2.IntInterval(low, high)
        return summary_v2.RealInterval(float(low), float(high))
    counts = [math.inf if each.count is None else each.count for each in parameters]
    if sum(counts) > _MOST_VALUES:
        return None
    values = [value for parameter in parameters for value in parameter.every_value()]
    kinds = set(map(type, values))
    if len(kinds) > 1 or not kinds <= {bool, int, float, str}:
        values = [str(value) for value in values]
    return summary_v2.Discrete(list(dict.fromkeys(values)))


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _events(run: Run, hyperparameters: _Hyperparameters) -> Iterator[Event]:
    """Yield the events of a run. Later calls only add events at the end."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2

    values = hyperparameters.values(run)
    group = f"trial {run.trial.trial_id}"
    yield _event(run.started, summary_v2.hparams_pb(values, group, start_time_secs=run.started))
    for step in run.steps:
        scalars = [
            Summary.Value(tag=name, simple_value=value) for name, value in step.metrics.items()
        ]
        yield _event(step.time, Summary(value=scalars), step.epoch)
    if run.ended is None:
        return
    if run.score:
        scalars = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in run.score.items()
            if name != "best_epoch"
        ]
        yield _event(run.ended, Summary(value=scalars), run.execution.best_epoch or 0)
    yield _event(run.ended, _end(run))


def _end(run: Run) -> Summary:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    failed = run.status == TrialStatus.FAILED
    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=run.ended)
    said = metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=info)
    )
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG, metadata=said, tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])


def _event(time: float, summary: Summary, step: int = 0) -> Event:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time, step=step, summary=summary)


def _write(place: pathlib.Path, events: Iterable[Event]) -> None:
    """Write a file of events. If it already has the first of them, append the rest.

    TensorBoard reads appended events while it runs.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in (Event(file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString(deterministic=True))
    content = file.getvalue()
    before = place.read_bytes() if place.exists() else b""
    if before and content.startswith(before):
        with place.open("ab") as there:
            there.write(content[len(before) :])
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, content)
