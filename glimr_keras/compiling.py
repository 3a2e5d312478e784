"""How models are made beyond what `build` says: other optimizers, losses, metrics, strategies. Runs in driver and worker."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import keras


@contextlib.contextmanager
def maybe_distribute(distribution_strategy: Any) -> Iterator[None]:
    """The scope of a `tf.distribute.Strategy`, or none where it is `None`."""
    with contextlib.nullcontext() if distribution_strategy is None else distribution_strategy.scope():
        yield


class Compiling:
    """How models are made beyond what `build` says.

    A Keras object is kept as its class and configuration, so that each trial has its own.

    Args:
        optimizer, loss, metrics: In the place of those that the model was compiled with; `None` for the model's own.
        strategy: A `tf.distribute.Strategy`, in whose scope models are built. In a worker, which has devices of its own, it is
            made anew, with all of them (a `OneDeviceStrategy` with the same).
    """

    def __init__(self, optimizer: Any = None, loss: Any = None, metrics: Any = None, strategy: Any = None) -> None:
        given = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
        self._given = {name: _frozen(value) for name, value in given.items() if value is not None}
        self._strategy = strategy

    def __getstate__(self) -> dict[str, Any]:
        strategy = None if self._strategy is None else _Strategy.of(self._strategy)
        return {"_given": self._given, "_strategy": strategy}

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Where models are built, and their weights loaded."""
        if isinstance(self._strategy, _Strategy):
            self._strategy = self._strategy.made()
        with maybe_distribute(self._strategy):
            yield

    def apply(self, model: Any) -> None:
        """Compiles a model anew, if something is to be in the place of its own. All else that it was compiled with is kept."""
        if not self._given:
            return
        before = model._compile_config.config if model.compiled and hasattr(model, "_compile_config") else {}
        taken = inspect.signature(model.compile).parameters
        kept = {name: value for name, value in before.items() if name in taken and value is not None}
        model.compile(**{**kept, **{name: _thawed(value) for name, value in self._given.items()}})


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A Keras object as its class and configuration."""

    kind: Any
    config: dict[str, Any]


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _frozen(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_frozen(part) for part in value]
    if isinstance(value, (keras.optimizers.Optimizer, keras.losses.Loss, keras.metrics.Metric)):
        return _Frozen(type(value), value.get_config())
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _thawed(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_thawed(part) for part in value]
    return value.kind.from_config(dict(value.config)) if isinstance(value, _Frozen) else value


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
