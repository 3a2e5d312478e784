"""The kinds of hyperparameter and their ranges: value objects, validated on creation. Runs
anywhere.

A parameter maps a number in [0, 1) to one of its values (`prob_to_value`) and back
(`value_to_prob`), so any sampler can use it. Values are plain Python scalars and definitions are
JSON, so both can be stored and sent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from glimr_keras.space.scales import SAMPLINGS, scaled, step_count, step_index, stepped, unscaled

Scalar = bool | int | float | str | None
Seed = int | Sequence[int] | None


@dataclasses.dataclass(frozen=True)
class Condition:
    """The condition that the parameter `name` has one of `values`."""

    name: str
    values: tuple[Scalar, ...]

    def holds(self, values: Mapping[str, Any]) -> bool:
        return self.name in values and any(_same(values[self.name], value) for value in self.values)


@dataclasses.dataclass(frozen=True, repr=False)
class HyperParameter:
    """The base of all hyperparameters. Abstract: use `Int`, `Float`, `Choice`, `Boolean` or
    `Fixed`.

    Attributes:
        name: The full name, scopes joined by `/`, such as `"optimization/learning_rate"`.
        conditions: All must hold for the parameter to exist in a configuration.
        stored_as: The name of this kind in stored files. It stays the same even if the class is
            renamed.
    """

    name: str
    conditions: tuple[Condition, ...] = dataclasses.field(default=(), kw_only=True)

    kinds: ClassVar[dict[str, type[HyperParameter]]] = {}
    stored_as: ClassVar[str]

    def __init_subclass__(cls, *, stored_as: str | None = None, **kwargs: Any) -> None:
        """Register a kind as `stored_as`, by default the name of the class."""
        super().__init_subclass__(**kwargs)
        cls.stored_as = stored_as or cls.__name__
        HyperParameter.kinds[cls.stored_as] = cls

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                "A hyperparameter's `name` must be a non-empty string. Received: "
                f"name={self.name!r}"
            )

    def __repr__(self) -> str:
        """Return the parameter as KerasTuner shows it, with its conditions, if any."""
        shown = ", ".join(f"{name}: {value}" for name, value in self._shown().items())
        conditions = f", conditions: {list(self.conditions)}" if self.conditions else ""
        return f"{type(self).__name__}({shown}{conditions})"

    def _shown(self) -> dict[str, str]:
        """Return the fields that `repr` shows, by name."""
        fields = (each.name for each in dataclasses.fields(self) if each.repr)
        names = (name for name in fields if name not in ("name", "conditions"))
        return {"name": repr(self.name)} | {name: repr(getattr(self, name)) for name in names}

    @property
    def key(self) -> tuple[str, tuple[Condition, ...]]:
        """Return the identity of the parameter: one name may have a definition per branch."""
        return self.name, self.conditions

    @property
    def default_value(self) -> Any:
        """Return the value to use where nothing is sampled."""
        raise NotImplementedError

    @property
    def count(self) -> int | None:
        """Return the number of possible values; `None` for a continuous range."""
        return len(self.values)  # type: ignore[attr-defined]  # a field in some kinds, a property in others

    @property
    def is_known(self) -> bool:
        """Return whether its values are known; a project may have stored only the name."""
        return True

    @property
    def oddity(self) -> str | None:
        """Return a sentence on a probable mistake in the definition, or `None`."""
        return None

    def every_value(self) -> Iterable[Any]:
        """Return all values in turn, where `count` is not `None`."""
        return iter(self.values)  # type: ignore[attr-defined]  # a field in some kinds, a property in others

    def prob_to_value(self, prob: float) -> Any:
        """Map `prob` in [0, 1) to a value; uniform `prob` gives the parameter's distribution."""
        raise NotImplementedError

    def value_to_prob(self, value: Any) -> float:
        """Map a value to a number in [0, 1) that `prob_to_value` maps back to it."""
        raise NotImplementedError

    def exists(self, values: Mapping[str, Any]) -> bool:
        """Return whether all its conditions hold for these values."""
        return all(condition.holds(values) for condition in self.conditions)

    def encode(self, value: Any) -> Any:
        """Return a value as it is stored; an option that is an object is stored as its label."""
        return value.item() if isinstance(value, np.generic) else value

    def allows(self, value: Any) -> bool:
        """Return whether this parameter can have this value."""
        try:
            again = self.prob_to_value(self.value_to_prob(value))
        except (ValueError, TypeError, ZeroDivisionError, OverflowError):
            return False
        return again == value or (
            isinstance(value, float) and math.isclose(again, value, rel_tol=1e-6)
        )

    def nearest(self, value: Any) -> Any:
        """Return the allowed value nearest to `value`, in its own type; `None` if none is near."""
        return self.prob_to_value(self.value_to_prob(value)) if self.allows(value) else None

    def random_sample(self, seed: Seed = None) -> Any:
        """Sample one value; the same seed gives the same value."""
        return self.prob_to_value(float(np.random.default_rng(seed).random()))

    def get_config(self) -> dict[str, Any]:
        """Return the definition as JSON types, in KerasTuner's format."""
        names = [field.name for field in dataclasses.fields(self) if field.compare]
        first = [name for name in ("name", "default") if name in names]
        config = {name: getattr(self, name) for name in first} | {
            "conditions": conditions_config(self)
        }
        return config | {
            name: _as_json(getattr(self, name)) for name in names if name not in config
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HyperParameter:
        described = [
            condition.get("config", condition) for condition in config.get("conditions", ())
        ]
        conditions = tuple(Condition(each["name"], tuple(each["values"])) for each in described)
        unstored = [
            field.name
            for field in dataclasses.fields(cls)
            if not field.compare and field.name in config
        ]
        if unstored:
            raise TypeError(f"{cls.stored_as} has no {unstored[0]!r} in files")
        return cls(**{**config, "conditions": conditions})


@dataclasses.dataclass(frozen=True, repr=False)
class _Number(HyperParameter):
    min_value: Any
    max_value: Any
    step: Any = None
    sampling: str = "linear"
    default: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        sampling = "linear" if self.sampling is None else str(self.sampling).lower()
        object.__setattr__(self, "sampling", sampling)
        if sampling not in SAMPLINGS:
            raise ValueError(
                f"{self._where} the argument sampling must be one of {SAMPLINGS}. Received: "
                f"sampling={self.sampling!r}"
            )
        for field in ("min_value", "max_value", "step", "default"):
            object.__setattr__(self, field, self._number(field, getattr(self, field)))
        if self.max_value < self.min_value:
            raise ValueError(
                f"{self._where} `min_value` must not exceed `max_value`. Received: "
                f"min_value {self.min_value} is greater than the max_value {self.max_value}"
            )
        if sampling != "linear" and self.min_value <= 0:
            raise ValueError(
                f"{self._where} `sampling={sampling!r}` does not support negative values or zero: "
                f"`min_value` must be above 0. Received: min_value={self.min_value}"
            )
        lowest = 0 if self.sampling == "linear" else 1
        if self.step is not None and self.step <= lowest:
            why = "it multiplies" if lowest else "it is added"
            raise ValueError(
                f"For {self._called}, expected step > {lowest}, since with "
                f"`sampling={self.sampling!r}` {why}. Received: step={self.step}"
            )
        if self.default is None:
            object.__setattr__(self, "default", self.min_value)

    @property
    def _where(self) -> str:
        return f"{type(self).__name__}({self.name!r}):"

    @property
    def _called(self) -> str:
        return f"HyperParameters.{type(self).__name__}(name={self.name!r})"

    def _number(self, field: str, value: Any) -> Any:
        if value is None and field in ("step", "default"):
            return None
        if isinstance(value, (bool, np.bool_)) or not isinstance(
            value, (int, float, np.integer, np.floating)
        ):
            raise ValueError(
                f"{self._where} `{field}` must be a number. Received: {field}={value!r}"
            )
        if not math.isfinite(value):
            raise ValueError(f"{self._where} `{field}` must be finite. Received: {field}={value!r}")
        return value.item() if isinstance(value, np.generic) else value

    @property
    def default_value(self) -> Any:
        return min(max(self.default, self.min_value), self.max_value)

    @property
    def oddity(self) -> str | None:
        where = f"{self.min_value} to {self.max_value}"
        if self.num_steps == 1 and self.min_value < self.max_value:
            return (
                f"{self._where} the step {self.step} fits nowhere into {where}, so it is always "
                f"{self._at(0)}."
            )
        if self.default != self.default_value:
            return (
                f"{self._where} the default {self.default} is not from {where}; "
                f"{self.default_value} is taken."
            )
        return None

    @property
    def num_steps(self) -> int | None:
        """Return the number of values of a stepped range; `None` without `step`."""
        if self.step is None:
            return None
        return step_count(self.sampling, self.min_value, self.max_value, self.step)

    def nearest(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            return None
        inside = type(self.min_value)(min(max(value, self.min_value), self.max_value))
        return (
            inside
            if self.num_steps is None
            else self.prob_to_value(min(self.value_to_prob(inside), 1 - 1e-12))
        )

    @property
    def count(self) -> int | None:
        return self.num_steps

    @property
    def values(self) -> tuple[Any, ...]:
        """Return all values of a stepped range, ascending, otherwise values spread over it."""
        return (
            spread(self) if self.num_steps is None else tuple(map(self._at, range(self.num_steps)))
        )

    def _at(self, index: int) -> Any:
        """Return the value `index` steps above the minimum, in decimals so that 0.1 * 3 is 0.3."""
        count = self.num_steps or 1
        return type(self.min_value)(
            stepped(self.sampling, self.min_value, self.max_value, self.step, index, count)
        )

    def _index_to_prob(self, index: float, count: int) -> float:
        return (min(max(index, 0), count - 1) + 0.5) / count

    def _index_of(self, value: float) -> float:
        return step_index(
            self.sampling, self.min_value, self.max_value, self.step, value, self.num_steps or 1
        )


@dataclasses.dataclass(frozen=True, repr=False)
class Int(_Number, stored_as="Int"):
    """An integer from `min_value` to `max_value`, both inclusive.

    With a `step`, the possible values are `min_value`, `min_value + step`, … up to `max_value`.
    With `sampling="log"`, the step multiplies. `sampling` spreads the values evenly (`"linear"`),
    on a log scale (`"log"`), or on a log scale that is dense near `max_value` (`"reverse_log"`).
    """

    has_default: bool | None = dataclasses.field(
        default=None, kw_only=True, repr=False, compare=False
    )
    """Whether `get_config` includes the default; `None` means whether one was given."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "has_default",
            self.has_default or (self.has_default is None and self.default is not None),
        )
        super().__post_init__()

    def _number(self, field: str, value: Any) -> Any:
        value = super()._number(field, value)
        if value is None:
            return 1 if field == "step" and self.sampling == "linear" else None
        if int(value) != value:
            raise ValueError(f"{self._where} `{field}` must be an int. Received: {field}={value!r}")
        return int(value)

    @property
    def count(self) -> int:
        return self.max_value - self.min_value + 1 if self.num_steps is None else self.num_steps

    def every_value(self) -> Iterable[int]:
        return (
            range(self.min_value, self.max_value + 1)
            if self.num_steps is None
            else super().every_value()
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | ({} if self.has_default else {"default": None})

    def _shown(self) -> dict[str, str]:
        return super()._shown() | {"sampling": self.sampling}

    def prob_to_value(self, prob: float) -> int:
        if self.num_steps is not None:
            return int(self._at(min(int(prob * self.num_steps), self.num_steps - 1)))
        value = int(scaled(self.sampling, prob, self.min_value, self.max_value + 1))
        return min(max(value, self.min_value), self.max_value)

    def value_to_prob(self, value: Any) -> float:
        if self.num_steps is not None:
            return self._index_to_prob(self._index_of(value), self.num_steps)
        return unscaled(self.sampling, value + 0.5, self.min_value, self.max_value + 1)


@dataclasses.dataclass(frozen=True, repr=False)
class Float(_Number, stored_as="Float"):
    """A real number in [`min_value`, `max_value`), or with a `step` one of the stepped values.

    The stepped values are `min_value`, `min_value + step`, … They include `max_value` where a step
    reaches it, and are exact decimals: `Float("x", 0, 1, step=0.1)` can be 0.3 and 1.0. `sampling`
    is as for `Int`.
    """

    def _number(self, field: str, value: Any) -> Any:
        value = super()._number(field, value)
        return None if value is None else float(value)

    def _shown(self) -> dict[str, str]:
        names = ("min_value", "max_value", "step", "sampling", "default")
        return super()._shown() | {name: f"'{getattr(self, name)}'" for name in names}

    def allows(self, value: Any) -> bool:
        if self.num_steps is not None:
            return super().allows(value)
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and self.min_value <= value <= self.max_value
        )

    def prob_to_value(self, prob: float) -> float:
        if self.num_steps is not None:
            return float(self._at(min(int(prob * self.num_steps), self.num_steps - 1)))
        return min(
            max(scaled(self.sampling, prob, self.min_value, self.max_value), self.min_value),
            self.max_value,
        )

    def value_to_prob(self, value: Any) -> float:
        if self.num_steps is not None:
            return self._index_to_prob(self._index_of(value), self.num_steps)
        return unscaled(self.sampling, value, self.min_value, self.max_value)


@dataclasses.dataclass(frozen=True, repr=False)
class Choice(HyperParameter, stored_as="Choice"):
    """One of `values`, each a `bool`, `int`, `float`, `str` or `None`, all equally likely.

    `ordered` means that neighbouring values are similar, which searchers may use. By default, only
    numbers are ordered.
    """

    values: Sequence[Scalar] = dataclasses.field(hash=False)  # a list, as KerasTuner's
    ordered: bool | None = None
    default: Scalar = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.values, (str, bytes)) or not isinstance(
            self.values, (Sequence, np.ndarray)
        ):
            raise TypeError(
                f"Choice({self.name!r}): `values` must be a list or tuple. Received: "
                f"values={self.values!r}"
            )
        values = [v.item() if isinstance(v, np.generic) else v for v in self.values]
        object.__setattr__(self, "values", values)
        if not values:
            raise ValueError(
                f"Choice({self.name!r}): `values` must be provided, at least one. Received: "
                f"values={values!r}"
            )
        for value in values:
            if value is not None and not isinstance(value, (bool, int, float, str)):
                raise TypeError(
                    f"Choice({self.name!r}): `values` can contain only `int`, `float`, `str`, "
                    f"`bool` or `None`. Received: {value!r} of type {type(value).__name__}. "
                    "Other objects can be options of `ray.tune.choice` in a declared space."
                )
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        if self.ordered and not numbers:
            raise ValueError(
                f"Choice({self.name!r}): `ordered` must be `False` unless all are numbers. "
                f"Received: ordered={self.ordered!r}, values={values!r}"
            )
        object.__setattr__(self, "ordered", numbers if self.ordered is None else self.ordered)
        if self.default is not None and not any(_same(self.default, v) for v in values):
            raise ValueError(
                f"Choice({self.name!r}): the default value should be one of `values`. Received: "
                f"default={self.default!r}, values={values!r}"
            )
        object.__setattr__(self, "default", self.default_value)

    @property
    def default_value(self) -> Scalar:
        return self.values[0] if self.default is None else self.default

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"values": list(self.values)}

    def _shown(self) -> dict[str, str]:
        return super()._shown() | {"default": str(self.default)}

    def prob_to_value(self, prob: float) -> Scalar:
        return self.values[min(int(prob * len(self.values)), len(self.values) - 1)]

    def value_to_prob(self, value: Any) -> float:
        for index, option in enumerate(self.values):
            if _same(option, value):
                return (index + 0.5) / len(self.values)
        raise ValueError(
            f"{type(self).__name__}({self.name!r}) has no value {value!r}; its values are "
            f"{self.values!r}."
        )


@dataclasses.dataclass(frozen=True, repr=False)
class Boolean(HyperParameter, stored_as="Boolean"):
    """`False` or `True`, equally likely."""

    default: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.default, bool):
            raise ValueError(
                f"Boolean({self.name!r}): `default` must be a Python boolean. Received: "
                f"default={self.default!r}"
            )

    @property
    def default_value(self) -> bool:
        return self.default

    @property
    def values(self) -> tuple[bool, bool]:
        """Return both values, in KerasTuner's order."""
        return True, False

    def _shown(self) -> dict[str, str]:
        return super()._shown() | {"name": f'"{self.name}"'}

    def prob_to_value(self, prob: float) -> bool:
        return prob >= 0.5

    def value_to_prob(self, value: Any) -> float:
        return 0.75 if value else 0.25


@dataclasses.dataclass(frozen=True, repr=False)
class Fixed(HyperParameter, stored_as="Fixed"):
    """A parameter that is not tuned: always `value`."""

    value: Scalar

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.value, (bool, int, float, str)):
            raise ValueError(
                f"Fixed({self.name!r}): its value must be an `int`, `float`, `str` or `bool`. "
                f"Received: value={self.value!r}"
            )

    @property
    def default_value(self) -> Scalar:
        return self.value

    def _shown(self) -> dict[str, str]:
        return {"name": self.name, "value": str(self.value)}

    @property
    def default(self) -> Scalar:
        """Return the only value."""
        return self.value

    @property
    def values(self) -> tuple[Scalar]:
        """Return the only value."""
        return (self.value,)

    def prob_to_value(self, prob: float) -> Scalar:
        return self.value

    def value_to_prob(self, value: Any) -> float:
        return 0.5


def spread(parameter: HyperParameter, number: int = 10) -> tuple[Any, ...]:
    """Return up to `number` values, spread evenly over a parameter's range, on its scale."""
    values = (parameter.prob_to_value((index + 0.5) / number) for index in range(number))
    return tuple(dict.fromkeys(values))


def conditions_config(parameter: HyperParameter) -> list[dict[str, Any]]:
    """Return a parameter's conditions as JSON types."""
    return [
        {
            "class_name": "Parent",
            "config": {"name": condition.name, "values": list(condition.values)},
        }
        for condition in parameter.conditions
    ]


def serialize(parameter: Any) -> dict[str, Any]:
    """Return `{"class_name": …, "config": …}`, as JSON types only."""
    return {"class_name": parameter.stored_as, "config": parameter.get_config()}


def deserialize(stored: Mapping[str, Any]) -> HyperParameter:
    """Return the parameter that `serialize` describes.

    Raises:
        ValueError: If the kind is unknown.
    """
    kind = HyperParameter.kinds.get(stored["class_name"])
    if kind is None:
        raise ValueError(
            f"Unknown kind of hyperparameter {stored['class_name']!r}; known: "
            f"{sorted(HyperParameter.kinds)}."
        )
    return kind.from_config(stored["config"])


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _same(left: Any, right: Any) -> bool:
    """Return whether two values are equal; `True` differs from `1`, but `1` equals `1.0`."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
