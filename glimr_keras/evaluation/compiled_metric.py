"""The objective of a search, computed from predictions as Keras computes it of a model. Keras; runs
in the driver.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from glimr_keras.errors import ObjectiveError
from glimr_keras.evaluation.fast_scorers import fast_scorer, is_defined
from glimr_keras.evaluation.scorers import OneByOne, Scorer
from glimr_keras.models.tasks import TaskLogs, task_names
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.trials.objective import Objective

_TOLERANCE = 1e-4
"""By how much a fast scorer may differ from Keras' own value."""


class CompiledMetric:
    """The value of an objective that a model is compiled for, of predictions that were kept.

    Args:
        model: A compiled model; its weights do not matter.
        objective: With the name of a metric or loss of validation data.
        hypermodel: The hypermodel that built the model.
        config: The configuration of which it was built; its tasks name metrics.
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
        tasks = task_names(config.declared)
        self._names = TaskLogs(tasks, self._of_validation)
        self._log_names = [
            _without_task(part.name.removeprefix("val_"), tasks) for part in objective.parts
        ]

    def __call__(self, labelled: tuple[Any, Any], predictions: Any) -> float:
        """Return the objective.

        Args:
            labelled: Labels and sample weights, each of shape (samples, …) in the structure of the
                model's outputs; weights may be `None`.
            predictions: The model's outputs, shape (samples, …).

        Returns:
            Nan where it is not defined, and Keras would say 0: no label is known, all weights are
            0, or an area under a curve has samples of one class.

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
        logs = {f"val_{name}": value for name, value in bare.items()}
        logs = self._names.named({**bare, **logs} if self._of_validation else logs)
        missing = self._objective.missing(logs)
        if missing is not None:
            raise ObjectiveError(
                f"The objective {missing!r} cannot be computed from predictions. Give "
                f"`metric=`, a function of labels and predictions. Received: {sorted(logs)}"
            )
        if not all(is_defined(model, name, labelled) for name in self._log_names):
            return np.nan
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
        fast = None
        if len(self._log_names) == 1:
            fast = fast_scorer(self._model, self._log_names[0], labelled, predictions)
        if fast is None:
            return sound
        size = len(keras.tree.flatten(predictions)[0])
        counts = np.stack([np.ones(size), np.random.default_rng(0).integers(0, 3, size)])
        expected = sound.scores(labelled, predictions, counts)
        found = fast.scores(labelled, predictions, counts)
        is_same = np.allclose(found, expected, _TOLERANCE, _TOLERANCE, equal_nan=True)
        return fast if is_same else sound


def _without_task(name: str, tasks: list[str]) -> str:
    """Return the name under which Keras logs a metric: with one task, the task's is no part."""
    return name.removeprefix(f"{tasks[0]}_") if len(tasks) == 1 else name
