"""Graphs of trainings that are over, for models that are equal: they are traced and compiled once.
Runs in the worker.

A model is equal to another if it differs from it in the values of variables only. What is compared
is in `fingerprint`: if of anything it is not known how it enters a graph, nothing is held and
nothing used. Held is what was traced, and never a model: it trains the model that the trial built,
with the variables that this has. So nothing that the trial's code keeps of a model is another's.
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
"""So many kinds of models have their graphs held."""

_held: collections.OrderedDict[Any, Any] = collections.OrderedDict()
"""By what models are made of; the one that was used last is last."""


@contextlib.contextmanager
def lent_to(
    model: Any, callbacks: Sequence[Any], knows: Callable[[Any], bool]
) -> Iterator[Callable[[], bool]]:
    """Has a model train by the graphs of an equal one, where there are any, in the block.

    Args:
        model: Trained in the block by Keras' own `fit`, and ready to be.
        callbacks: Of this training.
        knows: Whether a callback changes nothing of a model but the values of variables.

    Yields:
        Whether it has trained by the graphs of an earlier training.
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
    """Has models that train in the block trace their own graphs, and read arrays as lightly as
    those that are lent some.

    Yields:
        As `lent_to`.
    """
    with _light_pipelines():
        yield lambda: False


def forget() -> None:
    """Holds no graphs any more."""
    _held.clear()
    tf_kernels.pays = False


def _may_be_lent(model: Any) -> bool:
    """Whether the process is a worker, and the model one that Keras traces, as it is."""
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
    """What holds graphs of equal models; `None` of a library that keeps them in another way."""
    name = "jax" if keras.backend.backend() == "jax" else "tf"
    with contextlib.suppress(ImportError, AttributeError):
        return importlib.import_module(f"glimr_keras.training.{name}_graphs").Graphs()
    return None


def _light_pipelines(when_needed: bool = False) -> contextlib.AbstractContextManager[None]:
    """Has arrays read with less around it in a worker, where that is known how."""
    if keras_session.is_worker() and keras.backend.backend() == "tensorflow":
        with contextlib.suppress(ImportError, AttributeError):
            from glimr_keras.training import tf_pipelines  # of TensorFlow only

            return tf_pipelines.light(when_needed)
    return contextlib.nullcontext()


def _made_of(model: Any) -> Fingerprint | None:
    """What a model, and all else that enters its graphs, are made of."""
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
