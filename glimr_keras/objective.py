"""What a search optimises: a metric's name and direction. Runs in driver and worker."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from glimr_keras.errors import InvalidObjectiveError, ObjectiveError

DIRECTIONS = ("min", "max")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A metric to minimise or maximise.

    Args:
        name: The name that the metric has in Keras' logs, such as `"val_accuracy"`.
        direction: `"min"` or `"max"`. `None` leaves it to Keras: the direction that the metric of this name has.
    """

    name: str
    direction: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ObjectiveError(f"An objective's `name` must be a metric's name. Received: name={self.name!r}")
        if self.direction is not None and self.direction not in DIRECTIONS:
            raise ObjectiveError(f"An objective's `direction` must be one of {DIRECTIONS}. Received: {self.direction!r}")

    def __str__(self) -> str:
        return f'{type(self).__name__}(name="{self.name}", direction="{self.direction}")'

    @property
    def parts(self) -> tuple[Objective, ...]:
        """The metrics that are optimised: itself, or the several that it is made of."""
        return (self,)

    def directed(self, directions: Sequence[str | None]) -> Objective:
        """The same with other directions, one for each of its parts."""
        return dataclasses.replace(self, direction=directions[0])

    def inferred(self) -> Objective:
        """The same with the directions that the names alone tell, as far as they do."""
        return self.directed([part.direction or infer_direction(part.name) for part in self.parts])

    def missing(self, logs: Mapping[str, Any]) -> str | None:
        """The name of a metric that is not in `logs`."""
        return next((part.name for part in self.parts if part.name not in logs), None)

    def has_value(self, logs: Mapping[str, Any]) -> bool:
        """Whether `logs` hold what is optimised."""
        return self.missing(logs) is None

    def get_value(self, logs: Mapping[str, Any]) -> float:
        """This metric's value in `logs`."""
        return float(logs[self.name])

    def better_than(self, left: float | None, right: float | None) -> bool:
        """Whether score `left` is better than `right`; any number is better than nan or none."""
        if left is None or math.isnan(left):
            return False
        if right is None or math.isnan(right):
            return True
        return left > right if self.direction == "max" else left < right

    def best_step(self, steps: Mapping[int, Mapping[str, Any]]) -> int | None:
        """The first step whose metrics are the best, nan only where there is nothing else; `None` where none has them."""
        values = {step: self.get_value(metrics) for step, metrics in steps.items() if self.has_value(metrics)}
        return min(values, key=lambda step: (math.isnan(values[step]), self.sort_key(values[step])), default=None)

    def sort_key(self, score: float | None) -> float:
        """A key that sorts scores from best to worst, with nan and none last."""
        if score is None or math.isnan(score):
            return math.inf
        return -score if self.direction == "max" else score

    def resolved(self, directions: Mapping[str, str | None]) -> Objective:
        """This objective with its direction, taken from `directions` where it was not given.

        Args:
            directions: Names in the model's logs, with the direction that `log_directions` found or `None`.

        Raises:
            ObjectiveError: If the direction is unknown.
        """
        direction = self.direction or directions.get(self.name)
        if direction is None:
            raise ObjectiveError(
                f"The direction of objective {self.name!r} cannot be inferred: Keras does not say whether more is better. "
                f"Say it: `objective=Objective({self.name!r}, 'max')`, or 'min'."
            )
        return dataclasses.replace(self, direction=direction)


class MultiObjective(Objective):
    """Several objectives. Trials are ranked by one score: the sum of those to minimise, less the sum of those to maximise.

    Args:
        objectives: At least two, with different names.
        pareto: Whether a search that can is to look for the whole front of best compromises, and not for the best score.
            A list of objectives means that.

    Attributes:
        name: `"multi_objective"`.
        direction: `"min"`: the score is minimised.
        objectives: The parts.
    """

    objectives: tuple[Objective, ...]
    pareto: bool

    def __init__(self, objectives: Iterable[str | Objective], pareto: bool = False) -> None:
        super().__init__("multi_objective", "min")
        object.__setattr__(self, "objectives", tuple(map(as_objective, objectives)))
        object.__setattr__(self, "pareto", pareto)
        names = [part.name for part in self.objectives]
        if len(set(names)) != len(names) or len(names) < 2 or any(isinstance(part, MultiObjective) for part in self.objectives):
            raise ObjectiveError(f"Several objectives must be at least two metrics of different names. Received: {names}")

    @property
    def parts(self) -> tuple[Objective, ...]:
        return self.objectives

    @property
    def name_to_direction(self) -> dict[str, str | None]:
        """The direction of each part, by name."""
        return {part.name: part.direction for part in self.objectives}

    def directed(self, directions: Sequence[str | None]) -> MultiObjective:
        """The same with other directions, one for each of its parts."""
        return MultiObjective((part.directed([way]) for part, way in zip(self.parts, directions, strict=True)), self.pareto)

    def get_value(self, logs: Mapping[str, Any]) -> float:
        """The score: the sum of what is minimised, less the sum of what is maximised."""
        return sum(-part.get_value(logs) if part.direction == "max" else part.get_value(logs) for part in self.parts)

    def resolved(self, directions: Mapping[str, str | None]) -> MultiObjective:
        """The same with the direction of each part, as for one objective."""
        return MultiObjective((part.resolved(directions) for part in self.parts), self.pareto)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MultiObjective) and (self.parts, self.pareto) == (other.parts, other.pareto)

    def __hash__(self) -> int:
        return hash((self.parts, self.pareto))

    def __repr__(self) -> str:
        return f"MultiObjective({list(self.parts)}, pareto={self.pareto})"


def objective_config(objective: Objective) -> dict[str, Any]:
    """An objective as JSON types."""
    if isinstance(objective, MultiObjective):
        return {"objectives": [objective_config(part) for part in objective.parts], "pareto": objective.pareto}
    return dataclasses.asdict(objective)


def objective_from_config(config: Mapping[str, Any]) -> Objective:
    """The objective that `objective_config` was given."""
    if "objectives" in config:
        return MultiObjective(map(objective_from_config, config["objectives"]), config["pareto"])
    return Objective(**config)


Goal = str | Objective | Sequence[str | Objective] | None
"""What a user may give as objective."""

DEFAULT = Objective("default_objective", "min")
"""What is minimised where the user names nothing: the one number that `fit` or `run_trial` returns."""


def as_objective(objective: Any) -> Objective:
    """The `Objective` that a user's argument means.

    Raises:
        InvalidObjectiveError: If it is neither a name, an `Objective`, nor a list of them.
    """
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, (list, tuple)):
        return as_objective(objective[0]) if len(objective) == 1 else MultiObjective(objective, pareto=True)
    if isinstance(objective, str):
        return Objective(objective)
    if objective is None:
        return DEFAULT
    raise InvalidObjectiveError(
        f"`objective` not understood, expected str, an Objective, or a list of them. Received: objective={objective!r}"
    )


_COUNTS = {"TruePositives": "max", "TrueNegatives": "max", "FalsePositives": "min", "FalseNegatives": "min"}
"""Of which Keras does not say it."""


@functools.cache
def infer_direction(name: str) -> str | None:
    """The direction of a metric by its name in the logs, as the metrics of Keras themselves say.

    It makes a metric to ask it, without variables, so that no accelerator is started.

    Args:
        name: Such as `"val_accuracy"`, `"loss"` or `"val_f1_score"`.

    Returns:
        `"min"`, `"max"`, or `None` where Keras has no metric of this name or does not say.
    """
    name = name.removeprefix("val_").removeprefix("weighted_")
    if name == "loss" or name.endswith("_loss"):
        return "min"
    name = {"acc": "accuracy", "ce": "crossentropy"}.get(name, name)
    if name == "crossentropy":
        return "min"
    kinds = [kind for kind in vars(keras.metrics).values() if inspect.isclass(kind) and issubclass(kind, keras.metrics.Metric)]
    for kind in kinds:
        if squeezed(kind.__name__) == squeezed(name):
            return _COUNTS.get(kind.__name__) or metric_direction(_instance(kind))
    return "min" if _is_loss(name) else None


def log_directions(model: Any, names: Iterable[str]) -> dict[str, str | None]:
    """The direction of each name in a compiled model's logs, as its own metrics say.

    Args:
        model: A compiled model whose metrics are built, as they are after a first batch.
        names: Names in the logs; `val_` and the name of an output may stand before the metric's.
    """
    metrics = [part for metric in model.metrics for part in getattr(metric, "metrics", [metric])]
    directions: dict[str, str | None] = {}
    for name in names:
        bare = name.removeprefix("val_")
        exact = [metric for metric in metrics if metric.name == bare]
        matching = exact or [metric for metric in metrics if bare.endswith(f"_{metric.name}")]
        found = {metric_direction(metric) for metric in matching} - {None}
        if len(found) == 1:
            directions[name] = found.pop()
        else:  # a name says something only where the metric is Keras' own
            directions[name] = infer_direction(bare) if all(map(_is_of_keras, matching)) else None
    return directions


def metric_direction(metric: Any) -> str | None:
    """`"min"` or `"max"` as the metric itself says, as Keras' own callbacks read it for `mode="auto"`; or `None`."""
    return {"up": "max", "down": "min"}.get(getattr(metric, "_direction", None) or "")


def _is_of_keras(metric: Any) -> bool:
    parts = [type(metric), getattr(metric, "_fn", None)]
    return all(part is None or getattr(part, "__module__", type(part).__module__).startswith("keras.") for part in parts)


def _instance(kind: type) -> Any:
    """A metric of this class, with a placeholder for each argument that it requires, or `None` where that fails."""
    required = [
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    placeholders = {"num_classes": 2, "target_class_ids": [0], "fn": keras.metrics.mean_squared_error}
    try:
        with keras.StatelessScope(initialize_variables=False):
            return kind(**{name: placeholders.get(name, 0.5) for name in required})
    except Exception:
        return None


def _is_loss(name: str) -> bool:
    try:
        return keras.losses.get(name) is not None
    except (ValueError, TypeError):
        return False


def squeezed(name: str) -> str:
    """`MeanIoU` and `mean_io_u` alike, so that either spelling of a log name is found."""
    return name.replace("_", "").lower()
