"""The proposals of oracles, and configurations from users. Pure Python; runs in the driver."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Any

from glimr_keras.errors import did_you_mean
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.search_space import SearchSpace


class Nothing(enum.Enum):
    """An oracle's answer when it has no configuration to try."""

    YET = "ask again when a trial has ended"
    LEFT = "the budget is spent, or every configuration was tried"


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A configuration to try.

    Attributes:
        values: Value by name, for the known hyperparameters that exist in this configuration.
        sampling_key: The key from which the trial samples names that are still unknown.
    """

    values: dict[str, Any]
    sampling_key: tuple[int, ...]


class Response(dict[str, Any]):
    """An oracle's proposal as KerasTuner's dict, which a subclass may change.

    It has `"status"` (`"RUNNING"`, `"IDLE"` or `"STOPPED"`) and `"values"`.

    Args:
        proposed: The proposal.
    """

    def __init__(self, proposed: Suggestion | Nothing) -> None:
        values = dict(proposed.values) if isinstance(proposed, Suggestion) else None
        status = {Nothing.YET: "IDLE", Nothing.LEFT: "STOPPED"}
        super().__init__(
            status="RUNNING" if isinstance(proposed, Suggestion) else status[proposed],
            values=values,
        )
        self._proposed = proposed

    @property
    def sampling_key(self) -> tuple[int, ...] | None:
        """Return the sampling key of the proposal; `None` if nothing was proposed."""
        return self._proposed.sampling_key if isinstance(self._proposed, Suggestion) else None

    @property
    def unchanged(self) -> Suggestion | Nothing | None:
        """Return the proposal, if nobody has changed it since."""
        return self._proposed if self == Response(self._proposed) else None


def suggested(
    response: Mapping[str, Any], space: SearchSpace, key: tuple[int, ...]
) -> Suggestion | Nothing:
    """Convert the dict that `populate_space` returned; missing values are drawn.

    Args:
        response: The dict.
        space: The search space.
        key: The seed of drawn values, if nothing was proposed.
    """
    unchanged = response.unchanged if isinstance(response, Response) else None
    if unchanged is not None:
        return unchanged
    if response["status"] == "STOPPED":
        return Nothing.LEFT
    if response["status"] == "IDLE":
        return Nothing.YET
    own_key = response.sampling_key if isinstance(response, Response) else None
    return completed(response.get("values") or {}, space, own_key or key)


def completed(point: Mapping[str, Any], space: SearchSpace, key: tuple[int, ...]) -> Suggestion:
    """Return a configuration with these values, and the others drawn at random."""
    known = space.walk(
        lambda found: point[found.name] if found.name in point else sample(found, key)
    )
    names = {parameter.name for parameter in space.parameters}
    return Suggestion(
        known | {name: value for name, value in point.items() if name not in names}, key
    )


def checked_point(
    point: Mapping[str, Any], space: SearchSpace, argument: str = "initial_points"
) -> dict[str, Any]:
    """Return a user's configuration by full names, with its values as they are stored.

    Args:
        point: The configuration, flat or nested.
        space: The search space.
        argument: The name of the user's argument, for messages. Defaults to `"initial_points"`.

    Raises:
        ValueError: If it has an unknown name, or a value that its hyperparameter cannot have.
    """
    named: dict[str, list[HyperParameter]] = {}
    for parameter in space.parameters:
        named.setdefault(parameter.name, []).append(parameter)
    checked = {}
    for name, value in _flat(point, named).items():
        if name in named:
            checked[name] = _checked(name, value, named[name], argument)
        elif not space.is_whole or name in space.drawn:
            checked[name] = value  # a trial may request it
        else:
            raise ValueError(
                f"`{argument}` has the unknown hyperparameter "
                f"{name!r}.{did_you_mean(name, named)} Received: {dict(point)}"
            )
    return checked


def _checked(name: str, value: Any, definitions: Iterable[HyperParameter], argument: str) -> Any:
    encoded = [(parameter, parameter.encode(value)) for parameter in definitions]
    fitting = [parameter.nearest(code) for parameter, code in encoded if parameter.allows(code)]
    if not fitting:
        raise ValueError(
            f"`{argument}` has a value for {name!r} that it cannot have. Received: "
            f"{value!r}; it is defined as {' or '.join(map(str, definitions))}"
        )
    return fitting[0]


def _flat(point: Mapping[str, Any], known: Mapping[str, Any], scope: str = "") -> dict[str, Any]:
    """Return value by full name.

    A dict that is not an option of a known hyperparameter is a scope.
    """
    flat: dict[str, Any] = {}
    for key, value in point.items():
        name = f"{scope}{key}"
        if isinstance(value, Mapping) and name not in known:
            flat |= _flat(value, known, f"{name}/")
        else:
            flat[name] = value
    return flat
