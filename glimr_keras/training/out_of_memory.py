"""Recognises out-of-memory errors, and says what helps against them. Runs in the worker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KINDS = ("ResourceExhaustedError", "OutOfMemoryError")
"""The error classes of TensorFlow and PyTorch; JAX and others say it in the message."""
_WORDS = re.compile(
    r"RESOURCE_EXHAUSTED|\bOOM\b|out of memory|can't allocate memory|failed to allocate memory",
    re.IGNORECASE,
)


_OF_FILES = re.compile(r"No space left|Disk quota|Too many open files", re.IGNORECASE)
"""Messages of TensorFlow about other resources, with the same error class."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a model, or its computations, did not fit into memory."""
    chain = list(_chain(error))
    if any(_OF_FILES.search(str(each)) for each in chain):
        return False
    return any(
        isinstance(each, MemoryError)
        or any(kind.__name__ in _KINDS for kind in type(each).__mro__)
        or (isinstance(each, RuntimeError) and _WORDS.search(str(each)) is not None)
        for each in chain
    )


def advice(model: Any, values: Mapping[str, Any], gpus: float) -> str:
    """Return one line of advice on which sizes to reduce.

    Args:
        model: The model that was trained; `None` if there was none yet.
        values: The configuration.
        gpus: The number of GPUs of the trial, which may be a fraction.
    """
    size = "" if model is None or not model.built else f" of {model.count_params()} parameters"
    numbers = [name for name, value in values.items() if _is_size(value)]
    smaller = f" ({', '.join(numbers[:5])})" if numbers else ""
    bound = "" if not size else ", no larger models (`max_model_size`)"
    precision = "" if gpus == 0 else "`keras.config.set_dtype_policy('mixed_bfloat16')`, "
    return (
        f"Out of memory: the model{size}, or what it computes of a batch, did not fit"
        f"{_into(gpus)}. What helps: smaller batches (`batch_size`), {precision}smaller values of "
        f"what makes the model large{smaller}{bound}, or {_more_room(gpus)}."
    )


def _into(gpus: float) -> str:
    if gpus == 0:
        return ""
    return " into the GPU's memory" if gpus >= 1 else f" into {gpus:g} of a GPU's memory"


def _more_room(gpus: float) -> str:
    if gpus == 0:
        return "fewer trials at once, `max_concurrent_trials=1`"
    return "a larger GPU" if gpus >= 1 else "fewer trials on a GPU (a smaller `trials_per_gpu`)"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and the errors that it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
