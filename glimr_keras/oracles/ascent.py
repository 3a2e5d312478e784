"""Gradient ascent from several starts at once, within bounds. NumPy; runs in the driver.

A quasi-Newton method (BFGS; Nocedal and Wright, "Numerical Optimization", 2006, chapter 6) with
projected steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ENOUGH = 1e-4
_SHRINK = 0.25
_MAX_SHRINKS = 6
_MAX_MOVE = 0.3
"""The longest step along a coordinate, relative to its range, while the curvature is unknown."""

Hill = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def ascend(
    hill: Hill,
    starts: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    free: np.ndarray | None = None,
    steps: int = 30,
    tolerance: float = 1e-7,
) -> tuple[np.ndarray, np.ndarray]:
    """Ascend from every start.

    Args:
        hill: A function of points, shape (starts, columns), that returns the heights, shape
            (starts,), and the slopes, shape (starts, columns).
        starts: Shape (starts, columns), within the bounds.
        low, high: The bounds, inclusive, shape (columns,).
        free: Which coordinates may change, shape (starts, columns). Defaults to `None`, which means
            all.
        steps: The maximum number of steps. Defaults to `30`.
        tolerance: The ascent from a start ends when a step gains less than this. Defaults to
            `1e-7`.

    Returns:
        The final points, shape (starts, columns), and their heights, shape (starts,).
    """
    at, free = starts.copy(), np.ones(starts.shape, bool) if free is None else free
    heights, slopes = hill(at)
    moving = np.flatnonzero(free.any(axis=0))  # the other columns need no curvature
    curvature = np.zeros((len(at), len(moving), len(moving)))
    is_fresh = np.ones(len(at), bool)
    walking = np.isfinite(heights)
    for _ in range(steps):
        blocked = ~free | ((at <= low) & (slopes < 0)) | ((at >= high) & (slopes > 0))
        slope = np.where(blocked, 0.0, slopes)
        steepest = np.abs(slope).max(axis=1, initial=0.0)
        walking &= steepest > 1e-9
        if not walking.any():
            break
        direction = np.zeros(at.shape)
        direction[:, moving] = np.einsum("sij,sj->si", curvature, slope[:, moving])
        direction[blocked] = 0.0
        lost = is_fresh | ((direction * slope).sum(axis=1) <= 0)
        ranges = (high - low) * _MAX_MOVE
        scaled = slope * ranges**2
        reach = np.abs(scaled / ranges).max(axis=1, initial=0.0)
        direction[lost] = (scaled / np.maximum(reach, 1e-300)[:, None])[lost]
        moved, new_heights, new_slopes, won = _line_search(
            hill, at, heights, slopes, slope, direction, walking, low, high
        )
        gained = new_heights - heights
        step, bend = (moved - at)[:, moving], (slopes - new_slopes)[:, moving]
        _update(curvature, is_fresh, step, bend, won)
        at, heights, slopes = moved, new_heights, new_slopes
        # if a step along the curvature does not help, the slope is tried once more
        walking &= np.where(won, gained > tolerance, ~lost)
        is_fresh |= ~won
    return at, heights


def _line_search(
    hill: Hill,
    at: np.ndarray,
    heights: np.ndarray,
    slopes: np.ndarray,
    slope: np.ndarray,
    direction: np.ndarray,
    walking: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Try ever shorter steps until they gain enough, and return which did."""
    moved, new_heights, new_slopes = at.copy(), heights.copy(), slopes.copy()
    won, length = np.zeros(len(at), bool), 1.0
    for _ in range(_MAX_SHRINKS):
        trying = np.flatnonzero(walking & ~won)
        if not len(trying):
            break
        tried = np.clip(at[trying] + length * direction[trying], low, high)
        found, found_slopes = hill(tried)
        expected = (slope[trying] * (tried - at[trying])).sum(axis=1)
        good = np.isfinite(found) & (found >= heights[trying] + _ENOUGH * expected) & (expected > 0)
        taken = trying[good]
        moved[taken], new_heights[taken] = tried[good], found[good]
        new_slopes[taken], won[taken] = found_slopes[good], True
        length *= _SHRINK
    return moved, new_heights, new_slopes, won


def _update(
    curvature: np.ndarray,
    is_fresh: np.ndarray,
    step: np.ndarray,
    bend: np.ndarray,
    won: np.ndarray,
) -> None:
    """Update the inverse curvature from the last step, in place."""
    product = (step * bend).sum(axis=1)
    for number in np.flatnonzero(won & (product > 1e-12)):
        s, y, rho = step[number], bend[number], 1 / product[number]
        if is_fresh[number]:
            curvature[number] = np.eye(len(s)) * (product[number] / max(y @ y, 1e-300))
            is_fresh[number] = False
        left = np.eye(len(s)) - rho * np.outer(s, y)
        curvature[number] = left @ curvature[number] @ left.T + rho * np.outer(s, s)
