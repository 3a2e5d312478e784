"""Which methods a user's class, or object, has of its own. Runs anywhere."""

from __future__ import annotations


def is_overridden(thing: object, name: str, base: type) -> bool:
    """Return whether `thing` has a method of its own instead of that of `base`.

    A method that was set on the object itself counts too.
    """
    return name in vars(thing) or getattr(type(thing), name) is not getattr(base, name)
