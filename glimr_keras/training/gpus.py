"""The GPUs of a process that trains: how much memory it may take, and the most that a training
took. Runs in the worker, and in the driver for inline trials.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

_MIB = 2**20
CONTEXT_BYTES = 600 * _MIB
"""What CUDA and its libraries take of a GPU for each process, beside what arrays take."""
SPARE = 0.9
"""This part of a process' share is for arrays."""


def bound_memory(backend: str, part: float) -> None:
    """Have this process take at most a part of each of its GPUs' memory, before it uses them, and
    also that only as it needs it.

    On JAX the environment says so (`variables`), since JAX reads it when it begins.
    """
    if backend == "tensorflow":
        _bound_tensorflow(part)
    elif backend == "torch" and part < 1:
        import torch  # heavy, and not needed on the other backends

        for gpu in range(torch.cuda.device_count()):
            torch.cuda.set_per_process_memory_fraction(part * SPARE, gpu)


def _bound_tensorflow(part: float) -> None:
    import tensorflow as tf  # heavy, and not needed on the other backends
    from tensorflow.python.eager import context  # TensorFlow 2 has no public name for a part

    with contextlib.suppress(RuntimeError):  # already running, in the driver's own process
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    if part < 1:
        bounded = tf.compat.v1.ConfigProto()
        bounded.gpu_options.per_process_gpu_memory_fraction = part * SPARE
        context.context()._config = bounded


def variables(backend: str, part: float) -> dict[str, str]:
    """Return the environment of a process that may take a part of each GPU's memory, for libraries
    that read it when they begin.
    """
    is_bounded = any(name in os.environ for name in _BOUNDS_OF_JAX)
    if backend == "jax" and part < 1 and not is_bounded:
        return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{part * SPARE:.4f}"}
    return {}


_BOUNDS_OF_JAX = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
"""Either says what part of a GPU's memory a process takes, and JAX refuses both."""


def may_be_there() -> bool:
    """Return whether this machine may have a GPU that this process sees. No library is asked, since
    that would begin its runtime.
    """
    if any(os.environ.get(name) in ("", "-1") for name in _HIDING):
        return False
    return any(map(os.path.exists, _DEVICES))


_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Where the system has a GPU of NVIDIA's or AMD's."""


def forget_peak(backend: str) -> None:
    """Begin to count the most memory anew, where the backend can."""
    if backend == "tensorflow":
        tf = sys.modules["tensorflow"]
        for gpu in tf.config.list_logical_devices("GPU"):
            tf.config.experimental.reset_memory_stats(gpu.name.removeprefix("/device:"))
    elif backend == "torch":
        cuda = sys.modules["torch"].cuda
        for gpu in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(gpu)


def peak(backend: str) -> int | None:
    """Return the most bytes that arrays took on one GPU since `forget_peak`, or on JAX since the
    process began; `None` without a GPU, or where the backend does not say.
    """
    return max(filter(None, _PEAKS.get(backend, _nothing)()), default=None)


def count(backend: str) -> int:
    """Return how many GPUs this process has."""
    if backend == "tensorflow":
        return len(sys.modules["tensorflow"].config.list_physical_devices("GPU"))
    if backend == "jax":
        return sum(device.platform == "gpu" for device in sys.modules["jax"].local_devices())
    return sys.modules["torch"].cuda.device_count() if backend == "torch" else 0


def missing(backend: str) -> str | None:
    """Return what is said where a process was given a GPU and Keras sees none; `None` else."""
    if count(backend) > 0:
        return None
    return (
        f"Each trial has a GPU, as Ray counts them, and Keras on {backend} sees none in its "
        "process: trials train on CPUs. Install what uses them, such as `tensorflow[and-cuda]` or "
        "`jax[cuda12]`, or pass `resources_per_trial={'cpu': 1}` to have more of them at once."
    )


def total() -> int | None:
    """Return the bytes of this process' smallest GPU; `None` where the system does not say."""
    return min(_totals(), default=None)


def _of_tensorflow() -> list[int]:
    tf = sys.modules["tensorflow"]
    return [
        tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"]
        for gpu in tf.config.list_logical_devices("GPU")
    ]


def _of_jax() -> list[int]:
    devices = sys.modules["jax"].local_devices()
    return [(gpu.memory_stats() or {}).get("peak_bytes_in_use", 0) for gpu in devices]


def _of_torch() -> list[int]:
    cuda = sys.modules["torch"].cuda
    return [cuda.max_memory_allocated(gpu) for gpu in range(cuda.device_count())]


def _nothing() -> list[int]:
    return []


_PEAKS: dict[str, Callable[[], list[int]]] = {
    "tensorflow": _of_tensorflow,
    "jax": _of_jax,
    "torch": _of_torch,
}


@functools.cache
def _totals() -> list[int]:
    """The bytes of each GPU of this process, in its order; empty where the driver of NVIDIA's is
    not there to say it.
    """
    own = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen: list[Any] = [] if own is None else ["-i", own]
    if own == "":
        return []
    try:
        said = subprocess.run(
            ["nvidia-smi", *chosen, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) * _MIB for line in said.splitlines() if line.strip().isdigit()]
