"""Checks that what a search sends to its workers can be sent, and names what cannot. Runs in the driver."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from ray import cloudpickle

from glimr_keras.errors import ShippingError
from glimr_keras.hypermodel import FunctionHyperModel


def check_sendable(value: Any, name: str) -> None:
    """Refuses an object that cannot be pickled, and names the innermost attribute that is the reason.

    Args:
        value: What is to be sent. Large arrays in it are not copied for the check.
        name: How the user calls it, such as `"hypermodel"`.

    Raises:
        ShippingError: With the path of the attribute, closure variable or item.
    """
    error = _error(value)
    if error is None:
        return
    path, culprit = _find(value, name, set())
    raise ShippingError(
        f"`{name}` must be sent to worker processes, and cannot be pickled: {path} is a {type(culprit).__name__}. "
        f"Create it inside `data(config)`, `build(config)` or `fit`, where it is used. Received: {_error(culprit) or error}"
    )


def _error(value: Any) -> Exception | None:
    try:
        cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: None)
    except Exception as error:
        return error
    return None


def _find(value: Any, path: str, seen: set[int]) -> tuple[str, Any]:
    """The innermost part of `value` that cannot be pickled, with its path."""
    seen.add(id(value))
    for name, part in _parts(value):
        if id(part) not in seen and _error(part) is not None:
            return _find(part, path + name, seen)
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, FunctionHyperModel):
        yield "", value.function
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif inspect.isfunction(value) or inspect.ismethod(value):
        variables = inspect.getclosurevars(value)
        yield from ((f"'s variable `{name}`", item) for name, item in {**variables.nonlocals, **variables.globals}.items())
    elif hasattr(value, "__dict__") and not inspect.ismodule(value):
        yield from ((f".{name}", item) for name, item in vars(value).items())
        yield from ((f".{name}", item) for kind in type(value).__mro__[:-1] for name, item in vars(kind).items())
