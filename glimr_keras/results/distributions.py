"""Hyperparameters as Optuna distributions, with each trial's values. Uses Optuna; runs anywhere."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from glimr_keras.project.journal import Project
from glimr_keras.space.hp_types import Float, HyperParameter, Int
from glimr_keras.space.reserved_names import Stage
from glimr_keras.trials.trial import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Distributions:
    """The distributions of a project's hyperparameters, each under a unique label.

    A label never changes, since a study stores it with each trial. Hyperparameters that later
    trials add do not change the labels of earlier ones.
    """

    def __init__(self, project: Project) -> None:
        self._of: dict[str, list[tuple[str, HyperParameter, BaseDistribution]]] = {}
        trials = [trial.values for trial in project.trials.values()]
        for label, parameter in labelled(project).items():
            had = [each for each in trials if parameter.name in each and parameter.exists(each)]
            found = distribution_of(parameter, (each[parameter.name] for each in had))
            self._of.setdefault(parameter.name, []).append((label, parameter, found))

    def split(self, trial: Trial) -> tuple[dict[str, tuple[Any, BaseDistribution]], dict[str, Any]]:
        """Split a trial's values into those that a distribution covers and the others.

        Returns:
            The covered values by label, each with its distribution; and the other values by name.
        """
        known, others = {}, {}
        for name, value in trial.values.items():
            if name in Stage.NAMES:
                continue
            fitting = (
                (label, found)
                for label, parameter, found in self._of.get(name, ())
                if parameter.exists(trial.values) and has(found, value)
            )
            label, found = next(fitting, (None, None))
            if label is None or found is None:
                others[name] = value
            else:
                known[label] = value, found
        return known, others


def labelled(project: Project) -> dict[str, HyperParameter]:
    """Return a project's hyperparameters by label.

    The label is the name. If several hyperparameters share a name, their conditions are appended.
    Among those that only later trials added, the first one with a name has the plain name as its
    label.
    """
    found: dict[str, HyperParameter] = {}
    parameters = project.parameters
    known = collections.Counter(each.name for each in parameters[: len(project.space)])
    for place, parameter in enumerate(parameters):
        name = parameter.name
        is_late = place >= len(project.space)
        is_alone = known[name] == 0 if is_late else known[name] == 1
        known[name] += is_late
        label = shared = name if is_alone else _label(parameter)
        number = 1
        while label in found:
            number += 1
            label = f"{shared} ({number})"
        found[label] = parameter
    return found


def distribution_of(parameter: HyperParameter, values: Iterable[Any]) -> BaseDistribution:
    """Return the Optuna distribution of a hyperparameter.

    Optuna has no equivalent for a reversed log scale or for a log scale with steps. These become a
    plain range on a linear or log scale.

    Args:
        parameter: The hyperparameter.
        values: The trials' values. A range is widened to include them, since schedulers may move
            values beyond it. If the range is unknown, it is the span of these values.
    """
    from optuna.distributions import CategoricalDistribution

    numbers = [value for value in values if type(value) in (int, float)]
    if isinstance(parameter, (Int, Float)):
        return _range(parameter, numbers)
    if parameter.count is None:  # a Ray domain, of which a project stores only the description
        is_log = "LogUniform" in getattr(parameter, "definition", "")
        return _spanned(numbers, is_log and min(numbers, default=0) > 0)
    options: Sequence[Any] = list(parameter.every_value())
    return CategoricalDistribution(options)


def has(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution contains a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        return False


def _range(parameter: Int | Float, numbers: list[Any]) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    is_stepped = parameter.num_steps is not None  # then the last step may be below the maximum
    low = parameter.min_value
    high = parameter.prob_to_value(1.0) if is_stepped else parameter.max_value
    is_wider = min(numbers, default=low) < low or max(numbers, default=high) > high
    low, high = min([low, *numbers]), max([high, *numbers])
    is_log = parameter.sampling == "log" and low > 0
    step = None if is_log or is_wider or parameter.sampling != "linear" else parameter.step
    if isinstance(parameter, Int) and all(type(number) is int for number in numbers):
        return IntDistribution(low, high, log=is_log, step=step or 1)
    return FloatDistribution(float(low), float(high), log=is_log, step=step)


def _spanned(numbers: list[Any], is_log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = min(numbers, default=0), max(numbers, default=0)
    kind = IntDistribution if all(type(number) is int for number in numbers) else FloatDistribution
    found: BaseDistribution = kind(low, high, log=is_log)
    return found


def _label(parameter: HyperParameter) -> str:
    """Return a label for a hyperparameter that shares its name with others."""
    conditions = (
        f"{condition.name}={'|'.join(map(str, condition.values))}"
        for condition in parameter.conditions
    )
    return f"{parameter.name} ({', '.join(conditions)})" if parameter.conditions else parameter.name
