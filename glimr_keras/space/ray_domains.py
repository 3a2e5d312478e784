"""Conversion of one `ray.tune` domain to a hyperparameter. Runs in driver and worker.

A domain with an exact equivalent among our parameters becomes that equivalent. The others
(quantised, normal) keep Ray's semantics by sampling from Ray's domain. Options of a choice may be
any objects.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glimr_keras.space.hp_types import Choice, Float, HyperParameter, Int
from glimr_keras.space.ray_kinds import ObjectChoice, RayDomain, is_of_ray, multiples

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain


def compiled(name: str, leaf: Any) -> HyperParameter:
    """Return the hyperparameter for a domain, or for a `{"grid_search": options}`.

    Raises:
        ValueError, TypeError: If it cannot be converted.
    """
    return _options(name, leaf["grid_search"]) if _is_grid(leaf) else _parameter(name, leaf)


def is_domain(leaf: Any) -> bool:
    return is_of_ray(leaf, "Domain") or _is_grid(leaf)


def _is_grid(leaf: Any) -> bool:
    return isinstance(leaf, Mapping) and set(leaf) == {"grid_search"}


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _parameter(name: str, domain: Domain) -> HyperParameter:
    if is_of_ray(domain, "Categorical"):
        return _options(name, domain.categories)
    sampler = domain.get_sampler()
    sampling = {"Uniform": "linear", "LogUniform": "log"}
    for kind, name_of_sampling in sampling.items():
        if is_of_ray(sampler, kind) and is_of_ray(domain, "Float"):
            return Float(name, domain.lower, domain.upper, sampling=name_of_sampling)
        if is_of_ray(sampler, kind) and is_of_ray(domain, "Integer"):
            return Int(
                name, domain.lower, domain.upper - 1, sampling=name_of_sampling
            )  # Ray's upper bound is exclusive
    if is_of_ray(sampler, "Quantized") and is_of_ray(domain, "Float", "Integer"):
        inner = sampler.get_sampler()
        steps = range(1) if is_of_ray(inner, "Normal") else multiples(domain, sampler.q)
        if not steps:
            raise ValueError(
                f"no multiple of q={sampler.q} is in the range. Received: {_definition(domain)}"
            )
        if is_of_ray(domain, "Integer") and is_of_ray(inner, "Uniform"):
            return Int(
                name,
                steps[0] * sampler.q,
                steps[-1] * sampler.q,
                step=sampler.q if len(steps) > 1 else None,
            )
    return RayDomain(name, _definition(domain), domain)


def _definition(domain: Domain) -> str:
    """Return a domain as text, equal for equal domains: type, bounds and samplers with numbers."""
    words, sampler = [type(domain).__name__, domain.domain_str], domain.get_sampler()
    while sampler is not None:
        numbers = {name: value for name, value in vars(sampler).items() if is_scalar(value)}
        words.append(type(sampler).__name__.strip("_") + (str(numbers) if numbers else ""))
        sampler = getattr(sampler, "sampler", None)
    return " ".join(words)


def _options(name: str, options: Any) -> HyperParameter:
    options = tuple(
        option.item() if isinstance(option, np.generic) else option for option in options
    )
    if all(map(is_scalar, options)) and _distinct(options):
        return Choice(
            name,
            options,
            ordered=False if any(isinstance(o, (bool, str, type(None))) for o in options) else None,
        )
    labels: list[str] = []
    for option in options:
        label, number = _label(option), 1
        while label in labels:
            number += 1
            label = f"{_label(option)} #{number}"
        labels.append(label)
    return ObjectChoice(name, tuple(labels), False, None, options)


def holds_domain(option: Any) -> bool:
    if isinstance(option, Mapping) and not _is_grid(option):
        return any(map(holds_domain, option.values()))
    if type(option) in (list, tuple):
        return any(map(holds_domain, option))
    return is_domain(option)


def _distinct(options: tuple[Any, ...]) -> bool:
    return len({(type(option), option) for option in options}) == len(options)


def _label(option: Any) -> str:
    """Return a short, readable label for any object.

    It is the name of a function or class, the `name` of a dict, or else the `repr`.
    """
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
