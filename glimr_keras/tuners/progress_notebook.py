"""How a search is shown in a notebook: a panel that is replaced in place, without widgets and
scripts, so in Jupyter, VS Code and Colab alike. Runs in the driver.
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
    """A bar, the best five trials and a small chart in a notebook's output.

    It is replaced at most once a second, and later at most once in a hundredth of the time so far,
    but always after the last change: a thread sees to that, until `end`. So a long search leaves no
    flood of messages to a browser that sleeps.

    Args:
        state: What is shown first.
    """

    def __init__(self, state: SearchState) -> None:
        from IPython.display import display  # there whenever a notebook runs

        self._state = state
        self._handle: Any = display(panel(state), raw=True, display_id=True)
        self._is_over = threading.Event()
        run = contextvars.copy_context().run  # which knows the cell that is executed
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
        """Seconds until it is replaced again."""
        return min(max((time.monotonic() - self._state.began) / 100, _TICK_S), _SLOWEST_S)

    def _update(self, state: SearchState) -> None:
        self._handle.update(panel(state), raw=True)


def panel(state: SearchState) -> dict[str, str]:
    """Return what is shown of a search, as text and as HTML."""
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
    """Tell whether this process is the kernel of a notebook, in which outputs can be replaced; in
    the console of Spyder, whose shell is made of Jupyter's, they cannot.
    """
    ipython = sys.modules.get("IPython")
    kind = type(None if ipython is None else ipython.get_ipython())
    return (kind.__module__, kind.__qualname__) in _SHELLS
