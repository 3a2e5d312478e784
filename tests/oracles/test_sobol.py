"""Points that fill the unit cube evenly."""

import numpy as np
import pytest
from scipy.stats import qmc

from glimr_keras.oracles.sobol import MAX_DIMENSIONS, sobol_point

BITS = 30


def points(count, dimensions, seed=0):
    return np.array([sobol_point(index, dimensions, seed) for index in range(count)])


def test_it_is_the_sobol_sequence_but_for_a_shift():
    own = (points(128, MAX_DIMENSIONS) * 2**BITS).astype(int)
    unshifted = (own ^ own[0]) / 2**BITS  # the first point of the sequence is the origin
    reference = qmc.Sobol(MAX_DIMENSIONS, scramble=False, bits=BITS).random(128)
    assert np.array_equal(unshifted, reference)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_more_even_than_chance(seed):
    random = np.random.default_rng(seed).random((32, 4))
    assert qmc.discrepancy(points(32, 4, seed)) < qmc.discrepancy(random) / 2


def test_a_point_is_the_same_whatever_was_asked_before():
    assert np.array_equal(points(9, 3)[8], sobol_point(8, 3, 0))
    assert not np.array_equal(sobol_point(8, 3, 0), sobol_point(8, 3, 1))


def test_more_dimensions_leave_the_first_ones_alone():
    assert np.array_equal(sobol_point(5, 12, 0)[:4], sobol_point(5, 4, 0))


def test_dimensions_beyond_the_table_are_random():
    found = points(200, MAX_DIMENSIONS + 3)
    assert found.shape == (200, MAX_DIMENSIONS + 3)
    assert ((found >= 0) & (found < 1)).all()
    assert found[:, MAX_DIMENSIONS:].std(axis=0) == pytest.approx(np.sqrt(1 / 12), rel=0.2)
