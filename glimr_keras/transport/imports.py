"""What is done when a module is imported. Runs in the worker."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import operator
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


class ImportHooks(importlib.abc.MetaPathFinder):
    """Calls something with a module as soon as it is imported, and before what imports it goes on;
    of one that is imported already, at once.

    Attributes:
        around: What is entered around an import that no other import is the reason of. It is given
            the module, and whether something was expected of it.
    """

    def __init__(self) -> None:
        self.around: Callable[[Any, bool], contextlib.AbstractContextManager[None]] = (
            lambda module, is_expected: contextlib.nullcontext()
        )
        self._expected: dict[str, list[Callable[[Any], None]]] = {}
        self._depth = 0
        self._later: list[Callable[[], None]] = []

    def expect(self, calls: Mapping[str, list[Callable[[Any], None]]]) -> None:
        """Calls these, and no others any more."""
        self._expected = {}
        self.expect_too(calls)

    def expect_too(self, calls: Mapping[str, Iterable[Callable[[Any], None]]]) -> None:
        """Calls these too."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name, several in calls.items():
            self._expected.setdefault(name, []).extend(several)
            if name in sys.modules:
                for call in several:
                    call(sys.modules[name])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the module as the others do."""
        if self._depth and fullname not in self._expected:
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not self)
        finds = map(operator.methodcaller("find_spec", fullname, path, target), others)
        spec = next((spec for spec in finds if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self.importing)
        return spec

    def when_idle(self, call: Callable[[], None]) -> None:
        """Calls something when no module is being imported."""
        self._later.append(call)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._later and not self._depth:
            self._later.pop(0)()

    @contextlib.contextmanager
    def importing(self, module: types.ModuleType) -> Iterator[None]:
        """Calls what is expected after a block that runs the module's code."""
        is_expected = module.__name__ in self._expected
        with contextlib.nullcontext() if self._depth else self.around(module, is_expected):
            self._depth += 1
            try:
                yield
                for call in list(self._expected.get(module.__name__, ())):
                    call(module)
            finally:
                self._depth -= 1
            self._catch_up()


class _Loader(importlib.abc.Loader):
    """A module's own loader, with something around it."""

    def __init__(
        self,
        loader: Any,
        around: Callable[[types.ModuleType], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._loader, self._around = loader, around

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_loader"), name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """Make the module, as its own loader does."""
        made: types.ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the module's code."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._around(module):
            self._loader.exec_module(module)


IMPORTS = ImportHooks()
"""Those of this process."""
