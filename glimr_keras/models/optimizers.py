"""Optimizers in a search space: glimr's `optimization` section.

Keras; runs in driver and worker.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import keras

from glimr_keras._utils.late_imports import if_imported
from glimr_keras._utils.names import squeezed
from glimr_keras._utils.signatures import arguments_of, check_taken, named_arguments_of
from glimr_keras.errors import did_you_mean

_ALIASES = {"rms": "rmsprop"}
_WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer")
"""Optimizers that wrap other optimizers."""
_OF_TRAINING = ("epochs", "method", "schedule", "batch", "batch_size")
"""Keys that the section may have and that no optimizer takes."""


class _Domain:
    """A default that is a `ray.tune` domain, made only when needed.

    Users with their own optimizers therefore need not import Ray Tune.
    """

    def __init__(self, kind: str, *arguments: Any) -> None:
        self._kind, self._arguments = kind, arguments

    def __repr__(self) -> str:
        return f"tune.{self._kind}({', '.join(map(repr, self._arguments))})"

    def make(self) -> Any:
        from ray import tune

        return getattr(tune, self._kind)(*self._arguments)


def _made(value: Any) -> Any:
    return value.make() if isinstance(value, _Domain) else value


def _is_choice(value: Any) -> bool:
    return isinstance(value, if_imported("ray.tune.search.sample", "Categorical"))


def keras_optimizer(config: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    """Return the optimizer that the `optimization` section of a configuration describes.

    Args:
        config: The section of one configuration. `"method"` is the name of any optimizer of Keras
            in any spelling (`"adam"`, `"AdamW"`, `"sgd"`, `"rms"` or `"rmsprop"`, …), a registered
            user-defined one, a class, or a dict `{"name": method, hyperparameter: value, …}`.
            Every other key is a hyperparameter, such as `"learning_rate"`, `"momentum"`,
            `"clipnorm"` or `"weight_decay"`. The method receives those that it takes; the others
            are ignored, as is `"epochs"`.
            `"schedule"` is `None` or a learning-rate schedule, such as `{"name": "cosine_decay",
            "decay_steps": 1000}` (steps are batches), which begins at `"learning_rate"`.

    Raises:
        ValueError: If there is no such method or schedule; if the section has a key that no
            optimizer takes; or if the dict of a method or schedule has a key that this one does not
            take.
        TypeError: If the section is not a dict, or `"method"` is not a name, class or dict.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"The `optimization` section must be a dict. Received: {config!r}")
    if "method" not in config:
        raise ValueError(
            f"The `optimization` section needs a 'method', such as 'adam'. Received: {dict(config)}"
        )
    kind, own = _method(config["method"])
    taken = _hyperparameters(kind)
    check_taken(own, arguments_of(kind), f"the optimizer {kind.__name__}")
    shared = {name: value for name, value in config.items() if name not in _OF_TRAINING}
    if isinstance(
        shared.get("use_ema"), Mapping
    ):  # an option of a choice, with its own hyperparameters
        averaging = {name: value for name, value in shared.pop("use_ema").items() if name != "name"}
        shared |= {"use_ema": True, **averaging}
    check_taken(
        shared,
        taken.union(*map(_hyperparameters, _optimizers().values())),
        "any optimizer of Keras",
    )
    hyperparameters = {name: value for name, value in shared.items() if name in taken} | own
    if config.get("schedule") is not None:
        hyperparameters["learning_rate"] = _schedule(
            config["schedule"], hyperparameters.get("learning_rate")
        )
    return kind(**hyperparameters)


def optimization_space(
    epochs: Any = 100,
    method: Any = _Domain("choice", ["rms", "sgd", "adadelta", "adagrad", "adam"]),
    learning_rate: Any = _Domain("loguniform", 1e-5, 1e-2),
    rho: Any = _Domain("quniform", 0.5, 0.99, 0.01),
    momentum: Any = _Domain("quniform", 0.0, 0.99, 0.01),
    beta_1: Any = _Domain("quniform", 0.5, 0.99, 0.01),
    beta_2: Any = _Domain("uniform", 0.9, 0.9999),
    use_ema: Any = False,
    ema_momentum: Any = _Domain("quniform", 0.9, 0.99, 0.01),
    ema_overwrite_frequency: Any = _Domain("choice", [None, 1, 2, 3, 4, 5]),
    schedule: Any = None,
    **others: Any,
) -> dict[str, Any]:
    """Return the `optimization` section of a search space.

    Each configuration has only the part that its method uses. Every argument is a fixed value or a
    `ray.tune` domain.

    Args:
        epochs: The maximum number of epochs; a scheduler or stopper may end training earlier.
            Defaults to `100`.
        method: The name of an optimizer as in `keras_optimizer`, or a `tune.choice` of several.
            Defaults to `tune.choice(["rms", "sgd", "adadelta", "adagrad", "adam"])`.
        learning_rate: The learning rate of all methods. Defaults to `tune.loguniform(1e-5, 1e-2)`.
        rho: For methods that have it. Defaults to `tune.quniform(0.5, 0.99, 0.01)`.
        momentum: For methods that have it. Defaults to `tune.quniform(0.0, 0.99, 0.01)`.
        beta_1: For methods that have it. Defaults to `tune.quniform(0.5, 0.99, 0.01)`.
        beta_2: For methods that have it. Defaults to `tune.uniform(0.9, 0.9999)`.
        use_ema: Whether the weights are averaged over batches; if so, the next two apply. Defaults
            to `False`.
        ema_momentum: The weight of earlier batches in the average. Defaults to
            `tune.quniform(0.9, 0.99, 0.01)`.
        ema_overwrite_frequency: The number of batches after which the average replaces the weights;
            `None` for once at the end. Defaults to `tune.choice([None, 1, 2, 3, 4, 5])`.
        schedule: A learning-rate schedule such as `{"name": "cosine_decay", "decay_steps": 1000}`
            (batches), or a `tune.choice` of schedules, whose dicts may hold domains. Defaults to
            `None`: no schedule.
        **others: Further hyperparameters of optimizers, such as `weight_decay`, `clipnorm`,
            `global_clipnorm`, `clipvalue`, `amsgrad`, `nesterov`. Each method receives those that
            it takes.

    Returns:
        The section, to be used as `space["optimization"]`. In a configuration, `"method"` is a dict
        with the method's `"name"` and its own hyperparameters. Hyperparameters that all methods
        have are next to it.

    Raises:
        ValueError: If there is no such optimizer, or if none of the methods has a hyperparameter in
            `others`.

    Example:
        method = tune.choice(["adamw", "sgd"])
        space = {"optimization": optimization_space(epochs=20, method=method, clipnorm=1.0)}
    """
    method = _made(method)
    names = list(method.categories) if _is_choice(method) else [method]
    taken = {name: _hyperparameters(_method(name)[0]) for name in names}
    check_taken(
        others,
        frozenset().union(*taken.values()),
        f"any of the methods {', '.join(map(str, names))}",
    )
    given = {
        "rho": _made(rho),
        "momentum": _made(momentum),
        "beta_1": _made(beta_1),
        "beta_2": _made(beta_2),
        **others,
    }
    of_all = {
        key: domain
        for key, domain in given.items()
        if all(key in arguments for arguments in taken.values())
    }
    methods: list[Any] = []
    for name in names:
        own = {
            key: domain for key, domain in given.items() if key in taken[name] and key not in of_all
        }
        methods.append({"name": name, **own} if own else name)
    averaging = {
        "ema_momentum": _made(ema_momentum),
        "ema_overwrite_frequency": _made(ema_overwrite_frequency),
    }
    section = {
        "epochs": epochs,
        "method": _Domain("choice", methods).make() if _is_choice(method) else methods[0],
        "learning_rate": _made(learning_rate),
        **of_all,
    }
    if _is_choice(use_ema):
        options = [
            {"name": "True", **averaging} if option else option for option in use_ema.categories
        ]
        section["use_ema"] = _Domain("choice", options).make()
    elif use_ema:
        section |= {"use_ema": use_ema, **averaging}
    if schedule is not None:
        section["schedule"] = schedule
    return section


def _method(method: Any) -> tuple[type, dict[str, Any]]:
    """Return the class of an optimizer, and its own hyperparameters."""
    if isinstance(method, Mapping):
        return _method(method.get("name"))[0], {
            name: value for name, value in method.items() if name != "name"
        }
    if inspect.isclass(method) and issubclass(method, keras.optimizers.Optimizer):
        return method, {}
    if not isinstance(method, str):
        raise TypeError(
            "An optimization method must be a name, a class, or a dict with a 'name'. Received: "
            f"{method!r}"
        )
    known = _optimizers()
    kind = known.get(
        _ALIASES.get(squeezed(method), squeezed(method))
    ) or keras.saving.get_registered_object(method)
    if kind is None:
        names = sorted(kind.__name__ for kind in known.values())
        raise ValueError(
            f"There is no optimizer {method!r}.{did_you_mean(method, names)} Keras has: "
            f"{', '.join(names)}"
        )
    return kind, {}


def _schedule(schedule: Any, learning_rate: Any) -> Any:
    """Return a learning-rate schedule that begins at `learning_rate`."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    if not isinstance(schedule, Mapping) or "name" not in schedule:
        raise TypeError(
            "A 'schedule' must be None or a dict with a 'name', such as 'cosine_decay'. Received: "
            f"{schedule!r}"
        )
    kinds = _kinds(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule)
    kind = kinds.get(squeezed(schedule["name"]))
    if kind is None:
        names = sorted(kind.__name__ for kind in kinds.values())
        raise ValueError(
            "There is no learning-rate schedule "
            f"{schedule['name']!r}.{did_you_mean(schedule['name'], names)} Keras has: "
            f"{', '.join(names)}"
        )
    taken = arguments_of(kind) or frozenset()
    arguments = {name: value for name, value in schedule.items() if name != "name"}
    check_taken(arguments, taken, f"the schedule {kind.__name__}")
    if learning_rate is not None and "initial_learning_rate" in taken:
        arguments.setdefault("initial_learning_rate", learning_rate)
    return kind(**arguments)


def _hyperparameters(kind: type) -> frozenset[str]:
    """Return the hyperparameters of an optimizer that can be searched."""
    return named_arguments_of(kind) - {"name"}


@functools.cache
def _optimizers() -> dict[str, type]:
    kinds = _kinds(keras.optimizers, keras.optimizers.Optimizer)
    return {name: kind for name, kind in kinds.items() if kind.__name__ not in _WRAPPERS}


def _kinds(module: Any, base: type) -> dict[str, type]:
    """Return the subclasses of `base` in a module of Keras, by squeezed name."""
    found = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base
    ]
    return {squeezed(kind.__name__): kind for kind in found}
