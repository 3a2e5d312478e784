"""Declared search spaces: nested dicts of fixed values and `ray.tune` domains. Runs in driver and worker.

A domain at `space["optimization"]["rho"]` becomes the parameter `optimization/rho`. Domains with an exact twin among our
parameters become that twin; the others (quantised, normal) keep Ray's own meaning by drawing from Ray's domain.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ray.tune.search import sample as ray_sample

from glimr_keras.parameters import Choice, Float, HyperParameter, Int, Seed


@dataclasses.dataclass(frozen=True)
class Options(Choice):
    """A choice whose options are any Python objects, shown to searchers and tables by their labels (`values`)."""

    objects: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def decode(self, label: Any) -> Any:
        """The object behind a label."""
        return self.objects[self.values.index(label)]

    def get_config(self) -> dict[str, Any]:
        fields = (field.name for field in dataclasses.fields(self) if field.name not in ("objects", "conditions"))
        return {name: getattr(self, name) for name in fields} | {
            "conditions": [dataclasses.asdict(condition) for condition in self.conditions]
        }


@dataclasses.dataclass(frozen=True)
class RayDomain(HyperParameter):
    """A numeric `ray.tune` domain that has no exact twin here, such as a quantised or a normal one.

    Attributes:
        definition: The domain in words, the same for equal domains.
        domain: The domain itself; `None` when the definition was read from a project.
    """

    definition: str = ""
    domain: Any = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def default_value(self) -> Any:
        return self.random_sample(0)

    def random_sample(self, seed: Seed = None) -> Any:
        if self.domain is None:
            raise ValueError(f"{self.name!r} was read from a project and cannot be sampled without its space.")
        drawn = self.domain.sample(random_state=np.random.default_rng(seed))
        return drawn.item() if isinstance(drawn, np.generic) else drawn

    @property
    def values(self) -> tuple[float, ...] | None:
        """The values of an evenly quantised domain in ascending order, as Ray rounds them; `None` for other domains."""
        sampler = None if self.domain is None else self.domain.get_sampler()
        if not isinstance(sampler, ray_sample.Quantized) or not isinstance(sampler.get_sampler(), ray_sample.Uniform):
            return None
        first, last = math.ceil(self.domain.lower / sampler.q), math.floor(self.domain.upper / sampler.q)
        return tuple(self.domain.cast(round(index * sampler.q, 12)) for index in range(first, last + 1))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "definition": self.definition}


class DeclaredSpace:
    """A declared space, compiled to parameters.

    Args:
        space: Nested dicts, lists and tuples of fixed values and `ray.tune` domains. It is read, never changed.

    Attributes:
        parameters: One for each domain, named by its path.

    Raises:
        TypeError: If `space` is not a dict, or a key is not a string.
        ValueError: If a key is empty or contains `/`, or a domain cannot be used at its place.
    """

    def __init__(self, space: Mapping[str, Any] | None = None) -> None:
        if space is None:
            space = {}
        if not isinstance(space, Mapping):
            raise TypeError(f"A search space must be a dict. Received: space={space!r}")
        self._template = space
        if _is_domain(space):
            raise TypeError(f"A search space must be a dict with domains in it, not a domain. Received: space={space!r}")
        domains = list(_domains(space, ()))
        self._derived = [path for path, leaf in domains if isinstance(leaf, ray_sample.Function)]
        self._compiled = {path: _compile(path, leaf) for path, leaf in domains if path not in self._derived}

    @property
    def parameters(self) -> list[HyperParameter]:
        return list(self._compiled.values())

    def fill(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The nested dict of one configuration: every domain replaced by its value, options by their objects.

        Args:
            values: Value by parameter name; a missing one is the parameter's default.
        """
        filled = self._fill(self._template, (), values)
        for path in self._derived:
            name = "/".join(path)
            value = values[name] if name in values else _at(self._template, path).sample(config=filled)
            filled = _replaced(filled, path, value)
        return dict(filled)

    def derived_values(self, filled: Mapping[str, Any]) -> dict[str, Any]:
        """The values that `sample_from` functions gave in a filled configuration, by path, where they are scalars.

        With them among its `values`, `fill` gives the same configuration again.
        """
        found = {"/".join(path): _at(filled, path) for path in self._derived}
        return {name: value for name, value in found.items() if _is_scalar(value)}

    def _fill(self, tree: Any, path: tuple[str, ...], values: Mapping[str, Any]) -> Any:
        parameter = self._compiled.get(path)
        if parameter is not None:
            value = values.get(parameter.name, parameter.default_value)
            return parameter.decode(value) if isinstance(parameter, Options) else value
        if path in self._derived:
            return None  # filled in when the values that it is derived from are there
        fill = functools.partial(self._fill, values=values)
        if isinstance(tree, Mapping):
            return {key: fill(branch, (*path, key)) for key, branch in tree.items()}
        if type(tree) in (list, tuple):
            return type(tree)(fill(branch, (*path, str(index))) for index, branch in enumerate(tree))
        return tree


def _is_domain(leaf: Any) -> bool:
    return isinstance(leaf, ray_sample.Domain) or _is_grid(leaf)


def _is_grid(leaf: Any) -> bool:
    return isinstance(leaf, Mapping) and set(leaf) == {"grid_search"}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _domains(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if _is_domain(tree):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, branch in tree.items():
            if not isinstance(key, str):
                raise TypeError(f"Keys of a search space must be strings. Received: {key!r} in {_where(path)}")
            if not key or "/" in key:
                raise ValueError(
                    f"Keys of a search space must be non-empty and without '/'. Received: {key!r} in {_where(path)}"
                )
            yield from _domains(branch, (*path, key))
    elif type(tree) in (list, tuple):
        for index, branch in enumerate(tree):
            yield from _domains(branch, (*path, str(index)))


def _compile(path: tuple[str, ...], leaf: Any) -> HyperParameter:
    name = "/".join(path)
    try:
        if _is_grid(leaf):
            return _options(name, leaf["grid_search"])
        return _parameter(name, leaf)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{_where(path)}: {error}") from error


def _parameter(name: str, domain: ray_sample.Domain) -> HyperParameter:
    if isinstance(domain, ray_sample.Categorical):
        return _options(name, domain.categories)
    sampler = domain.get_sampler()
    sampling = {ray_sample.Uniform: "linear", ray_sample.LogUniform: "log"}
    for kind, name_of_sampling in sampling.items():
        if isinstance(sampler, kind) and isinstance(domain, ray_sample.Float):
            return Float(name, domain.lower, domain.upper, sampling=name_of_sampling)
        if isinstance(sampler, kind) and isinstance(domain, ray_sample.Integer):
            return Int(name, domain.lower, domain.upper - 1, sampling=name_of_sampling)  # Ray's upper bound is exclusive
    return RayDomain(name, _definition(domain), domain)


def _definition(domain: ray_sample.Domain) -> str:
    """A domain in words, equal for equal domains: its type, bounds and samplers with their numbers."""
    words, sampler = [type(domain).__name__, domain.domain_str], domain.get_sampler()
    while sampler is not None:
        numbers = {name: value for name, value in vars(sampler).items() if _is_scalar(value)}
        words.append(type(sampler).__name__.strip("_") + (str(numbers) if numbers else ""))
        sampler = getattr(sampler, "sampler", None)
    return " ".join(words)


def _options(name: str, options: Any) -> HyperParameter:
    options = tuple(option.item() if isinstance(option, np.generic) else option for option in options)
    for option in options:
        if _holds_domain(option):
            raise ValueError(
                "an option that contains further domains is not supported yet; "
                f"put the domains beside the choice. Received: {option!r}"
            )
    if all(map(_is_scalar, options)) and _distinct(options):
        return Choice(name, options, ordered=False if any(isinstance(o, (bool, str, type(None))) for o in options) else None)
    labels: list[str] = []
    for option in options:
        label, number = _label(option), 1
        while label in labels:
            number += 1
            label = f"{_label(option)} #{number}"
        labels.append(label)
    return Options(name, tuple(labels), False, None, options)


def _holds_domain(option: Any) -> bool:
    if isinstance(option, Mapping) and not _is_grid(option):
        return any(map(_holds_domain, option.values()))
    if type(option) in (list, tuple):
        return any(map(_holds_domain, option))
    return _is_domain(option)


def _distinct(options: tuple[Any, ...]) -> bool:
    return len({(type(option), option) for option in options}) == len(options)


def _label(option: Any) -> str:
    """A short, readable name for any object: a function's or class' name, a dict's `name`, or its `repr`."""
    if isinstance(option, Mapping) and isinstance(option.get("name"), str):
        return str(option["name"])
    if inspect.isclass(option) or inspect.isroutine(option):
        return option.__name__
    if isinstance(option, str):
        return option
    if re.fullmatch(r"<[\w.<>]+ object at 0x[0-9a-f]+>", repr(option)):
        return type(option).__name__
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(option))  # an address differs in every process
    return text if len(text) <= 60 else text[:57] + "..."


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        tree = tree[step] if isinstance(tree, Mapping) else tree[int(step)]
    return tree


def _replaced(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    """A copy of the tree with another value at `path`."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(tree, Mapping):
        return {**tree, step: _replaced(tree[step], rest, value)}
    return type(tree)(_replaced(branch, rest, value) if str(i) == step else branch for i, branch in enumerate(tree))


def _where(path: tuple[str, ...]) -> str:
    return "space" + "".join(f"[{step!r}]" for step in path)
