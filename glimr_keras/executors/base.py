"""The protocol of all executors. Runs in the driver."""

from __future__ import annotations

import abc
from collections.abc import Callable

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.training.context import TrialContext
from glimr_keras.training.discovery import Probe

Begin = Callable[[Probe], Coordinator | None]
"""Begin a search with the result of building the model once. Returns `None` if nothing is to be
run.
"""


class Executor(abc.ABC):
    """Run the executions of a search. A tuner takes an executor by name or as an instance.

    A subclass builds the model once (`training.discovery.probe`) and calls `begin` with the result.
    It then repeats these steps until the coordinator has nothing left to start. It takes an
    execution (`coordinator.next_spec`), announces its start (`on_start`) and trains it
    (`training.run_trial.run_trial`). It passes on each report (`stops`, `on_report`, `on_stopped`),
    or that the process was lost (`on_lost`). Executions may run in parallel. Call the coordinator
    from one thread only.

    Attributes:
        sends: Whether executions run in other processes, so that the search context is sent to
            them.
        start_label: The text to show while `prepare` runs; `None` to show nothing.
        line: The text to show when `prepare` is over, such as how many trials run at once; `None`
            to show nothing.

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
        """Prepare what executions need, such as a cluster. Called before `execute`.

        Args:
            context: The context of the search.

        Raises:
            ResourcesError: If no machine has the resources that a trial needs.
        """

    def close(self) -> None:  # noqa: B027  # there may be nothing to end
        """Release what `prepare` and `execute` have started, even if one of them failed."""

    @abc.abstractmethod
    def execute(self, context: TrialContext, begin: Begin) -> None:
        """Build the model once, and run all executions of the coordinator that `begin` returns.

        Args:
            context: The context of the search.
            begin: Called once, after the model has been built; returns the coordinator, or `None`
                if nothing is to be run.

        Raises:
            KeyboardInterrupt: If the user stopped the search.
            Exception: Any exception that `begin` raised.
        """
