"""The objective of a search, computed from predictions as Keras computes it of a model. Keras; runs
in the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ObjectiveError
from glimr_keras.evaluation.scorers import (
    MeanOfSamples,
    OneByOne,
    RocAuc,
    Scorer,
    SharedPairs,
    survival_pairs,
)
from glimr_keras.models.tasks import TaskLogs, task_names
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.survival import ConcordanceIndex, UnoConcordanceIndex
from glimr_keras.trials.objective import Objective

_TOLERANCE = 1e-4
"""By how much a fast scorer may differ from Keras' own value."""


class CompiledMetric:
    """The value of an objective that a model is compiled for, of predictions that were kept.

    Args:
        model: A compiled model; its weights do not matter.
        objective: With the name of a metric or loss of validation data.
        hypermodel: That built the model.
        config: Of which it was built; its tasks name metrics.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Objective,
        hypermodel: Any,
        config: HyperParameters,
    ) -> None:
        self._model, self._objective = model, objective
        self._of_validation = getattr(hypermodel, "logs_validation_only", False)
        self._tasks = task_names(config.declared)
        self._names = TaskLogs(self._tasks, self._of_validation)

    def __call__(self, labelled: tuple[Any, Any], predictions: Any) -> float:
        """Return the objective.

        Args:
            labelled: Labels and sample weights, each of shape (samples, …) in the structure of the
                model's outputs; weights may be `None`.
            predictions: The model's outputs, shape (samples, …).

        Raises:
            ObjectiveError: If the objective is not among the model's metrics.
        """
        labels, weights = labelled
        model = self._model
        model.reset_metrics()
        total = model.compute_loss(None, labels, predictions, weights, training=False)
        penalty = sum(float(keras.ops.sum(each)) for each in model.losses)  # of its weights
        found = model.compute_metrics(None, labels, predictions, weights)
        bare = {name: float(value) for name, value in found.items()}
        bare["loss"] = float(total) - penalty
        model.reset_metrics()
        logs = {f"val_{name}": value for name, value in bare.items()}
        logs = self._names.named({**bare, **logs} if self._of_validation else logs)
        missing = self._objective.missing(logs)
        if missing is not None:
            raise ObjectiveError(
                f"The objective {missing!r} cannot be computed from predictions. Give "
                f"`metric=`, a function of labels and predictions. Received: {sorted(logs)}"
            )
        return self._objective.get_value(logs)

    def scorer(self, labelled: tuple[Any, Any], predictions: Any) -> Scorer:
        """Return what scores many resamples, fast where the metric is a sum.

        Args:
            labelled: Of some samples, as when it is called.
            predictions: Of these samples. A fast scorer is only used if it finds what Keras does.

        Raises:
            ObjectiveError: If the objective is not among the model's metrics.
        """
        self(labelled, predictions)
        sound = OneByOne(self)
        generator = np.random.default_rng(0)
        size = len(keras.tree.flatten(predictions)[0])
        counts = np.stack([np.ones(size, int), generator.integers(0, 3, size)])
        expected = sound.scores(labelled, predictions, counts)
        for fast in self._fast_scorers(labelled, predictions):
            try:
                found = fast.scores(labelled, predictions, counts)
            except (ValueError, TypeError, AttributeError, IndexError):
                continue  # it is of another kind, or has other shapes
            if np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
                return fast
        return sound

    def _fast_scorers(self, labelled: tuple[Any, Any], predictions: Any) -> Iterator[Scorer]:
        """Yield scorers that may find the same, where there is one output and there are no sample
        weights.
        """
        if labelled[1] is not None or not isinstance(predictions, np.ndarray):
            return
        if len(self._objective.parts) > 1:
            return
        name = self._objective.name.removeprefix("val_")
        for task in self._tasks:
            name = name.removeprefix(f"{task}_")
        if name == "loss":
            yield from _of_loss(self._model.loss)
        for metric in self._metrics():
            if metric.name == name:
                yield from _of_metric(metric)

    def _metrics(self) -> Iterator[keras.metrics.Metric]:
        for metric in self._model.metrics:
            yield from getattr(metric, "metrics", ())
            yield metric


def _of_loss(given: Any) -> Iterator[Scorer]:
    """Yield a scorer of a loss that is a mean over samples."""
    if isinstance(given, str) or callable(given):
        loss = keras.losses.get(given)
        values = loss.call if isinstance(loss, keras.losses.Loss) else loss
        yield MeanOfSamples(lambda labelled, outputs: _by_sample(values(labelled[0], outputs)))


def _of_metric(metric: keras.metrics.Metric) -> Iterator[Scorer]:
    """Yield a scorer of a metric that is a mean over samples or over pairs, or an area."""
    if isinstance(metric, keras.metrics.MeanMetricWrapper):
        values, kwargs = metric._fn, metric._fn_kwargs
        yield MeanOfSamples(
            lambda labelled, outputs: _by_sample(
                values(
                    keras.ops.convert_to_tensor(labelled[0]),
                    keras.ops.convert_to_tensor(outputs),
                    **kwargs,
                )
            )
        )
    elif isinstance(metric, ConcordanceIndex) and not isinstance(metric, UnoConcordanceIndex):
        risk = metric._risk
        yield SharedPairs(
            lambda labelled, outputs: survival_pairs(
                labelled[0], keras.ops.convert_to_numpy(risk(keras.ops.convert_to_tensor(outputs)))
            )
        )
    elif isinstance(metric, keras.metrics.AUC):
        yield RocAuc(np.asarray(metric.thresholds))


def _by_sample(values: Any) -> np.ndarray:
    """Return the mean of each sample's values, shape (samples,)."""
    found = keras.ops.convert_to_numpy(values)
    return np.asarray(found.reshape(len(found), -1).mean(axis=1), np.float64)
