"""`HyperParameters`: the one object that `build`, `data` and `fit` receive. Pure Python; runs in
driver and worker.

It is a mapping over the values of one configuration, nested (`config["a"]["b"]`) or by path
(`config["a/b"]`), and it is define-by-run: `config.Int("units", 16, 256)` returns the value of
`units` and makes it known if it was not. Name scopes and nesting are the same thing: `Int("units",
…)` inside `name_scope("layer1")` is `config["layer1"]["units"]`.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from glimr_keras._utils import html
from glimr_keras._utils.nested import MISSING, at_path, copied, is_json
from glimr_keras.errors import did_you_mean
from glimr_keras.space import hp_types
from glimr_keras.space.define_by_run import DefineByRun, NewEntries, sample
from glimr_keras.space.described import space_columns
from glimr_keras.space.hp_types import Condition, HyperParameter, serialize


class HyperParameters(DefineByRun):
    """The values of one configuration, and the definitions of the hyperparameters behind them.

    A value that is asked for and not known yet is the default, or, when `sampling_key` is given (as
    in every trial), drawn.

    Args:
        values: Known values by full name.
        space: Definitions that are known beforehand.
        tree: The declared space of this configuration with every value filled in: nested dicts of
            any objects.
        sampling_key: Integers that seed the values drawn for names that are not in `values`. A
            value depends only on the key and the name, never on the order of the calls.
        given: Definitions that win over those of the same name that are asked for.
        new_entries: What becomes of names that are asked for and neither in `space` nor `given`:
            they are `"searched"`, as everything, or have their `"default"`, or are `"refused"`.
        fold, num_folds: See below.

    Attributes:
        fold: In a cross validation, which part of the data this training is validated on, counted
            from 0; else `None`.
        num_folds: In a cross validation, how many such parts there are; else `None`.
        values: Value by full name; options of a declared space that are no scalars are shown by
            their label.
        space: The definitions, in the order in which they became known.

    Example:
        >>> config = HyperParameters()
        >>> with config.name_scope("layer1"):
        ...     config.Int("units", 16, 64)
        16
        >>> config["layer1"]["units"], config["layer1/units"]
        (16, 16)
    """

    stored_as: ClassVar[str] = "HyperParameters"

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        space: Iterable[HyperParameter] = (),
        tree: Mapping[str, Any] | None = None,
        sampling_key: Sequence[int] | None = None,
        given: Iterable[HyperParameter] = (),
        new_entries: NewEntries = "searched",
        fold: int | None = None,
        num_folds: int | None = None,
    ) -> None:
        super().__init__(values or {}, space, tree or {}, sampling_key, given, new_entries)
        self._fold = fold
        self.num_folds = num_folds
        self.is_fold_used = False

    # Mapping

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def get(self, name: str, default: Any = MISSING) -> Any:
        """The value at a name or path, or the nested dict below it.

        Args:
            name: A name, or a path such as `"layer1/units"`; the current name scope is put before
                it.
            default: Returned when there is no such value. Without it, that is an error.

        Raises:
            KeyError: If there is no such hyperparameter. One that is known, and that this
                configuration did not use, has the value that it would have had.
            ValueError: If the hyperparameter does not exist in this configuration because its
                condition does not hold.
        """
        full_name = self._full_name(name)
        found = self._find(full_name)
        if found is MISSING and default is MISSING:
            found = self._unused(full_name)
            if found is not MISSING:  # which uses it
                self.values[full_name] = found
        if found is not MISSING:
            self._asked.update(
                dict.fromkeys(
                    n for n in self.values if n == full_name or n.startswith(full_name + "/")
                )
            )
            return found
        if default is not MISSING:
            return default
        if self._is_defined(full_name):
            raise ValueError(
                f"Hyperparameter {full_name!r} is currently inactive: its condition does not hold."
            )
        known = [*(name for name, _ in self._definitions), *self.values, *self._tree]
        raise KeyError(
            f"Hyperparameter {full_name!r} does not exist.{did_you_mean(full_name, known)}"
        )

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        full_name = self._full_name(name)
        found = self._find(full_name)
        return found is not MISSING or self._unused(full_name) is not MISSING

    def __iter__(self) -> Iterator[str]:
        return iter(self._as_tree())

    def __len__(self) -> int:
        return len(self._as_tree())

    def __bool__(self) -> bool:
        return True  # also before anything was asked for: `hp or HyperParameters()` is `hp`

    def keys(self) -> Iterable[str]:
        """The names at the top level of the nested configuration."""
        return self._as_tree().keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names at the top level with their values or nested dicts."""
        self._asked.update(dict.fromkeys(self.values))
        return self._as_tree().items()

    @property
    def fold(self) -> int | None:
        self.is_fold_used = True
        return self._fold

    # Definitions

    @property
    def declared(self) -> Mapping[str, Any]:
        """The declared space of this configuration with every value filled in; looking at it asks
        for nothing.
        """
        return self._tree

    @property
    def active_scopes(self) -> list[list[Condition]]:
        """The conditions of each conditional scope in which hyperparameters were defined, and whose
        conditions hold here.
        """
        return self._scopes(are_met=True)

    @property
    def inactive_scopes(self) -> list[list[Condition]]:
        """The conditions of the other conditional scopes."""
        return self._scopes(are_met=False)

    @property
    def sampling_key(self) -> tuple[int, ...] | None:
        """What seeds the values that are drawn; `None` where none are."""
        return self._sampling_key

    def define(self, parameters: Iterable[HyperParameter]) -> None:
        """Makes definitions known that were not; gives nothing a value."""
        for parameter in parameters:
            self._definitions.setdefault(parameter.key, parameter)

    def define_by_key(self, parameters: Mapping[Any, HyperParameter]) -> None:
        """As `define`, with the key of each."""
        for key, parameter in parameters.items():
            self._definitions.setdefault(key, parameter)

    @property
    def asked(self) -> dict[str, Any]:
        """Values that were asked for through this object, by full name, in that order; then those
        that code wrote into `values`, as far as they can be stored.
        """
        asked = {name: self.values[name] for name in self._asked if name in self.values}
        written = {name: value for name, value in self._assigned.items() if is_json(value)}
        return asked | written

    def check_assigned(self) -> None:
        """Refuses what code wrote into `values` and cannot be stored.

        Raises:
            TypeError: If there is any.
        """
        for name, value in self._assigned.items():
            if not is_json(value):
                raise TypeError(
                    "What is written into `hyperparameters.values` must be a number, text, a "
                    "boolean, `None`, or lists and dicts of those, since it is stored with the "
                    f"trial. Received: values[{name!r}] = {value!r}"
                )

    @contextlib.contextmanager
    def watched(self) -> Iterator[set[str]]:
        """Collects the names that are asked for inside the block, also those that were asked for
        before.
        """
        before, self._asked = self._asked, {}
        names: set[str] = set()
        try:
            yield names
        finally:
            names.update(self._asked)
            self._asked = before | self._asked

    def mark_declared_as_asked(self, names: Iterable[str]) -> None:
        """Counts names of a declared space as asked for: a whole declared configuration is used by
        definition.
        """
        self._asked.update(dict.fromkeys(name for name in names if name in self.values))

    def merge(
        self, hyperparameters: HyperParameters | Iterable[HyperParameter], overwrite: bool = True
    ) -> None:
        """Takes in definitions; those that exist in this configuration and have no value get their
        default.

        Args:
            hyperparameters: Where the definitions are from.
            overwrite: Whether they replace definitions of the same name and conditions.
        """
        definitions = (
            hyperparameters.space
            if isinstance(hyperparameters, HyperParameters)
            else hyperparameters
        )
        for definition in definitions:
            if overwrite or definition.key not in self._definitions:
                self._definitions[definition.key] = definition
        for definition in (each for each in self.space if each.is_known):
            value = self.values.get(definition.name, MISSING)
            if definition.exists(self.values) and (
                value is MISSING or not definition.allows(value)
            ):
                self.values[definition.name] = definition.default_value

    def ensure_active_values(self) -> None:
        """Gives every hyperparameter that exists in this configuration a value, drawn at random
        where there is none, and takes away the values of those that do not exist.
        """
        for definition in self.space:
            if not self.is_active(definition.name):
                self.values.pop(definition.name, None)
            elif definition.name not in self.values and definition.exists(self.values):
                key = self._sampling_key
                self.values[definition.name] = (
                    definition.random_sample() if key is None else sample(definition, key)
                )

    def copy(self) -> HyperParameters:
        """A copy whose values and definitions can be changed independently."""
        return HyperParameters(
            self.values,
            space=self._definitions.values(),
            tree=copy.copy(self._tree),
            sampling_key=self._sampling_key,
            given=itertools.chain.from_iterable(self._given.values()),
            new_entries=self._new_entries,
            fold=self._fold,
            num_folds=self.num_folds,
        )

    def untuned(self) -> HyperParameters:
        """A copy, in the same name scopes, in which what is asked for, and has no value yet, gets
        its default.
        """
        same = HyperParameters(
            self.values, space=self._definitions.values(), tree=copy.copy(self._tree)
        )
        same._name_scopes = list(self._name_scopes)
        return same

    def get_config(self) -> dict[str, Any]:
        """Returns `{"space": […], "values": {…}}`, JSON types only."""
        return {
            "space": [serialize(parameter) for parameter in self.space],
            "values": dict(self.values),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HyperParameters:
        """The object that `get_config` was called on, without the objects of a declared space."""
        return cls(config["values"], space=map(hp_types.deserialize, config["space"]))

    def __repr__(self) -> str:
        return f"HyperParameters({self.values!r})"

    def _repr_html_(self) -> str:
        """Return a table of the values, and of what they can be, for notebooks."""
        columns = space_columns(self.space, self.values)
        return html.block(
            html.title("HyperParameters"),
            html.table(columns) if columns[0].cells else html.paragraph("none"),
        )

    # What code that knows KerasTuner from inside looks at

    @property
    def _space(self) -> list[HyperParameter]:
        return self.space

    @property
    def _hps(self) -> dict[str, list[HyperParameter]]:
        return {name: self._named(name) for name, _ in self._definitions}

    # How it works inside

    def _scopes(self, are_met: bool) -> list[list[Condition]]:
        scopes = dict.fromkeys(
            definition.conditions for definition in self.space if definition.conditions
        )
        return [
            list(scope)
            for scope in scopes
            if all(condition.holds(self.values) for condition in scope) == are_met
        ]

    def _find(self, full_name: str) -> Any:
        """A value, or the nested dict at a path; a value comes before a scope of the same name."""
        is_declared = at_path(self._tree, full_name) is not MISSING
        if (
            full_name in self.values
            and not is_declared
            and (not self._is_defined(full_name) or self.is_active(full_name))
        ):
            return self.values[full_name]
        return at_path(self._as_tree(), full_name)

    def _as_tree(self) -> dict[str, Any]:
        """The declared configuration with the define-by-run values added at their paths."""
        tree: dict[str, Any] = copied(self._tree)
        for name, value in self.values.items():
            if self._is_defined(name) and not self.is_active(name):
                continue
            *parents, leaf = name.split("/")
            branch = tree
            for parent in parents:
                branch = branch.setdefault(parent, {})
                if not isinstance(branch, dict):
                    # inside a list or an object of a declared space, which already holds the value
                    break
            else:
                branch.setdefault(leaf, value)
        return tree


def deserialize(stored: Mapping[str, Any]) -> HyperParameter | HyperParameters:
    """The hyperparameter, or the `HyperParameters`, that `serialize` was given.

    Raises:
        ValueError: If the kind is unknown.
    """
    if stored["class_name"] == HyperParameters.stored_as:
        return HyperParameters.from_config(stored["config"])
    return hp_types.deserialize(stored)
