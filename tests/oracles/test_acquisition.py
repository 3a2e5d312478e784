"""What a point is expected to gain."""

import math

import numpy as np
import pytest

from glimr_keras.oracles.acquisition import Gain
from glimr_keras.oracles.gaussian_process import GaussianProcess, Settings, drawn, learned

GROUPS = np.arange(2)


class Stub:
    """Expects what it is told."""

    def __init__(self, mean, deviation):
        self.mean, self.deviation = np.array(mean), np.array(deviation)

    def predict(self, points):
        return self.mean, self.deviation


def gains_of(mean, deviation, best):
    return Gain([Stub(mean, deviation)], [best]).at(np.zeros((len(mean), 1)))


def test_expected_improvement_is_that_of_a_normal_distribution():
    costs = np.random.default_rng(0).normal(1.0, 2.0, 1_000_000)
    expected = np.maximum(0.5 - costs, 0).mean()
    assert math.exp(gains_of([1.0], [2.0], 0.5)[0]) == pytest.approx(expected, rel=0.01)


def test_expected_improvement_keeps_its_order_where_it_is_next_to_nothing():
    gains = gains_of(np.linspace(0, 60, 400), np.ones(400), 0.0)
    assert np.isfinite(gains).all()
    assert (np.diff(gains) < 0).all()


def test_the_expansion_goes_on_where_the_formula_ends():
    near, far = gains_of([24.999, 25.001], np.ones(2), 0.0)
    assert near - far == pytest.approx(0.002 * 25, rel=0.02)


def test_the_gain_of_several_processes_is_the_mean_of_theirs():
    one, other = Stub([1.0, 40.0], [2.0, 1.0]), Stub([0.0, 50.0], [1.0, 1.0])
    nothing = np.zeros((2, 1))
    each = [Gain([process], [best]).at(nothing) for process, best in ((one, 0.5), (other, 0.1))]
    both = Gain([one, other], [0.5, 0.1]).at(nothing)
    assert np.exp(both[0]) == pytest.approx(np.exp([gains[0] for gains in each]).mean())
    assert both[1] == pytest.approx(each[0][1] - math.log(2), abs=1e-6)  # without underflow


def data(count=20):
    points = np.random.default_rng(0).random((count, 2))
    return points, ((points - 0.4) ** 2).sum(axis=1), GROUPS


def gain_of(settings):
    points, costs, groups = data()
    processes = [GaussianProcess(points, costs, groups, one) for one in settings]
    return Gain(processes, [float(one.predict(points)[0].min()) for one in processes])


def test_climbing_finds_more_than_any_of_many_points():
    settings = learned(*data())
    gain = gain_of([settings, *drawn(settings, *data(), 3)])
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 60)] * 2), axis=-1).reshape(-1, 2)
    gains = gain.at(grid)
    starts = grid[np.argsort(-gains)[:5]]
    ends, climbed = gain.climb(starts, np.ones(starts.shape, bool), steps=30)
    assert climbed.max() >= gains.max()
    assert climbed == pytest.approx(gain.at(ends))


def test_the_slopes_of_several_are_those_of_their_mean():
    learned_once = learned(*data())
    other = Settings(learned_once.scales / 2, 1e-3, learned_once.softness)
    gain, step = gain_of([learned_once, other]), 1e-6
    points = np.random.default_rng(1).random((6, 2))
    for column in range(2):
        moved = points + step * np.eye(2)[column]
        slopes = (gain.at(moved) - gain.at(points)) / step
        assert gain._slopes(points)[1][:, column] == pytest.approx(slopes, rel=1e-3, abs=1e-3)
