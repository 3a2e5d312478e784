"""Warnings that user code did not cause."""

from __future__ import annotations

import warnings


def say(text: str) -> None:
    """Issue a warning, even where the user's filters turn warnings into errors."""
    try:
        warnings.warn(text, stacklevel=2)
    except UserWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, stacklevel=2)
