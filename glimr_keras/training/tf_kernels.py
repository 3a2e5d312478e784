"""Keeps TensorFlow's kernels from trial to trial, where that pays. Runs in the worker.

When a held graph first runs, TensorFlow optimises it and creates its kernels. Clearing a session
and setting a seed both discard all of them, even those that a held graph would use again. The
reason is that a kernel that draws random numbers continues its sequence. As long as no seed is set
twice, no sequence is repeated. Kernels of graphs that are gone are freed with them.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

_MOST = 50
"""The number of seeds after which kernels are discarded: kernels that belong to no graph are not
freed before.
"""

pays = False
"""Whether the last training used a held graph."""

_seeds: set[int | None] = set()
"""The seeds that were set since the kernels were last discarded."""


@contextlib.contextmanager
def kept(seed: int | None = None) -> Iterator[None]:
    """Keep kernels while the block clears a session or sets a seed, where that pays.

    Args:
        seed: The seed that is set. Defaults to `None`, which means that none is set.
    """
    module = sys.modules.get("tensorflow.python.eager.context")
    context = None if module is None else module.context()
    if context is None or not pays or seed in _seeds or len(_seeds) >= _MOST:
        _seeds.clear()
        if seed is not None:
            _seeds.add(seed)
        yield
        return
    if seed is not None:
        _seeds.add(seed)

    def set_seed(value: int) -> None:
        context._seed, context._rng = value, random.Random(value)

    context.clear_kernel_cache, context._set_global_seed = (lambda: None), set_seed
    try:
        yield
    finally:
        del context.clear_kernel_cache, context._set_global_seed
