"""The training and evaluation graphs of a model on TensorFlow, which any equal model can use. Runs
in the worker.

A traced function is called with its arguments and with the variables that its graph captured. Only
the runtime's part of it is held, which knows no model: each training passes its own variables. So
no two models ever share a variable, and what is held has none.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.polymorphic_function import function_context
from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function
from tensorflow.python.eager.polymorphic_function.tracing_compilation import ScopeType
from tensorflow.python.framework import op_def_registry
from tensorflow.python.ops import gen_optional_ops

from glimr_keras.training.fingerprint import Fingerprint
from glimr_keras.training.tf_pipelines import Later

_SIGNATURES = 4
"""The number of kinds of batches for which graphs of a function are held."""

Run = Callable[[Any], Any]
"""A function of Keras' training loop: trains or evaluates with an iterator's next batches."""


class Graphs:
    """The graphs of equal models."""

    def __init__(self) -> None:
        self._train: dict[Hashable, _Graph] = {}
        self._test: dict[Hashable, _Graph] = {}

    @contextlib.contextmanager
    def lent_to(
        self, model: Any, found: Fingerprint, is_same: Callable[[], bool] | None
    ) -> Iterator[Callable[[], bool]]:
        """Let a model train with the held graphs, and hold the graphs that it traces, if there is
        no error.

        Args:
            model: A model that Keras' own `fit` trains in the block.
            found: The model's fingerprint.
            is_same: Whether the fingerprint still holds; `None` if nothing can change it. It is
                called at the first call of a function, which is when Keras would trace it.

        Yields:
            A function that returns whether the model has trained with a held graph.
        """
        train = _Lent(model, "train_function", self._train, found, is_same)
        test = _Lent(model, "test_function", self._test, found, is_same)
        try:
            yield lambda: train.is_held
            train.keep()
            test.keep()
        finally:
            train.end()
            test.end()


class _Graph:
    """The held part of a traced function.

    Args:
        function: The runtime's part.
        captured: The graph's captures: positions of variables, or constants.
        logs: The specs of the tensors that it returns, by name.
    """

    def __init__(self, function: Any, captured: list[Any], logs: dict[str, Any]) -> None:
        self._function, self._captured, self._logs = function, captured, logs

    def bound(self, found: Fingerprint) -> Run:
        """Return the function that runs this graph with a model's variables."""
        function = self._function
        captured = [
            found.variables[each].value.handle if isinstance(each, int) else each
            for each in self._captured
        ]
        last: list[Any] = [None, None]  # an iterator, and the graph's inputs for it
        names = sorted(self._logs)  # TensorFlow returns the values in this order
        order = [(name, names.index(name)) for name in self._logs]
        as_logs = {
            "output_types": [self._logs[name].dtype for name in names],
            "output_shapes": [self._logs[name].shape for name in names],
        }

        def run(iterator: Any) -> Any:
            if iterator is not last[0]:
                given = function.function_type.bind(iterator)
                last[:] = iterator, function.function_type.unpack_inputs(given) + captured
            (logs,) = function.call_flat(*last[1])
            if not gen_optional_ops.optional_has_value(logs):
                raise StopIteration
            values = gen_optional_ops.optional_get_value(logs, **as_logs)
            return {name: values[place] for name, place in order}

        return run


class _Lent:
    """Replace a model's function with a held graph's, or with Keras' own.

    Args:
        model: The model.
        name: The model's attribute for the function.
        held: The held graphs, by the signature of their input.
        found: The model's fingerprint.
        is_same: Whether the fingerprint still holds; `None` if nothing can change it.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        held: dict[Hashable, _Graph],
        found: Fingerprint,
        is_same: Callable[[], bool] | None,
    ) -> None:
        self._model, self._name, self._held = model, name, held
        self._found, self._is_same = found, is_same
        self._iterator: Any = None
        self._run: Run | None = None
        self._of_graph: Run | None = None
        self._own: Run | None = None
        self._first: Any = None  # the iterator of the first call
        self._signature: Hashable = None
        setattr(model, name, self)

    @property
    def is_held(self) -> bool:
        """Return whether a held graph has been used."""
        return self._of_graph is not None

    def __call__(self, iterator: Any) -> Any:
        if type(iterator) is Later:
            iterator = iterator.iterator
        if iterator is not self._iterator or self._run is None:
            self._run, self._iterator = self._chosen(iterator), iterator
        return self._run(iterator)

    def _chosen(self, iterator: Any) -> Run:
        if self._first is None:
            self._first = iterator
            if self._is_same is None or self._is_same():
                self._signature = _signature(iterator)
                graph = self._held.get(self._signature)
                self._of_graph = None if graph is None else graph.bound(self._found)
        if self._of_graph is not None and _signature(iterator) == self._signature:
            return self._of_graph
        if self._own is None:
            self._own = self._keras()
            if self._of_graph is not None:  # what Keras traces next depends on what it has traced
                _traced(self._own).get_concrete_function(self._first)
        return self._own

    def _keras(self) -> Run:
        """Return Keras' own function."""
        setattr(self._model, self._name, None)
        getattr(self._model, f"make_{self._name}")()
        own: Run = getattr(self._model, self._name)
        setattr(self._model, self._name, self)
        return own

    def keep(self) -> None:
        """Hold the traced graph, if there is only one and nothing but variables and constants
        enters it.
        """
        if self._own is None or self._of_graph is not None or self._signature is None:
            return
        graph = _graph_of(self._own, self._found)
        if graph is not None:
            while len(self._held) >= _SIGNATURES:
                del self._held[next(iter(self._held))]
            self._held[self._signature] = graph

    def end(self) -> None:
        """Remove the function from the model, unless the model was compiled again and has another
        one.
        """
        if getattr(self._model, self._name) is self:
            setattr(self._model, self._name, None)


def _signature(iterator: Any) -> Hashable:
    """Return all that a graph depends on besides the model; `None` if unknown."""
    if not isinstance(iterator, tf.data.Iterator):
        return None
    signature = (
        iterator._type_spec,
        function_context.make_function_context(ScopeType.VARIABLE_CREATION),
    )
    try:
        hash(signature)
    except TypeError:
        return None
    return signature


def _traced(own: Run) -> Any:
    """Return the traced function inside Keras' own; `None` if there is none."""
    found = inspect.getclosurevars(own).nonlocals.get("multi_step_on_iterator")
    return found if isinstance(found, Function) else None


def _graph_of(own: Run, found: Fingerprint) -> _Graph | None:
    traced = _traced(own)
    config = None if traced is None else traced._variable_creation_config
    if config is None or len(config.function_cache) != 1:
        return None
    concrete = next(iter(config.function_cache.values()))
    places = {id(variable.value.handle): place for place, variable in enumerate(found.variables)}
    constants = {id(constant) for constant in found.constants}
    captured = []
    for each in concrete.captured_inputs:
        if id(each) in places:
            captured.append(places[id(each)])
        elif id(each) in constants:
            captured.append(each)
        else:
            return None
    function = concrete._inference_function
    logs = getattr(function.function_type.output, "_element_spec", None)
    if not isinstance(logs, dict) or not all(type(each) is tf.TensorSpec for each in logs.values()):
        return None
    if any(map(_draws, _operations(function))):
        return None
    _forget_graphs(function)
    return _Graph(function, captured, logs)


def _operations(function: Any) -> set[str]:
    """Return the types of operations in a graph and in the graphs that it calls."""
    kinds = {operation.type for operation in function.graph.get_operations()}
    return kinds.union(*map(_operations, function.children))


def _draws(operation: str) -> bool:
    """Return whether an operation uses the process' seed, or calls Python."""
    definition = op_def_registry.get(operation)
    return "PyFunc" in operation or (
        definition is not None and any(attribute.name == "seed2" for attribute in definition.attr)
    )


def _forget_graphs(function: Any) -> None:
    """Keep only the runtime's part of a graph: Python's part keeps variables alive."""
    function._cached_graph = None
    for child in function.children:
        _forget_graphs(child)
