"""Spellings of one name that mean the same. Runs anywhere."""

from __future__ import annotations


def squeezed(name: str) -> str:
    """`MeanIoU` and `mean_io_u` alike, so that either spelling of a log name is found."""
    return name.replace("_", "").lower()
