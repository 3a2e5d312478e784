"""Executors, which run trials in this process, in forks or in Ray's workers, and the coordinator
that gives them work. Ray Tune is imported only when its executor is used.
"""

from typing import TYPE_CHECKING, Any

from glimr_keras.executors.base import Begin, Executor
from glimr_keras.executors.inline import InlineExecutor

if TYPE_CHECKING:
    from glimr_keras.executors.ray_executor import RayExecutor

__all__ = ["Begin", "Executor", "InlineExecutor", "RayExecutor"]


def __getattr__(name: str) -> Any:
    if name != "RayExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from glimr_keras.executors.ray_executor import RayExecutor

    return RayExecutor


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
