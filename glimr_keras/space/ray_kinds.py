"""The kinds of hyperparameter that only declared spaces have: choices between arbitrary objects,
and Ray domains without an exact equivalent here. Runs in driver and worker.

Ray is not imported here. Code that holds a Ray domain has imported it, and a project stores only
its description, so it can be read without Ray.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

import numpy as np

from glimr_keras._utils.late_imports import if_imported
from glimr_keras.space.hp_types import (
    Choice,
    HyperParameter,
    Int,
    Seed,
    conditions_config,
    spread,
)

_TINY = 1e-12


@dataclasses.dataclass(frozen=True, repr=False)
class ObjectChoice(Choice, stored_as="Options"):
    """A choice between any Python objects, which searchers and tables see as labels (`values`)."""

    objects: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def decode(self, label: Any) -> Any:
        """Return the object behind a label."""
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
    """A numeric `ray.tune` domain without an exact equivalent here, such as a quantised or normal
    one.

    Attributes:
        definition: The domain as text, the same for equal domains.
        domain: The domain itself; `None` if the definition was read from a project.
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
        """Return all values of a quantised range in ascending order, otherwise values spread over
        it.
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
        """Return the number whose multiples Ray rounds to."""
        sampler = self._known.get_sampler()
        return sampler.q if is_of_ray(sampler, "Quantized") else None

    @property
    def _sampler(self) -> Any:
        """Return Ray's sampler, without the rounding."""
        sampler = self._known.get_sampler()
        return sampler.get_sampler() if is_of_ray(sampler, "Quantized") else sampler

    @property
    def _steps(self) -> range | None:
        """Return the multiples of the quantum that can be drawn; `None` if unbounded or not
        quantised.
        """
        if self.domain is None or self._quantum is None or is_of_ray(self._sampler, "Normal"):
            return None
        return multiples(self.domain, self._quantum)

    @property
    def _indices(self) -> Int | None:
        """Return the indices of a quantised integer: Ray draws it as the index of a multiple."""
        if self._steps is None or not is_of_ray(self.domain, "Integer"):
            return None
        return Int(self.name, self._steps[0], self._steps[-1], sampling="log")

    def _at(self, index: int) -> Any:
        return self._known.cast(round(index * (self._quantum or 1), 12))

    def _bounds(self) -> tuple[float, float]:
        if self._steps is None or self._quantum is None:
            return self._known.lower, self._known.upper
        return self._steps[0] * self._quantum, self._steps[-1] * self._quantum

    def _quantile(self, prob: float) -> float:
        if is_of_ray(self._sampler, "Normal"):
            return statistics.NormalDist(self._sampler.mean, self._sampler.sd).inv_cdf(prob)
        low, high = self._bounds()
        if is_of_ray(self._sampler, "LogUniform"):
            return float(low * (high / low) ** prob)
        return float(low + prob * (high - low))

    def _share_below(self, value: float) -> float:
        if is_of_ray(self._sampler, "Normal"):
            return statistics.NormalDist(self._sampler.mean, self._sampler.sd).cdf(value)
        low, high = self._bounds()
        if high == low:
            return 0.5
        value = min(max(value, low), high)
        if is_of_ray(self._sampler, "LogUniform"):
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


def multiples(domain: Any, quantum: float) -> range:
    """Return the factors of the multiples of `quantum` that Ray draws from a quantised domain."""
    first, last = (
        math.ceil(round(domain.lower / quantum, 9)),
        math.floor(round(domain.upper / quantum, 9)),
    )
    if is_of_ray(domain, "Integer") and quantum == 1:
        last -= 1  # Ray's upper bound is exclusive here, and only here
    return range(first, last + 1)


def is_of_ray(part: Any, *kinds: str) -> bool:
    """Return whether an object is a Ray domain or sampler of one of these classes."""
    return any(isinstance(part, if_imported("ray.tune.search.sample", kind)) for kind in kinds)
