"""How models are made beyond what `build` says: other optimizers, losses, metrics, strategies. Runs
in driver and worker.
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
    """The scope of a `tf.distribute.Strategy`, or none where it is `None`."""
    with (
        contextlib.nullcontext() if distribution_strategy is None else distribution_strategy.scope()
    ):
        yield


class CompileOverrides:
    """How models are made beyond what `build` says.

    A Keras object is kept as its class and configuration, so that each trial has its own.

    Args:
        optimizer, loss, metrics: In the place of those that the model was compiled with; `None` for
            the model's own.
        strategy: A `tf.distribute.Strategy`, in whose scope models are built. In a worker, which
            has devices of its own, it is made anew, with all of them (a `OneDeviceStrategy` with
            the same).
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
        """The same for a process whose GPUs all train one model, each on a part of every batch,
        unless the user's own code has a strategy.
        """
        other = copy.copy(self)
        other._takes_all_gpus = self._strategy is None
        return other

    def gives_way(self, error: Exception) -> bool:
        """Whether a model could not be built since the user's own code has another strategy, which
        then is the one that counts.
        """
        if not self._takes_all_gpus or "tf.distribute.Strategy" not in str(error):
            return False
        self._takes_all_gpus, self._strategy = False, None
        return True

    @classmethod
    def of(cls, tuner: Any) -> CompileOverrides:
        """As the attributes of a tuner say, which may have been set since it was made. What it
        lacks, or has empty, counts for nothing, as in KerasTuner.
        """
        return cls(*(_given(getattr(tuner, name, None)) for name in OF_TUNER))

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Where models are built, and their weights loaded."""
        self._strategy = _thawed(self._strategy)
        if self._takes_all_gpus and self._strategy is None:
            self._strategy = _over_all_gpus()
        with maybe_distribute(self._strategy):
            yield

    def apply(self, model: Any) -> None:
        """Compiles a model anew, if something is to be in the place of its own. All else that it
        was compiled with is kept.
        """
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
    """A strategy that has all GPUs of this process train one model, as the backend does it; `None`
    where that is said once for the process.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # heavy, and not needed on the other backends

        return tf.distribute.MirroredStrategy()
    if keras.backend.backend() == "jax" and keras.distribution.distribution() is None:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    return None


OF_TUNER = ("optimizer", "loss", "metrics", "distribution_strategy")
"""The attributes by which tuners have it, in the order of the arguments."""


class MadeAnew:
    """A value on its way to a worker, in which Keras objects and strategies are made anew when it
    arrives.

    In its place the pickle has what they are made of, since they cannot be pickled, or would bring
    their variables along.
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
    """A loss whose class has no configuration of its own, as its attributes."""

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
    """A distribution strategy on its way to a worker."""

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
