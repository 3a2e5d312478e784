"""Lossless encodings of hyperparameters for search algorithms: categories, integers and reals.

Pure Python; runs in the driver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

from glimr_keras.space.hp_types import Choice, Fixed, Float, HyperParameter, Int


@dataclasses.dataclass(frozen=True)
class Encoding:
    """An algorithm's view of a hyperparameter, with the conversion to values and back.

    A range with a step is encoded as an integer, the index of the value, since algorithms interpret
    steps differently.

    Attributes:
        kind: The kind; a category is also an integer, without an order.
        low: The minimum, inclusive.
        high: The maximum, inclusive.
        decode: The function from codes to values.
        encode: The function from values to codes.
        log: Whether the scale is logarithmic. Defaults to `False`.
    """

    kind: Literal["category", "integer", "real"]
    low: float
    high: float
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    log: bool = False


def encoding_of(parameter: HyperParameter) -> Encoding:
    """Return the encoding of a hyperparameter."""
    match parameter:
        case Choice(ordered=True):
            return _index("integer", sorted(parameter.values))  # ordered values are numbers
        case Int(step=1, sampling="linear") | Int(step=None, sampling="log"):
            return Encoding(
                "integer",
                parameter.min_value,
                parameter.max_value,
                int,
                int,
                parameter.sampling == "log",
            )
        case Float(step=None, sampling="linear" | "log") if (
            parameter.min_value < parameter.max_value
        ):
            return Encoding(
                "real",
                parameter.min_value,
                parameter.max_value,
                float,
                float,
                parameter.sampling == "log",
            )
        case Int() | Float() if parameter.num_steps is not None:
            return _index("integer", parameter.values)
        case Int(sampling="reverse_log") | Float():
            return unit_encoding(parameter)
        case Fixed():
            return _index("category", parameter.values)
    if parameter.count is None:
        return unit_encoding(parameter)
    values = list(parameter.every_value())
    return _index(
        "integer" if all(type(value) in (int, float) for value in values) else "category", values
    )


def unit_encoding(parameter: HyperParameter) -> Encoding:
    """Return the encoding of a hyperparameter as a real number from 0 to 1, on its own scale."""

    def decode(drawn: Any) -> Any:
        return parameter.prob_to_value(min(float(drawn), 1 - 1e-12))

    return Encoding("real", 0.0, 1.0, decode, parameter.value_to_prob)


def _index(kind: Literal["category", "integer"], values: Sequence[Any]) -> Encoding:
    def encode(value: Any) -> int:
        exact = (
            index
            for index, option in enumerate(values)
            if type(option) is type(value) and option == value
        )
        index = next(exact, None)
        return list(values).index(value) if index is None else index

    return Encoding(kind, 0, len(values) - 1, lambda drawn: values[int(drawn)], encode)
