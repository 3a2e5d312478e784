"""Methods that the user's class or object overrides. Runs anywhere."""

from __future__ import annotations


def is_overridden(thing: object, name: str, base: type) -> bool:
    """Return whether `thing` overrides the method `name` of `base`.

    A method set on the object itself counts too.
    """
    return name in vars(thing) or getattr(type(thing), name) is not getattr(base, name)
