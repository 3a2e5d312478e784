"""Equivalent spellings of a name. Runs anywhere."""

from __future__ import annotations


def squeezed(name: str) -> str:
    """Normalize a name: `MeanIoU` and `mean_io_u` become the same, so that either finds a
    metric.
    """
    return name.replace("_", "").lower()
