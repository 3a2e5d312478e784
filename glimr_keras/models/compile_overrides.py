"""Overrides of what `build` sets: optimizer, loss, metrics and distribution strategy.

Runs in driver and worker.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def maybe_distribute(distribution_strategy: Any) -> Iterator[None]:
    """Enter the scope of a `tf.distribute.Strategy`, or none if it is `None`."""
    with (
        contextlib.nullcontext() if distribution_strategy is None else distribution_strategy.scope()
    ):
        yield


class CompileOverrides:
    """Overrides of what `build` sets.

    A Keras object is kept as its class and configuration, so that each trial has its own.

    Args:
        optimizer, loss, metrics: Replacements for those that the model was compiled with. Defaults
            to `None`, which keeps the model's own.
        strategy: A `tf.distribute.Strategy` in whose scope models are built. In a worker, which has
            its own devices, it is recreated with all of them (a `OneDeviceStrategy` with the same
            device). Defaults to `None`.
    """

    def __init__(
        self, optimizer: Any = None, loss: Any = None, metrics: Any = None, strategy: Any = None
    ) -> None:
        given = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
        self._given = {name: _frozen(value) for name, value in given.items() if value is not None}
        self._strategy = strategy
        self._takes_all_gpus = False

    def __getstate__(self) -> dict[str, Any]:
        strategy = None if self._strategy is None else _Strategy.of(self._strategy)
        return {**vars(self), "_strategy": strategy}

    def over_all_gpus(self) -> CompileOverrides:
        """Return the same for a process whose GPUs all train one model.

        Each GPU trains on a part of every batch, unless the user's code has a strategy.
        """
        other = copy.copy(self)
        other._takes_all_gpus = self._strategy is None
        return other

    def gives_way(self, error: Exception) -> bool:
        """Return whether a model could not be built because the user's code has another strategy.

        If so, drop this strategy in favour of that one.
        """
        if not self._takes_all_gpus or "tf.distribute.Strategy" not in str(error):
            return False
        self._takes_all_gpus, self._strategy = False, None
        return True

    @classmethod
    def of(cls, tuner: Any) -> CompileOverrides:
        """Return the overrides in the attributes of a tuner, which users may change.

        Missing or empty attributes are ignored, as in KerasTuner.
        """
        return cls(*(_given(getattr(tuner, name, None)) for name in OF_TUNER))

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Enter the scope in which models are built and their weights loaded."""
        self._strategy = _thawed(self._strategy)
        if self._takes_all_gpus and self._strategy is None:
            self._strategy = _over_all_gpus()
        with maybe_distribute(self._strategy):
            yield

    def apply(self, model: Any) -> None:
        """Recompile a model, if there are overrides; keep all other compile arguments."""
        if not self._given:
            return
        before = (
            model._compile_config.config
            if model.compiled and hasattr(model, "_compile_config")
            else {}
        )
        taken = inspect.signature(model.compile).parameters
        kept = {
            name: value for name, value in before.items() if name in taken and value is not None
        }
        model.compile(**{**kept, **{name: _thawed(value) for name, value in self._given.items()}})


def _over_all_gpus() -> Any:
    """Return a strategy that has all GPUs of this process train one model.

    `None` if the backend sets it once for the process.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # heavy, and not needed on the other backends

        return tf.distribute.MirroredStrategy()
    if keras.backend.backend() == "jax" and keras.distribution.distribution() is None:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    return None


OF_TUNER = ("optimizer", "loss", "metrics", "distribution_strategy")
"""The attributes of tuners that hold these, in the order of the arguments."""


class MadeAnew:
    """A value to send to a worker, whose Keras objects and strategies are recreated there.

    The pickle holds their classes and configurations. The objects cannot be pickled, or would bring
    along their variables.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _thawed, (_frozen(self._value),)


_DICTS = (dict, collections.OrderedDict)


def _given(value: Any) -> Any:
    is_empty = isinstance(value, (str, list, tuple, dict)) and not value
    return None if is_empty else value


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A Keras object as its class and configuration."""

    kind: Any
    config: dict[str, Any]

    def made(self) -> Any:
        return self.kind.from_config(dict(self.config))


@dataclasses.dataclass(frozen=True)
class _FrozenLoss:
    """A loss whose class does not define its configuration, as its attributes."""

    kind: Any
    attributes: dict[str, Any]

    def made(self) -> Any:
        loss = object.__new__(self.kind)
        vars(loss).update(self.attributes)
        return loss


def _frozen(value: Any) -> Any:
    if type(value) in _DICTS:
        return type(value)((name, _frozen(part)) for name, part in value.items())
    if type(value) in (list, tuple):
        return type(value)(map(_frozen, value))
    if (
        isinstance(value, keras.losses.Loss)
        and type(value).get_config is keras.losses.Loss.get_config
    ):
        return _FrozenLoss(type(value), dict(vars(value)))
    if isinstance(value, (keras.optimizers.Optimizer, keras.losses.Loss, keras.metrics.Metric)):
        return _Frozen(type(value), value.get_config())
    return _Strategy.of(value) if hasattr(value, "scope") and hasattr(value, "extended") else value


def _thawed(value: Any) -> Any:
    if type(value) in _DICTS:
        return type(value)((name, _thawed(part)) for name, part in value.items())
    if type(value) in (list, tuple):
        return type(value)(map(_thawed, value))
    return value.made() if isinstance(value, (_Frozen, _FrozenLoss, _Strategy)) else value


@dataclasses.dataclass(frozen=True)
class _Strategy:
    """A distribution strategy to send to a worker."""

    kind: type
    device: str | None

    @classmethod
    def of(cls, strategy: Any) -> _Strategy:
        if isinstance(strategy, cls):
            return strategy
        is_of_one = "device" in inspect.signature(type(strategy)).parameters
        return cls(type(strategy), strategy.extended.worker_devices[0] if is_of_one else None)

    def made(self) -> Any:
        return self.kind() if self.device is None else self.kind(self.device)
