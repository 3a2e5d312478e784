"""`HyperModel`: the model to build. Users subclass it; its methods run in the worker."""

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
    """Build and train the models of a search. Subclass it and override `build`.

    Override other methods as the model needs. In every trial, a fresh copy of the object runs
    `data(config)`, then `build(config)`, then `fit(config, model, …)` with the same `config`.
    Inline trials use the object itself. Without a Keras model to build, override `run(config)`
    alone.

    Args:
        name: A name for display only. Defaults to `None`.
        tunable: Whether the hyperparameters that `build` requests are searched; if `False`, they
            keep their defaults. Defaults to `True`.

    Attributes:
        name, tunable: The arguments.
        logs_validation_only: For models with `tasks` in their space: whether a metric's name
            without `val_` means its value on validation data, as in glimr. The value in training is
            then called `train_…`.

    Example:
        class Digits(HyperModel):
            def build(self, config):
                model = keras.Sequential([
                    keras.layers.Dense(config.Int("units", 16, 256, step=16), activation="relu"),
                    keras.layers.Dense(10, activation="softmax"),
                ])
                model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
                return model
    """

    logs_validation_only = False
    name: str | None = None
    tunable = True  # both also apply if a subclass does not call this constructor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.getattr_static(cls, "build")  # or another base's
        is_own = own is not HyperModel.build and not hasattr(own, _WRAPPED)
        if is_own and inspect.isfunction(own):  # others, such as static ones, stay unchanged
            cls.build = _wrapped(own)  # type: ignore[method-assign]

    def __init__(self, name: str | None = None, tunable: bool = True) -> None:
        self.name, self.tunable = name, tunable

    def build(self, config: HyperParameters) -> Any:
        """Return a compiled Keras model for one configuration. Must be overridden.

        If the space has sections `tasks` and `optimization`, it may return an uncompiled model, or
        `(model, losses, loss_weights, metrics)`. The model is then compiled from the sections.

        Args:
            config: The hyperparameters of the trial.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override `build(config)` and return a compiled Keras "
            "model."
        )

    def _build_wrapper(self, hp: HyperParameters, *args: Any, **kwargs: Any) -> Any:
        """Call `build`; every call of `build` comes here first, as in KerasTuner.

        Override it to do something around each `build`, such as opening a name scope, and call
        `super()._build_wrapper`. A `super().build` inside of it does not call it again.
        """
        if not self.tunable and isinstance(hp, HyperParameters):
            hp = hp.untuned()
        own = inspect.getattr_static(type(self), "build")
        build = own.__get__(self, type(self)) if hasattr(own, "__get__") else own
        with _building(self):
            return build(hp, *args, **kwargs)

    def declare_hyperparameters(self, config: HyperParameters) -> None:
        """Request hyperparameters that are searched whether `build` requests them or not.

        Optional.
        """

    def data(self, config: HyperParameters) -> tuple[Any, Any]:
        """Return `(train, validation)` for one configuration.

        Optional: without it, data is passed to `search()`. Each of the two is what Keras' `fit`
        takes as `x` (a `tf.data.Dataset`, a `keras.utils.PyDataset`, …), or a tuple `(x, y)` or
        `(x, y, sample_weight)`. `validation` may be `None`. In a cross validation, it returns the
        data of fold `config.fold` of `config.num_folds`.

        Args:
            config: The hyperparameters of the trial.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override `data(config)`.")

    def space(self) -> dict[str, Any] | None:
        """Return the declared search space: nested dicts of fixed values and `ray.tune` domains.

        Optional.
        """
        return None

    def fit(self, config: HyperParameters, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Train the model, by default with `model.fit(*args, **kwargs)`.

        Override it to tune arguments of `fit` or to write a custom training loop. Pass on
        `callbacks`, which report and checkpoint. An interrupted training resumes with
        `initial_epoch`, if `fit` takes it. Before a search, it is called a few times with a model
        that does not train, up to where it reads a result. These calls show which hyperparameters
        it requests.

        Args:
            config: The hyperparameters of the trial.
            model: The model from `build`.
            *args, **kwargs: Arguments of Keras' `fit`, with the data and callbacks.

        Returns:
            Keras' `History`, a dict of metrics, the objective's value, or a list of these, whose
            mean counts.
        """
        return model.fit(*args, **kwargs)

    def run(self, config: HyperParameters) -> Any:
        """Run a whole trial instead of `data`, `build` and `fit`, without a Keras model.

        Optional.

        Args:
            config: The hyperparameters of the trial.

        Returns:
            The objective's value, or a dict of metrics that includes the objective.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override `run(config)`.")


_WRAPPED = "_glimr_is_wrapped"
"""The attribute of a `build` that already goes through the wrapper."""
_INSIDE: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar(
    "_INSIDE", default=frozenset()
)
"""The ids of hypermodels that are inside their wrappers."""


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
    """Return the argument name under which a `build` receives its configuration."""
    found = (name for name, value in kwargs.items() if isinstance(value, HyperParameters))
    return next(found, next(iter(kwargs)))


def _is_inside(hypermodel: HyperModel) -> bool:
    """Return whether a hypermodel is inside its wrapper.

    A function, since objects of a script are sent to workers with the variables they use.
    """
    return id(hypermodel) in _INSIDE.get()


@contextlib.contextmanager
def _building(hypermodel: HyperModel) -> Iterator[None]:
    """Mark a hypermodel as inside its wrapper."""
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
    """Return the `HyperModel` for a user's argument; an instance is returned unchanged.

    Args:
        hypermodel: An instance, or a function `build(config)`.
        is_needed: If `False`, `None` means a hypermodel that builds nothing. Defaults to `True`.

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
    """Return a method as the user calls it, for messages.

    For example `Digits.build(config)`, or a plain function's own name.
    """
    if isinstance(hypermodel, FunctionHyperModel):
        return f"`{getattr(hypermodel.function, '__qualname__', hypermodel.function)}(config)`"
    return f"`{type(hypermodel).__name__}.{method}(config)`"


def overrides(hypermodel: HyperModel, method: str) -> bool:
    """Return whether the user's class or object has its own `method`.

    A `data`, `run` or `space` that does not take the arguments it would receive has another
    purpose, and does not count.
    """
    if not is_overridden(hypermodel, method, HyperModel):
        return False
    own = getattr(hypermodel, method)
    return method not in _ARGUMENTS or (callable(own) and takes(own, _ARGUMENTS[method]))


_ARGUMENTS = {"data": 1, "run": 1, "space": 0}
"""The number of arguments each is called with."""


def declared_space(hypermodel: HyperModel) -> dict[str, Any] | None:
    """Return the space that the user's class declares, or `None`."""
    return hypermodel.space() if overrides(hypermodel, "space") else None
