"""Directions of metrics, according to Keras: whether more or less is better. Runs in driver and
worker.

Keras is imported only when needed: reading a project, whose directions are known, does not need
it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from typing import Any

from glimr_keras._utils.names import squeezed

_COUNTS = {
    "TruePositives": "max",
    "TrueNegatives": "max",
    "FalsePositives": "min",
    "FalseNegatives": "min",
}
"""Directions that Keras does not define."""

_OF_SURVIVAL = {
    "concordanceindex": "max",
    "unoconcordanceindex": "max",
    "integratedbrierscore": "min",
    "coxpartiallikelihood": "min",
    "discretehazard": "min",
}
"""Directions of the metrics and losses of `glimr_keras.survival`, by squeezed name."""


@functools.cache
def infer_direction(name: str) -> str | None:
    """Return the direction of a metric by its name in the logs.

    Metrics of Keras and of `glimr_keras.survival` are known. A metric of that class is created to
    read its direction, but without variables, so that no accelerator is initialized.

    Args:
        name: A name such as `"val_accuracy"`, `"loss"` or `"val_f1_score"`.

    Returns:
        `"min"`, `"max"`, or `None` if no metric has this name or Keras defines no direction.
    """
    name = name.removeprefix("val_").removeprefix("weighted_")
    if name == "loss" or name.endswith("_loss"):
        return "min"
    name = {"acc": "accuracy", "ce": "crossentropy"}.get(name, name)
    if name == "crossentropy":
        return "min"
    if squeezed(name) in _OF_SURVIVAL:
        return _OF_SURVIVAL[squeezed(name)]
    import keras

    kinds = [
        kind
        for kind in vars(keras.metrics).values()
        if inspect.isclass(kind) and issubclass(kind, keras.metrics.Metric)
    ]
    for kind in kinds:
        if squeezed(kind.__name__) == squeezed(name):
            return _COUNTS.get(kind.__name__) or metric_direction(_instance(kind))
    return "min" if _is_loss(name) else None


def log_directions(model: Any, names: Iterable[str]) -> dict[str, str | None]:
    """Return the direction of each name in a compiled model's logs, according to its metrics.

    Args:
        model: A compiled model. Before the first batch, only metrics given as objects are used; for
            the others, the name decides.
        names: Names in the logs. The prefix `val_` and the name of an output may precede the
            metric's.
    """
    metrics = [part for metric in model.metrics for part in _parts(metric)]
    directions: dict[str, str | None] = {}
    for name in names:
        bare = name.removeprefix("val_")
        exact = [metric for metric in metrics if metric.name == bare]
        matching = exact or [metric for metric in metrics if bare.endswith(f"_{metric.name}")]
        found = {metric_direction(metric) for metric in matching} - {None}
        if len(found) == 1:
            directions[name] = found.pop()
        else:  # a name is reliable only for Keras' own metrics
            directions[name] = infer_direction(bare) if all(map(_is_of_keras, matching)) else None
    return directions


def _parts(metric: Any) -> list[Any]:
    """Return the metrics inside one of a model's; while unbuilt, the compiled ones."""
    import keras

    found = list(getattr(metric, "metrics", [metric]))
    given = [getattr(metric, f"_user_{kind}", None) for kind in ("metrics", "weighted_metrics")]
    leaves = [] if found else keras.tree.flatten(given)
    return found or [leaf for leaf in leaves if isinstance(leaf, keras.metrics.Metric)]


def metric_direction(metric: Any) -> str | None:
    """Return `"min"`, `"max"` or `None`, as the metric itself defines it.

    Keras' callbacks read it in the same way for `mode="auto"`.
    """
    return {"up": "max", "down": "min"}.get(getattr(metric, "_direction", None) or "")


def _is_of_keras(metric: Any) -> bool:
    parts = [type(metric), getattr(metric, "_fn", None)]
    return all(
        part is None or getattr(part, "__module__", type(part).__module__).startswith("keras.")
        for part in parts
    )


def _instance(kind: type) -> Any:
    """Return a metric of this class with placeholder arguments; `None` if that fails."""
    import keras

    required = [
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    placeholders = {
        "num_classes": 2,
        "target_class_ids": [0],
        "fn": keras.metrics.mean_squared_error,
    }
    try:
        with keras.StatelessScope(initialize_variables=False):
            return kind(**{name: placeholders.get(name, 0.5) for name in required})
    except Exception:
        return None


def _is_loss(name: str) -> bool:
    import keras

    try:
        return keras.losses.get(name) is not None
    except (ValueError, TypeError):
        return False
