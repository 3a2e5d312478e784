"""Trials with the predictions that were kept of their trainings. Runs in the driver."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glimr_keras.errors import ProjectError
from glimr_keras.evaluation.scorers import taken
from glimr_keras.project.journal import Project
from glimr_keras.project.predictions import KeptPredictions
from glimr_keras.project.sample_arrays import concatenated
from glimr_keras.trials.execution import Execution
from glimr_keras.trials.objective import Objective
from glimr_keras.trials.ranking import ranked
from glimr_keras.trials.trial import Trial, fold_of

Reader = Callable[[str, int], KeptPredictions | None]


@dataclasses.dataclass(frozen=True)
class KeptTraining:
    """One training of a trial, with its predictions.

    Attributes:
        fold: That was predicted, counted from 0; 0 without cross validation.
        epoch: At which it is scored, counted from 1.
        epochs: Those by which it may be scored, ascending: the objective is a number, and
            predictions were kept.
        kept: Its predictions.
    """

    fold: int
    epoch: int | None
    epochs: tuple[int, ...]
    kept: KeptPredictions


@dataclasses.dataclass(frozen=True)
class KeptTrial:
    """A trial with its predictions.

    Attributes:
        trial_id: Such as `"0007"`.
        score: As the search has it.
        trainings: One for each fold and repetition.
    """

    trial_id: str
    score: float
    trainings: Sequence[KeptTraining]

    @property
    def folds(self) -> dict[int, KeptPredictions]:
        """Return the predictions of the first training of each fold, by fold."""
        found: dict[int, KeptPredictions] = {}
        for training in self.trainings:
            found.setdefault(training.fold, training.kept)
        return dict(sorted(found.items()))


def kept_trials(project: Project, read: Reader) -> list[KeptTrial]:
    """Read the predictions of all trials with a score, and return them from best to worst.

    Args:
        project: As its journal has it.
        read: Reads those of a training, by the trial's id and the number of its execution.

    Raises:
        ProjectError: If a trial has no predictions, or trials were validated on different samples.
        CheckpointError: If predictions are damaged.
    """
    scored = [trial for trial in project.trials.values() if trial.is_scored]
    found = [kept_trial(project, read, trial) for trial in ranked(scored, project.objective)]
    for trial in found:
        _check_same_samples(trial, found[0])
    return found


def kept_trial(project: Project, read: Reader, trial: Trial) -> KeptTrial:
    """Read the predictions of one trial.

    Raises:
        ProjectError: If a training of it has none.
        CheckpointError: If they are damaged.
    """
    trainings = []
    for number, execution in sorted(trial.executions.items()):
        kept = read(trial.trial_id, number)
        epochs = () if kept is None else _usable(kept, execution, project.objective)
        if kept is None or not epochs:
            raise ProjectError(
                f"No predictions were kept of trial {trial.trial_id}. Search with "
                "`keep_predictions=True`, in a project of its own, so that all trials have them."
            )
        fold = fold_of(number, project.cv_folds) or 0
        trainings.append(KeptTraining(fold, execution.best_epoch, epochs, kept))
    score = float("nan") if trial.score is None else trial.score
    return KeptTrial(trial.trial_id, score, trainings)


def _usable(kept: KeptPredictions, execution: Execution, objective: Objective) -> tuple[int, ...]:
    """Return the epochs by which a training may be scored; others may be kept where a scheduler
    stopped it.
    """
    values = {epoch: objective.value_in(seen) for epoch, seen in execution.history.items()}
    found = {epoch for epoch, value in values.items() if value is not None and math.isfinite(value)}
    return tuple(epoch for epoch in kept.epochs if epoch in found)


def _check_same_samples(trial: KeptTrial, first: KeptTrial) -> None:
    """Refuse a trial whose trainings were validated on other samples than those of another."""
    expected = first.folds
    for training in trial.trainings:
        fold, kept = training.fold, training.kept
        same = fold in expected and all(
            _are_equal(getattr(kept, part), getattr(expected[fold], part))
            for part in ("labels", "weights", "samples", "groups")
        )
        if not same:
            raise ProjectError(
                "Predictions can only be compared on the same validation samples, in the same "
                f"order. Received: others in fold {fold} of trial {trial.trial_id} than of trial "
                f"{first.trial_id}. Return the same validation data for every configuration."
            )


def _are_equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _are_equal(left[name], right[name]) for name in left
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_are_equal, left, right))
    if left is None or right is None:
        return left is right
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


@dataclasses.dataclass(frozen=True)
class OutOfFold:
    """What models predicted for samples that they were not trained on.

    Attributes:
        predictions: Shape (samples, …), float32, or a dict, list or tuple of arrays as the model's
            outputs are; the mean where a sample was predicted by several trainings.
        labels: Of the same samples, shape (samples, …), or such a structure; `None` without labels.
        folds: The fold in which each sample was predicted, shape (samples,), int.
        samples: The position of each sample in the data that `search` was given, shape (samples,),
            ascending; `None` where `HyperModel.data` gave the data, and samples are in the order
            of the folds and of their validation data.
    """

    predictions: Any
    labels: Any
    folds: np.ndarray
    samples: np.ndarray | None


def out_of_fold(trial: KeptTrial) -> OutOfFold:
    """Put the predictions of a trial's trainings together, at the epochs at which they are scored.

    Raises:
        ProjectError: If the predictions of such an epoch were not kept.
    """
    parts = {
        fold: _mean([_scored(trial, each) for each in trial.trainings if each.fold == fold])
        for fold in trial.folds
    }
    kept = list(trial.folds.values())
    folds = np.repeat(list(parts), [count(part) for part in parts.values()])
    together, labels = _joined(list(parts.values())), _joined([each.labels for each in kept])
    if any(each.samples is None for each in kept):
        return OutOfFold(together, labels, folds, None)
    samples = np.concatenate([each.samples for each in kept])
    order = np.argsort(samples, kind="stable")
    return OutOfFold(taken(together, order), taken(labels, order), folds[order], samples[order])


def _scored(trial: KeptTrial, training: KeptTraining) -> Any:
    if training.epoch is None or training.epoch not in training.epochs:
        raise ProjectError(
            f"Trial {trial.trial_id} is scored at epoch {training.epoch}, whose predictions were "
            f"not kept. Received: epochs {list(training.epochs)}"
        )
    return training.kept.at(training.epoch)


def count(predictions: Any) -> int:
    """Return the number of samples of a structure of arrays."""
    if isinstance(predictions, dict):
        return count(next(iter(predictions.values())))
    if isinstance(predictions, list | tuple):
        return count(predictions[0])
    return len(predictions)


def _mean(predictions: Sequence[Any]) -> Any:
    return _combined(predictions, lambda arrays: np.mean(arrays, axis=0, dtype=np.float32))


def _joined(parts: Sequence[Any]) -> Any:
    return _combined(parts, concatenated)


def _combined(parts: Sequence[Any], combine: Any) -> Any:
    """Combine the arrays of equal structures, each with those in its place."""
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, dict):
        return {name: _combined([part[name] for part in parts], combine) for name in first}
    if isinstance(first, list | tuple):
        return type(first)(_combined(each, combine) for each in zip(*parts, strict=True))
    return combine(parts)
