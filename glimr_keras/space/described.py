"""Text descriptions of hyperparameters: their values, and where they exist. Runs anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glimr_keras._utils.text import MISSING, Column, one_line, short
from glimr_keras.space.hp_types import Boolean, Condition, Fixed, Float, HyperParameter, Int

_WIDEST = 48


def values_in_words(parameter: HyperParameter) -> str:
    """Return the values that a hyperparameter can have: `16 to 256, step 16`, or its options."""
    if isinstance(parameter, (Int, Float)):
        ends = f"{short(parameter.min_value)} to {short(parameter.max_value)}"
        step = None if parameter.step in (None, 1) else f"step {short(parameter.step)}"
        scale = None if parameter.sampling == "linear" else parameter.sampling
        return ", ".join(filter(None, (ends, step, scale)))
    if isinstance(parameter, Boolean):
        return "True, False"
    if isinstance(parameter, Fixed):
        return short(parameter.value)
    config = parameter.get_config()
    options = [short(value) for value in config.get("values", ())]
    return ", ".join(options) or str(config.get("definition", ""))


def condition_in_words(condition: Condition) -> str:
    """Return a condition as text: `kind = sgd`, or `kind = sgd or adam`."""
    return f"{condition.name} = {' or '.join(map(short, condition.values))}"


def space_columns(
    parameters: Sequence[HyperParameter], values: Mapping[str, Any] | None = None
) -> list[Column]:
    """Return a table of hyperparameters: name, kind, values, and where they exist.

    Args:
        parameters: The hyperparameters.
        values: Their current values, shown in a column of their own. Values of other names come
            last. Defaults to `None`, which means no such column.
    """
    names = [parameter.name for parameter in parameters]
    others = [name for name in values or {} if name not in names]
    columns = [Column.of("name", [*names, *others], None)]
    if values is not None:
        there = [_value(parameter, values) for parameter in parameters]
        shown = [*there, *(short(values[name]) for name in others)]
        columns.append(Column.of("value", shown, _WIDEST))
    if parameters:
        kinds = [type(parameter).__name__ for parameter in parameters]
        columns.append(Column.of("kind", _filled(kinds, others)))
        ranges = [one_line(values_in_words(parameter), _WIDEST) for parameter in parameters]
        columns.append(Column.of("values", _filled(ranges, others), _WIDEST))
    if any(parameter.conditions for parameter in parameters):
        wheres = [
            " and ".join(map(condition_in_words, parameter.conditions)) or "always"
            for parameter in parameters
        ]
        columns.append(Column.of("exists where", _filled(wheres, others), _WIDEST))
    return columns


def _value(parameter: HyperParameter, values: Mapping[str, Any]) -> Any:
    """Return the parameter's value; another branch's parameter may share its name."""
    is_there = parameter.exists(values) and parameter.name in values
    return short(values[parameter.name]) if is_there else MISSING


def _filled(cells: Iterable[Any], others: Sequence[str]) -> list[Any]:
    return [*cells, *(MISSING for _ in others)]
