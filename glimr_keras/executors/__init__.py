"""Where executions run: in this process or in Ray's workers, and the coordinator that hands them
out.
"""

from glimr_keras.executors.base import Begin, Executor
from glimr_keras.executors.inline import InlineExecutor
from glimr_keras.executors.ray_executor import RayExecutor

__all__ = ["Begin", "Executor", "InlineExecutor", "RayExecutor"]
