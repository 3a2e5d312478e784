"""What the best configuration of a search will score on new data. Runs in the driver."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras._utils.checks import checked_count
from glimr_keras.errors import ProjectError
from glimr_keras.evaluation.bootstrap import Piece, corrected, resampled
from glimr_keras.evaluation.compiled_metric import CompiledMetric
from glimr_keras.evaluation.kept_trials import KeptTraining, KeptTrial, count
from glimr_keras.evaluation.scorers import Metric, OneByOne, Scorer
from glimr_keras.trials.objective import Objective

_MANY = 100_000
"""Computations of a metric that are warned of."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What the best configuration of a search is expected to score on new data.

    Attributes:
        score: The expected score.
        low: The lower end of the interval.
        high: Its upper end.
        confidence: The probability that the interval is to cover the score on new data.
        reported: The score of the search's best trial, which was chosen by the same samples.
        bias: By how much the reported score is too good, positive for the better.
        objective: The name of the metric.
        trials: The number of configurations from which the best was chosen.
        samples: The number of validation samples.
        scores: The score of each resample, shape (resamples,).
    """

    score: float
    low: float
    high: float
    confidence: float
    reported: float
    bias: float
    objective: str
    trials: int
    samples: int
    scores: np.ndarray = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return (
            f"{self.objective} on new data: {self.score:.4g}, {self.confidence:.0%} interval "
            f"[{self.low:.4g}, {self.high:.4g}]\n"
            f"reported by the search: {self.reported:.4g}, the best of {self.trials} trials on "
            f"{self.samples} samples, too good by about {self.bias:.2g}"
        )


def check_arguments(resamples: int, confidence: float, seed: int) -> None:
    """Refuse arguments of an estimate that are out of their range.

    Raises:
        ValueError: If one is.
    """
    checked_count("resamples", resamples)
    checked_count("seed", seed, 0)
    if not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise ValueError(
            f"`confidence` must be between 0 and 1. Received: confidence={confidence!r}"
        )


def estimate(
    trials: Sequence[KeptTrial],
    objective: Objective,
    score_at: str,
    scorer: Scorer,
    labelled: Mapping[int, Any],
    resamples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Estimate the score of the best of some trials on new data.

    Args:
        trials: From best to worst. Their predictions are of the same samples.
        objective: What is optimised.
        score_at: How the epoch of a trial is chosen.
        scorer: Computes the objective from predictions.
        labelled: What it takes as labels, by fold.
        resamples: How often samples are drawn, at least 1.
        confidence: Of the interval, between 0 and 1.
        seed: Draws the same samples again.

    Raises:
        ProjectError: If the metric is defined in no resample.
    """
    folds = trials[0].folds
    sizes = {fold: count(each.at(each.epochs[0])) for fold, each in folds.items()}
    groups = {fold: each.groups for fold, each in folds.items() if each.groups is not None}
    _check_reported(trials[0], scorer, labelled, objective)
    maximize = objective.direction == "max"
    in_order = sorted(trials, key=lambda trial: (len(trial.trial_id), trial.trial_id))
    configurations = (
        [_piece(each, scorer, labelled[each.fold]) for each in trial.trainings]
        for trial in in_order
    )
    drawn = resampled(sizes, groups or None, resamples, np.random.default_rng(seed))
    _warn_if_long(trials, scorer, resamples)
    scores = corrected(configurations, drawn, score_at, maximize)
    defined = scores[np.isfinite(scores)]
    if not len(defined):
        raise ProjectError(
            f"The objective {objective.name!r} is defined in no resample of the "
            f"{sum(sizes.values())} validation samples in {len(sizes)} folds. Validate on more."
        )
    tail = 50 * (1 - confidence)
    low, high = np.percentile(defined, [tail, 100 - tail])
    score, reported = float(defined.mean()), trials[0].score
    return Estimate(
        score=score,
        low=float(low),
        high=float(high),
        confidence=confidence,
        reported=reported,
        bias=(reported - score) if maximize else (score - reported),
        objective=objective.name,
        trials=len(trials),
        samples=sum(sizes.values()),
        scores=scores,
    )


def scorer_of(trial: KeptTrial, metric: Metric | CompiledMetric) -> tuple[Scorer, dict[int, Any]]:
    """Return what scores predictions by a metric, and what it takes as labels, by fold.

    Args:
        trial: Whose labels are those of all.
        metric: A function of labels and predictions, or what a model is compiled with.

    Raises:
        ProjectError: If there are no labels.
        ObjectiveError: If the objective is not among the model's metrics.
        Exception: Whatever a function of the user's own raises for a whole fold.
    """
    folds = trial.folds
    if any(kept.labels is None for kept in folds.values()):
        raise ProjectError("The validation data has no labels to compare predictions with.")
    fold, first = next(iter(folds.items()))
    predictions = first.at(first.epochs[0])
    if not isinstance(metric, CompiledMetric):
        metric(first.labels, predictions)  # which says what is wrong with it, if something is
        return OneByOne(metric), {fold: kept.labels for fold, kept in folds.items()}
    labelled = {fold: (kept.labels, kept.weights) for fold, kept in folds.items()}
    return metric.scorer(labelled[fold], predictions), labelled


def _check_reported(
    trial: KeptTrial, scorer: Scorer, labelled: Mapping[int, Any], objective: Objective
) -> None:
    """Warn if the score of the best trial is not what its predictions say."""
    found = [
        scorer.scores(
            labelled[each.fold], each.kept.at(each.epoch), np.ones((1, count(each.kept.labels)))
        )[0]
        for each in trial.trainings
        if each.epoch is not None and each.epoch in each.epochs
    ]
    if found and not np.isclose(np.mean(found), trial.score, rtol=0.01, atol=1e-3):
        warnings.warn(
            f"Computed from its predictions, {objective.name!r} of trial {trial.trial_id} is "
            f"{np.mean(found):.4g}, and the search reported {trial.score:.4g}. The estimate is of "
            "the former: penalties of weights are no part of it, and losses and metrics see all "
            "samples at once.",
            stacklevel=4,
        )


def _piece(training: KeptTraining, scorer: Scorer, labelled: Any) -> Piece:
    def score(counts: np.ndarray) -> np.ndarray:
        return np.stack(
            [scorer.scores(labelled, training.kept.at(epoch), counts) for epoch in training.epochs],
            axis=1,
        )

    return Piece(training.fold, training.epochs, score)


def _warn_if_long(trials: Sequence[KeptTrial], scorer: Scorer, resamples: int) -> None:
    """Say how often a metric is computed that is computed for each resample."""
    epochs = sum(len(each.epochs) for trial in trials for each in trial.trainings)
    if isinstance(scorer, OneByOne) and 2 * resamples * epochs > _MANY:
        warnings.warn(
            f"The metric is computed {2 * resamples * epochs:,} times, for each resample, epoch "
            "and training, since it is not known to be a sum over samples. That may take long. "
            f"Fewer `resamples` take less. Received: resamples={resamples}",
            stacklevel=4,
        )
