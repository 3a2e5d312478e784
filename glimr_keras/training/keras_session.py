"""The process and the Keras session that trials run in. Runs in the worker, and in the driver for
inline trials.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import math
import os
import pathlib
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from glimr_keras._utils import scratch
from glimr_keras.training import gpus, library_settings, tf_kernels


@dataclasses.dataclass(frozen=True)
class Session:
    """The global settings of Keras and other libraries in the driver. Its workers start without
    them, and adopt them.

    Attributes:
        backend: The Keras backend.
        settings: The settings, as `library_settings.current` returns them.
    """

    backend: str
    settings: Mapping[str, Any]

    @classmethod
    def current(cls) -> Session:
        """Return the settings of this process."""
        return cls(keras.backend.backend(), library_settings.current())

    def apply(self) -> None:
        """Apply the settings to this process and this thread."""
        library_settings.apply(self.settings)

    @contextlib.contextmanager
    def fresh(self, seed: int | None = None) -> Iterator[None]:
        """Run the block in a fresh Keras session with these settings, and clear the session
        afterwards.

        Args:
            seed: The seed for Python, NumPy and Keras. Defaults to `None`, which leaves their
                generators alone.
        """
        self._clear(free_memory=False)
        if seed is not None:
            _set_seed(seed)
        try:
            yield
        finally:
            self._clear(free_memory=True)

    def _clear(self, free_memory: bool) -> None:
        with keras.saving.custom_object_scope({}) as inner:
            scope = inner.backup
        with tf_kernels.kept():
            keras.backend.clear_session(free_memory)  # resets the settings too, and the scope
        keras.saving.custom_object_scope(scope).__enter__()  # whoever entered it exits it
        self.apply()
        if self.backend == "tensorflow":
            _forget_gradients()


def _forget_gradients() -> None:
    """Let TensorFlow forget the custom gradients of models that are gone."""
    with contextlib.suppress(
        ImportError, AttributeError
    ):  # a TensorFlow that keeps them elsewhere: they stay
        from glimr_keras.training import tf_gradients  # for TensorFlow only

        tf_gradients.forget()


@functools.cache
def prepare_worker(backend: str, cpus: float | None, part_of_gpu: float = 1.0) -> None:
    """Prepare a process that only trains, once. The arguments are those of `prepare_process`.

    The objects that its imports created are frozen, so that garbage collection ignores them. There
    are a million objects of TensorFlow and Keras that never go away. Each collection would take a
    quarter of a second, several times a trial.
    """
    prepare_process(backend, cpus, part_of_gpu)
    if backend == "jax":
        with contextlib.suppress(Exception):  # then each process compiles for itself
            _share_what_is_compiled()
    gc.freeze()


def _share_what_is_compiled() -> None:
    """Share JAX's persistent compilation cache among all workers of Ray on this machine, unless the
    user has set its directory. (TensorFlow has no such cache for functions that are not XLA
    clusters.)
    """
    import jax  # heavy, and not needed on the other backends

    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None:
        return
    place = scratch.of_parent("jax")
    if place is not None:
        config.update("jax_compilation_cache_dir", str(place))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def is_worker() -> bool:
    """Return whether this process only trains."""
    return prepare_worker.cache_info().currsize > 0


@contextlib.contextmanager
def out_of_garbage_collection() -> Iterator[None]:
    """Freeze existing objects until the end of the block, as `prepare_worker` does for good.

    Nothing is done in a process that has frozen objects itself.
    """
    if gc.get_freeze_count():
        yield
        return
    with contextlib.ExitStack() as block:
        if keras.backend.backend() == "tensorflow":
            with contextlib.suppress(ImportError, AttributeError):  # as in `_forget_gradients`
                from glimr_keras.training import tf_gradients  # for TensorFlow only

                block.enter_context(tf_gradients.kept())
        gc.freeze()
        block.callback(gc.unfreeze)
        yield


@functools.cache
def prepare_process(backend: str, cpus: float | None, part_of_gpu: float = 1.0) -> None:
    """Set this process up for training, once.

    Args:
        backend: The Keras backend of the driver.
        cpus: The number of CPUs, and so of threads; `None` leaves the number of threads alone.
        part_of_gpu: The part of each of its GPUs' memory that it may take. Defaults to `1.0`.

    Raises:
        RuntimeError: If Keras runs on another backend here than in the driver.
    """
    if keras.backend.backend() != backend:
        raise RuntimeError(
            f"The driver runs Keras on {backend!r}, this worker on {keras.backend.backend()!r}. "
            f"Set KERAS_BACKEND={backend} on every machine of the cluster before Ray is started "
            "there."
        )
    if cpus is not None:
        _set_threads(backend, max(1, math.floor(cpus)))
    gpus.bound_memory(backend, part_of_gpu)


def _set_threads(backend: str, threads: int) -> None:
    if backend == "tensorflow":
        import tensorflow as tf  # heavy, and not needed on the other backends

        with contextlib.suppress(RuntimeError):  # already running, in the driver's own process
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif backend == "torch":
        import torch  # heavy, and not needed on the other backends

        torch.set_num_threads(threads)


def private_memory() -> int | None:
    """Return the memory of this process in bytes, without shared memory; `None` if the system does
    not report it.
    """
    try:
        _, resident, shared, *_ = pathlib.Path("/proc/self/statm").read_text().split()
    except OSError:
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _set_seed(seed: int) -> None:
    """Seed Python, NumPy and Keras. Keras' own function would import TensorFlow, so it is used only
    if TensorFlow is imported.
    """
    if "tensorflow" in sys.modules:
        with tf_kernels.kept(seed):
            keras.utils.set_random_seed(seed)
        return
    random.seed(seed)  # Keras draws the seeds of layers without a seed from it
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def compute_once() -> None:
    """Compute something with the backend, to show that it works in this process."""
    keras.ops.convert_to_numpy(keras.ops.matmul(keras.ops.ones((2, 2)), keras.ops.ones((2, 2))))
