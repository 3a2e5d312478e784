"""Keras' registry of custom objects on its way to workers: what a script has registered, and what
is in the scope that it searches in. Runs in driver and worker.

What a worker can import is imported there, which registers it with all else that its module does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import sys
from collections.abc import Callable
from typing import Any

import keras
from keras.src.saving import object_registration

from glimr_keras._utils.late_imports import if_imported


@dataclasses.dataclass(frozen=True)
class Registry:
    """What Keras finds by name.

    Attributes:
        objects: Of the script, by name.
        places: Module and name in it of what can be imported, by name.
        registered: The names that Keras also writes into configurations for these objects; the
            others are only looked up.
    """

    objects: dict[str, Any]
    places: dict[str, tuple[str, str]]
    registered: frozenset[str]

    @classmethod
    def current(cls, is_sendable: Callable[[Any], bool]) -> Registry:
        """That of this process, without what cannot be sent: it is missed, loudly, only where it is
        used.
        """
        found = {**keras.saving.get_custom_objects(), **_scope()}
        places = {name: place for name, value in found.items() if (place := place_of(value))}
        objects = {
            name: value
            for name, value in found.items()
            if name not in places and is_sendable(value)
        }
        sent = objects.keys() | places.keys()
        return cls(
            objects, places, frozenset(name for name in sent if _is_registered(name, found[name]))
        )

    def install(self) -> None:
        """Add the objects to this process' registry."""
        found = dict(self.objects)
        for name, place in self.places.items():
            with contextlib.suppress(Exception):  # a module that is not here: as above
                found[name] = _imported(*place)
        registry = keras.saving.get_custom_objects()
        for name in self.registered & registry.keys():  # of an earlier trial
            with contextlib.suppress(TypeError):
                object_registration.GLOBAL_CUSTOM_NAMES.pop(registry[name], None)
        registry.update(found)
        for name in self.registered & found.keys():
            keras.saving.register_keras_serializable(*name.split(">", 1))(found[name])


def _scope() -> dict[str, Any]:
    """Return the contents of the surrounding `keras.saving.custom_object_scope`."""
    with keras.saving.custom_object_scope({}) as inner:
        return dict(inner.backup)


def _is_registered(name: str, value: Any) -> bool:
    with contextlib.suppress(TypeError, AttributeError):  # what has no name or no hash
        return ">" in name and bool(keras.saving.get_registered_name(value) == name)
    return False


def is_by_value(module: Any) -> bool:
    """Whether what a module of this name has is sent itself: of the main script, and of modules,
    with all in them, that the user has cloudpickle send so.
    """
    # With which who has not imported cloudpickle has registered nothing
    registered = if_imported("ray.cloudpickle", "list_registry_pickle_by_value")
    return module == "__main__" or any(
        f"{module}.".startswith(f"{known}.") for known in (registered() if registered else ())
    )


def place_of(value: Any) -> tuple[str, str] | None:
    """Return where a worker can import a class or function from; `None` if it is to be
    sent itself.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or is_by_value(module):
        return None
    try:
        return (module, name) if _in(sys.modules.get(module), name) is value else None
    except AttributeError:
        return None


def _imported(module: str, name: str) -> Any:
    return _in(importlib.import_module(module), name)


def _in(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module
