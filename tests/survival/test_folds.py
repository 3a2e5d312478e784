"""Folds have the same events and times, and groups stay together."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from glimr_keras.models import folds as cross_validation
from glimr_keras.models.data import FitArguments
from glimr_keras.survival import survival_folds, survival_strata
from tests.survival.cohorts import Cohort

COHORT = Cohort(203)


def by_fold(parts, values, count):
    return [values[parts == fold] for fold in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 5, 7])
def test_numbers_of_samples_and_events_differ_by_one(count, seed):
    parts = survival_folds(COHORT.time, COHORT.event, count, seed)
    assert np.ptp(np.bincount(parts, minlength=count)) <= 1
    assert np.ptp([events.sum() for events in by_fold(parts, COHORT.event, count)]) <= 1


@pytest.mark.parametrize("kind", [True, False])
def test_times_are_alike(kind):
    """Each quartile is nearer to that of all than in folds that are dealt out at random."""

    def spread(parts):
        chosen = COHORT.event == kind
        times = by_fold(parts[chosen], COHORT.time[chosen], 5)
        return np.std([np.quantile(each, [0.25, 0.5, 0.75]) for each in times], axis=0).mean()

    random = np.empty(203, int)
    for fold, (_, chosen) in enumerate(
        KFold(5, shuffle=True, random_state=0).split(np.empty((203, 0)))
    ):
        random[chosen] = fold
    assert spread(survival_folds(COHORT.time, COHORT.event, 5, 0)) < spread(random) / 2


def test_the_same_seed_makes_the_same_folds():
    one, same, other = (
        survival_folds(COHORT.time, COHORT.event, 5, seed).tolist() for seed in (0, 0, 1)
    )
    assert one == same != other


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_and_folds_alike(seed):
    """Patients with one to six slides."""
    slides = np.random.default_rng(seed).integers(1, 7, 203)
    patient = np.arange(203).repeat(slides)
    time, event = COHORT.time[patient], COHORT.event[patient]
    parts = survival_folds(time, event, 5, seed, groups=patient)
    assert all(len(np.unique(parts[patient == each])) == 1 for each in range(203))
    assert np.ptp(np.bincount(parts)) <= 6
    for stratum in np.unique(strata := survival_strata(time, event)):
        assert np.ptp(np.bincount(parts[strata == stratum], minlength=5)) <= 8


def test_strata_are_event_and_quantile():
    strata = survival_strata([1, 2, 3, 4, 10, 20], [0, 0, 0, 0, 1, 1], bins=2)
    assert strata.tolist() == [0, 0, 1, 1, 2, 3]


def test_folds_and_strata_are_what_a_search_takes():
    arguments = FitArguments((np.zeros((203, 1)), COHORT.target))
    parts = survival_folds(COHORT.time, COHORT.event, 5, 0)
    assert (cross_validation.make(arguments, 5, 0, folds=parts).parts == parts).all()
    strata = survival_strata(COHORT.time, COHORT.event)
    made = cross_validation.make(arguments, 5, 0, stratify=strata).parts
    assert np.ptp([events.sum() for events in by_fold(made, COHORT.event, 5)]) <= 8


@pytest.mark.parametrize(
    ("event", "how", "said"),
    [
        ([1, 0, 0, 0], {}, "at least as many events as folds"),
        ([1, 1, 1, 1], {"groups": [0, 0, 0, 0]}, "at least as many groups as folds"),
        ([1, 1, 0, 0], {"groups": [0, 0, 1, 2]}, "too few groups with an event"),
        ([1, 1, 1, 1], {"groups": [0]}, "`groups` must have an entry"),
        ([1, 1, 1, 1], {"folds": 1}, "`folds` must be an integer of at least 2"),
    ],
)
def test_what_is_refused(event, how, said):
    with pytest.raises(ValueError, match=said):
        survival_folds([1, 2, 3, 4], event, **{"folds": 2, "seed": 0, **how})
