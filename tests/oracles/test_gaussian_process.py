"""The Gaussian process behind Bayesian optimisation."""

import math

import numpy as np
import pytest

from glimr_keras.oracles.gaussian_process import GaussianProcess, log_expected_improvement


def wave(points):
    return np.sin(5 * points[:, 0])


@pytest.fixture
def points():
    return np.random.default_rng(0).random((25, 2))


def test_it_passes_through_what_it_was_told_and_is_sure_there(points):
    process = GaussianProcess(points, 100 + 10 * wave(points), np.array([0, 1]))
    mean, deviation = process.predict(points)
    assert mean == pytest.approx(100 + 10 * wave(points), abs=0.5)
    assert (deviation < 1).all()


def test_it_predicts_between_what_it_was_told(points):
    others = np.random.default_rng(1).random((50, 2))
    mean, deviation = GaussianProcess(points, wave(points), np.array([0, 1])).predict(others)
    errors = np.abs(mean - wave(others))
    assert np.median(errors) < 0.05
    assert (errors < 4 * deviation + 0.05).all()


def test_a_column_that_makes_no_difference_gets_a_long_scale(points):
    process = GaussianProcess(points, wave(points), np.array([0, 1]))
    assert process._scales[1] > 2 * process._scales[0]


def test_columns_of_one_group_share_their_scale(points):
    assert len(GaussianProcess(points, wave(points), np.array([0, 0]))._scales) == 1


def test_noise_is_found():
    generator = np.random.default_rng(0)
    points = generator.random((60, 1))
    noisy = GaussianProcess(points, wave(points) + 0.3 * generator.normal(size=60), np.array([0]))
    assert noisy._noise > 10 * GaussianProcess(points, wave(points), np.array([0]))._noise


def test_what_is_imagined_changes_what_is_known_but_not_what_is_expected(points):
    there = np.array([[0.9, 0.05]])
    process = GaussianProcess(points, wave(points), np.array([0, 1]))
    (mean,), (before,) = process.predict(there)
    process.fantasize(there)
    (same,), (after,) = process.predict(there)
    assert same == pytest.approx(mean, abs=0.02)
    assert after < before / 2


@pytest.mark.parametrize("costs", [np.ones(5), np.array([1.0])], ids=["all alike", "one"])
def test_costs_without_any_difference_are_no_error(costs):
    mean, deviation = GaussianProcess(
        np.linspace(0, 1, len(costs))[:, None], costs, np.array([0])
    ).predict(np.array([[0.3]]))
    assert mean == pytest.approx(1)
    assert np.isfinite(deviation).all()


def test_the_same_point_twice_is_no_error():
    process = GaussianProcess(
        np.array([[0.5], [0.5], [0.1]]), np.array([1.0, 3.0, 0.0]), np.array([0])
    )
    assert process.predict(np.array([[0.5]]))[0][0] == pytest.approx(2, abs=0.5)


def test_expected_improvement_is_that_of_a_normal_distribution():
    drawn = np.random.default_rng(0).normal(1.0, 2.0, 1_000_000)
    expected = np.maximum(0.5 - drawn, 0).mean()
    assert math.exp(
        log_expected_improvement(np.array([1.0]), np.array([2.0]), 0.5)[0]
    ) == pytest.approx(expected, rel=0.01)


def test_expected_improvement_keeps_its_order_where_it_is_next_to_nothing():
    gains = log_expected_improvement(np.linspace(0, 60, 400), np.ones(400), 0.0)
    assert np.isfinite(gains).all()
    assert (np.diff(gains) < 0).all()
