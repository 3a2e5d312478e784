"""Folds of a cross validation with the same events and times in each. Runs in the driver."""

from __future__ import annotations

from typing import Any

import numpy as np

from glimr_keras._utils.checks import checked_count
from glimr_keras.survival.targets import checked


def survival_strata(time: Any, event: Any, bins: int = 4) -> np.ndarray:
    """Returns the stratum of each sample: whether it has the event, and the quantile of its time
    among those that have it too, or are censored too.

    It is what `search(stratify=…)` takes, with `cv_folds`.

    Args:
        time: Shape (samples,).
        event: 1 where the event happened, shape (samples,).
        bins: How many quantiles there are of either kind; fewer where times are the same. Defaults
            to 4.

    Returns:
        Integers from 0, shape (samples,).

    Raises:
        ValueError: If shapes differ, or a value is not allowed.
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
    """Returns the fold of each sample, such that events and times are alike in all.

    Without groups, the numbers of samples, and of events, differ by at most 1 between folds, and
    of any so many neighbours in time with the event about one is in each. With groups, each goes
    where there is the least of what it has, by `survival_strata`, the largest first. It is what
    `search(folds=…)` takes, with `cv_folds`.

    Args:
        time: Shape (samples,).
        event: 1 where the event happened, shape (samples,).
        folds: How many; at least 2.
        seed: The same seed makes the same folds.
        groups: Of each sample, shape (samples,), such as its patient; a group is in one fold.
        bins: With groups, how many quantiles of time there are. Defaults to 4.

    Returns:
        Integers from 0 to `folds - 1`, shape (samples,).

    Raises:
        ValueError: If shapes differ, a value is not allowed, or there are too few events,
            groups, or too few groups with an event, for each fold to have one.
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
    """Deals out the samples in the order of event and time, to all folds before one has another."""
    order = np.lexsort((generator.random(len(times)), times, ~events))
    rounds = -(-len(times) // folds)
    dealt = generator.permuted(np.tile(np.arange(folds), (rounds, 1)), axis=1).reshape(-1)
    parts = np.empty(len(times), int)
    parts[order] = dealt[: len(times)]
    return parts


def _assigned(counts: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """The fold of each group, whose samples in each stratum are `counts`."""
    share = counts / counts.sum(axis=0)  # of a stratum, however frequent it is
    share = np.hstack([share, counts.sum(axis=1, keepdims=True) / counts.sum()])
    order = np.lexsort((generator.random(len(counts)), -counts.sum(axis=1)))
    filled = np.zeros((folds, share.shape[1]))
    parts = np.empty(len(counts), int)
    for index in order:
        more = filled @ share[index]  # what the sum of squares grows by
        fullness = filled[:, -1]
        best = np.flatnonzero(np.isclose(more, more.min()))
        parts[index] = best[np.argmin(fullness[best])]
        filled[parts[index]] += share[index]
    return parts
