"""The compiled steps of a model's training and evaluation on JAX, which any equal model can use.
Runs in the worker.

They are functions of the state that Keras passes, and look at a model only while they are traced.
So what is held has the steps of whichever model trains, and no model when none does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from glimr_keras.training.fingerprint import Fingerprint


class Graphs:
    """The steps of models that are equal."""

    def __init__(self) -> None:
        self._steps = _Steps()
        self._is_traced = False

    @contextlib.contextmanager
    def lent_to(
        self, model: Any, found: Fingerprint, is_same: Callable[[], bool] | None
    ) -> Iterator[Callable[[], bool]]:
        """Has a model train by what is held, and holds what it traces.

        Args:
            model: Trained in the block, by Keras' own `fit`.
            found: What it is made of.
            is_same: Whether it still is; `None` where nothing can change it. Where something can,
                nothing is lent: JAX traces a step again for a batch of another size, at any time.

        Yields:
            Whether it has trained by what was held.
        """
        steps = self._steps
        if is_same is not None or steps.model is not None or not _is_stateless(model, found):
            yield lambda: False
            return
        was_traced, steps.model = self._is_traced, model
        try:
            own = {name: steps.function(name) for name in ("train_function", "test_function")}
            for name, function in own.items():
                setattr(model, name, function)
            yield lambda: was_traced
            self._is_traced = True
        finally:
            steps.model = None
            for name in ("train_function", "test_function"):
                if getattr(model, name) is steps.functions.get(name):
                    setattr(model, name, None)


class _Steps:
    """In the place of a model, for the functions that Keras makes of its steps.

    Attributes:
        model: The one that trains; `None` if none does.
        functions: Those that were made.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.functions: dict[str, Any] = {}
        self.train_function = self.test_function = None

    def function(self, name: str) -> Any:
        """Return Keras' own function of this name, which is made once."""
        if name not in self.functions:
            getattr(type(self.model), f"make_{name}")(self)
            self.functions[name] = getattr(self, name)
        return self.functions[name]

    def train_step(self, state: Any, data: Any) -> Any:
        return self.model.train_step(state, data)

    def test_step(self, state: Any, data: Any) -> Any:
        return self.model.test_step(state, data)

    def _make_function(self, step_function: Any) -> Any:
        return type(self.model)._make_function(self, step_function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)


def _is_stateless(model: Any, found: Fingerprint) -> bool:
    """Whether its steps are traced, and get all variables: another's value would be a constant."""
    if model.run_eagerly or not model.jit_compile:
        return False
    passed = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    known = {id(variable) for variables in passed for variable in variables}
    return all(id(variable) in known for variable in found.variables)
