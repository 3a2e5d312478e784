"""The objective of a search: a metric's name and direction. Runs in driver and worker."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glimr_keras.errors import InvalidObjectiveError, ObjectiveError
from glimr_keras.trials.metric_directions import infer_direction

DIRECTIONS = ("min", "max")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A metric to minimise or maximise.

    Args:
        name: The name of the metric in Keras' logs, such as `"val_accuracy"`.
        direction: `"min"` or `"max"`. Defaults to `None`, which means the direction that Keras
            defines for the metric of this name.
    """

    name: str
    direction: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ObjectiveError(
                f"An objective's `name` must be a metric's name. Received: name={self.name!r}"
            )
        if self.direction is not None and self.direction not in DIRECTIONS:
            raise ObjectiveError(
                f"An objective's `direction` must be one of {DIRECTIONS}. Received: "
                f"{self.direction!r}"
            )

    def __str__(self) -> str:
        return f'{type(self).__name__}(name="{self.name}", direction="{self.direction}")'

    @property
    def parts(self) -> tuple[Objective, ...]:
        """Return the metrics that are optimised: itself, or its several parts."""
        return (self,)

    @property
    def name_to_direction(self) -> dict[str, str | None]:
        """Return the direction of each part by name, independent of their order."""
        return {part.name: part.direction for part in self.parts}

    def directed(self, directions: Sequence[str | None]) -> Objective:
        """Return a copy with other directions, one for each part."""
        return dataclasses.replace(self, direction=directions[0])

    def inferred(self) -> Objective:
        """Return a copy with the directions that follow from the names, as far as possible."""
        return self.directed([part.direction or infer_direction(part.name) for part in self.parts])

    def missing(self, logs: Mapping[str, Any]) -> str | None:
        """Return the name of a metric that is missing in `logs`, or `None`."""
        return next((part.name for part in self.parts if part.name not in logs), None)

    def has_value(self, logs: Mapping[str, Any]) -> bool:
        """Return whether `logs` contain the objective."""
        return self.missing(logs) is None

    def get_value(self, logs: Mapping[str, Any]) -> float:
        """Return this metric's value in `logs`."""
        return float(logs[self.name])

    def value_in(self, logs: Mapping[str, Any]) -> float | None:
        """Return the value in `logs`; `None` if it is missing or void (see `is_void`)."""
        if type(self) is Objective and type(logs.get(self.name)) is float:
            value: float = logs[self.name]
            if math.isfinite(value):
                return value
        if not self.has_value(logs):
            return None
        value = self.get_value(logs)
        return None if self.is_void(value) else value

    def better_than(self, left: float | None, right: float | None) -> bool:
        """Return whether score `left` is better than `right`; any number beats nan and `None`."""
        if left is None or math.isnan(left):
            return False
        if right is None or math.isnan(right):
            return True
        return left > right if self.direction == "max" else left < right

    def best_step(self, steps: Mapping[int, Mapping[str, Any]]) -> int | None:
        """Return the first step with the best metrics; `None` if no step has them.

        A step with nan is returned only if there is no other.
        """
        values = {
            step: self.get_value(metrics)
            for step, metrics in steps.items()
            if self.has_value(metrics)
        }
        return min(
            values,
            key=lambda step: (math.isnan(values[step]), self.sort_key(values[step])),
            default=None,
        )

    def is_void(self, value: float) -> bool:
        """Return whether a value is meaningless: nan, or infinitely good by an overflow."""
        return math.isnan(value) or (math.isinf(value) and self.better_than(value, 0.0))

    def sort_key(self, score: float | None) -> float:
        """Return a key that sorts scores from best to worst, with nan and `None` last."""
        if score is None or math.isnan(score):
            return math.inf
        return -score if self.direction == "max" else score

    def resolved(self, directions: Mapping[str, str | None]) -> Objective:
        """Return this objective with its direction, from `directions` if it was not given.

        Args:
            directions: Names in the model's logs, each with the direction that `log_directions`
                found, or `None`.

        Raises:
            ObjectiveError: If the direction is unknown.
        """
        direction = self.direction or directions.get(self.name)
        if direction is None:
            raise ObjectiveError(
                f"Could not infer optimization direction of the objective {self.name!r}: Keras "
                "does not say whether more is better. Say it: "
                f"`objective=Objective({self.name!r}, 'max')`, or 'min'."
            )
        return dataclasses.replace(self, direction=direction)


class MultiObjective(Objective):
    """Several objectives, combined into one score.

    The score that ranks trials is the sum of the objectives to minimise, minus the sum of those to
    maximise.

    Args:
        objectives: At least two objectives, with different names.
        pareto: Whether to search for the whole Pareto front, and not for the best score, if the
            searcher can. A list of objectives sets this to `True`. Defaults to `False`.

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
        if (
            len(set(names)) != len(names)
            or len(names) < 2
            or any(isinstance(part, MultiObjective) for part in self.objectives)
        ):
            raise ObjectiveError(
                "Several objectives must be at least two metrics of different names. Received: "
                f"{names}"
            )

    @property
    def parts(self) -> tuple[Objective, ...]:
        return self.objectives

    def directed(self, directions: Sequence[str | None]) -> MultiObjective:
        """Return a copy with other directions, one for each part."""
        return MultiObjective(
            (part.directed([way]) for part, way in zip(self.parts, directions, strict=True)),
            self.pareto,
        )

    def get_value(self, logs: Mapping[str, Any]) -> float:
        """Return the score: the sum of minimised parts, minus the sum of maximised parts."""
        return sum(
            -part.get_value(logs) if part.direction == "max" else part.get_value(logs)
            for part in self.parts
        )

    def resolved(self, directions: Mapping[str, str | None]) -> MultiObjective:
        """Return a copy with the direction of each part, as for one objective."""
        return MultiObjective((part.resolved(directions) for part in self.parts), self.pareto)

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same, in any order; each part counts equally in the score."""
        return isinstance(other, MultiObjective) and (set(self.parts), self.pareto) == (
            set(other.parts),
            other.pareto,
        )

    def __hash__(self) -> int:
        return hash((frozenset(self.parts), self.pareto))

    def __str__(self) -> str:
        return f"{super().__str__()}: [{', '.join(map(str, self.parts))}]"

    def __repr__(self) -> str:
        return f"MultiObjective({list(self.parts)}, pareto={self.pareto})"


def objective_config(objective: Objective) -> dict[str, Any]:
    """Return an objective as JSON types."""
    if isinstance(objective, MultiObjective):
        return {
            "objectives": [objective_config(part) for part in objective.parts],
            "pareto": objective.pareto,
        }
    return dataclasses.asdict(objective)


def objective_from_config(config: Mapping[str, Any]) -> Objective:
    """Return the objective that `objective_config` describes."""
    if "objectives" in config:
        return MultiObjective(map(objective_from_config, config["objectives"]), config["pareto"])
    return Objective(**config)


Goal = str | Objective | Sequence[str | Objective] | None
"""The types of a user's `objective` argument."""

DEFAULT = Objective("default_objective", "min")
"""The objective if the user names none: minimise the number that `fit` or `run_trial` returns."""


def create_objective(objective: Any) -> Objective:
    """Return the `Objective` for a user's argument, with the direction inferred from its name.

    Raises:
        InvalidObjectiveError: If it is not a name, an `Objective`, or a list of them.
        ObjectiveError: If the direction cannot be inferred.
    """
    return as_objective(objective).inferred().resolved({})


def as_objective(objective: Any) -> Objective:
    """Return the `Objective` for a user's argument.

    Raises:
        InvalidObjectiveError: If it is not a name, an `Objective`, or a list of them.
    """
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, (list, tuple)):
        return (
            as_objective(objective[0])
            if len(objective) == 1
            else MultiObjective(objective, pareto=True)
        )
    if isinstance(objective, str):
        return Objective(objective)
    if objective is None:
        return DEFAULT
    raise InvalidObjectiveError(
        "`objective` not understood, expected str, an Objective, or a list of them. Received: "
        f"objective={objective!r}"
    )
