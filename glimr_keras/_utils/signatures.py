"""Which arguments a class or function takes, so that a wrong one is found before it is called. Runs
in driver and worker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from glimr_keras.errors import did_you_mean


def arguments_of(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names of the keyword arguments that a function, or the constructor of a class, takes;
    `None` if it takes any.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # of a builtin, which does not say
        return None
    if any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters
    ) and not _is_of_keras(function):
        return None
    return _named(parameters)


def needed_by(function: Callable[..., Any]) -> list[str]:
    """The names of the keyword arguments without which a function cannot be called, as far as it
    says them itself: a decorator may give some to what it wraps.
    """
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (ValueError, TypeError):  # of a builtin, which does not say
        return []
    taken = _named(parameters)
    return [each.name for each in parameters if each.name in taken and each.default is each.empty]


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # of a builtin, which does not say
        return True
    return True


def named_arguments_of(kind: type) -> frozenset[str]:
    """The names of the arguments that a constructor is sure to take: its own, and where it has
    `**kwargs`, those of the classes that it extends, to which it is taken to hand them on.
    """
    taken: frozenset[str] = frozenset()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            taken |= _named(inspect.signature(base).parameters.values())
            if arguments_of(base) is not None:
                break
    return taken


def check_taken(given: Iterable[str], taken: frozenset[str] | None, who: str) -> None:
    """Refuses arguments that are not taken.

    Args:
        given: The names of the arguments.
        taken: As `arguments_of` gives them.
        who: Whose arguments they are, for the message, such as `"the optimizer SGD"`.

    Raises:
        ValueError: If there is one.
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
    """Whether `**kwargs` are only for arguments of earlier versions, which are refused when they
    are passed.
    """
    module = getattr(function, "__module__", None) or ""  # which what is written in C may not have
    return module.startswith("keras.")
