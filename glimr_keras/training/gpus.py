"""The GPUs of a training process: its memory limit, and its peak memory. Runs in the worker, and in
the driver for inline trials.
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
"""The GPU memory that CUDA and its libraries take for each process, besides arrays."""
SPARE = 0.9
"""The part of a process' share that is for arrays."""


def bound_memory(backend: str, part: float) -> None:
    """Limit this process to a part of each of its GPUs' memory, allocated on demand. Call it before
    the GPUs are used.

    On JAX the environment sets the limit (see `variables`), since JAX reads it at its start.
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
    """Return the environment of a process that may use a part of each GPU's memory, for libraries
    that read it at their start.
    """
    is_bounded = any(name in os.environ for name in _BOUNDS_OF_JAX)
    if backend == "jax" and part < 1 and not is_bounded:
        return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{part * SPARE:.4f}"}
    return {}


_BOUNDS_OF_JAX = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
"""Each sets the part of a GPU's memory that a process takes, and JAX refuses both together."""


def may_be_there() -> bool:
    """Return whether this machine may have a GPU that this process sees. It asks no library, since
    that would start the library's runtime.
    """
    if any(os.environ.get(name) in ("", "-1") for name in _HIDING):
        return False
    return any(map(os.path.exists, _DEVICES))


_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Devices that exist on systems with a GPU of NVIDIA or AMD."""


def forget_peak(backend: str) -> None:
    """Reset the peak memory, if the backend can."""
    if backend == "tensorflow":
        tf = sys.modules["tensorflow"]
        for gpu in tf.config.list_logical_devices("GPU"):
            tf.config.experimental.reset_memory_stats(gpu.name.removeprefix("/device:"))
    elif backend == "torch":
        cuda = sys.modules["torch"].cuda
        for gpu in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(gpu)


def peak(backend: str) -> int | None:
    """Return the peak memory of arrays on one GPU, in bytes, since `forget_peak`, or on JAX since
    the process started. Return `None` without a GPU, or if the backend does not report it.
    """
    return max(filter(None, _PEAKS.get(backend, _nothing)()), default=None)


def count(backend: str) -> int:
    """Return the number of GPUs of this process."""
    if backend == "tensorflow":
        return len(sys.modules["tensorflow"].config.list_physical_devices("GPU"))
    if backend == "jax":
        return sum(device.platform == "gpu" for device in sys.modules["jax"].local_devices())
    return sys.modules["torch"].cuda.device_count() if backend == "torch" else 0


def missing(backend: str) -> str | None:
    """Return the message for a process that was given a GPU that Keras does not see, or `None`."""
    if count(backend) > 0:
        return None
    return (
        f"Each trial has a GPU, as Ray counts them, and Keras on {backend} sees none in its "
        "process: trials train on CPUs. Install what uses them, such as `tensorflow[and-cuda]` or "
        "`jax[cuda12]`, or pass `resources_per_trial={'cpu': 1}` to have more of them at once."
    )


def total() -> int | None:
    """Return the memory of this process' smallest GPU, in bytes; `None` if the system does not
    report it.
    """
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
    """Return the memory of each GPU of this process, in bytes and in its order. The list is empty
    if NVIDIA's driver is not there to report it.
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
