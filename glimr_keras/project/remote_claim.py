"""The claim of a search to a project at a URI, which a second search sees before it writes. Runs in
the driver.

An object at the URI names the search, and is written again every 15 seconds while it runs. Stores
that `pyarrow` knows have no conditional writes, so who claims looks again after a moment: the one
that wrote last has the project. Two that begin within less than that moment may both think so; each
looks at the claim again before it sends anything, and so the one that wrote first ends, seconds
later.

A claim that is not written again for a minute is void, such as that of a search that was killed.
How old it is follows from the store's times alone, since clocks of machines differ. Who finds a
younger one waits, and sees whether it is written again. It is void at once for a search with the
same local copy, which its journal's lock keeps for one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterable
from typing import Any

from glimr_keras._utils import untrusted_json
from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project.remote_files import PART, Remote, without_keys

NAME = "claim.json"
SECONDS = 60.0
"""After which a claim that was not written again is void."""
_BEAT = 15.0
"""Seconds between two times that it is written."""
_LOOK = 1.0
"""Seconds between two looks at a claim whose end is waited for."""
_MOMENT = 0.2
"""Seconds after which it is looked whose the claim is."""


class Claim:
    """The claim of one search.

    Args:
        remote: The files at the URI.
        name: That of the claim's file there.
        directory: The search's local copy.

    Attributes:
        owner: Names the search.
    """

    def __init__(self, remote: Remote, name: str, directory: Any) -> None:
        self._remote, self._name = remote, name
        self._copy = f"{socket.gethostname()} {uuid.getnode():x} {directory}"
        self.owner = uuid.uuid4().hex
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Claims the project, after a wait as by `wait`.

        Raises:
            ProjectError: If another search runs in it.
            StorageError: If that cannot be told.
        """
        self.wait()
        self._write()
        time.sleep(_MOMENT)
        self._check()
        self._ends = threading.Event()
        self._thread = threading.Thread(
            target=functools.partial(self._beat, self._ends), daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Waits where another search has claimed the project, for a minute at most, to see whether
        it still runs.

        Raises:
            ProjectError: If it does.
            StorageError: If that cannot be told.
        """
        found = self._there()
        left = SECONDS - self._age(self._name) if self._is_of_another(found) else 0.0
        if left <= 0.0:
            return
        warnings.warn(
            f"Another search has claimed the project at {without_keys(self._remote.uri)}, on "
            f"{_host(found)!r}. Waiting for up to {left:.0f} s to see whether it still runs.",
            stacklevel=2,
        )
        until = time.monotonic() + left
        while time.monotonic() < until:
            time.sleep(_LOOK)
            now = self._there()
            if not self._is_of_another(now):
                return
            if now != found:
                raise self._is_running(now)

    def tidy(self, names: Iterable[str]) -> None:
        """Removes what searches that were killed had begun to write beside the claim.

        Args:
            names: All that there are.

        Raises:
            StorageError: If that cannot be done.
        """
        place = self._name.rpartition("/")[0]
        begun = [each for each in names if each.rpartition("/")[0] == place and each.endswith(PART)]
        for name in begun:
            if self._age(name) > SECONDS:
                self._remote.delete(name)

    def hold(self) -> None:
        """Looks whether the project is still this search's.

        Raises:
            ProjectError: If another search has claimed it.
            StorageError: If that cannot be told.
        """
        if not self._check():
            self._write()

    def release(self) -> None:
        """Gives the project back, if it is this search's.

        Raises:
            StorageError: If it cannot be reached.
        """
        self._ends.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._there().get("owner") == self.owner:
            self._remote.delete(self._name)

    def _beat(self, ends: threading.Event) -> None:
        """Says that the search runs, until it ends, also while a large file is sent."""
        while not ends.wait(_BEAT):
            with contextlib.suppress(StorageError):  # which is said when something is sent
                if self._there().get("owner") == self.owner:
                    self._write()

    def _age(self, name: str) -> float:
        """For how many seconds a file that is there has not been written, by the times of the
        store; 0 where it has none.
        """
        beside = f"{self._name}.{self.owner}{PART}"
        self._remote.put(beside, b"")
        (_, now), (_, then) = (self._remote.stamp(each) or (0, 0) for each in (beside, name))
        self._remote.delete(beside)
        return max((now - then) / 1e9, 0.0) if now and then else 0.0

    def _there(self) -> dict[str, Any]:
        content = self._remote.content(self._name)
        try:
            claim = untrusted_json.parsed(content or b"{}")
        except ValueError:  # of no search
            return {}
        return claim if isinstance(claim, dict) else {}

    def _is_of_another(self, claim: dict[str, Any]) -> bool:
        is_ours = claim.get("owner") in (None, self.owner) or claim.get("copy") == self._copy
        return not is_ours

    def _check(self) -> bool:
        """Refuses to go on where another search has the claim, and tells whether there is one."""
        claim = self._there()
        if self._is_of_another(claim):
            raise self._is_running(claim)
        return "owner" in claim

    def _is_running(self, claim: dict[str, Any]) -> ProjectError:
        return ProjectError(
            f"Another search is running in the project at {without_keys(self._remote.uri)}, on "
            f"{_host(claim)!r}. Wait for its end, or choose another `project_name`."
        )

    def _write(self) -> None:
        claim = {"owner": self.owner, "copy": self._copy, "time": round(time.time(), 3)}
        self._remote.put_whole(self._name, json.dumps(claim).encode(), f".{self.owner}")


def _host(claim: dict[str, Any]) -> str:
    return str(claim.get("copy")).partition(" ")[0]
