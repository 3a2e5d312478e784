"""KerasTuner's private modules, `keras_tuner.src.…`, as aliases below `glimr_keras.src`. Modules
that scripts import from are available; an import of any other names the replacement.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
import types
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

_ROOT = "glimr_keras.src"
_ENGINE = (
    "base_tuner",
    "hypermodel",
    "hyperparameters",
    "metrics_tracking",
    "objective",
    "oracle",
    "trial",
    "tuner",
    "tuner_utils",
)
_APPLICATIONS = "augment", "efficientnet", "resnet", "xception"
_DOORS = MappingProxyType(
    {
        **{f"engine.{name}": [f"glimr_keras.engine.{name}"] for name in _ENGINE},
        **{f"applications.{name}": [f"glimr_keras.applications.{name}"] for name in _APPLICATIONS},
        "errors": ["glimr_keras.errors"],
        "utils": ["glimr_keras.tuners.run_trial_parts"],
        "tuners.randomsearch": [
            "glimr_keras.tuners.random_search",
            "glimr_keras.oracles.random_search",
        ],
        "tuners.gridsearch": ["glimr_keras.tuners.grid_search", "glimr_keras.oracles.grid_search"],
        "tuners.hyperband": ["glimr_keras.tuners.hyperband", "glimr_keras.oracles.hyperband"],
        "tuners.bayesian": [
            "glimr_keras.tuners.bayesian_optimization",
            "glimr_keras.oracles.bayesian",
        ],
        "tuners.sklearn_tuner": ["glimr_keras.tuners.sklearn_tuner"],
        "backend.keras": ["keras"],
        "backend.ops": ["keras.ops"],
        "backend.random": ["keras.random"],
        "backend.config": ["keras.config", "glimr_keras.tuners.run_trial_parts"],
    }
)
"""The modules whose names are available at each path."""
_HALLS = MappingProxyType(
    {
        "engine": ["glimr_keras.engine"],
        "oracles": ["glimr_keras.oracles"],
        "tuners": ["glimr_keras.tuners"],
        "applications": ["glimr_keras.applications"],
        "backend": [],
    }
)
"""Paths with other paths below them, and the modules whose names they offer as well."""
_INSTEAD = MappingProxyType(
    {
        "distribute": "A search over several machines is a Ray cluster: give the tuner `address=`.",
        "protos": "`get_config()` and `get_state()` have everything as JSON types.",
        "backend.io": "Use `pathlib`.",
        "test_utils": 'A tuner with `executor="inline"` can be tested in one process.',
    }
)


def open_doors() -> None:
    """Make the paths importable."""
    _open("", [])
    for path, modules in {**_HALLS, **_DOORS}.items():
        _open(path, modules)
    if not any(isinstance(finder, _Adviser) for finder in sys.meta_path):
        sys.meta_path.append(_Adviser())


def _open(path: str, modules: Iterable[str]) -> None:
    """Make one path importable, as an attribute of its parent."""
    name = f"{_ROOT}.{path}" if path else _ROOT
    found = [importlib.import_module(module) for module in modules]
    module = _joined(name, found)
    sys.modules[name] = module
    above, _, own = name.rpartition(".")
    setattr(sys.modules[above], own, module)


def _joined(name: str, modules: Sequence[types.ModuleType]) -> types.ModuleType:
    """Return a module with the names of others.

    It is an empty package, so that imports of anything below it reach `_Adviser`.
    """

    def others(wanted: str) -> Any:
        """Return the value of a non-public name, such as `__version__`."""
        for module in modules:
            if wanted in vars(module):
                return vars(module)[wanted]
        raise AttributeError(f"module {name!r} has no attribute {wanted!r}")

    joined = types.ModuleType(
        name, "Other names of what is elsewhere, for scripts of KerasTuner's."
    )
    for module in modules:
        public = (each for each in vars(module) if not each.startswith("_"))
        vars(joined).update({each: vars(module)[each] for each in public})
    joined.__path__ = []
    joined.__getattr__ = others  # type: ignore[method-assign]
    return joined


class _Adviser(importlib.abc.MetaPathFinder):
    """The last import finder, which names the replacements of all other paths."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Find nothing.

        Raises:
            ModuleNotFoundError: If the path belongs to one of KerasTuner's private modules.
        """
        if fullname.startswith(f"{_ROOT}."):
            _advise(fullname)


def _advise(fullname: str) -> NoReturn:
    path = fullname.removeprefix(f"{_ROOT}.")
    instead = next((text for start, text in _INSTEAD.items() if path.startswith(start)), None)
    public = (
        "Import from `glimr_keras`, or its `engine`, `oracles`, `tuners`, `applications` or "
        "`errors`."
    )
    raise ModuleNotFoundError(  # no `name`, since `from … import` would then ignore it
        f"{fullname!r} is private to KerasTuner, and not here. {instead or public} Of the private "
        f"ones there are: {', '.join(sorted(_DOORS))}"
    )
