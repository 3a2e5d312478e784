"""Cross-validation folds with similar events and times. Runs in the driver."""

from __future__ import annotations

from typing import Any

import numpy as np

from glimr_keras._utils.checks import checked_count
from glimr_keras.survival.targets import checked


def survival_strata(time: Any, event: Any, bins: int = 4) -> np.ndarray:
    """Return the stratum of each sample, from its event and time.

    A stratum combines whether the sample has the event with a quantile of its time. The quantiles
    are computed separately for samples with the event and for censored samples. Pass the result as
    `search(stratify=…)`, with `cv_folds`.

    Args:
        time: The time of each sample, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        bins: The number of quantiles for each of the two kinds; fewer where times are equal.
            Defaults to `4`.

    Returns:
        Integers from 0, shape (samples,).

    Raises:
        ValueError: If the shapes differ, or a value is not allowed.
    """
    bins = checked_count("bins", bins)
    times, events = checked(time, event)
    strata = np.zeros(len(times), int)
    for kind in (False, True):
        chosen = events == kind
        if chosen.any():
            inner = np.quantile(times[chosen], np.arange(1, bins) / bins)
            strata[chosen] = np.searchsorted(inner, times[chosen]) + kind * bins
    return np.unique(strata, return_inverse=True)[1].reshape(-1)


def survival_folds(
    time: Any, event: Any, folds: int, seed: int, groups: Any = None, bins: int = 4
) -> np.ndarray:
    """Return the fold of each sample, with similar events and times in all folds.

    Without groups, the number of samples, and of events, differs by at most 1 between folds. Among
    `folds` events that are neighbours in time, about one is in each fold. With groups, the largest
    group is assigned first, each to the fold that has the least of its strata (`survival_strata`).
    Pass the result as `search(folds=…)`, with `cv_folds`.

    Args:
        time: The time of each sample, shape (samples,), numbers of at least 0.
        event: 1 where the event happened, 0 where the sample is censored; shape (samples,).
        folds: The number of folds, at least 2.
        seed: The random seed. The same seed gives the same folds.
        groups: The group of each sample, such as its patient, shape (samples,). A group is never
            split between folds. Defaults to `None`, which means no groups.
        bins: With groups, the number of quantiles of time. Defaults to `4`.

    Returns:
        Integers from 0 to `folds - 1`, shape (samples,).

    Raises:
        ValueError: If the shapes differ, or a value is not allowed. Also if there are too few
            events, groups, or groups with an event, for each fold to have one.
    """
    folds = checked_count("folds", folds, 2)
    times, events = checked(time, event)
    if events.sum() < folds:
        raise ValueError(
            "There must be at least as many events as folds, so that each fold has one. Received: "
            f"{int(events.sum())} events, folds={folds}"
        )
    generator = np.random.default_rng(seed)
    if groups is None:
        return _dealt(times, events, folds, generator)
    names = np.asarray(groups)
    if names.shape != times.shape:
        raise ValueError(
            f"`groups` must have an entry for each of {len(times)} samples. Received: an array of "
            f"shape {names.shape}"
        )
    group = np.unique(names, return_inverse=True)[1].reshape(-1)
    if group.max() + 1 < folds:
        raise ValueError(
            "There must be at least as many groups as folds. Received: "
            f"{int(group.max()) + 1} groups, folds={folds}"
        )
    strata = survival_strata(times, events, bins)
    counts = np.zeros((group.max() + 1, strata.max() + 1))
    np.add.at(counts, (group, strata), 1)
    parts = _assigned(counts, folds, generator)[group]
    empty = sorted(set(range(folds)) - set(parts[events].tolist()))
    if empty:
        raise ValueError(
            f"There are too few groups with an event for {folds} folds. Received: "
            f"{len(np.unique(group[events]))} of them, and no event in the folds {empty}"
        )
    return parts


def _dealt(
    times: np.ndarray, events: np.ndarray, folds: int, generator: np.random.Generator
) -> np.ndarray:
    """Deal out the samples, sorted by event and time, one to each fold in every round."""
    order = np.lexsort((generator.random(len(times)), times, ~events))
    rounds = -(-len(times) // folds)
    dealt = generator.permuted(np.tile(np.arange(folds), (rounds, 1)), axis=1).reshape(-1)
    parts = np.empty(len(times), int)
    parts[order] = dealt[: len(times)]
    return parts


def _assigned(counts: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Return the fold of each group, given its number of samples in each stratum."""
    share = counts / counts.sum(axis=0)  # every stratum has the same weight
    share = np.hstack([share, counts.sum(axis=1, keepdims=True) / counts.sum()])
    order = np.lexsort((generator.random(len(counts)), -counts.sum(axis=1)))
    filled = np.zeros((folds, share.shape[1]))
    parts = np.empty(len(counts), int)
    for index in order:
        more = filled @ share[index]  # the growth of the sum of squares
        fullness = filled[:, -1]
        best = np.flatnonzero(np.isclose(more, more.min()))
        parts[index] = best[np.argmin(fullness[best])]
        filled[parts[index]] += share[index]
    return parts
