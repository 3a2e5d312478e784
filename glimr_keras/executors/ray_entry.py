"""What Ray makes first in a process that runs trials: it sets variables that libraries read when
they are imported, and only then imports Keras. Runs in the worker.

Nothing here may import this package, so the class is sent by value.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import ray
from ray import cloudpickle
from ray.tune.trainable.function_trainable import FunctionTrainable

_GPUS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""By these a process is told which GPUs are its own. Ray sets them for a trial that gets some, and
leaves them for one that gets none, which would then see all.
"""
_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Where the system has a GPU of NVIDIA's or AMD's."""


class Entry(FunctionTrainable):
    """Becomes a `Worker` when the process is ready for it."""

    def setup(self, config: dict[str, Any], order: Mapping[str, Any]) -> None:
        """Ready the process.

        Args:
            order: `variables`, those of the environment, of which the user's own win but for the
                backend; `has_gpu`, whether the process gets a GPU; `worker`, the module of
                `Worker`; and `payload`, a list with the reference to what that is given.
        """
        os.environ["KERAS_BACKEND"] = order["backend"]
        for name, value in order["variables"].items():
            os.environ.setdefault(name, value)
        if not order["has_gpu"]:
            for name in _GPUS:
                os.environ[name] = ""
            if any(map(os.path.exists, _DEVICES)):  # which JAX looks at, whatever is hidden
                os.environ["JAX_PLATFORMS"] = "cpu"
        worker = importlib.import_module(order["worker"])
        self.__class__ = worker.Worker
        self.setup(config, ray.get(order["payload"][0]))


cloudpickle.register_pickle_by_value(sys.modules[__name__])
