"""When each training run began and ended. Runs anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from glimr_keras.project.journal import Project
from glimr_keras.results.sources import Source
from glimr_keras.trials.execution import Execution, TrialStatus
from glimr_keras.trials.objective import Goal
from glimr_keras.trials.trial import Trial
from glimr_keras.visualization import backends, style
from glimr_keras.visualization.picture import Axis, Bars, Panel, Picture
from glimr_keras.visualization.scores import Scores, nothing, scores_of

if TYPE_CHECKING:
    from glimr_keras.visualization.backends import Drawing

_COLOURS = {
    TrialStatus.COMPLETED: style.BLUE,
    TrialStatus.STOPPED: style.ORANGE,
    TrialStatus.FAILED: style.VERMILLION,
    TrialStatus.RUNNING: style.GREEN,
}


class Training(NamedTuple):
    """The time span of an execution, in seconds since 1970 (UTC)."""

    number: int
    execution: int
    status: str
    started: float
    ended: float
    worker: str


def plot_timeline(
    source: Source | Project, *, objective: Goal = None, backend: str = "matplotlib"
) -> Drawing:
    """Plot when each trial was trained, with a bar for each of its executions.

    The bar of a running execution ends at the latest time that the project has recorded.

    Args:
        source: A tuner or the results that `open` returns, a project's directory or URI, or a
            table.
        objective: The objective; needed only for a table that does not name it. Defaults to `None`.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Returns:
        Matplotlib axes or a Plotly figure.

    Raises:
        ProjectError: If there is nothing to plot yet, or the project has no times.
        ValueError: If there is no such backend.

    Example:
        >>> glimr_keras.visualization.plot_timeline(tuner)
    """
    backends.check_backend(backend)
    scores = scores_of(source, objective)
    check_timeline(scores)
    return backends.drawn(_timeline(scores), backend)


def check_timeline(scores: Scores) -> None:
    """Check that the start of a training run is known."""
    if not trainings(scores):
        why = "it is not known when trials began, as in projects of KerasTuner and earlier versions"
        raise nothing(scores, why if scores.trials else "no trial has begun")


def trainings(scores: Scores) -> list[Training]:
    """Return the executions whose start is known."""
    begun = [
        (int(number), trial, place, execution)
        for number, trial in zip(scores.numbers, scores.trials, strict=True)
        for place, execution in sorted(trial.executions.items())
        if execution.started is not None
    ]
    last = max((execution.last_seen or 0.0 for *_, execution in begun), default=0.0)
    return [
        Training(
            number,
            place,
            trial.status_of(execution),
            execution.started or 0.0,
            _end_of(trial, execution) or last,
            execution.worker or "",
        )
        for number, trial, place, execution in begun
    ]


def _end_of(trial: Trial, execution: Execution) -> float | None:
    """Return the end of an execution, as far as known; `None` if it is running."""
    if trial.status_of(execution) == TrialStatus.RUNNING:
        return None
    return execution.ended or execution.last_seen


def _timeline(scores: Scores) -> Picture:
    found = trainings(scores)
    first, last = min(each.started for each in found), max(each.ended for each in found)
    height = max(0.75, len(scores.trials) / 120)  # with many trials, still tall enough to see
    layers = []
    for status, colour in _COLOURS.items():
        mine = [each for each in found if each.status == status]
        if mine:
            layers.append(
                Bars(
                    [each.number for each in mine],
                    [each.started for each in mine],
                    [each.ended - each.started for each in mine],
                    status.lower(),
                    colour,
                    height,
                    about=[_about(each) for each in mine],
                )
            )
    workers = len({each.worker for each in found if each.worker})
    by = f", by {workers} {'process' if workers == 1 else 'processes'}" if workers else ""
    margin = (last - first) * 0.02 or 1.0
    label = f"local time; {duration(last - first)}{by}"
    x = Axis(label, (first - margin, last + margin), is_time=True)
    numbers = [each.number for each in found]
    ends = (min(numbers) - 0.8, max(numbers) + 0.8)
    y = Axis("trial", ends, is_count=True, is_reversed=True)
    return Picture(scores.title("Timeline"), [[Panel(x, y, layers)]], 4.4)


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits, such as `3.2 minutes`."""
    for name, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} seconds"


def _about(training: Training) -> str:
    lines = [
        f"trial {training.number}, execution {training.execution}: {training.status.lower()}",
        duration(training.ended - training.started),
        training.worker,
    ]
    return "<br>".join(line for line in lines if line)
