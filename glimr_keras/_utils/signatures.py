"""Arguments that a class or function takes, to find a wrong one before the call. Runs in driver and
worker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from glimr_keras.errors import did_you_mean


def arguments_of(function: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of the keyword arguments of a function or a class's constructor.

    Return `None` if it takes any.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # a builtin without a signature
        return None
    if any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters
    ) and not _is_of_keras(function):
        return None
    return _named(parameters)


def needed_by(function: Callable[..., Any]) -> list[str]:
    """Return the names of the keyword arguments that a function requires.

    The function's own signature counts: a decorator may supply some arguments to the wrapped
    function.
    """
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (ValueError, TypeError):  # a builtin without a signature
        return []
    taken = _named(parameters)
    return [each.name for each in parameters if each.name in taken and each.default is each.empty]


def takes(function: Callable[..., Any], count: int) -> bool:
    """Return whether a function can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


def named_arguments_of(kind: type) -> frozenset[str]:
    """Return the names of the arguments that a constructor certainly takes.

    These are its own. If it has `**kwargs`, the arguments of its base classes count too, as it is
    assumed to pass them on.
    """
    taken: frozenset[str] = frozenset()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            taken |= _named(inspect.signature(base).parameters.values())
            if arguments_of(base) is not None:
                break
    return taken


def check_taken(given: Iterable[str], taken: frozenset[str] | None, who: str) -> None:
    """Raise an error for arguments that are not accepted.

    Args:
        given: The names of the arguments.
        taken: The accepted names, as `arguments_of` returns them.
        who: The owner of the arguments for the message, such as `"the optimizer SGD"`.

    Raises:
        ValueError: If an argument is not accepted.
    """
    for name in given:
        if taken is not None and name not in taken:
            raise ValueError(
                f"{name!r} is no argument of {who}.{did_you_mean(name, taken)} It has: "
                f"{', '.join(sorted(taken))}"
            )


def _named(parameters: Iterable[inspect.Parameter]) -> frozenset[str]:
    return frozenset(
        each.name
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    )


def _is_of_keras(function: Callable[..., Any]) -> bool:
    """Return whether a function is Keras' own.

    Its `**kwargs` only accept arguments of earlier versions, and it rejects any others.
    """
    module = getattr(function, "__module__", None) or ""  # code in C may lack it
    return module.startswith("keras.")
