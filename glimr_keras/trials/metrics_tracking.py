"""The metrics of a trial in KerasTuner's format: `trial.metrics`. Runs anywhere.

Each metric has an observation for each step at which it was measured. An observation has one value
for each execution.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras.errors import did_you_mean
from glimr_keras.trials.metric_directions import infer_direction, metric_direction
from glimr_keras.trials.objective import DIRECTIONS


@dataclasses.dataclass
class MetricObservation:
    """The values of a metric at one step.

    Attributes:
        value: One value for each execution. A single number is also accepted.
        step: The step, such as the epoch, counted from 0.
    """

    value: list[float]
    step: int

    def __post_init__(self) -> None:
        self.value = _listed(self.value)

    def append(self, value: float | Sequence[float]) -> None:
        """Add the value of another execution, or of several."""
        self.value += _listed(value)

    def mean(self) -> float:
        """Return the mean over the executions."""
        return statistics.fmean(self.value)

    def get_config(self) -> dict[str, Any]:
        """Return `{"value": […], "step": …}`."""
        return {"value": list(self.value), "step": self.step}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MetricObservation:
        return cls(config["value"], config["step"])


class MetricHistory:
    """The observations of one metric.

    Args:
        direction: `"min"` or `"max"`. Defaults to `"min"`.

    Raises:
        ValueError: If `direction` is neither.
    """

    def __init__(self, direction: str = "min") -> None:
        if direction not in DIRECTIONS:
            raise ValueError(
                f"`direction` should be one of {DIRECTIONS}. Received: direction={direction!r}"
            )
        self.direction = direction
        self._observations: dict[int, MetricObservation] = {}

    def update(self, value: float | Sequence[float], step: int) -> None:
        """Add a value at a step; for an existing step, as the value of another execution."""
        if step in self._observations:
            self._observations[step].append(value)
        else:
            self._observations[step] = MetricObservation(value, step)  # type: ignore[arg-type]  # one number becomes a list

    def get_history(self) -> list[MetricObservation]:
        """Return the observations, sorted by step."""
        return [self._observations[step] for step in sorted(self._observations)]

    def set_history(self, observations: Iterable[MetricObservation]) -> None:
        """Add observations."""
        for observation in observations:
            self.update(observation.value, observation.step)

    def get_best_value(self) -> float | None:
        """Return the best mean over executions; `None` without any."""
        means = [
            mean
            for mean in (observation.mean() for observation in self.get_history())
            if not math.isnan(mean)
        ]
        return None if not means else max(means) if self.direction == "max" else min(means)

    def get_best_step(self) -> int | None:
        """Return the first step with the best value; `None` without any."""
        best = self.get_best_value()
        return next(
            (observation.step for observation in self.get_history() if observation.mean() == best),
            None,
        )

    def get_statistics(self) -> dict[str, float]:
        """Return statistics of the means.

        They are minimum, maximum, mean, median, variance and standard deviation (of the
        population).
        """
        means = [observation.mean() for observation in self.get_history()]
        if not means:
            return {}
        return {
            "min": min(means),
            "max": max(means),
            "mean": float(np.mean(means)),
            "median": float(np.median(means)),
            "var": float(np.var(means)),
            "std": float(np.std(means)),
        }

    def get_last_value(self) -> float | None:
        """Return the mean at the last step; `None` without any."""
        history = self.get_history()
        return history[-1].mean() if history else None

    def get_config(self) -> dict[str, Any]:
        """Return `{"direction": …, "observations": […]}`."""
        return {
            "direction": self.direction,
            "observations": [each.get_config() for each in self.get_history()],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MetricHistory:
        history = cls(config["direction"])
        history.set_history(map(MetricObservation.from_config, config["observations"]))
        return history


class MetricsTracker:
    """The histories of several metrics, by name.

    Attributes:
        metrics: The histories by metric name.
    """

    def __init__(self, metrics: Sequence[Any] | None = None) -> None:
        self.metrics: dict[str, MetricHistory] = {}
        self.register_metrics(metrics)

    def register_metrics(self, metrics: Sequence[Any] | None = None) -> None:
        """Register Keras metrics by their names."""
        for metric in metrics or ():
            self.register(metric.name)

    def exists(self, name: str) -> bool:
        """Return whether a metric of this name is registered."""
        return name in self.metrics

    def register(self, name: str, direction: str | None = None) -> None:
        """Register a metric.

        Args:
            name: The name of the metric.
            direction: `"min"` or `"max"`. Defaults to `None`, which means the direction of Keras'
                metric of this name, or `"min"` if Keras does not know it.

        Raises:
            ValueError: If the metric is already registered.
        """
        if self.exists(name):
            raise ValueError(f"Metric already exists: {name}")
        self.metrics[name] = MetricHistory(direction or infer_metric_direction(name) or "min")

    def update(self, name: str, value: float, step: int = 0) -> bool:
        """Add a value; return whether the metric's best value changed."""
        if not self.exists(name):
            self.register(name)
        before = self.get_best_value(name)
        self.metrics[name].update(float(value), step)
        return self.get_best_value(name) != before

    def get_history(self, name: str) -> list[MetricObservation]:
        """Return the observations of a metric, sorted by step."""
        return self._of(name).get_history()

    def set_history(self, name: str, observations: Iterable[MetricObservation]) -> None:
        """Add observations of a metric."""
        if not self.exists(name):
            self.register(name)
        self.metrics[name].set_history(observations)

    def get_best_value(self, name: str) -> float | None:
        """Return the best value of a metric."""
        return self._of(name).get_best_value()

    def get_best_step(self, name: str) -> int | None:
        """Return the step of the best value of a metric."""
        return self._of(name).get_best_step()

    def get_statistics(self, name: str) -> dict[str, float]:
        """Return the statistics of `MetricHistory.get_statistics` for a metric."""
        return self._of(name).get_statistics()

    def get_last_value(self, name: str) -> float | None:
        """Return the value of a metric at its last step."""
        return self._of(name).get_last_value()

    def get_direction(self, name: str) -> str:
        """Return `"min"` or `"max"`."""
        return self._of(name).direction

    def get_config(self) -> dict[str, Any]:
        """Return `{"metrics": {name: history}}`, as JSON types only."""
        return {"metrics": {name: history.get_config() for name, history in self.metrics.items()}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MetricsTracker:
        tracker = cls()
        tracker.metrics = {
            name: MetricHistory.from_config(history) for name, history in config["metrics"].items()
        }
        return tracker

    def _of(self, name: str) -> MetricHistory:
        if not self.exists(name):
            raise ValueError(f"Unknown metric: {name}.{did_you_mean(name, self.metrics)}")
        return self.metrics[name]


def _listed(value: Any) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def infer_metric_direction(metric: Any) -> str | None:
    """Return the direction of a metric, as Keras' own metrics define it.

    Args:
        metric: A name, such as `"val_accuracy"`, or a Keras metric, a loss, or a function.

    Returns:
        `"min"`, `"max"`, or `None` if Keras defines no direction.
    """
    if isinstance(metric, str):
        return infer_direction(metric)
    function = getattr(metric, "_fn", metric)
    name = getattr(function, "__name__", type(function).__name__)
    return metric_direction(metric) or infer_direction(name)
