"""What an executor is: the protocol that all of them have. Runs in the driver."""

from __future__ import annotations

import abc
from collections.abc import Callable

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import Probe

Begin = Callable[[Probe], Coordinator | None]
"""Begins a search with what was found by building the model once, or returns `None` where that was
all that was wanted.
"""


class Executor(abc.ABC):
    """Where the executions of a search run. A tuner takes one by name or as an instance.

    A subclass builds the model once (`training.discovery.probe`), calls `begin` with what was
    found, and then, until the coordinator has nothing left: takes an execution
    (`coordinator.next_spec`), says that it begins (`on_start`), trains it
    (`training.run_trial.run_trial`), and passes on each of its reports (`stops`, `on_report`,
    `on_stopped`), or that its process is gone (`on_lost`). Executions may run side by side. The
    coordinator is called from one thread only.

    Attributes:
        sends: Whether executions run in other processes, so that what is searched is sent there.
        start_label: What is shown while `prepare` runs; `None` to show nothing.
        line: What is shown when it is over, such as how many trials run at once; `None` for
            nothing.

    Example:
        class MyExecutor(Executor):
            def execute(self, context, begin):
                …

        tuner = RayTuner(build, "val_loss", executor=MyExecutor())
    """

    sends = True
    start_label: str | None = None
    line: str | None = None

    def prepare(self, context: TrialContext) -> None:  # noqa: B027  # there may be nothing to do
        """Ready what executions need, such as a cluster. Called before `execute`.

        Args:
            context: What is searched.

        Raises:
            ResourcesError: If there is no machine for them.
        """

    def close(self) -> None:  # noqa: B027  # there may be nothing to end
        """End what `prepare` and `execute` have begun, also where one of them has failed."""

    @abc.abstractmethod
    def execute(self, context: TrialContext, begin: Begin) -> None:
        """Build the model once, and run what the coordinator that `begin` makes gives out, to its
        end.

        Args:
            context: What is searched.
            begin: Called once, when the model has been built; returns `None` where nothing is to
                be run.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
            Exception: What `begin` raised.
        """
