"""A trial call of a user-defined `fit` before the search, to find the hyperparameters that it asks
for. Runs in the worker.

The call gets a model that does not train, and runs until `fit` looks at the results. A custom loop
that would train on is ended soon; then the first trial shows which hyperparameters it asks for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras

from glimr_keras.models.data import FitArguments
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.context import TrialContext, fit_kwargs
from glimr_keras.training.time_box import ends_within
from glimr_keras.training.unseen import unseen

_MAX_SECONDS = 3.0
"""The time limit of these calls in a search, all together, in seconds."""


class _EnoughError(BaseException):
    """End a user-defined training loop where it would begin to train. It is not an `Exception`,
    which that loop may catch.
    """


class _Ending(keras.callbacks.Callback):
    """End a training loop that calls its callbacks itself."""

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        raise _EnoughError

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        raise _EnoughError


class _Nothing(dict[str, Any]):
    """The logs of a training that did not take place; reading them ends the call."""

    def _enough(self, *args: Any) -> Any:
        raise _EnoughError

    __getitem__ = __iter__ = __contains__ = __len__ = get = keys = values = items = _enough


class FitLook:
    """Call a search's user-defined `fit` without training, as long as there is time.

    Args:
        context: The context of the search.

    Attributes:
        call: The arguments of the first call of the model's own `fit`; `None` if it was not called.
    """

    def __init__(self, context: TrialContext) -> None:
        self._context, self._left = context, _MAX_SECONDS
        self._was_ended = False
        self.call: FitArguments | None = None

    @property
    def has_time(self) -> bool:
        """Return whether another call is possible: none had to be ended, and there is time left."""
        return not self._was_ended and self._left > 0

    def ask(self, config: HyperParameters, model: Any, arguments: FitArguments) -> set[str]:
        """Call `fit`, and return the names of the hyperparameters that it asks for or looks at.

        Args:
            config: The model's configuration.
            model: A model, which never trains again.
            arguments: The arguments for `fit`.
        """
        context = self._context
        if context.loop.is_keras_fit or not self.has_time:
            return set()
        self._disarm(model)
        kwargs = {**fit_kwargs(context, config, arguments), "callbacks": [_Ending()]}
        if "verbose" in kwargs:
            kwargs["verbose"] = 0

        def task() -> None:
            context.hypermodel.fit(config, model, *arguments.args, **kwargs)

        started = time.monotonic()
        with config.watched() as names, unseen():
            self._was_ended = not ends_within(self._left, task)
        self._left -= time.monotonic() - started
        return names

    def _disarm(self, model: Any) -> None:
        """Keep a model and its optimizer from training."""

        def untrained(*args: Any, **kwargs: Any) -> keras.callbacks.History:
            self.call = self.call or FitArguments(args, kwargs)
            history = keras.callbacks.History()
            history.history = _Nothing()
            return history

        def enough(*args: Any, **kwargs: Any) -> None:
            raise _EnoughError

        object.__setattr__(model, "fit", untrained)
        for name in ("train_on_batch", "evaluate", "predict"):
            object.__setattr__(model, name, enough)
        optimizer = getattr(model, "optimizer", None)
        if hasattr(optimizer, "apply"):  # an optimizer of Keras, and not another object
            object.__setattr__(optimizer, "apply", enough)
