"""What to use instead of names that glimr's modules once had, or keep to themselves."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import NoReturn

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
    """Return a `__getattr__` for one of glimr's modules.

    Args:
        module: Its full name here.
    """
    instead = _INSTEAD[module.rpartition(".")[2]]

    def refuse(name: str) -> NoReturn:
        if name in instead:  # `from … import` would not show the text of an AttributeError
            raise ImportError(f"glimr's {name!r} is not in {module!r}. {instead[name]}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return refuse


class FormerAttribute:
    """An attribute that a class of glimr's has, and ours does not: to ask for it, or to set it,
    says what to use instead.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._text = f"glimr's `{owner.__name__}.{name}` is not here. {self._instead}"

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(self._text)

    def __set__(self, instance: object, value: object) -> NoReturn:
        raise AttributeError(self._text)
