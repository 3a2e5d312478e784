"""Choice of the executor, from the user's settings and the state that trials keep. Runs in the
driver.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glimr_keras.code.record import KeptState
from glimr_keras.executors.base import Executor
from glimr_keras.executors.inline import InlineExecutor
from glimr_keras.training import gpus
from glimr_keras.training.messages import Change
from glimr_keras.tuners.settings import SearchSettings

if TYPE_CHECKING:  # Ray Tune is imported only when needed
    from glimr_keras.executors.ray_executor import RayExecutor

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Choice:
    """The choice of where trials run.

    Attributes:
        executor: `"ray"`, `"inline"`, or a user-defined executor.
        line: Line to show about the choice.
        warning: Warning about the choice.
    """

    executor: str | Executor
    line: str | None = None
    warning: str | None = None

    @property
    def sends(self) -> bool:
        """Return whether trials are sent to other processes."""
        return self.executor == "ray" if isinstance(self.executor, str) else self.executor.sends


def choose(settings: SearchSettings, kept: Sequence[KeptState]) -> Choice:
    """Choose where trials run: inline if they keep state and the user chose nothing, else on Ray.

    Args:
        settings: The tuner's settings.
        kept: The state that trials keep from one to the next.
    """
    given = settings.executor
    asked = Choice("ray" if given == "auto" else given)
    if not kept or not asked.sends:
        return asked
    if given != "auto":
        return dataclasses.replace(asked, warning=_warning(kept, "With `executor='auto'`"))
    of_ray = _of_ray(settings)
    if of_ray:
        how = f"`{of_ray[0]}` needs Ray: without it"
        return dataclasses.replace(asked, warning=_warning(kept, how))
    return Choice("inline", line=_line(kept, _without_meaning(settings)))


def made(
    choice: Choice,
    settings: SearchSettings,
    kept: Sequence[KeptState],
    storage: pathlib.Path,
    shows: bool,
    at_most: int | None,
) -> Executor:
    """Return the executor of a search.

    Args:
        choice: Where trials run.
        settings: The tuner's settings.
        kept: The state that trials keep from one to the next.
        storage: A directory that all machines share.
        shows: Whether to show the output of workers.
        at_most: Maximum number of executions; `None` for no limit.
    """
    if isinstance(choice.executor, Executor):
        return choice.executor
    if choice.executor == "inline":
        return InlineExecutor(kept)
    bounds = [bound for bound in (at_most, settings.max_concurrent_trials) if bound is not None]
    at_once = min(bounds, default=None)

    def on_ray() -> RayExecutor:
        from glimr_keras.executors.ray_executor import RayExecutor

        return RayExecutor(
            settings.resources_per_trial,
            at_once,
            settings.max_worker_memory,
            settings.scheduler,
            settings.ray_callbacks,
            storage,
            settings.address,
            chatty=shows,
            reporter=settings.reporter,
            trials_per_gpu=settings.trials_per_gpu,
        )

    if settings.executor != "auto" or _needs_ray(settings) or (shows and not _is_stdout_seen()):
        return on_ray()
    from glimr_keras.executors.fork_executor import ForkExecutor  # imports Ray

    resources, budget = settings.resources_per_trial, settings.time_budget_s
    return ForkExecutor(on_ray, resources, at_once, budget, shows)


def _needs_ray(settings: SearchSettings) -> bool:
    """Return whether the settings or the available hardware require Ray."""
    wanted = settings.resources_per_trial or {}
    return (
        bool(_of_ray(settings))
        or settings.max_worker_memory is not None
        or settings.trials_per_gpu is not None
        or any(amount for name, amount in wanted.items() if name != "cpu")
        or settings.address is not None
        or _is_ray_there()
        or gpus.may_be_there()
    )


def _is_ray_there() -> bool:
    """Return whether there is a running Ray that the search should join."""
    if os.environ.get("RAY_ADDRESS"):
        return True
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return True
    # `ray start` records here which cluster runs on this machine
    places = (os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR"))
    place = next(filter(None, places), "/tmp")
    return pathlib.Path(place, "ray", "ray_current_cluster").exists()


def _is_stdout_seen() -> bool:
    """Return whether the output of other processes appears where the script's does."""
    try:
        return sys.stdout.fileno() == 1
    except (AttributeError, OSError, ValueError):  # a notebook's stdout has no file number
        return False


def change_warning(change: Change) -> str:
    """Return the warning for something that a trial changed in a worker."""
    name = f"{change.owner}.{change.name}" if change.owner else change.name
    return (
        f"A trial changed `{name}`, in a process of its own: neither the script nor other trials "
        "see that. Return it as a metric or write it to a file, or pass `executor='inline'` to "
        "run trials one at a time in this process."
    )


def _of_ray(settings: SearchSettings) -> list[str]:
    """Return the given arguments that only Ray supports."""
    given = {
        "scheduler": settings.scheduler,
        "reporter": settings.reporter,
        "callbacks": settings.ray_callbacks or None,
    }
    return [name for name, value in given.items() if value is not None]


def _without_meaning(settings: SearchSettings) -> list[str]:
    """Return the given arguments that have no effect with inline trials."""
    concurrent = settings.max_concurrent_trials
    given = {
        "max_concurrent_trials": None if concurrent == 1 else concurrent,
        "trials_per_gpu": settings.trials_per_gpu,
        "max_worker_memory": settings.max_worker_memory,
        "address": settings.address,
    }
    return [name for name, value in given.items() if value is not None]


def _line(kept: Sequence[KeptState], without_meaning: Sequence[str]) -> str:
    ignored = ", ".join(f"`{name}`" for name in without_meaning)
    verb = "has" if len(without_meaning) == 1 else "have"
    return (
        "Trials run one at a time in this process, since their code keeps state from one to the "
        f"next: {_listed(kept)}. To run them side by side, have each trial set it anew, or pass "
        "`executor='ray'`, where each begins with what the script has now."
        + (f" {ignored} {verb} no meaning here." if ignored else "")
    )


def _warning(kept: Sequence[KeptState], how: str) -> str:
    return (
        "Trials run in processes of their own, and do not see what others change: "
        f"{_listed(kept)}. Each begins with what the script has when the search starts. {how} "
        "trials run one at a time in this process; or have each trial set it anew."
    )


def _listed(kept: Sequence[KeptState]) -> str:
    named = list({seen.name: seen for seen in reversed(kept)}.values())[::-1]
    more = len(named) - _SHOWN
    shown = ", ".join(map(str, named[:_SHOWN]))
    return f"{shown}, and {more} more" if more > 0 else shown
