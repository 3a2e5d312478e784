"""`HyperParameters`: the object that `build`, `data` and `fit` receive. Pure Python; runs in driver
and worker.

It is a mapping over the values of one configuration, nested (`config["a"]["b"]`) or by path
(`config["a/b"]`). It is also define-by-run: `config.Int("units", 16, 256)` returns the value of
`units` and defines it if it is new. Name scopes and nesting are equivalent: `Int("units", …)`
inside `name_scope("layer1")` is `config["layer1"]["units"]`.
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
    """The values of one configuration, and the definitions of its hyperparameters.

    A requested value that is not known yet is the default. With a `sampling_key`, as in every
    trial, it is sampled instead.

    Args:
        values: Known values by full name. Defaults to `None`, which means none.
        space: Definitions known beforehand. Defaults to `()`.
        tree: The declared space of this configuration with all values filled in: nested dicts of
            any objects. Defaults to `None`, which means no declared space.
        sampling_key: Integers that seed the sampling of names that are not in `values`. A value
            depends only on the key and the name, never on the order of calls. Defaults to `None`,
            which means that such names get their default.
        given: Definitions that override requested definitions of the same name. Defaults to `()`.
        new_entries: How to treat requested names that are in neither `space` nor `given`.
            `"searched"` treats them like any other, `"default"` uses their default, and
            `"refused"` raises an error. Defaults to `"searched"`.
        fold: The `fold` attribute below. Defaults to `None`.
        num_folds: The `num_folds` attribute below. Defaults to `None`.

    Attributes:
        fold: In a cross validation, the index of the validation fold of this training, from 0;
            otherwise `None`.
        num_folds: In a cross validation, the number of folds; otherwise `None`.
        values: Values by full name. Options of a declared space that are not scalars appear as
            their labels.
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
        """Return the value at a name or path, or the nested dict below it.

        Args:
            name: A name, or a path such as `"layer1/units"`, relative to the current name scope.
            default: The value to return if there is no such value. By default, a missing value is
                an error.

        Returns:
            The value. A known hyperparameter that this configuration did not use has the value that
            it would have had.

        Raises:
            KeyError: If there is no such hyperparameter.
            ValueError: If the hyperparameter does not exist in this configuration because its
                condition does not hold.
        """
        full_name = self._full_name(name)
        found = self._find(full_name)
        if found is MISSING and default is MISSING:
            found = self._unused(full_name)
            if found is not MISSING:  # this counts as use
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
        return True  # even while it is empty: `hp or HyperParameters()` is `hp`

    def keys(self) -> Iterable[str]:
        """Return the names at the top level of the nested configuration."""
        return self._as_tree().keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return the names at the top level with their values or nested dicts."""
        self._asked.update(dict.fromkeys(self.values))
        return self._as_tree().items()

    @property
    def fold(self) -> int | None:
        self.is_fold_used = True
        return self._fold

    # Definitions

    @property
    def declared(self) -> Mapping[str, Any]:
        """Return the declared space of this configuration with all values filled in.

        Reading it does not count as requesting values.
        """
        return self._tree

    @property
    def active_scopes(self) -> list[list[Condition]]:
        """Return the conditions of each conditional scope that is active here.

        Only scopes in which hyperparameters were defined are listed.
        """
        return self._scopes(are_met=True)

    @property
    def inactive_scopes(self) -> list[list[Condition]]:
        """Return the conditions of the other conditional scopes."""
        return self._scopes(are_met=False)

    @property
    def sampling_key(self) -> tuple[int, ...] | None:
        """Return the seed of sampled values; `None` where no values are sampled."""
        return self._sampling_key

    def define(self, parameters: Iterable[HyperParameter]) -> None:
        """Add definitions that are not known yet, without giving them values."""
        for parameter in parameters:
            self._definitions.setdefault(parameter.key, parameter)

    def define_by_key(self, parameters: Mapping[Any, HyperParameter]) -> None:
        """Add definitions as `define` does, given by their keys."""
        for key, parameter in parameters.items():
            self._definitions.setdefault(key, parameter)

    @property
    def asked(self) -> dict[str, Any]:
        """Return the values that were requested through this object, by full name.

        They are in the order of the requests. After them come the values that code wrote into
        `values`, if they can be stored.
        """
        asked = {name: self.values[name] for name in self._asked if name in self.values}
        written = {name: value for name, value in self._assigned.items() if is_json(value)}
        return asked | written

    def check_assigned(self) -> None:
        """Check that the values that code wrote into `values` can be stored.

        Raises:
            TypeError: If one cannot be stored.
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
        """Collect all names that are requested inside the block, even if requested before."""
        before, self._asked = self._asked, {}
        names: set[str] = set()
        try:
            yield names
        finally:
            names.update(self._asked)
            self._asked = before | self._asked

    def mark_declared_as_asked(self, names: Iterable[str]) -> None:
        """Mark names of a declared space as requested: a trial always uses all of it."""
        self._asked.update(dict.fromkeys(name for name in names if name in self.values))

    def merge(
        self, hyperparameters: HyperParameters | Iterable[HyperParameter], overwrite: bool = True
    ) -> None:
        """Add definitions, and give those that exist here without a value their default.

        Args:
            hyperparameters: The source of the definitions.
            overwrite: Whether to replace definitions of the same name and conditions. Defaults to
                `True`.
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
        """Give each active hyperparameter a value, and remove the values of inactive ones.

        Missing values are sampled.
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
        """Return a copy whose values and definitions can be changed independently."""
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
        """Return a copy, in the same name scopes, that gives new names their default."""
        same = HyperParameters(
            self.values, space=self._definitions.values(), tree=copy.copy(self._tree)
        )
        same._name_scopes = list(self._name_scopes)
        return same

    def get_config(self) -> dict[str, Any]:
        """Return `{"space": […], "values": {…}}`, as JSON types only."""
        return {
            "space": [serialize(parameter) for parameter in self.space],
            "values": dict(self.values),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HyperParameters:
        """Return the object that `get_config` describes, without a declared space's objects."""
        return cls(config["values"], space=map(hp_types.deserialize, config["space"]))

    def __repr__(self) -> str:
        return f"HyperParameters({self.values!r})"

    def _repr_html_(self) -> str:
        """Return an HTML table of the values and their ranges, for notebooks."""
        columns = space_columns(self.space, self.values)
        return html.block(
            html.title("HyperParameters"),
            html.table(columns) if columns[0].cells else html.paragraph("none"),
        )

    # Private names that code written for KerasTuner reads

    @property
    def _space(self) -> list[HyperParameter]:
        return self.space

    @property
    def _hps(self) -> dict[str, list[HyperParameter]]:
        return {name: self._named(name) for name, _ in self._definitions}

    # Internals

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
        """Return a value, or else the nested dict at a path."""
        is_declared = at_path(self._tree, full_name) is not MISSING
        if (
            full_name in self.values
            and not is_declared
            and (not self._is_defined(full_name) or self.is_active(full_name))
        ):
            return self.values[full_name]
        return at_path(self._as_tree(), full_name)

    def _as_tree(self) -> dict[str, Any]:
        """Return the declared configuration with define-by-run values added at their paths."""
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
    """Return the hyperparameter, or the `HyperParameters`, that `serialize` describes.

    Raises:
        ValueError: If the kind is unknown.
    """
    if stored["class_name"] == HyperParameters.stored_as:
        return HyperParameters.from_config(stored["config"])
    return hp_types.deserialize(stored)
