"""Models that do not fit into memory: which errors say so, and what helps. Runs in the worker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KINDS = ("ResourceExhaustedError", "OutOfMemoryError")
"""What TensorFlow and PyTorch call it; JAX and others say it in words."""
_WORDS = re.compile(
    r"RESOURCE_EXHAUSTED|\bOOM\b|out of memory|can't allocate memory|failed to allocate memory",
    re.IGNORECASE,
)


_OF_FILES = re.compile(r"No space left|Disk quota|Too many open files", re.IGNORECASE)
"""What TensorFlow says of the system's other wants, by the same kind of error."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory for a model, or for what it computes."""
    chain = list(_chain(error))
    if any(_OF_FILES.search(str(each)) for each in chain):
        return False
    return any(
        isinstance(each, MemoryError)
        or any(kind.__name__ in _KINDS for kind in type(each).__mro__)
        or (isinstance(each, RuntimeError) and _WORDS.search(str(each)) is not None)
        for each in chain
    )


def advice(model: Any, values: Mapping[str, Any], has_gpu: bool) -> str:
    """Return in one line which sizes help.

    Args:
        model: The one that was trained; `None` if there was none yet.
        values: The configuration.
        has_gpu: Whether the trial had a GPU, maybe a part of one.
    """
    size = "" if model is None or not model.built else f" of {model.count_params()} parameters"
    numbers = [name for name, value in values.items() if _is_size(value)]
    smaller = f" ({', '.join(numbers[:5])})" if numbers else ""
    bound = "" if not size else ", or leave larger models out by `max_model_size`"
    share = (
        "a larger share, `resources_per_trial={'gpu': 1}`"
        if has_gpu
        else "fewer trials at once, `max_concurrent_trials=1`"
    )
    return (
        f"Out of memory: the model{size}, or what it computes of a batch, did not fit. What helps: "
        f"smaller batches (`batch_size`), smaller values of what makes the model large{smaller}"
        f"{bound}, and {share}."
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
