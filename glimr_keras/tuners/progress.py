"""What a person sees while a search runs, in a terminal or a notebook. Runs in the driver."""

from __future__ import annotations

import contextlib
import datetime
import sys
import textwrap
import time
from typing import Any, Protocol

import rich.cells
import rich.console
import rich.progress
import rich.progress_bar
import rich.table
import rich.text

from glimr_keras.errors import reason_of
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.trial import Trial, TrialStatus, ranked


class Line(Protocol):
    """One line that is written again and again."""

    def show(self, done: int, total: int | None, state: str, brief: str, left: str) -> None:
        """Shows the state of the search; where there is no room for it, in brief."""

    def end(self) -> None: ...


class Progress:
    """One live line: trials done of the total, running, the best score, time elapsed and remaining.

    Args:
        verbose: 0 shows nothing, 1 the live line, 2 and 3 also a line for every finished trial.
    """

    def __init__(self, verbose: int = 1) -> None:
        self._objective = Objective("score", "max")
        self._verbose = verbose
        self._console = rich.console.Console(quiet=verbose == 0, highlight=False)
        self._line: Line | None = None
        self._best: Trial | None = None
        self._done = 0
        self._failed = 0
        self._reasons: dict[str, Trial] = {}
        self._running = 0
        self._starting = True
        self._is_over = False
        self._total: int | None = None
        self._started = 0.0
        self._before = 0

    def preparing(self, what: str | None) -> contextlib.AbstractContextManager[Any]:
        """Says what is being done before the first trial, and takes it back afterwards; in a
        terminal only.
        """
        if what is None or self._verbose == 0 or not self._console.is_terminal or _in_notebook():
            return contextlib.nullcontext()
        return self._console.status(f"{what} …")

    def on_search_begin(self, objective: Objective, total: int | None, trials: list[Trial]) -> None:
        """Starts the line.

        Args:
            objective: What is optimised.
            total: How many trials there will be, earlier ones included; `None` if unknown.
            trials: Those that ended in earlier sessions.
        """
        self._objective, self._total = objective, total
        for trial in trials:
            self._count(trial)
        self._started, self._before = time.monotonic(), len(trials)
        if self._verbose > 0:
            self._line = _NotebookLine() if _in_notebook() else _TerminalLine(self._console)
        self._update()

    def say(self, what: str | None) -> None:
        """Shows a line, if there is one."""
        if what is not None:
            self._console.print(what, markup=False, soft_wrap=True)

    def on_running(self, running: int) -> None:
        """Tells how many executions run now."""
        self._running, self._starting = running, False
        self._update()

    def on_trial_end(self, trial: Trial) -> None:
        """A trial ended. One that failed is shown, with its whole reason where that is new."""
        self._count(trial)
        has_failed = trial.status == TrialStatus.FAILED
        if self._verbose >= 2 or has_failed:
            first = self._reasons.setdefault(_reason(trial), trial) if has_failed else trial
            described = describe_trial(trial, self._objective, None if first is trial else first)
            self._console.print(described, markup=False, soft_wrap=True)
        self._update()

    def on_search_end(self, remark: str | None = None) -> None:
        """Ends the line, and leaves it to be read, with a remark below it if there is one."""
        self._running, self._starting, self._is_over = 0, False, True
        self._update()
        if self._line is not None:
            self._line.end()
        self.say(remark)

    def _update(self) -> None:
        if self._line is None:
            return
        running = (
            f", {self._running} running"
            if self._running
            else ", starting workers"
            if self._starting
            else ""
        )
        failures = f", {self._failed} failed" if self._failed else ""
        best = None if self._best is None else self._best.score
        score, alone = (
            ("", "")
            if best is None
            else (f", best {self._objective.name} {best:.4f}", f", best {best:.4f}")
        )
        self._line.show(
            self._done, self._total, running + failures + score, failures + alone, self._left()
        )

    def _count(self, trial: Trial) -> None:
        self._done += 1
        self._failed += trial.status == TrialStatus.FAILED
        self._best = ranked(
            [trial] if self._best is None else [self._best, trial], self._objective
        )[0]

    def _left(self) -> str:
        done = self._done - self._before
        if self._is_over or self._total is None or done == 0 or self._done >= self._total:
            return ""
        seconds = round((time.monotonic() - self._started) / done * (self._total - self._done))
        return f", about {datetime.timedelta(seconds=seconds)} left"


def describe_trial(trial: Trial, objective: Objective, alike: Trial | None = None) -> str:
    """One line on a finished trial; of one that failed also its reason, however long.

    Args:
        alike: An earlier trial that failed for the same reason, of which one line is enough.
    """
    values = " ".join(f"{name}={_short(value)}" for name, value in trial.values.items())
    took = "" if trial.duration is None else f" [{trial.duration:.1f} s]"
    if trial.status == TrialStatus.FAILED:
        reason = _reason(trial)
        first, *others = reason.splitlines()
        if alike is not None:
            first, others = f"{first}{' …' if others else ''}", []
        as_before = "" if alike is None else f" like trial {alike.trial_id}"
        if not others:
            return f"Trial {trial.trial_id} FAILED{as_before}: {first}  {values}{took}"
        return f"Trial {trial.trial_id} FAILED  {values}{took}:\n{textwrap.indent(reason, '  ')}"
    number = trial.best_execution(objective)
    epoch = None if number is None else trial.executions[number].best_epoch
    score = "no score" if trial.score is None else f"{objective.name}={trial.score:.4f}"
    score += "" if trial.score is None or epoch is None else f" at epoch {epoch}"
    stopped = " (stopped early)" if trial.status == TrialStatus.STOPPED else ""
    return f"Trial {trial.trial_id}{stopped}: {score}  {values}{took}"


def _reason(trial: Trial) -> str:
    """Why a trial failed: the error with its whole message."""
    return reason_of(trial.message or "") or "unknown reason"


class _Fitting(rich.progress.ProgressColumn):
    """As much of a search's line as a terminal has room for: the bar goes first, then the times,
    and the counts never.
    """

    def __init__(self, console: rich.console.Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: rich.progress.Task) -> rich.table.Table:
        state, brief, left = (task.fields[name] for name in ("state", "brief", "left"))
        elapsed = f", {datetime.timedelta(seconds=int(task.elapsed or 0))} elapsed"
        counts = f"{int(task.completed)}/{'?' if task.total is None else int(task.total)} trials"
        forms = [
            counts + form
            for form in (state + elapsed + left, state + (left or elapsed), state, brief)
        ]
        room = self._console.width - len("Search ")
        text = next((form for form in forms if rich.cells.cell_len(form) <= room), forms[-1])
        cells: list[rich.console.RenderableType] = [
            "Search",
            rich.text.Text(text, no_wrap=True, overflow="ellipsis"),
        ]
        width = min(room - rich.cells.cell_len(text) - 1, 20)
        if width >= 10:
            now = task.get_time()
            bar = rich.progress_bar.ProgressBar(
                task.total, task.completed, width, task.total is None, animation_time=now
            )
            cells.insert(1, bar)
        line = rich.table.Table.grid(padding=(0, 1))
        line.add_row(*cells)
        return line


class _TerminalLine:
    """A line with a bar at the bottom of a terminal; in a file, only its last state."""

    def __init__(self, console: rich.console.Console) -> None:
        self._bar = rich.progress.Progress(_Fitting(console), console=console, refresh_per_second=4)
        self._task = self._bar.add_task("Search", total=None, state="", brief="", left="")
        self._bar.start()

    def show(self, done: int, total: int | None, state: str, brief: str, left: str) -> None:
        self._bar.update(
            self._task, completed=done, total=total, state=state, brief=brief, left=left
        )

    def end(self) -> None:
        self._bar.stop()


class _NotebookLine:
    """A line of text in a notebook's output, replaced in place; needs no widgets."""

    def __init__(self) -> None:
        from IPython.display import display  # there whenever a notebook runs

        self._started = time.monotonic()
        self._handle: Any = display({"text/plain": "Search"}, raw=True, display_id=True)

    def show(self, done: int, total: int | None, state: str, brief: str, left: str) -> None:
        elapsed = datetime.timedelta(seconds=round(time.monotonic() - self._started))
        of_total = done if total is None else f"{done}/{total}"
        self._handle.update(
            {"text/plain": f"Search {of_total} trials{state}, {elapsed} elapsed{left}"}, raw=True
        )

    def end(self) -> None:
        """Nothing: the last state stays."""


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
