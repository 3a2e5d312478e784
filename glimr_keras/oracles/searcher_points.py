"""Encode the configurations that a user gave to a Ray search algorithm.

Runs in the driver.

An algorithm sees most hyperparameters as numbers, such as the index of an option. The user's points
(`points_to_evaluate`) hold the hyperparameters' own values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glimr_keras._utils.late_imports import if_imported
from glimr_keras.errors import did_you_mean
from glimr_keras.oracles.encodings import Encoding
from glimr_keras.oracles.optuna_study import check_sampler
from glimr_keras.oracles.suggestions import checked_point, completed
from glimr_keras.space.define_by_run import sample
from glimr_keras.space.hp_types import HyperParameter
from glimr_keras.space.search_space import SearchSpace

if TYPE_CHECKING:
    from ray.tune.search import Searcher

_NAMES = ("_points_to_evaluate", "points_to_evaluate")
_IGNORED = ("ZOOptSearch",)
"""Algorithms that accept points and do not try them."""

Searched = Mapping[str, tuple[HyperParameter, Encoding]]
"""The hyperparameters that an algorithm chooses, by its own names for them."""


class UnknownPointError(ValueError):
    """A point has a hyperparameter that the algorithm does not choose, or not yet."""


def encode_points(
    searcher: Searcher, space: SearchSpace, searched: Searched, key: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Encode the points of a new algorithm as the numbers that it sees.

    Args:
        searcher: A copy of the user's algorithm, which is changed.
        space: The space of the points.
        searched: The hyperparameters that it chooses.
        key: The seed of missing values.

    Returns:
        The points that it will suggest first, in order, by hyperparameter name; empty if their
        results were given as well.

    Raises:
        UnknownPointError: If a point has a hyperparameter that is not searched.
        ValueError: If a point does not fit the space, or the algorithm cannot use it.
    """
    inner = innermost(searcher)
    check_sampler(getattr(inner, "_sampler", None))
    name = next((name for name in _NAMES if getattr(inner, name, None)), None)
    if name is None:
        return []
    kind, points = type(inner).__name__, getattr(inner, name)
    if kind in _IGNORED:
        raise ValueError(
            f"{kind} does not try its `points_to_evaluate`. Give them to the tuner, as "
            "`initial_points`."
        )
    rewards = getattr(inner, "_evaluated_rewards", None)
    checked = [_checked(point, space, searched, kind) for point in points]
    if rewards:
        for point in checked:
            _check_whole(point, space, kind)
    setattr(inner, name, [_encoded(point, space, searched, key) for point in checked])
    return [] if rewards else checked


def drop_points(searcher: Searcher) -> None:
    """Remove an algorithm's points while their hyperparameters are unknown."""
    inner = innermost(searcher)
    for name in (*_NAMES, "_evaluated_rewards"):
        if getattr(inner, name, None):
            setattr(inner, name, None)


def innermost(searcher: Any) -> Any:
    """Return the algorithm inside wrappers that limit or repeat its suggestions."""
    while isinstance(
        getattr(searcher, "searcher", None), if_imported("ray.tune.search.searcher", "Searcher")
    ):
        searcher = searcher.searcher
    return searcher


def _checked(point: Any, space: SearchSpace, searched: Searched, kind: str) -> dict[str, Any]:
    if not isinstance(point, Mapping):
        raise ValueError(
            f"`points_to_evaluate` of {kind} must be a list of dicts, one for each configuration. "
            f"Received: {point!r}"
        )
    checked = checked_point(
        point, SearchSpace(space.parameters, is_whole=False), "points_to_evaluate"
    )
    known = {parameter.name for parameter, _ in searched.values()}
    for name in checked:
        if name not in known:
            raise UnknownPointError(
                f"`points_to_evaluate` of {kind} has {name!r}, which {kind} does not choose."
                f"{did_you_mean(name, known)} Give such points to the tuner, as `initial_points`. "
                f"Received: {dict(point)}"
            )
    return checked


def _check_whole(point: Mapping[str, Any], space: SearchSpace, kind: str) -> None:
    for parameter in space.parameters:
        if parameter.name not in point and space.exists(parameter, point):
            raise ValueError(
                f"With `evaluated_rewards`, `points_to_evaluate` of {kind} must have a value for "
                "each hyperparameter, since the reward is that of a whole configuration. Missing: "
                f"{parameter.name!r}. Points without a reward can be given to the tuner, as "
                f"`initial_points`. Received: {dict(point)}"
            )


def _encoded(
    point: Mapping[str, Any], space: SearchSpace, searched: Searched, key: tuple[int, ...]
) -> dict[str, Any]:
    values = completed(point, space, key).values
    return {
        name: encoding.encode(
            values[parameter.name]
            if parameter.allows(values.get(parameter.name))
            else sample(parameter, key)
        )
        for name, (parameter, encoding) in searched.items()
    }
