"""Replacements for names that glimr's modules once had, or that are private there."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

_LOSSES = (
    "Put the loss or metric itself, or the name of one of Keras' or of a registered one, into the "
    "task; `keras_losses(config)` and `keras_metrics(config)` make it."
)
_TABLE = "`experiment_table(exp_dir)` has a row for each epoch of each training."
_INSTEAD = MappingProxyType(
    {
        "utils": {
            "set_hyperparameter": "Write domains of `ray.tune`, such as `tune.choice`, into the "
            "space.",
            "check_tunable": "A search checks its space before any trial.",
            "string_to_loss": _LOSSES,
            "string_to_metric": _LOSSES,
        },
        "optimization": {
            "data_space": "The section `data` is a dict of the loader's arguments; give `Search` "
            "`cv_folds=` for a cross validation."
        },
        "analysis": {
            "get_top_k_trials": "Use `top_k_trials(experiment_table(exp_dir), metric)`.",
            "get_trial_info": _TABLE,
            "top_cv_trials": "Use `top_k_trials(experiment_table(exp_dir), metric, fold=0)` for "
            "one fold, and `top_k_configs` for all together.",
            "_parse_experiment": _TABLE,
            "_checkpoints": "`experiment_table(exp_dir)` has `checkpoint_path`.",
            "_filter_checkpoints": "Use `default_checkpoints(experiment_table(exp_dir))`.",
        },
    }
)


def refusing(module: str) -> Callable[[str], NoReturn]:
    """Return a module's `__getattr__` that names the replacement of a former name.

    Args:
        module: Full name of the module in this package.
    """
    instead = _INSTEAD[module.rpartition(".")[2]]

    def refuse(name: str) -> NoReturn:
        if name in instead:  # `from … import` hides the text of an AttributeError
            raise ImportError(f"glimr's {name!r} is not in {module!r}. {instead[name]}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return refuse


class FormerAttribute:
    """An attribute of a glimr class that is missing here. To read or set it raises an error that
    names the replacement.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._text = f"glimr's `{owner.__name__}.{name}` is not here. {self._instead}"

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(self._text)

    def __set__(self, instance: object, value: object) -> NoReturn:
        raise AttributeError(self._text)


def warn_of_former_domains(space: Mapping[str, Any]) -> None:
    """Warn of values that glimr's early versions searched and that are fixed values here.

    Args:
        space: Nested dicts. Sets used to be choices; lists of a lower bound, an upper bound and a
            step used to be ranges.
    """
    found = [f"{name}={value!r}" for name, value in _former_domains(space, "")]
    if found:
        warnings.warn(
            "Early versions of glimr searched sets and lists of [low, high, step]; here they are "
            "fixed values. Write `tune.choice([64, 32])` or `tune.quniform(0.0, 0.5, 0.05)` to "
            "search them, or a tuple for a value that is meant to be fixed. Received: "
            f"{', '.join(found)}",
            stacklevel=3,
        )


def _former_domains(section: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _former_domains(value, f"{name}/")
        elif isinstance(value, set | frozenset) or _is_range(value):
            yield name, value


def _is_range(value: Any) -> bool:
    """Return whether a value looks like a lower bound, an upper bound and a step."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    if not all(isinstance(each, numbers.Real) and not isinstance(each, bool) for each in value):
        return False
    low, high, step = value
    return low < high and 0 < step <= high - low
