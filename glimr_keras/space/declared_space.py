"""Declared search spaces: nested dicts of fixed values and `ray.tune` domains. Runs in driver and
worker.

A domain at `space["optimization"]["rho"]` becomes the parameter `optimization/rho`. Domains
inside an option of a choice exist only where that option is chosen.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from glimr_keras._utils.nested import is_json
from glimr_keras.space import drawn
from glimr_keras.space.define_by_run import NewEntries, sample
from glimr_keras.space.hp_types import Condition, HyperParameter
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.space.ray_domains import compiled, holds_domain, is_domain, is_scalar
from glimr_keras.space.ray_kinds import ObjectChoice, is_of_ray
from glimr_keras.space.search_space import SearchSpace

_Conditions = tuple[Condition, ...]
_Place = tuple[tuple[str, ...], _Conditions]


class DeclaredSpace:
    """A declared space, compiled to parameters.

    A domain inside an option of a `tune.choice` becomes a parameter that exists only where that
    option is chosen.

    Args:
        space: Nested dicts, lists and tuples of fixed values and `ray.tune` domains. It is never
            changed. Defaults to `None`, which means an empty space.
        given: Hyperparameters that override those of the same name in a model. Defaults to `None`.
        new_entries: How to treat other hyperparameters; see `HyperParameters`. Defaults to
            `"searched"`.

    Attributes:
        parameters: One parameter for each domain, named by its path, then the given ones. Parents
            come before their dependents.

    Raises:
        TypeError: If `space` is not a dict, or a key is not a string.
        ValueError: If a key is empty or contains `/`, or a domain is not allowed at its place.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        given: HyperParameters | None = None,
        new_entries: NewEntries = "searched",
    ) -> None:
        if space is None:
            space = {}
        if not isinstance(space, Mapping):
            raise TypeError(f"A search space must be a dict. Received: space={space!r}")
        self._template = space
        if is_domain(space):
            raise TypeError(
                "A search space must be a dict with domains in it, not a domain. Received: "
                f"space={space!r}"
            )
        found = list(_parameters_of(space, (), ()))
        self._parameters = {place: parameter for place, parameter in found if parameter is not None}
        self._derived = [place for place, parameter in found if parameter is None]
        self.given = () if given is None else tuple(given.space)
        self.new_entries: NewEntries = new_entries

    @property
    def parameters(self) -> list[HyperParameter]:
        return [*self._parameters.values(), *self.given]

    @property
    def drawn_names(self) -> frozenset[str]:
        """Return the paths of values that are drawn but are not parameters.

        They come from `sample_from` or from user-defined domains.
        """
        return frozenset("/".join(path) for path, _ in self._derived)

    def fill(self, values: Mapping[str, Any], key: Sequence[int] | None = None) -> dict[str, Any]:
        """Return the nested dict of one configuration, with a value in place of every domain.

        Options are replaced by their objects.

        Args:
            values: Values by parameter name; a missing one is the parameter's default.
            key: The seed for drawn values that are not in `values`. Defaults to `None`, which means
                a default configuration.
        """
        derived: list[tuple[tuple[str, ...], Any]] = []
        filled = self._fill(self._template, (), (), values, derived)
        for path, domain in derived:
            name = "/".join(path)
            redraw = functools.partial(drawn.draw, domain, filled)
            value = (
                drawn.restored(values[name], redraw, name)
                if name in values
                else redraw(drawn.seed_of(key, name))
            )
            filled = _replaced(filled, path, value)
        return dict(filled)

    def completed(
        self, values: Mapping[str, Any], key: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Return the values with a value added for each missing parameter that exists.

        Args:
            values: Values by parameter name.
            key: The seed for missing values. Defaults to `None`, which means that they get their
                default.
        """
        known = dict(values)
        for parameter in self.parameters:
            if parameter.name not in known and parameter.exists(known):
                known[parameter.name] = (
                    parameter.default_value if key is None else sample(parameter, key)
                )
        return known

    def drawn_values(self, values: Mapping[str, Any], key: Sequence[int]) -> dict[str, Any]:
        """Draw the values of a new trial that are not parameters, and return their records by path.

        Raises:
            FatalValueError: If a value can be neither recorded nor drawn again.
            Exception: Any exception of user-defined functions.
        """
        if not self._derived:
            return {}
        known = self.completed(values, key)
        records = self.derived_values(self.fill(known, key), known, key)
        self.fill(known | records, key)  # which checks that values drawn again are the same
        return records

    def values_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values, by parameter name, of a filled configuration, such as of
        `sample_space`.

        Keys that are not part of the space, or differ from its constants, are kept as they are.
        """
        values: dict[str, Any] = {}
        for key, branch in config.items():
            read = (
                self._read(self._template[key], branch, (key,), ())
                if key in self._template
                else None
            )
            values |= {key: branch} if read is None else read
        return values

    def _read(
        self, tree: Any, filled: Any, path: tuple[str, ...], conditions: _Conditions
    ) -> dict[str, Any] | None:
        """Return the values that make `_fill` turn `tree` into `filled`, or `None`."""
        if is_domain(tree):
            parameter = self._parameters.get((path, conditions))
            if parameter is None:
                given = drawn.recorded(filled, 0) if drawn.is_literal(filled) else filled
                return {"/".join(path): given}
            if not isinstance(parameter, ObjectChoice):
                return {parameter.name: filled}
            for label, option in zip(parameter.values, parameter.objects, strict=True):
                inner = self._read(
                    option, filled, path, (*conditions, Condition(parameter.name, (label,)))
                )
                if inner is not None or label == filled:
                    return {parameter.name: label, **(inner or {})}
            return None
        if isinstance(tree, Mapping) and isinstance(filled, Mapping):
            parts = [
                self._read(tree[key], branch, (*path, key), conditions)
                for key, branch in filled.items()
                if key in tree
            ]
            is_part = set(filled) <= set(tree)
        elif type(tree) in (list, tuple) and type(filled) is type(tree):
            pairs = enumerate(zip(tree, filled, strict=False))
            parts = [
                self._read(branch, value, (*path, str(index)), conditions)
                for index, (branch, value) in pairs
            ]
            is_part = len(tree) == len(filled)
        else:
            return (
                {}
                if tree is filled
                or (type(tree) is type(filled) and is_scalar(tree) and tree == filled)
                else None
            )
        if not is_part or any(part is None for part in parts):
            return None
        return {name: value for part in parts if part is not None for name, value in part.items()}

    def point_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a configuration that a search is to try, as `values_of` does.

        Raises:
            ValueError: If one of the values cannot be recorded.
        """
        values = self.values_of(config)
        for name in self.drawn_names & values.keys():
            if not is_json(values[name]):
                raise ValueError(
                    f"`initial_points` has a value for {name!r} that cannot be written down for "
                    "its trial: it must be a number, a string, or a list, tuple, dict or set of "
                    f"them. Leave it out to have it drawn. Received: {values[name]!r}"
                )
        return values

    def derived_values(
        self,
        filled: Mapping[str, Any],
        values: Mapping[str, Any],
        key: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Return the records, by path, of the drawn values in a configuration filled with this key.

        If `values` contains them, `fill` returns the same configuration again.
        """
        existing = [
            path
            for path, conditions in self._derived
            if all(condition.holds(values) for condition in conditions)
        ]
        records = {}
        for path in existing:
            name = "/".join(path)
            records[name] = (
                values[name]
                if name in values
                else drawn.recorded(_at(filled, path), drawn.seed_of(key, name))
            )
        return records

    def _fill(
        self,
        tree: Any,
        path: tuple[str, ...],
        conditions: _Conditions,
        values: Mapping[str, Any],
        derived: list[Any],
    ) -> Any:
        if is_domain(tree):
            parameter = self._parameters.get((path, conditions))
            if parameter is None:
                derived.append(
                    (path, tree)
                )  # filled in once the values it is derived from are there
                return None
            value = values.get(parameter.name, parameter.default_value)
            if not isinstance(parameter, ObjectChoice):
                return value
            tree = parameter.decode(value)
            if not holds_domain(tree):
                return tree
            conditions = (*conditions, Condition(parameter.name, (value,)))
        fill = functools.partial(self._fill, conditions=conditions, values=values, derived=derived)
        if isinstance(tree, Mapping):
            return {key: fill(branch, (*path, key)) for key, branch in tree.items()}
        if type(tree) in (list, tuple):
            return type(tree)(
                fill(branch, (*path, str(index))) for index, branch in enumerate(tree)
            )
        return tree


def sample_space(space: Mapping[str, Any], seed: int | None = None) -> dict[str, Any]:
    """Draw one configuration of a declared space, to inspect it or to try a model before a search.

    Args:
        space: Nested dicts, lists and tuples of fixed values and `ray.tune` domains.
        seed: The random seed. The same seed draws the same configuration. Defaults to `None`,
            which means another configuration each time.

    Returns:
        The nested dict with a value in place of every domain.

    Raises:
        TypeError, ValueError: If it is not a search space; see `DeclaredSpace`.
    """
    declared = DeclaredSpace(space)
    entropy = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return declared.fill(
        SearchSpace(declared.parameters).walk(lambda parameter: sample(parameter, (entropy,))),
        (entropy,),
    )


def prune_search(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the searched part of a declared space: its dicts without fixed values.

    Pass it as `hyperparam_mutations` to `ray.tune.schedulers.PopulationBasedTraining`, which
    mutates domains in nested dicts. It cannot mutate items of lists and tuples, so they are left
    out, as are functions of `sample_from`.

    Args:
        space: A declared space, as for `sample_space`.
    """
    pruned: dict[str, Any] = {}
    for key, branch in space.items():
        if is_domain(branch):
            if not is_of_ray(branch, "Function"):
                pruned[key] = list(branch["grid_search"]) if isinstance(branch, Mapping) else branch
        elif isinstance(branch, Mapping) and prune_search(branch):
            pruned[key] = prune_search(branch)
    return pruned


def _parameters_of(
    tree: Any, path: tuple[str, ...], conditions: _Conditions
) -> Iterator[tuple[_Place, HyperParameter | None]]:
    """Yield the place and parameter of every domain; the parameter of a drawn value is `None`."""
    if is_domain(tree):
        parameter = None if drawn.is_drawn(tree) else _compile(path, conditions, tree)
        yield (path, conditions), parameter
        if isinstance(parameter, ObjectChoice):
            for label, option in zip(parameter.values, parameter.objects, strict=True):
                if is_domain(option):
                    raise ValueError(
                        f"{_where(path)}: an option cannot be a domain itself, since it would "
                        "have no name of its own. Put it into a dict, such as "
                        f"{{'value': domain}}. Received: {option!r}"
                    )
                if holds_domain(option):
                    yield from _parameters_of(
                        option, path, (*conditions, Condition(parameter.name, (label,)))
                    )
    elif isinstance(tree, Mapping):
        for key, branch in tree.items():
            if not isinstance(key, str):
                raise TypeError(
                    f"Keys of a search space must be strings. Received: {key!r} in {_where(path)}"
                )
            if not key or "/" in key:
                raise ValueError(
                    f"Keys of a search space must be non-empty and without '/'. Received: {key!r} "
                    f"in {_where(path)}"
                )
            yield from _parameters_of(branch, (*path, key), conditions)
    elif type(tree) in (list, tuple):
        for index, branch in enumerate(tree):
            yield from _parameters_of(branch, (*path, str(index)), conditions)
    elif isinstance(tree, (set, frozenset)) and any(map(is_domain, tree)):
        raise ValueError(
            f"{_where(path)}: a set cannot hold domains, its items have no place. Use a list. "
            f"Received: {tree!r}"
        )


def _compile(path: tuple[str, ...], conditions: _Conditions, leaf: Any) -> HyperParameter:
    name = "/".join(path)
    try:
        parameter = compiled(name, leaf)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{_where(path)}: {error}") from error
    return dataclasses.replace(parameter, conditions=conditions)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        tree = tree[step] if isinstance(tree, Mapping) else tree[int(step)]
    return tree


def _replaced(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    """Return a copy of the tree with another value at `path`."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(tree, Mapping):
        return {**tree, step: _replaced(tree[step], rest, value)}
    return type(tree)(
        _replaced(branch, rest, value) if str(i) == step else branch
        for i, branch in enumerate(tree)
    )


def _where(path: tuple[str, ...]) -> str:
    return "space" + "".join(f"[{step!r}]" for step in path)
