"""A look at a `fit` of the user's own before the search: which hyperparameters it asks for. Runs in
the worker.

It is run with a model that does not train, up to where it looks at what came out. A loop of its own
that would go on training is ended soon: then the first trial is the look.
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
"""What all looks of a search take together."""


class _EnoughError(BaseException):
    """Ends a training loop of the user's own where it would begin to train. (No `Exception`, which
    that loop may catch.)
    """


class _Ending(keras.callbacks.Callback):
    """Ends a training loop that drives its callbacks by hand."""

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        raise _EnoughError

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        raise _EnoughError


class _Nothing(dict[str, Any]):
    """What a training that did not take place has logged: who looks at it sees nothing more."""

    def _enough(self, *args: Any) -> Any:
        raise _EnoughError

    __getitem__ = __iter__ = __contains__ = __len__ = get = keys = values = items = _enough


class FitLook:
    """Looks at the user's own `fit` of a search, as long as there is time.

    Attributes:
        call: How the first model's own `fit` was called there; `None` if it was not.
    """

    def __init__(self, context: TrialContext) -> None:
        self._context, self._left = context, _MAX_SECONDS
        self._was_ended = False
        self.call: FitArguments | None = None

    @property
    def has_time(self) -> bool:
        """Whether it may look again: no `fit` had to be ended, and they took less than they may."""
        return not self._was_ended and self._left > 0

    def ask(self, config: HyperParameters, model: Any, arguments: FitArguments) -> set[str]:
        """Runs `fit`, and returns the names that it asks for or looks at.

        Args:
            config: Of the model.
            model: Never trains again.
            arguments: What `fit` is given.
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
        """Has a model, and its optimizer, not train."""

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
        if hasattr(optimizer, "apply"):  # of Keras', and not something else of the user's
            object.__setattr__(optimizer, "apply", enough)
