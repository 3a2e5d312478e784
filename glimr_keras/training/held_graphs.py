"""Holds the graphs of finished trainings for equal models, so that they are traced and compiled
once. Runs in the worker.

Two models are equal if they differ only in the values of variables. `fingerprint` compares them: if
it is unknown how any part enters a graph, nothing is held or used. Only traced graphs are held, and
never a model. A held graph trains the model that the trial built, with that model's variables. So
whatever the trial's code keeps of a model never belongs to another one.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from glimr_keras.training import keras_session, library_settings, tf_kernels
from glimr_keras.training.fingerprint import Fingerprint, fingerprint

_MOST = 4
"""The number of kinds of models whose graphs are held."""

_held: collections.OrderedDict[Any, Any] = collections.OrderedDict()
"""Graphs by the models' fingerprint; the most recently used come last."""


@contextlib.contextmanager
def lent_to(
    model: Any, callbacks: Sequence[Any], knows: Callable[[Any], bool]
) -> Iterator[Callable[[], bool]]:
    """Let a model train with the graphs of an equal one in the block, if there are any.

    Args:
        model: A model that Keras' own `fit` trains in the block, ready for training.
        callbacks: The callbacks of this training.
        knows: Whether a callback changes nothing of a model but the values of variables.

    Yields:
        A function that returns whether the model has trained with the graphs of an earlier
        training.
    """
    found = _made_of(model) if _may_be_lent(model) else None
    graphs = None if found is None else _held.pop(found.key, None) or _new_graphs()
    if found is None or graphs is None:
        with lent_to_none() as is_used:
            yield is_used
        return
    is_same = None if all(map(knows, callbacks)) else functools.partial(_is_made_of, model, found)
    try:
        with (
            _light_pipelines(when_needed=is_same is None),
            graphs.lent_to(model, found, is_same) as is_used,
        ):
            yield is_used
    except BaseException:
        forget()  # memory may be short
        raise
    while len(_held) >= _MOST:
        _held.popitem(last=False)
    _held[found.key] = graphs
    tf_kernels.pays = is_used()


@contextlib.contextmanager
def lent_to_none() -> Iterator[Callable[[], bool]]:
    """Let models in the block trace their own graphs, and read arrays with the same light pipelines
    as models with lent graphs.

    Yields:
        A function as from `lent_to`, which returns `False`.
    """
    with _light_pipelines():
        yield lambda: False


def forget() -> None:
    """Drop all held graphs."""
    _held.clear()
    tf_kernels.pays = False


def _may_be_lent(model: Any) -> bool:
    """Return whether the process is a worker, and the model one that Keras traces unchanged."""
    return (
        keras_session.is_worker()
        and keras.backend.backend() in ("tensorflow", "jax")
        and model.built
        and getattr(model, "optimizer", None) is not None
        and model.optimizer.built
        and not model.run_eagerly
        and model.train_function is None
        and model.test_function is None
        and getattr(model, "_distribute_strategy", None) is None
    )


def _new_graphs() -> Any:
    """Return a holder for the graphs of equal models; `None` if the library keeps them in another
    way.
    """
    name = "jax" if keras.backend.backend() == "jax" else "tf"
    with contextlib.suppress(ImportError, AttributeError):
        return importlib.import_module(f"glimr_keras.training.{name}_graphs").Graphs()
    return None


def _light_pipelines(when_needed: bool = False) -> contextlib.AbstractContextManager[None]:
    """Use light pipelines for arrays in a worker, if the backend's version allows it."""
    if keras_session.is_worker() and keras.backend.backend() == "tensorflow":
        with contextlib.suppress(ImportError, AttributeError):
            from glimr_keras.training import tf_pipelines  # for TensorFlow only

            return tf_pipelines.light(when_needed)
    return contextlib.nullcontext()


def _made_of(model: Any) -> Fingerprint | None:
    """Return the fingerprint of a model and of all else that enters its graphs."""
    settings = {
        name: value
        for name, value in library_settings.current().items()
        if not name.startswith(_ENTERS_NO_GRAPH)
    }
    environment = {name: value for name, value in os.environ.items() if name.startswith(_LIBRARIES)}
    return fingerprint(model, settings, environment)


def _is_made_of(model: Any, found: Fingerprint) -> bool:
    now = _made_of(model)
    return now is not None and now.key == found.key


_ENTERS_NO_GRAPH = ("matplotlib", "PIL", "sklearn", "interactive_logging", "torch")
_LIBRARIES = ("KERAS_", "TF_", "XLA_", "JAX_", "CUDA_", "OMP_", "MKL_", "OPENBLAS_")
