"""The display of a search in a terminal or a file. Runs in the driver."""

from __future__ import annotations

import time
from typing import Protocol

import rich.cells
import rich.console
import rich.progress
import rich.progress_bar
import rich.table
import rich.text

from glimr_keras.tuners.search_state import SearchState

_LOG_SECONDS = 60.0
_LOG_SHARE = 0.1


class Display(Protocol):
    """The display of a running search."""

    def show(self, state: SearchState) -> None:
        """Show the current progress."""

    def end(self, state: SearchState) -> None:
        """Show the final progress and leave it visible."""


class TerminalLine:
    """Show a line with a bar at the bottom of a terminal.

    Args:
        console: The terminal.
        state: The state to show first.
    """

    def __init__(self, console: rich.console.Console, state: SearchState) -> None:
        self._bar = rich.progress.Progress(_Fitting(console), console=console, refresh_per_second=4)
        self._task = self._bar.add_task("Search", total=state.total, state=state)
        self._bar.start()

    def show(self, state: SearchState) -> None:
        self._bar.update(self._task, completed=state.done, total=state.total, state=state)

    def end(self, state: SearchState) -> None:
        self.show(state)
        self._bar.stop()


class _Fitting(rich.progress.ProgressColumn):
    """As much of a search's line as fits. The bar is dropped first, then the times."""

    def __init__(self, console: rich.console.Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: rich.progress.Task) -> rich.table.Table:
        state: SearchState = task.fields["state"]
        room = self._console.width - len("Search ")
        forms = forms_of(state)
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


def forms_of(state: SearchState) -> list[str]:
    """Return the forms of a search's line, from the longest to the shortest."""
    counted = state.counts + state.running_now + state.failures
    brief = state.counts + state.failures + state.best_score
    times = state.left or state.elapsed
    return [
        state.in_full,
        counted + state.best_named + times,
        counted + state.best_score + times,
        brief + times,
        brief,
    ]


class LogLines:
    """Write an occasional line to a file, at once and without control characters.

    A line is due once a minute has passed since the last one and another tenth of the search is
    done. If the total is unknown, it takes a tenth more trials than at the last line.

    Args:
        console: Console that writes to the file.
        state: The state at the start.
    """

    def __init__(self, console: rich.console.Console, state: SearchState) -> None:
        self._console = console
        self._shown_at, self._shown_done = time.monotonic(), state.done

    def show(self, state: SearchState) -> None:
        new = state.done - self._shown_done
        due = max(_LOG_SHARE * (state.total or self._shown_done), 1)
        if new >= due and time.monotonic() - self._shown_at >= _LOG_SECONDS:
            self._write(state)

    def end(self, state: SearchState) -> None:
        self._write(state)

    def _write(self, state: SearchState) -> None:
        self._shown_at, self._shown_done = time.monotonic(), state.done
        self._console.print(f"Search {state.in_full}", markup=False, soft_wrap=True)
