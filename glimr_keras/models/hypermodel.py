"""`HyperModel`: what to build. Users subclass it; its methods run in the worker."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras

from glimr_keras._utils.overriding import is_overridden
from glimr_keras._utils.signatures import takes
from glimr_keras.errors import HyperModelError
from glimr_keras.space.hyperparameters import HyperParameters


class HyperModel:
    """What a search builds and trains. Subclass it and override `build`, and what else the model
    needs.

    In every trial a fresh copy of the object (where trials run inline, the object itself) runs
    `data(config)`, then `build(config)`, then `fit(config, model, …)` with the same `config`. Where
    there is no Keras model to build, override `run(config)` alone.

    Example:
        class Digits(HyperModel):
            def build(self, config):
                model = keras.Sequential([
                    keras.layers.Dense(config.Int("units", 16, 256, step=16), activation="relu"),
                    keras.layers.Dense(10, activation="softmax"),
                ])
                model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
                return model

    Args:
        name: For people only.
        tunable: Whether what `build` asks for is searched. If not, it has its defaults.

    Attributes:
        name, tunable: As they were given.
        logs_validation_only: For models with `tasks` in their space: whether a metric's name
            without `val_` means what was found on validation data, as in glimr; what was found in
            training is then called `train_…`.
    """

    logs_validation_only = False
    name: str | None = None
    tunable = True  # these two hold also where a subclass does not call this constructor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.getattr_static(cls, "build")  # or that of another base
        is_own = own is not HyperModel.build and not hasattr(own, _WRAPPED)
        if is_own and inspect.isfunction(own):  # others, such as static ones, are as they are
            cls.build = _wrapped(own)  # type: ignore[method-assign]

    def __init__(self, name: str | None = None, tunable: bool = True) -> None:
        self.name, self.tunable = name, tunable

    def build(self, config: HyperParameters) -> Any:
        """Returns a compiled Keras model for one configuration. Must be overridden.

        Where the space has sections `tasks` and `optimization`, the model may be returned as it is,
        or as `(model, losses, loss_weights, metrics)`, and is compiled as they say.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override `build(config)` and return a compiled Keras "
            "model."
        )

    def _build_wrapper(self, hp: HyperParameters, *args: Any, **kwargs: Any) -> Any:
        """Builds by `build`; what calls `build` comes here first, as in KerasTuner.

        Override it to do something around each `build`, such as to open a name scope, and call
        `super()._build_wrapper`. It is not called again for a `super().build` inside of it.
        """
        if not self.tunable and isinstance(hp, HyperParameters):
            hp = hp.untuned()
        own = inspect.getattr_static(type(self), "build")
        build = own.__get__(self, type(self)) if hasattr(own, "__get__") else own
        with _building(self):
            return build(hp, *args, **kwargs)

    def declare_hyperparameters(self, config: HyperParameters) -> None:
        """Asks for hyperparameters that are searched whether `build` asks for them or not.
        Optional.
        """

    def data(self, config: HyperParameters) -> tuple[Any, Any]:
        """Returns `(train, validation)` for one configuration. Optional: without it, data is given
        to `search()`.

        Each of the two is what Keras' `fit` takes as `x` (a `tf.data.Dataset`, a
        `keras.utils.PyDataset`, …) or a tuple `(x, y)` or `(x, y, sample_weight)`; `validation` may
        be `None`. In a cross validation it returns the data of fold `config.fold` of
        `config.num_folds`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override `data(config)`.")

    def space(self) -> dict[str, Any] | None:
        """Returns the declared search space, a nested dict of fixed values and `ray.tune` domains.
        Optional.
        """
        return None

    def fit(self, config: HyperParameters, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Trains the model, by default with `model.fit(*args, **kwargs)`.

        Override it to tune arguments of `fit` or to write a training loop of your own; pass
        `callbacks` on, they report and checkpoint. A training that was interrupted goes on with
        `initial_epoch`, if `fit` takes it. Before a search it is called some times with a model
        that does not train, up to where it looks at a result, to see which hyperparameters it asks
        for. May return Keras' `History`, a dict of metrics, the objective's value, or a list of
        those, of which the mean counts.
        """
        return model.fit(*args, **kwargs)

    def run(self, config: HyperParameters) -> Any:
        """A whole trial of your own, instead of `data`, `build` and `fit`: for anything that is no
        Keras model. Optional.

        Returns:
            The objective's value, or a dict of metrics with the objective among them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override `run(config)`.")


_WRAPPED = "_glimr_is_wrapped"
"""Attribute of a `build` that goes through the wrapper already."""
_INSIDE: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar(
    "_INSIDE", default=frozenset()
)
"""The hypermodels, by their ids, that are inside of their wrappers."""


def _wrapped(build: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `build` that goes through `_build_wrapper`, once for each hypermodel."""

    @functools.wraps(build)
    def built(self: HyperModel, *args: Any, **kwargs: Any) -> Any:
        if _is_inside(self) or not (args or kwargs):
            return build(self, *args, **kwargs)
        if not args:  # the configuration may have any name
            args = (kwargs.pop(_name_of_config(kwargs)),)
        return self._build_wrapper(*args, **kwargs)

    setattr(built, _WRAPPED, True)
    return built


def _name_of_config(kwargs: dict[str, Any]) -> str:
    """Return under which name a `build` is given its configuration."""
    found = (name for name, value in kwargs.items() if isinstance(value, HyperParameters))
    return next(found, next(iter(kwargs)))


def _is_inside(hypermodel: HyperModel) -> bool:
    """Return whether a hypermodel is inside of its wrapper. (A function, since what a script has is
    sent to workers with the variables that it looks at.)
    """
    return id(hypermodel) in _INSIDE.get()


@contextlib.contextmanager
def _building(hypermodel: HyperModel) -> Iterator[None]:
    """Say that a hypermodel is inside of its wrapper."""
    token = _INSIDE.set(_INSIDE.get() | {id(hypermodel)})
    try:
        yield
    finally:
        _INSIDE.reset(token)


class FunctionHyperModel(HyperModel):
    """A plain function `build(config)` as a `HyperModel`."""

    def __init__(self, function: Callable[[HyperParameters], Any]) -> None:
        super().__init__()
        self.function = function

    def build(self, config: HyperParameters) -> Any:
        return self.function(config)

    def __repr__(self) -> str:
        return f"FunctionHyperModel({getattr(self.function, '__qualname__', self.function)!s})"


def as_hypermodel(hypermodel: Any, is_needed: bool = True) -> HyperModel:
    """The `HyperModel` that a user's argument means; an instance is returned as it is.

    Args:
        is_needed: If not, `None` means one that builds nothing.

    Raises:
        HyperModelError: If it is neither an instance of `HyperModel` nor a function.
    """
    if isinstance(hypermodel, HyperModel):
        return hypermodel
    if hypermodel is None and not is_needed:
        return HyperModel()
    if isinstance(hypermodel, type) and issubclass(hypermodel, HyperModel):
        raise HyperModelError(
            f"`hypermodel` must be an instance. Received the class {hypermodel.__name__}; pass "
            f"`{hypermodel.__name__}()`."
        )
    if isinstance(hypermodel, keras.layers.Layer):
        raise HyperModelError(
            "`hypermodel` argument should be either a HyperModel or a function `build(config)`, "
            "which makes a new model for each configuration. Received a model: "
            f"{type(hypermodel).__name__} {hypermodel.name!r}. Put the code that makes and "
            "compiles it into a function, `def build(config): …; return model`, and pass `build`."
        )
    if callable(hypermodel) and not isinstance(hypermodel, type):
        return FunctionHyperModel(hypermodel)
    raise HyperModelError(
        "`hypermodel` argument should be either a HyperModel or a function `build(config)` that "
        "returns a compiled Keras model. It may be left out where a subclass of `Tuner` "
        f"overrides `run_trial`. Received `hypermodel={hypermodel!r}`."
    )


def method_name(hypermodel: HyperModel, method: str) -> str:
    """How the user calls a method, for messages: `Digits.build(config)`, or a plain function's own
    name.
    """
    if isinstance(hypermodel, FunctionHyperModel):
        return f"`{getattr(hypermodel.function, '__qualname__', hypermodel.function)}(config)`"
    return f"`{type(hypermodel).__name__}.{method}(config)`"


def overrides(hypermodel: HyperModel, method: str) -> bool:
    """Whether the user's class, or object, has its own `method`.

    One that is called `data`, `run` or `space` and does not take what that would be given is
    another's, and does not count.
    """
    if not is_overridden(hypermodel, method, HyperModel):
        return False
    own = getattr(hypermodel, method)
    return method not in _ARGUMENTS or (callable(own) and takes(own, _ARGUMENTS[method]))


_ARGUMENTS = {"data": 1, "run": 1, "space": 0}
"""How many they are called with."""


def declared_space(hypermodel: HyperModel) -> dict[str, Any] | None:
    """The space that the user's class declares, if it does."""
    return hypermodel.space() if overrides(hypermodel, "space") else None
