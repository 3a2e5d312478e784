"""How `build` asks for hyperparameters: a method for each kind, and scopes. Pure Python; runs in
driver and worker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

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


class DefineByRun:
    """The part of `HyperParameters` that defines them; names and methods are KerasTuner's."""

    if TYPE_CHECKING:  # of `HyperParameters`

        def _ask(
            self, definition: HyperParameter, parent_name: str | None, parent_values: Any
        ) -> Any: ...
        def _condition(self, parent_name: str, parent_values: Any) -> Condition: ...

    def __init__(self) -> None:
        self._name_scopes: list[str] = []
        self._conditions: list[Condition] = []

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
        """An integer from `min_value` to `max_value`, both inclusive. See
        `glimr_keras.parameters.Int`.

        With `parent_name` and `parent_values` it exists only where that parameter has one of those
        values, as inside `conditional_scope`, and is `None` elsewhere. This holds for every kind.
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
        """A real number in [`min_value`, `max_value`), or a step of it. See
        `glimr_keras.parameters.Float`.
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
        """One of `values`, which must be of one type: `int`, `float`, `str` or `bool`.

        Raises:
            TypeError: If the values are of several types, or of another type.
            ValueError: If `values` is empty or `default` is not among them.
        """
        definition = Choice(self._full_name(name), values, ordered, default)
        kinds = {type(value) for value in definition.values}
        if len(kinds) > 1:
            raise TypeError(
                f"Choice({definition.name!r}): `values` can contain only one type. Received: "
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
        """`False` or `True`."""
        return self._ask(Boolean(self._full_name(name), default), parent_name, parent_values)

    def Fixed(
        self, name: str, value: Scalar, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """A value that is not tuned but recorded with the trial."""
        return self._ask(Fixed(self._full_name(name), value), parent_name, parent_values)

    @contextlib.contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Puts `name/` before the names used inside; scopes nest."""
        self._name_scopes.append(name)
        try:
            yield
        finally:
            self._name_scopes.pop()

    @contextlib.contextmanager
    def conditional_scope(self, parent_name: str, parent_values: Any) -> Iterator[None]:
        """Parameters defined inside exist only where `parent_name` has one of `parent_values` (one
        value or a list).

        The body always runs; parameters that do not exist in this configuration are made known and
        given as `None`.

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
