"""Bootstrap bias-corrected cross validation (Tsamardinos, Greasidou and Borboudakis 2018,
doi:10.1007/s10994-018-5714-4): what the best of many configurations scores on samples that did not
choose it. NumPy only; runs anywhere.

Each resample chooses the epoch and the configuration anew by the samples that it drew, and scores
the choice on those that it did not draw. Samples are drawn within their folds, and scores are means
over folds, as those of trials are: predictions of different models need no common scale.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Piece:
    """The predictions of one training: one fold of a configuration, or one repetition of it.

    Attributes:
        fold: The fold that was predicted, counted from 0.
        epochs: The epochs whose predictions are there, counted from 1, ascending.
        score: Given how often each sample counts, shape (resamples, samples), returns a score for
            each resample and epoch, shape (resamples, epochs); nan where it is not defined.
    """

    fold: int
    epochs: tuple[int, ...]
    score: Callable[[np.ndarray], np.ndarray]


def resampled(
    sizes: Mapping[int, int],
    groups: Mapping[int, np.ndarray] | None,
    resamples: int,
    generator: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Draw the samples of each fold with replacement, and whole groups where there are groups.

    Args:
        sizes: The number of samples of each fold, by fold.
        groups: The group of each sample, shape (samples,), by fold; `None` for none.
        resamples: The number of resamples.
        generator: Draws.

    Returns:
        By fold, how often each sample counts, shape (2 * resamples, samples), float: in the first
        half of the rows how often it was drawn, in the second half 1 where it was not.
    """
    found = {}
    for fold, size in sizes.items():
        units, members = size, None
        if groups is not None:
            names, members = np.unique(groups[fold], return_inverse=True)
            units = len(names)
        chosen = generator.integers(units, size=(resamples, units))
        drawn = np.zeros((resamples, units))
        np.add.at(drawn, (np.arange(resamples)[:, None], chosen), 1)
        counts = np.concatenate([drawn, drawn == 0])
        found[fold] = counts if members is None else counts[:, members.reshape(-1)]
    return found


def corrected(
    configurations: Iterable[Sequence[Piece]],
    resamples: Mapping[int, np.ndarray],
    score_at: str,
    maximize: bool,
) -> np.ndarray:
    """Score the configuration that each resample chooses on the samples that it left out.

    Args:
        configurations: The trainings of each configuration, of equal ones the first is chosen. So
            their order must not follow from their scores, which the samples left out had a part in.
        resamples: What `resampled` drew.
        score_at: How the epoch of a configuration is chosen; see `trials.score_epochs`.
        maximize: Whether more is better.

    Returns:
        A score for each resample, shape (resamples,); nan where none was defined.
    """
    count = len(next(iter(resamples.values()))) // 2
    sign = 1.0 if maximize else -1.0
    best = np.full(count, -np.inf)
    scores = np.full(count, np.nan)
    for pieces in configurations:
        chosen_by, scored_on = _of_configuration(pieces, resamples, score_at, sign)
        better = chosen_by > best  # no nan is
        best[better], scores[better] = chosen_by[better], scored_on[better]
    return sign * scores


def _of_configuration(
    pieces: Sequence[Piece], resamples: Mapping[int, np.ndarray], score_at: str, sign: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the score by which a configuration is chosen, and that of the samples left out, each
    of shape (resamples,), at the epoch that the former chooses. More is better.
    """
    scores = [sign * piece.score(resamples[piece.fold]) for piece in pieces]
    shared = sorted(set.intersection(*(set(piece.epochs) for piece in pieces)))
    if score_at == "common" and shared:  # else each has its own best one, as in the search
        at = [[piece.epochs.index(epoch) for epoch in shared] for piece in pieces]
        scores = [_mean([score[:, places] for score, places in zip(scores, at, strict=True)])]
    chosen_by, scored_on = [], []
    for score in scores:
        drawn, left_out = np.split(score, 2)
        if score_at == "last":
            place = np.full(len(drawn), -1)
        else:
            place = np.where(np.isnan(drawn), -np.inf, drawn).argmax(axis=1)
        rows = np.arange(len(drawn))
        chosen_by.append(drawn[rows, place])
        scored_on.append(left_out[rows, place])
    return _mean(chosen_by), _mean(scored_on)


def _mean(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over trainings of those that are defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where none is
        return np.asarray(np.nanmean(np.stack(scores), axis=0))
