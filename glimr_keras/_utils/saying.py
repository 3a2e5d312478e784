"""Warnings of what is no fault of the user's code."""

from __future__ import annotations

import warnings


def say(text: str) -> None:
    """Warn of something, also where the user's filters would make that an error."""
    try:
        warnings.warn(text, stacklevel=2)
    except UserWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, stacklevel=2)
