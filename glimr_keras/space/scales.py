"""Scales that spread values over a range: linear, or logarithmic from either end. Pure Python; runs
anywhere.
"""

from __future__ import annotations

import decimal
import math

SAMPLINGS = ("linear", "log", "reverse_log")


def scaled(sampling: str, share: float, low: float, high: float) -> float:
    """Return the value below which a share, in [0, 1), of the values from `low` to `high` lies."""
    if sampling == "log":
        return low * (high / low) ** share
    if sampling == "reverse_log":
        return low + high - low * (high / low) ** (1.0 - share)
    return low + share * (high - low)


def unscaled(sampling: str, value: float, low: float, high: float) -> float:
    """Return the share of the values from `low` to `high` that lies below `value`."""
    if high == low:
        return 0.5
    if sampling == "log":
        return math.log(value / low) / math.log(high / low)
    if sampling == "reverse_log":
        return 1.0 - math.log((low + high - value) / low) / math.log(high / low)
    return (value - low) / (high - low)


def step_count(sampling: str, low: float, high: float, step: float) -> int:
    """Return the number of stepped values from `low` to `high`; log steps multiply."""
    ratio = (high - low) / step if sampling == "linear" else math.log(high / low) / math.log(step)
    return math.floor(ratio + 1e-9) + 1


def stepped(
    sampling: str, low: float, high: float, step: float, index: int, count: int
) -> decimal.Decimal:
    """Return the value `index` steps above the lowest of `count`, in exact decimals."""
    start, width = _decimal(low), _decimal(step)
    if sampling == "linear":
        return start + width * index
    if sampling == "log":
        return start * width**index
    return (
        start + _decimal(high) - start * width ** (count - 1 - index)
    )  # steps count from the maximum


def step_index(
    sampling: str, low: float, high: float, step: float, value: float, count: int
) -> int:
    """Return the number of steps from the lowest of `count` values to `value`."""
    if sampling == "linear":
        return round((value - low) / step)
    if sampling == "log":
        return round(math.log(value / low) / math.log(step))
    return count - 1 - round(math.log((low + high - value) / low) / math.log(step))


def _decimal(number: float) -> decimal.Decimal:
    return decimal.Decimal(repr(number))
