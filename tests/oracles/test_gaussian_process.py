"""The Gaussian process behind Bayesian optimisation."""

import dataclasses
import math

import numpy as np
import pytest

from glimr_keras.oracles.gaussian_process import (
    CostScale,
    GaussianProcess,
    Settings,
    _Fit,
    drawn,
    learned,
)

TWO = np.array([0, 1])


def wave(points):
    return np.sin(5 * points[:, 0])


def process_of(points, costs, groups=TWO):
    return GaussianProcess(points, costs, groups, learned(points, costs, groups))


def predicted(process, points, costs):
    """Mean and deviation in the unit of costs, where they are seen as they are."""
    assert math.isinf(process.settings.softness)
    mean, deviation = process.predict(points)
    return costs.mean() + costs.std() * mean, costs.std() * deviation


@pytest.fixture
def points():
    return np.random.default_rng(0).random((25, 2))


def test_it_passes_through_what_it_was_told_and_is_sure_there(points):
    process = process_of(points, 100 + 10 * wave(points))
    mean, deviation = process.predict(points)
    assert mean == pytest.approx(process.seen(100 + 10 * wave(points)), abs=0.05)
    assert (deviation < 0.1).all()


def test_it_predicts_between_what_it_was_told(points):
    others = np.random.default_rng(1).random((50, 2))
    process = process_of(points, wave(points))
    mean, deviation = process.predict(others)
    errors = np.abs(mean - process.seen(np.maximum(wave(others), wave(points).min())))
    assert np.median(errors) < 0.1
    assert (errors < 4 * deviation + 0.1).all()


def test_a_column_that_makes_no_difference_gets_a_long_scale(points):
    scales = learned(points, wave(points), TWO).scales
    assert scales[1] > 2 * scales[0]


def test_columns_of_one_group_share_their_scale(points):
    assert len(learned(points, wave(points), np.array([0, 0])).scales) == 1


def test_many_results_at_one_place_do_not_move_the_level():
    apart = np.random.default_rng(0).random((10, 2))
    close = 0.5 + 0.001 * np.random.default_rng(1).random((90, 2))
    points, costs = np.vstack([apart, close]), np.append(np.full(10, 1.0), np.full(90, -1.0))
    process = GaussianProcess(points, costs, TWO, Settings(np.full(2, 0.02), 1e-3, math.inf))
    far = np.array([[-5.0, -5.0]])
    expected = (10 * 1.0 + 1 * -1.0) / 11
    assert process.predict(far)[0] == pytest.approx(process.seen(np.array([expected])), abs=0.02)


def test_the_level_makes_no_setting_more_probable(points):
    fit, at = _Fit(points, TWO), np.log([0.3, 0.3, 1e-3])
    probability, slope = fit._probability(at, wave(points))
    shifted, shifted_slope = fit._probability(at, wave(points) + 5.0)
    assert shifted == pytest.approx(probability)
    assert shifted_slope == pytest.approx(slope)


def test_the_lowest_is_a_cost_that_it_was_told_or_expects(points):
    costs = wave(points) + np.random.default_rng(2).normal(size=25)
    process = GaussianProcess(points, costs, TWO, Settings(np.full(2, 0.3), 1.0, math.inf))
    assert process.lowest == pytest.approx(process.seen(costs).min())
    sure = GaussianProcess(points, wave(points), TWO, Settings(np.full(2, 0.3), 1e-3, math.inf))
    grid = np.random.default_rng(3).random((500, 2))
    expected, before = grid[[sure.predict(grid)[0].argmin()]], sure.lowest
    sure.fantasize(expected)
    assert sure.lowest == pytest.approx(sure.predict(expected)[0][0], abs=0.01)
    assert sure.lowest < before


def test_noise_is_found():
    generator = np.random.default_rng(0)
    points = generator.random((60, 1))
    one = np.array([0])
    noisy = learned(points, wave(points) + 0.3 * generator.normal(size=60), one)
    assert noisy.noise > 10 * learned(points, wave(points), one).noise


def test_slopes_are_those_of_predictions(points):
    process = process_of(points, wave(points))
    at, step = np.random.default_rng(1).random((4, 2)), 1e-6
    _, _, mean_slopes, deviation_slopes = process.slopes(at)
    for column in range(2):
        move = step * np.eye(2)[column]
        up, down = process.predict(at + move), process.predict(at - move)
        assert mean_slopes[:, column] == pytest.approx((up[0] - down[0]) / (2 * step), rel=1e-3)
        assert deviation_slopes[:, column] == pytest.approx(
            (up[1] - down[1]) / (2 * step), rel=1e-2, abs=1e-4
        )


def test_what_is_imagined_changes_what_is_known_but_not_what_is_expected(points):
    there = np.array([[0.9, 0.05], [0.1, 0.95]])
    process = process_of(points, wave(points))
    mean, before = process.predict(there)
    process.fantasize(there)
    same, after = process.predict(there)
    assert same == pytest.approx(mean, abs=0.02)
    assert (after < before / 2).all()


def test_imagining_one_after_the_other_is_as_at_once(points):
    there = np.random.default_rng(2).random((3, 2))
    one, other = process_of(points, wave(points)), process_of(points, wave(points))
    one.fantasize(there)
    for point in there:
        other.fantasize(point[None])
    assert np.allclose(one.predict(points), other.predict(points))


@pytest.mark.parametrize("costs", [np.ones(5), np.array([1.0])], ids=["all alike", "one"])
def test_costs_without_any_difference_are_no_error(costs):
    points = np.linspace(0, 1, len(costs))[:, None]
    process = process_of(points, costs, np.array([0]))
    mean, deviation = process.predict(np.array([[0.3]]))
    assert mean == pytest.approx(process.seen(np.array([1.0])))
    assert np.isfinite(deviation).all()


def test_the_same_point_twice_is_no_error():
    costs = np.array([1.0, 3.0, 0.0])
    process = process_of(np.array([[0.5], [0.5], [0.1]]), costs, np.array([0]))
    assert np.isfinite(process.predict(np.array([[0.5]]))).all()


def test_costs_of_many_sizes_are_seen_on_a_logarithmic_scale():
    points = np.random.default_rng(0).random((40, 2))
    sizes = 10 ** (6 * points[:, 0])
    assert math.isfinite(learned(points, sizes, TWO).softness)
    assert math.isinf(learned(points, points[:, 0], TWO).softness)


def test_a_scale_of_costs_keeps_their_order():
    costs = np.array([0.0, 1e-3, 1.0, 1e6])
    for softness in (0.1, math.inf):
        assert (np.diff(CostScale(0.0, softness).seen(costs)) > 0).all()


def test_the_slope_of_a_scale_is_known():
    costs, step = np.array([0.5, 2.0]), 1e-6
    scale = CostScale(0.0, 0.3)
    slopes = (scale.seen(costs + step) - scale.seen(costs - step)) / (2 * step)
    assert scale.log_slope(costs) == pytest.approx(np.log(slopes).sum())


def test_settings_are_drawn_where_results_do_not_tell_them():
    generator = np.random.default_rng(0)

    def spreads(count):
        points = generator.random((count, 2))
        costs = np.sin(6 * points[:, 0])  # the second column has no influence
        settings = learned(points, costs, TWO)
        others = drawn(settings, points, costs, TWO, 50)
        assert all(one.softness == settings.softness for one in others)
        return np.log([one.scales for one in others]).std(axis=0)

    few, many = spreads(6), spreads(60)
    assert many[0] < few[0]  # more is known
    assert many[0] < many[1]  # of the column that matters


def test_the_same_settings_are_drawn_of_the_same_results():
    points = np.random.default_rng(0).random((8, 2))
    data = points, wave(points), TWO
    settings = learned(*data)
    once, again = drawn(settings, *data, 4), drawn(settings, *data, 4)
    assert [one.scales.tolist() for one in once] == [one.scales.tolist() for one in again]
    assert len({tuple(one.scales) for one in once}) == 4


def test_many_unknown_points_at_once_are_as_one_after_the_other():
    points = np.random.default_rng(0).random((20, 2))
    costs = wave(points)
    settings = learned(points, costs, TWO)
    unknown, asked = np.random.default_rng(1).random((2, 6, 2))
    at_once = GaussianProcess(points, costs, TWO, settings)
    at_once.fantasize(unknown)
    one_by_one = GaussianProcess(points, costs, TWO, settings)
    for point in unknown:
        one_by_one.fantasize(point[None])
    for found, expected in zip(at_once.predict(asked), one_by_one.predict(asked), strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_costs_below_those_that_were_learned_from_are_seen_as_lower():
    points = np.random.default_rng(0).random((20, 2))
    costs = np.exp(8 * points[:, 0])
    settings = dataclasses.replace(learned(points, costs, TWO), softness=0.1)
    lower = np.append(costs, costs.min() - 50)
    process = GaussianProcess(np.vstack([points, [[0.0, 0.0]]]), lower, TWO, settings)
    seen = process.seen(lower)
    assert np.isfinite(seen).all()
    assert seen.argmin() == 20
