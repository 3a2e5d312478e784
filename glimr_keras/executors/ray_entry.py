"""The first object that Ray makes in a process that runs trials. It sets the variables that
libraries read on import, and only then imports Keras. Runs in the worker.

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
"""The variables that tell a process which GPUs it may use. Ray sets them for a trial with GPUs, and
leaves them for one without, which would then see all.
"""
_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""The devices that exist if the system has an NVIDIA or AMD GPU."""


class Entry(FunctionTrainable):
    """Become a `Worker` once the process is prepared."""

    def setup(self, config: dict[str, Any], order: Mapping[str, Any]) -> None:
        """Prepare the process.

        Args:
            order: `variables`, environment variables, which do not override the user's own except
                for the backend; `has_gpu`, whether the process gets a GPU; `worker`, the module of
                `Worker`; and `payload`, a list with the reference to the payload.
        """
        os.environ["KERAS_BACKEND"] = order["backend"]
        for name, value in order["variables"].items():
            os.environ.setdefault(name, value)
        if not order["has_gpu"]:
            for name in _GPUS:
                os.environ[name] = ""
            if any(map(os.path.exists, _DEVICES)):  # JAX probes them even if hidden
                os.environ["JAX_PLATFORMS"] = "cpu"
        worker = importlib.import_module(order["worker"])
        self.__class__ = worker.Worker
        self.setup(config, ray.get(order["payload"][0]))


cloudpickle.register_pickle_by_value(sys.modules[__name__])
