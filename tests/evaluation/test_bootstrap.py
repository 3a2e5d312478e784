"""Resamples, and what they choose."""

import numpy as np
import pytest

from glimr_keras.evaluation.bootstrap import Piece, corrected, resampled
from tests.evaluation.made_trials import few, permuted, simulated


def test_samples_are_drawn_within_folds_and_left_out_where_not_drawn():
    found = resampled({0: 10, 2: 7}, None, 50, np.random.default_rng(0))
    assert {fold: counts.shape for fold, counts in found.items()} == {0: (100, 10), 2: (100, 7)}
    for counts in found.values():
        drawn, left_out = np.split(counts, 2)
        assert (drawn.sum(axis=1) == counts.shape[1]).all()
        np.testing.assert_array_equal(left_out, drawn == 0)


def test_groups_are_drawn_whole():
    groups = np.array([5, 5, 5, 1, 9, 9])
    drawn, _ = np.split(resampled({0: 6}, {0: groups}, 200, np.random.default_rng(0))[0], 2)
    for group in np.unique(groups):
        assert (np.ptp(drawn[:, groups == group], axis=1) == 0).all()
    _, first = np.unique(groups, return_index=True)
    assert (drawn[:, first].sum(axis=1) == 3).all()  # as many groups as there are


def piece(scores, fold=0, epochs=None):
    """A training whose scores are given, for two resamples: first drawn, then left out."""
    scores = np.array(scores, float)
    return Piece(fold, epochs or tuple(range(1, scores.shape[1] + 1)), lambda counts: scores)


COUNTS = {0: np.zeros((4, 3)), 1: np.zeros((4, 3))}
"""Of two resamples."""


def test_each_resample_chooses_a_configuration_and_scores_it_on_what_it_left_out():
    first = [piece([[0.9], [0.1], [0.5], [0.6]])]
    second = [piece([[0.2], [0.8], [0.3], [0.4]])]
    np.testing.assert_array_equal(corrected([first, second], COUNTS, "last", True), [0.5, 0.4])
    np.testing.assert_array_equal(corrected([first, second], COUNTS, "last", False), [0.3, 0.6])


def test_the_epoch_is_chosen_for_each_training_for_all_or_not_at_all():
    one = piece([[0.9, 0.1, 0.3], [0.2, 0.8, 0.3], [1, 2, 3], [4, 5, 6]])
    other = piece([[0.1, 0.7, 0.3], [0.1, 0.9, 0.3], [10, 20, 30], [40, 50, 60]], fold=1)
    trial = [one, other]
    assert corrected([trial], COUNTS, "best", True).tolist() == [(1 + 20) / 2, (5 + 50) / 2]
    assert corrected([trial], COUNTS, "common", True).tolist() == [(1 + 10) / 2, (5 + 50) / 2]
    assert corrected([trial], COUNTS, "last", True).tolist() == [(3 + 30) / 2, (6 + 60) / 2]
    assert corrected([trial], COUNTS, "common", False).tolist() == [(3 + 30) / 2, (4 + 40) / 2]


def test_a_common_epoch_is_one_that_all_trainings_have():
    long = piece([[0.1, 0.2, 0.9], [0.1, 0.2, 0.9], [1, 2, 3], [1, 2, 3]])
    short = piece([[0.3, 0.5], [0.3, 0.5], [7, 8], [7, 8]], fold=1, epochs=(2, 3))
    shorter = piece([[0.3], [0.3], [9], [9]], fold=1, epochs=(2,))
    assert corrected([[long, short]], COUNTS, "common", True).tolist() == [(3 + 8) / 2] * 2
    assert corrected([[long, shorter]], COUNTS, "common", True).tolist() == [(2 + 9) / 2] * 2


def test_folds_in_which_the_metric_is_not_defined_are_left_out_of_the_mean():
    nan = np.nan
    trial = [piece([[0.5], [nan], [0.4], [nan]]), piece([[0.7], [nan], [nan], [0.2]], fold=1)]
    found = corrected([trial], COUNTS, "common", True)
    np.testing.assert_array_equal(found, [0.4, nan])  # nothing was chosen in the second


def test_an_epoch_that_diverged_is_not_chosen():
    trial = [
        piece([[-np.inf, 0.5], [-np.inf, 0.5], [9, 1], [9, 2]]),
        piece([[0.9, 0.1], [0.9, 0.1], [8, 3], [8, 4]], fold=1),
    ]
    assert corrected([trial], COUNTS, "common", True).tolist() == [2, 3]


def test_where_nothing_is_in_common_each_training_has_its_best_epoch():
    trial = [
        piece([[0.1, 0.2], [0.2, 0.1], [1, 2], [3, 4]], epochs=(1, 2)),
        piece([[0.1], [0.1], [10], [20]], fold=1, epochs=(3,)),
    ]
    assert corrected([trial], COUNTS, "common", True).tolist() == [(2 + 10) / 2, (3 + 20) / 2]


def test_of_equal_configurations_the_first_is_chosen_and_not_the_best():
    """Else the samples that were left out have a part in the choice."""
    found = [few(seed) for seed in range(60)]
    errors = np.array([each.score for each in found]) - 0.5
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(len(found))


@pytest.mark.slow
@pytest.mark.parametrize("score_at", ["best", "common", "last"])
@pytest.mark.parametrize("kind", ["accuracy", "concordance"])
def test_chance_is_covered_on_permuted_outcomes(score_at, kind):
    """Of networks that learned nothing, the reported score is too good, and the estimate is not."""
    found = [permuted(seed, score_at, kind) for seed in range(100)]
    covered = np.mean([each.low <= 0.5 <= each.high for each in found])
    assert covered >= 0.95
    assert abs(np.mean([each.score for each in found]) - 0.5) < 0.015
    assert np.mean([each.reported for each in found]) > 0.54


@pytest.mark.slow
@pytest.mark.parametrize("score_at", ["best", "common", "last"])
def test_a_known_score_is_covered(score_at):
    found = [simulated(seed, score_at) for seed in range(100)]
    covered = np.mean([each.low <= truth <= each.high for each, truth in found])
    assert covered >= 0.95
    errors = [each.score - truth for each, truth in found]
    assert abs(np.mean(errors)) < 0.015
    assert np.mean([each.reported - truth for each, truth in found]) > 0.03
