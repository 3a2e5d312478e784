"""Climbing several hills at once."""

import numpy as np
import pytest
from scipy import optimize

from glimr_keras.oracles.ascent import ascend

LOW, HIGH = np.array([-2.0, -2.0]), np.array([2.0, 2.0])


def valley(at):
    """Rosenbrock's, upside down; highest at (1, 1)."""
    x, y = at.T
    height = -(100 * (y - x**2) ** 2 + (1 - x) ** 2)
    slopes = np.stack([400 * x * (y - x**2) + 2 * (1 - x), -200 * (y - x**2)], axis=1)
    return height, slopes


def climbed(starts, **kwargs):
    starts = np.array(starts, float)
    return ascend(valley, starts, kwargs.pop("low", LOW), kwargs.pop("high", HIGH), **kwargs)


def test_every_start_reaches_the_top_of_a_bent_valley():
    ends, heights = climbed([[-1.2, 1.0], [0.0, 0.0], [1.5, -1.5]], steps=100)
    assert ends == pytest.approx(np.ones((3, 2)), abs=1e-3)
    assert heights == pytest.approx(np.zeros(3), abs=1e-6)


def test_bounds_are_kept_and_reached():
    high = np.array([0.5, 2.0])
    ends, _ = climbed([[-1.2, 1.0], [0.2, 0.0]], high=high, steps=100)
    found = optimize.minimize(
        lambda x: -valley(x[None])[0][0], [0.0, 0.0], bounds=[(-2, 0.5), (-2, 2)]
    )
    assert ends == pytest.approx(np.stack([found.x, found.x]), abs=1e-3)
    assert (ends <= high).all()


def test_what_is_not_free_stays():
    free = np.array([[True, False], [False, True], [False, False]])
    starts = [[-1.0, 0.5], [0.5, -1.0], [0.3, 0.3]]
    ends, _ = climbed(starts, free=free, steps=60)
    assert ends[0, 1] == 0.5
    assert ends[1] == pytest.approx([0.5, 0.25], abs=1e-4)
    assert ends[2].tolist() == [0.3, 0.3]


def test_no_walk_ends_lower_than_it_began():
    starts = np.random.default_rng(0).uniform(-2, 2, (20, 2))
    _, heights = climbed(starts, steps=3)
    assert (heights >= valley(starts)[0]).all()


def test_a_start_at_the_top_stays_there():
    ends, heights = climbed([[1.0, 1.0]])
    assert ends.tolist() == [[1.0, 1.0]]
    assert heights.tolist() == [0.0]


def test_a_hill_that_is_not_known_everywhere_is_climbed_where_it_is():
    def cliff(at):
        height, slopes = valley(at)
        return np.where(at[:, 0] > 0.5, np.nan, height), slopes

    ends, heights = ascend(cliff, np.array([[0.0, 0.0]]), LOW, HIGH, steps=60)
    assert np.isfinite(heights).all()
    assert ends[0, 0] <= 0.5
    assert heights[0] > -0.4
