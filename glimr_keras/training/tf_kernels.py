"""What TensorFlow's runtime has made ready to run, kept from trial to trial where that pays. Runs
in the worker.

A graph that is held is optimised, and its kernels are made, when it is first run. To clear a
session, and to set a seed, TensorFlow throws all of that away, also what a held graph would use
again. It does so because a kernel that draws goes on where it was; as long as no seed comes twice,
no kernel does. Kernels of graphs that are gone are freed with them.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

_MOST = 50
"""For so many trials kernels are kept: those that belong to no graph are not freed before."""

pays = False
"""Whether the last training has used a graph that was held."""

_seeds: set[int | None] = set()
"""Those that were set since the kernels were last thrown away."""


@contextlib.contextmanager
def kept(seed: int | None = None) -> Iterator[None]:
    """Keeps kernels while a session is cleared, or a seed is set, in the block, where that pays.

    Args:
        seed: The one that is set; `None` if none is.
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
