"""One `ray.tune` domain as a hyperparameter. Runs in driver and worker.

Domains with an exact twin among our parameters become that twin; the others (quantised, normal)
keep Ray's own meaning by drawing from Ray's domain. Options of a choice may be any objects.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.tune.search import sample as ray_sample

from glimr_keras.space.hp_types import (
    Choice,
    Float,
    HyperParameter,
    Int,
    Seed,
    conditions_config,
    spread,
)

_TINY = 1e-12


@dataclasses.dataclass(frozen=True, repr=False)
class ObjectChoice(Choice, stored_as="Options"):
    """A choice whose options are any Python objects, shown to searchers and tables by their labels
    (`values`).
    """

    objects: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def decode(self, label: Any) -> Any:
        """The object behind a label."""
        return self.objects[self.values.index(label)]

    def encode(self, value: Any) -> Any:
        for label, option in zip(self.values, self.objects, strict=False):
            if option is value or (type(option) is type(value) and option == value):
                return label
        return value

    def get_config(self) -> dict[str, Any]:
        fields = (
            field.name
            for field in dataclasses.fields(self)
            if field.name not in ("objects", "conditions")
        )
        return {name: getattr(self, name) for name in fields} | {
            "values": list(self.values),
            "conditions": conditions_config(self),
        }


@dataclasses.dataclass(frozen=True, repr=False)
class RayDomain(HyperParameter, stored_as="RayDomain"):
    """A numeric `ray.tune` domain that has no exact twin here, such as a quantised or a normal one.

    Attributes:
        definition: The domain in words, the same for equal domains.
        domain: The domain itself; `None` when the definition was read from a project.
    """

    definition: str = ""
    domain: Any = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def is_known(self) -> bool:
        return self.domain is not None

    @property
    def default_value(self) -> Any:
        return self.random_sample(0)

    def random_sample(self, seed: Seed = None) -> Any:
        drawn = self._known.sample(random_state=np.random.default_rng(seed))
        drawn = drawn.item() if isinstance(drawn, np.generic) else drawn
        return drawn if self._quantum is None else self._at(round(drawn / self._quantum))

    @property
    def count(self) -> int | None:
        return None if self._steps is None else len(self._steps)

    @property
    def values(self) -> tuple[float, ...]:
        """Every value of a quantised range in ascending order, and of others some that are spread
        over the range.
        """
        return spread(self) if self._steps is None else tuple(map(self._at, self._steps))

    def prob_to_value(self, prob: float) -> Any:
        if self._indices is not None:
            return self._at(self._indices.prob_to_value(prob))
        drawn = self._quantile(
            min(max(prob, _TINY), 1 - _TINY)
        )  # a normal distribution has no bounds
        return (
            self._known.cast(drawn)
            if self._quantum is None
            else self._at(round(drawn / self._quantum))
        )

    def value_to_prob(self, value: Any) -> float:
        if self._quantum is None:
            return self._share_below(value)
        index = round(value / self._quantum)
        if self._indices is not None:
            return self._indices.value_to_prob(index)
        return sum(self._share_below((index + half) * self._quantum) for half in (-0.5, 0.5)) / 2

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "definition": self.definition,
            "conditions": conditions_config(self),
        }

    @property
    def _known(self) -> Any:
        if self.domain is None:
            raise ValueError(
                f"{self.name!r} was read from a project and cannot be sampled without its space."
            )
        return self.domain

    @property
    def _quantum(self) -> float | None:
        """Ray rounds what it draws to a multiple of this."""
        sampler = self._known.get_sampler()
        return sampler.q if isinstance(sampler, ray_sample.Quantized) else None

    @property
    def _sampler(self) -> Any:
        """How Ray draws, before it rounds."""
        sampler = self._known.get_sampler()
        return sampler.get_sampler() if isinstance(sampler, ray_sample.Quantized) else sampler

    @property
    def _steps(self) -> range | None:
        """The multiples of the quantum that can be drawn; `None` where they are not bounded, or
        there is no quantum.
        """
        if (
            self.domain is None
            or self._quantum is None
            or isinstance(self._sampler, ray_sample.Normal)
        ):
            return None
        return multiples(self.domain, self._quantum)

    @property
    def _indices(self) -> Int | None:
        """Ray draws a quantised integer as the index of a multiple."""
        if self._steps is None or not isinstance(self.domain, ray_sample.Integer):
            return None
        return Int(self.name, self._steps[0], self._steps[-1], sampling="log")

    def _at(self, index: int) -> Any:
        return self._known.cast(round(index * (self._quantum or 1), 12))

    def _bounds(self) -> tuple[float, float]:
        if self._steps is None or self._quantum is None:
            return self._known.lower, self._known.upper
        return self._steps[0] * self._quantum, self._steps[-1] * self._quantum

    def _quantile(self, prob: float) -> float:
        if isinstance(self._sampler, ray_sample.Normal):
            return statistics.NormalDist(self._sampler.mean, self._sampler.sd).inv_cdf(prob)
        low, high = self._bounds()
        if isinstance(self._sampler, ray_sample.LogUniform):
            return float(low * (high / low) ** prob)
        return float(low + prob * (high - low))

    def _share_below(self, value: float) -> float:
        if isinstance(self._sampler, ray_sample.Normal):
            return statistics.NormalDist(self._sampler.mean, self._sampler.sd).cdf(value)
        low, high = self._bounds()
        if high == low:
            return 0.5
        value = min(max(value, low), high)
        if isinstance(self._sampler, ray_sample.LogUniform):
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


def compiled(name: str, leaf: Any) -> HyperParameter:
    """The hyperparameter that a domain, or a `{"grid_search": options}`, is.

    Raises:
        ValueError, TypeError: If it cannot be one.
    """
    return _options(name, leaf["grid_search"]) if _is_grid(leaf) else _parameter(name, leaf)


def is_domain(leaf: Any) -> bool:
    return isinstance(leaf, ray_sample.Domain) or _is_grid(leaf)


def _is_grid(leaf: Any) -> bool:
    return isinstance(leaf, Mapping) and set(leaf) == {"grid_search"}


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _parameter(name: str, domain: ray_sample.Domain) -> HyperParameter:
    if isinstance(domain, ray_sample.Categorical):
        return _options(name, domain.categories)
    sampler = domain.get_sampler()
    sampling = {ray_sample.Uniform: "linear", ray_sample.LogUniform: "log"}
    for kind, name_of_sampling in sampling.items():
        if isinstance(sampler, kind) and isinstance(domain, ray_sample.Float):
            return Float(name, domain.lower, domain.upper, sampling=name_of_sampling)
        if isinstance(sampler, kind) and isinstance(domain, ray_sample.Integer):
            return Int(
                name, domain.lower, domain.upper - 1, sampling=name_of_sampling
            )  # Ray's upper bound is exclusive
    if isinstance(sampler, ray_sample.Quantized) and isinstance(
        domain, (ray_sample.Float, ray_sample.Integer)
    ):
        inner = sampler.get_sampler()
        steps = range(1) if isinstance(inner, ray_sample.Normal) else multiples(domain, sampler.q)
        if not steps:
            raise ValueError(
                f"no multiple of q={sampler.q} is in the range. Received: {_definition(domain)}"
            )
        if isinstance(domain, ray_sample.Integer) and isinstance(inner, ray_sample.Uniform):
            return Int(
                name,
                steps[0] * sampler.q,
                steps[-1] * sampler.q,
                step=sampler.q if len(steps) > 1 else None,
            )
    return RayDomain(name, _definition(domain), domain)


def multiples(domain: Any, quantum: float) -> range:
    """The multiples of `quantum`, by their factors, that Ray draws from a quantised domain."""
    first, last = (
        math.ceil(round(domain.lower / quantum, 9)),
        math.floor(round(domain.upper / quantum, 9)),
    )
    if isinstance(domain, ray_sample.Integer) and quantum == 1:
        last -= 1  # Ray's upper bound is exclusive here, and only here
    return range(first, last + 1)


def _definition(domain: ray_sample.Domain) -> str:
    """A domain in words, equal for equal domains: type, bounds and samplers with numbers."""
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
    """A short, readable name for any object: a function's or class' name, a dict's `name`, or its
    `repr`.
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
