"""A search's claim to a project at a URI, which a second search sees before it writes. Runs in the
driver.

An object at the URI names the search, which rewrites it every 15 seconds while it runs. The stores
that `pyarrow` supports have no conditional writes. So a claimant checks again after a moment: the
last writer owns the project. Two that start within less than that moment may both believe they own
it. Each checks the claim before it sends anything, so the first writer ends seconds later.

A claim expires if it is not rewritten for a minute, such as a killed search's. Its age
follows from the store's times alone, since machines' clocks differ. A search that finds a younger
claim waits to see whether it is rewritten. A search with the same local copy ignores the claim,
since the journal's lock guards that copy.
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
"""The seconds until a claim expires that is not rewritten."""
_BEAT = 15.0
"""The seconds between two writes."""
_LOOK = 1.0
"""The seconds between two checks while waiting for a claim to end."""
_MOMENT = 0.2
"""The seconds between writing a claim and checking who owns it."""


class Claim:
    """The claim of a search.

    Args:
        remote: The files at the URI.
        name: The name of the claim's file there.
        directory: The search's local copy.

    Attributes:
        owner: The id of the search.
    """

    def __init__(self, remote: Remote, name: str, directory: Any) -> None:
        self._remote, self._name = remote, name
        self._copy = f"{socket.gethostname()} {uuid.getnode():x} {directory}"
        self.owner = uuid.uuid4().hex
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Claim the project, after waiting as `wait` does.

        Raises:
            ProjectError: If another search runs in it.
            StorageError: If that cannot be determined.
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
        """Wait for at most a minute to see whether another search that claimed the project still
        runs.

        Raises:
            ProjectError: If it does.
            StorageError: If that cannot be determined.
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
        """Remove unfinished files that killed searches left beside the claim.

        Args:
            names: The names of all files at the URI.

        Raises:
            StorageError: If that fails.
        """
        place = self._name.rpartition("/")[0]
        begun = [each for each in names if each.rpartition("/")[0] == place and each.endswith(PART)]
        for name in begun:
            if self._age(name) > SECONDS:
                self._remote.delete(name)

    def hold(self) -> None:
        """Check that this search still owns the project, and renew a missing claim.

        Raises:
            ProjectError: If another search has claimed it.
            StorageError: If that cannot be determined.
        """
        if not self._check():
            self._write()

    def release(self) -> None:
        """Release the project, if this search owns it.

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
        """Rewrite the claim until the search ends, even while a large file is sent."""
        while not ends.wait(_BEAT):
            with contextlib.suppress(StorageError):  # sending raises the error
                if self._there().get("owner") == self.owner:
                    self._write()

    def _age(self, name: str) -> float:
        """Return the seconds since an existing file was written, by the store's times; 0 if it
        has none.
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
        except ValueError:  # not a search's claim
            return {}
        return claim if isinstance(claim, dict) else {}

    def _is_of_another(self, claim: dict[str, Any]) -> bool:
        is_ours = claim.get("owner") in (None, self.owner) or claim.get("copy") == self._copy
        return not is_ours

    def _check(self) -> bool:
        """Raise an error if another search has the claim, and return whether there is a claim."""
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
