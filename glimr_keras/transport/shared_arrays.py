"""Arrays in shared memory that TensorFlow reads where they are. TensorFlow; runs in the worker.

Keras on TensorFlow turns arrays that it is given into tensors, which copies them, in each trial and
sometimes twice. A `SharedArray` is a NumPy array like any other, but when TensorFlow asks for its
tensor, it gets one over the same memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_ALIGNMENT = 64
"""Bytes, of a tensor's memory (`EIGEN_MAX_ALIGN_BYTES`); Ray's shared memory is aligned so too."""


class SharedArray(np.ndarray):
    """A NumPy array that becomes a tensor without a copy."""

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """Return a tensor; called by TensorFlow to convert an object."""
        import tensorflow as tf  # it is there, since it calls

        if self._is_as_tensorflow_has_it() and dtype in (None, tf.as_dtype(self.dtype)):
            return tf.experimental.dlpack.from_dlpack(_Writable(self).array.__dlpack__())
        return tf.convert_to_tensor(np.asarray(self), dtype, name=name)

    def _is_as_tensorflow_has_it(self) -> bool:
        """Return whether the memory is laid out like a tensor's; TensorFlow does not check that,
        and crashes on other memory.
        """
        is_aligned = self.ctypes.data % _ALIGNMENT == 0
        return (
            self.dtype.kind in "biufc"
            and self.dtype.isnative
            and self.flags.c_contiguous
            and is_aligned
            and self.size > 0
        )


class _Writable:
    """Says of a read-only array's memory that it can be written, without which it cannot be
    exported. Tensors never write.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}

    @property
    def array(self) -> np.ndarray:
        return np.asarray(self)
