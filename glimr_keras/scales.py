"""How values are spread over a range: evenly, or on a log scale from one end or the other. Pure Python; runs anywhere."""

from __future__ import annotations

import math

SAMPLINGS = ("linear", "log", "reverse_log")


def scaled(sampling: str, share: float, low: float, high: float) -> float:
    """The value below which a share, in [0, 1), of the values from `low` to `high` is."""
    if sampling == "log":
        return low * (high / low) ** share
    if sampling == "reverse_log":
        return low + high - low * (high / low) ** (1.0 - share)
    return low + share * (high - low)


def unscaled(sampling: str, value: float, low: float, high: float) -> float:
    """The share of the values from `low` to `high` that is below `value`."""
    if high == low:
        return 0.5
    if sampling == "log":
        return math.log(value / low) / math.log(high / low)
    if sampling == "reverse_log":
        return 1.0 - math.log((low + high - value) / low) / math.log(high / low)
    return (value - low) / (high - low)
