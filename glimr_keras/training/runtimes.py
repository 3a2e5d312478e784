"""Checks whether a backend's runtime has started in this process, which cannot be forked after
that. Looks at imported modules only, and imports nothing.
"""

from __future__ import annotations

import sys


def has_begun() -> bool:
    """Return whether TensorFlow, JAX or CUDA has started in this process, even if it is not Keras'
    backend. If this is unknown, the answer is `True`.
    """
    try:
        return _tensorflow() or _jax() or _torch()
    except Exception:  # a version that stores this elsewhere
        return True


def _tensorflow() -> bool:
    if "tensorflow" not in sys.modules:
        return False
    context = sys.modules["tensorflow.python.eager.context"]._context
    return context is not None and context._context_handle is not None


def _jax() -> bool:
    if "jax" not in sys.modules:
        return False
    return bool(sys.modules["jax._src.xla_bridge"]._backends)


def _torch() -> bool:
    return "torch" in sys.modules and bool(sys.modules["torch"].cuda.is_initialized())
