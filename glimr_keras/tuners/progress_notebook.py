"""The display of a search in a notebook: a panel that is updated in place. It needs no widgets or
scripts, so it works in Jupyter, VS Code and Colab. Runs in the driver.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from typing import Any

from glimr_keras._utils.html import bar, block, paragraph, title
from glimr_keras.results.chart_of_best import chart_of_best
from glimr_keras.results.html import trials_table
from glimr_keras.tuners.search_state import SearchState

_SHELLS = {("ipykernel.zmqshell", "ZMQInteractiveShell"), ("google.colab._shell", "Shell")}
_TICK_S = 1.0
_SLOWEST_S = 30.0


class NotebookPanel:
    """Show a bar, the best five trials and a small chart in a notebook's output.

    A thread updates it until `end`, first every second, later every hundredth of the elapsed time,
    up to half a minute. So a long search does not flood a sleeping browser with messages.

    Args:
        state: The state to show first.
    """

    def __init__(self, state: SearchState) -> None:
        from IPython.display import display  # available in every notebook

        self._state = state
        self._handle: Any = display(panel(state), raw=True, display_id=True)
        self._is_over = threading.Event()
        run = contextvars.copy_context().run  # carries the current cell
        self._thread = threading.Thread(
            target=run, args=(self._keep_up,), name="glimr_keras.notebook", daemon=True
        )
        self._thread.start()

    def show(self, state: SearchState) -> None:
        self._state = state

    def end(self, state: SearchState) -> None:
        self._is_over.set()
        self._thread.join()
        self._update(state)

    def _keep_up(self) -> None:
        while not self._is_over.wait(self._pause):
            self._update(self._state)

    @property
    def _pause(self) -> float:
        """Return the seconds until the next update."""
        return min(max((time.monotonic() - self._state.began) / 100, _TICK_S), _SLOWEST_S)

    def _update(self, state: SearchState) -> None:
        self._handle.update(panel(state), raw=True)


def panel(state: SearchState) -> dict[str, str]:
    """Return the panel of a search as text and as HTML."""
    times = f"{state.elapsed}{state.left}".removeprefix(", ")
    said = (state.running_now + state.failures + state.best_named).removeprefix(", ")
    html = block(
        title(f"Search {state.counts}", said),
        bar(state.share),
        paragraph(times if state.note is None else f"{times} · {state.note}"),
        chart_of_best(state.ended, state.objective),
        trials_table(state.best, state.objective, state.cv_folds),
    )
    return {"text/plain": f"Search {state.in_full}", "text/html": html}


def in_notebook() -> bool:
    """Return whether this process is a notebook kernel, where outputs can be updated.

    In Spyder's console, whose shell derives from Jupyter's, they cannot.
    """
    ipython = sys.modules.get("IPython")
    kind = type(None if ipython is None else ipython.get_ipython())
    return (kind.__module__, kind.__qualname__) in _SHELLS
