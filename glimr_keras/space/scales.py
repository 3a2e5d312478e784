"""How values are spread over a range: evenly, or on a log scale from one end or the other. Pure
Python; runs anywhere.
"""

from __future__ import annotations

import decimal
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


def step_count(sampling: str, low: float, high: float, step: float) -> int:
    """Number of values from `low` to `high` with a step, which multiplies on a log scale."""
    ratio = (high - low) / step if sampling == "linear" else math.log(high / low) / math.log(step)
    return math.floor(ratio + 1e-9) + 1


def stepped(
    sampling: str, low: float, high: float, step: float, index: int, count: int
) -> decimal.Decimal:
    """The value `index` steps above the lowest of `count`, computed in decimals so that 0.1 * 3 is
    0.3.
    """
    start, width = _decimal(low), _decimal(step)
    if sampling == "linear":
        return start + width * index
    if sampling == "log":
        return start * width**index
    return (
        start + _decimal(high) - start * width ** (count - 1 - index)
    )  # the steps are counted from the maximum


def step_index(
    sampling: str, low: float, high: float, step: float, value: float, count: int
) -> int:
    """How many steps a value is above the lowest of `count`."""
    if sampling == "linear":
        return round((value - low) / step)
    if sampling == "log":
        return round(math.log(value / low) / math.log(step))
    return count - 1 - round(math.log((low + high - value) / low) / math.log(step))


def _decimal(number: float) -> decimal.Decimal:
    return decimal.Decimal(repr(number))
