"""The compiled training and evaluation steps of a model on JAX, which any equal model can use. Runs
in the worker.

They are functions of the state that Keras passes, and access a model only while they are traced. So
the held object uses the steps of whichever model trains, and has no model when none does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from glimr_keras.training.fingerprint import Fingerprint


class Graphs:
    """The steps of equal models."""

    def __init__(self) -> None:
        self._steps = _Steps()
        self._is_traced = False

    @contextlib.contextmanager
    def lent_to(
        self, model: Any, found: Fingerprint, is_same: Callable[[], bool] | None
    ) -> Iterator[Callable[[], bool]]:
        """Let a model train with the held steps, and hold the steps that it traces.

        Args:
            model: A model that Keras' own `fit` trains in the block.
            found: The model's fingerprint.
            is_same: Whether the fingerprint still holds; `None` if nothing can change it. If
                something can, nothing is lent: JAX may retrace a step at any time, for a batch of
                another size.

        Yields:
            A function that returns whether the model has trained with held steps.
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
    """Stand in for a model, for the functions that Keras makes of its steps.

    Attributes:
        model: The model that trains; `None` if none does.
        functions: The functions made so far, by name.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.functions: dict[str, Any] = {}
        self.train_function = self.test_function = None

    def function(self, name: str) -> Any:
        """Return Keras' function of this name, which is made once."""
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
    """Return whether a model's steps are traced and receive all variables. A variable that they do
    not receive would be a constant.
    """
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
