"""The define-by-run interface of `build`: a method for each kind of hyperparameter, scopes, and the
value to return. Pure Python; runs in driver and worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from glimr_keras._utils.nested import MISSING, at_path
from glimr_keras.errors import FatalRuntimeError, did_you_mean
from glimr_keras.space.hp_types import (
    Boolean,
    Choice,
    Condition,
    Fixed,
    Float,
    HyperParameter,
    Int,
    Scalar,
)

NewEntries = Literal["searched", "default", "refused"]


class DefineByRun:
    """The values and definitions of one configuration, with methods to request them.

    This is the base of `HyperParameters`, which describes the arguments and attributes. The method
    names and signatures are KerasTuner's.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        space: Iterable[HyperParameter],
        tree: Mapping[str, Any],
        sampling_key: Sequence[int] | None,
        given: Iterable[HyperParameter],
        new_entries: NewEntries,
    ) -> None:
        self.values: dict[str, Any] = dict(values)
        self._values_before = dict(values)
        self._definitions = {parameter.key: parameter for parameter in space}
        self._given: dict[str, list[HyperParameter]] = {}
        for parameter in given:
            self._given.setdefault(parameter.name, []).append(parameter)
            self._definitions.setdefault(parameter.key, parameter)
        self._old = {name for name, _ in self._definitions}
        self._new_entries = new_entries
        self._tree = dict(tree)
        self._sampling_key = None if sampling_key is None else tuple(sampling_key)
        self._name_scopes: list[str] = []
        self._conditions: list[Condition] = []
        self._asked: dict[str, None] = {}

    @property
    def space(self) -> list[HyperParameter]:
        """Return the definitions, in the order in which they became known."""
        return list(self._definitions.values())

    def is_active(self, hyperparameter: str | HyperParameter) -> bool:
        """Return whether a hyperparameter, given by full name or definition, exists here."""
        if isinstance(hyperparameter, HyperParameter):
            return hyperparameter.key in self._definitions and hyperparameter.exists(self.values)
        return any(definition.exists(self.values) for definition in self._named(hyperparameter))

    def Int(
        self,
        name: str,
        min_value: int,
        max_value: int,
        step: int | None = None,
        sampling: str = "linear",
        default: int | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """Return an integer from `min_value` to `max_value`, both inclusive.

        With `parent_name` and `parent_values`, it exists only where the parent has one of those
        values, as inside `conditional_scope`. Elsewhere it is `None`. This holds for every kind.

        Args:
            name: The name, relative to the current name scope.
            min_value: The smallest value, included.
            max_value: The largest value, included.
            step: The distance between values, or their ratio with log sampling. Defaults to `None`,
                which means 1 with `sampling="linear"`, and otherwise no steps.
            sampling: `"linear"`, `"log"` or `"reverse_log"`, which is dense near `max_value`.
                Defaults to `"linear"`.
            default: The default value. Defaults to `None`, which means `min_value`.
            parent_name: The name of the parent. Defaults to `None`, which means no parent.
            parent_values: One value of the parent, or a list of values. Defaults to `None`.
        """
        definition = Int(self._full_name(name), min_value, max_value, step, sampling, default)
        return self._ask(definition, parent_name, parent_values)

    def Float(
        self,
        name: str,
        min_value: float,
        max_value: float,
        step: float | None = None,
        sampling: str = "linear",
        default: float | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """Return a real number in [`min_value`, `max_value`), or one of its steps.

        Args:
            name: The name, relative to the current name scope.
            min_value: The smallest value, included.
            max_value: The largest value, excluded; with `step`, included where a step reaches it.
            step: The distance between values, or their ratio with log sampling. Defaults to `None`,
                which means a continuous range.
            sampling: `"linear"`, `"log"` or `"reverse_log"`, which is dense near `max_value`.
                Defaults to `"linear"`.
            default: The default value. Defaults to `None`, which means `min_value`.
            parent_name: As for `Int`. Defaults to `None`.
            parent_values: As for `Int`. Defaults to `None`.
        """
        definition = Float(self._full_name(name), min_value, max_value, step, sampling, default)
        return self._ask(definition, parent_name, parent_values)

    def Choice(
        self,
        name: str,
        values: Sequence[Scalar],
        ordered: bool | None = None,
        default: Scalar = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """Return one of `values`.

        Args:
            name: The name, relative to the current name scope.
            values: At least one value. All have one type, `int`, `float`, `str` or `bool`; `None`
                is allowed as well.
            ordered: Whether neighbouring values are similar, which searchers may use. Defaults to
                `None`, which means `True` for numbers only.
            default: The default value, one of `values`. Defaults to `None`, which means the first.
            parent_name: As for `Int`. Defaults to `None`.
            parent_values: As for `Int`. Defaults to `None`.

        Raises:
            TypeError: If the values have several types, or another type.
            ValueError: If `values` is empty, or `default` is not among them.
        """
        definition = Choice(self._full_name(name), values, ordered, default)
        kinds = {type(value) for value in definition.values if value is not None}
        if len(kinds) > 1:
            raise TypeError(
                f"Choice({definition.name!r}): `values` can contain only one type, and `None`. "
                "Received: "
                f"values={definition.values!r} with types "
                f"{sorted(kind.__name__ for kind in kinds)}"
            )
        return self._ask(definition, parent_name, parent_values)

    def Boolean(
        self,
        name: str,
        default: bool = False,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """Return `False` or `True`.

        Args:
            name: The name, relative to the current name scope.
            default: The default value. Defaults to `False`.
            parent_name: As for `Int`. Defaults to `None`.
            parent_values: As for `Int`. Defaults to `None`.
        """
        return self._ask(Boolean(self._full_name(name), default), parent_name, parent_values)

    def Fixed(
        self, name: str, value: Scalar, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """Return `value`, which is recorded with the trial but not tuned.

        Args:
            name: The name, relative to the current name scope.
            value: An `int`, `float`, `str` or `bool`.
            parent_name: As for `Int`. Defaults to `None`.
            parent_values: As for `Int`. Defaults to `None`.
        """
        return self._ask(Fixed(self._full_name(name), value), parent_name, parent_values)

    @contextlib.contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Prefix the names used inside with `name/`; scopes nest."""
        self._name_scopes.append(name)
        try:
            yield
        finally:
            self._name_scopes.pop()

    @contextlib.contextmanager
    def conditional_scope(self, parent_name: str, parent_values: Any) -> Iterator[None]:
        """Define parameters that exist only where `parent_name` has one of `parent_values`.

        The body always runs. Parameters that do not exist in this configuration are defined, and
        their value is `None`.

        Args:
            parent_name: The name of the parent, relative to the current name scope.
            parent_values: One value of the parent, or a list of values.

        Raises:
            ValueError: If the parent is not defined yet.
        """
        self._conditions.append(self._condition(parent_name, parent_values))
        try:
            yield
        finally:
            self._conditions.pop()

    def _full_name(self, name: str) -> str:
        return "/".join([*self._name_scopes, str(name)])

    def _named(self, full_name: str) -> list[HyperParameter]:
        return [
            definition for (name, _), definition in self._definitions.items() if name == full_name
        ]

    def _is_defined(self, full_name: str) -> bool:
        return any(name == full_name for name, _ in self._definitions)

    def _condition(self, parent_name: str, parent_values: Any) -> Condition:
        full_name = self._full_name(parent_name)
        if not self._is_defined(full_name):
            raise ValueError(
                f"A condition's parent must be defined before it: {full_name!r} is not defined."
                f"{did_you_mean(full_name, [name for name, _ in self._definitions])}"
            )
        many = isinstance(parent_values, (list, tuple, set, frozenset, range))
        return Condition(full_name, tuple(parent_values) if many else (parent_values,))

    def _ask(self, definition: HyperParameter, parent_name: str | None, parent_values: Any) -> Any:
        conditions = list(self._conditions)
        if parent_name is not None:
            conditions.append(self._condition(parent_name, parent_values))
        if any(condition.name == definition.name for condition in conditions):
            raise ValueError(
                f"Hyperparameter {definition.name!r} cannot have the same name as the one that is "
                "its condition. Give one of them another name."
            )
        definition = dataclasses.replace(definition, conditions=tuple(conditions))
        if definition.name not in self._given:
            self._check_entry(definition)
            self._definitions.setdefault(definition.key, definition)
        if not definition.exists(self.values):
            return None
        definition = self._winner(definition)
        if definition.name not in self.values:
            self.values[definition.name] = self._fallback(definition)
        elif not self._fits(definition):
            nearest = definition.nearest(self.values[definition.name])
            self.values[definition.name] = (
                self._fallback(definition) if nearest is None else nearest
            )
        self._asked[definition.name] = None
        return self.values[definition.name]

    @property
    def _assigned(self) -> dict[str, Any]:
        """Return the values that code wrote into `values`, as they are stored."""
        before = self._values_before
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.values.items()
            if name not in before or before[name] is not value
        }

    def _unused(self, full_name: str) -> Any:
        """Return the value of a known hyperparameter that exists here and was not requested."""
        found = (each for each in self._named(full_name) if each.is_known)
        definition = next((each for each in found if each.exists(self.values)), None)
        if definition is None:
            return MISSING
        return self._fallback(definition)

    def _check_entry(self, definition: HyperParameter) -> None:
        if self._new_entries == "refused" and definition.name not in self._old:
            raise FatalRuntimeError(
                f"`allow_new_entries` is `False`, but found new entries [{definition}]. Known: "
                f"{', '.join(sorted(self._old))}"
            )

    def _winner(self, definition: HyperParameter) -> HyperParameter:
        """Return the definition to use: a given one, or the first, as in KerasTuner.

        Raises:
            ValueError: If the first comes from a declared space.
        """
        rivals = [rival for rival in self._named(definition.name) if rival.exists(self.values)]
        first = next(iter(rivals), definition)
        if (
            definition.name in self._given
            or dataclasses.replace(first, conditions=definition.conditions) == definition
        ):
            return first
        message = (
            f"Hyperparameter {definition.name!r} is defined twice, differently:\n  {first}\n  "
            f"{definition}\n"
            "Give the two different names, for example with `name_scope`."
        )
        if at_path(self._tree, definition.name) is not MISSING:
            raise ValueError(message)
        warnings.warn(f"{message} The first counts.", stacklevel=4)
        return first

    def _fits(self, definition: HyperParameter) -> bool:
        """Return whether this code allows the chosen value; its range may have changed."""
        return self._sampling_key is None or definition.allows(self.values[definition.name])

    def _fallback(self, definition: HyperParameter) -> Any:
        is_new = definition.name not in self._old
        if self._sampling_key is None or (is_new and self._new_entries == "default"):
            return definition.default_value
        return sample(definition, self._sampling_key)


def sample(definition: HyperParameter, key: Sequence[int]) -> Any:
    """Sample a value that depends only on `key` and the hyperparameter's name and range."""
    return definition.random_sample([*key, zlib.crc32(definition.name.encode())])
