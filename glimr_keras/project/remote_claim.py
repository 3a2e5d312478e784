"""The claim of a search to a project at a URI, which a second search sees before it writes. Runs in
the driver.

An object at the URI names the search, and is written again while it runs. Stores that `pyarrow`
knows have no conditional writes, so who claims looks again after a moment: the one that wrote last
has the project. Two that begin within less than that moment may both think so; each looks at the
claim again before it sends anything, and so the one that wrote first ends, seconds later. A claim
of a search that was killed is void after a minute, and at once for a search with the same local
copy, which its journal's lock keeps for one.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterable
from typing import Any

from glimr_keras._utils import untrusted_json
from glimr_keras.errors import ProjectError
from glimr_keras.project.remote_files import PART, Remote, without_keys

NAME = "claim.json"
SECONDS = 60.0
"""After which a claim that was not written again is void."""
_BEAT = 15.0
"""Seconds between two times that it is written."""
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
        self._written: float | None = None

    def take(self) -> None:
        """Claims the project.

        Raises:
            ProjectError: If another search runs in it.
            StorageError: If that cannot be told.
        """
        self._check(self._there())
        self._write()
        time.sleep(_MOMENT)
        self._check(self._there())

    def tidy(self, names: Iterable[str]) -> None:
        """Removes what searches that were killed had begun to write beside the claim.

        Args:
            names: All that there are.

        Raises:
            StorageError: If that cannot be done.
        """
        for name in names:
            if name.rpartition("/")[0] == self._name.rpartition("/")[0] and name.endswith(PART):
                _, changed = self._remote.stamp(name) or (0, 0)
                if time.time() - changed / 1e9 > SECONDS:
                    self._remote.delete(name)

    def hold(self) -> None:
        """Looks whether the project is still this search's, and says from time to time that it
        runs.

        Raises:
            ProjectError: If another search has claimed it.
            StorageError: If that cannot be told.
        """
        self._check(self._there())
        if self._written is None or time.monotonic() - self._written > _BEAT:
            self._write()

    def release(self) -> None:
        """Gives the project back, if it is this search's.

        Raises:
            StorageError: If it cannot be reached.
        """
        if self._there().get("owner") == self.owner:
            self._remote.delete(self._name)
        self._written = None

    def _there(self) -> dict[str, Any]:
        content = self._remote.content(self._name)
        try:
            claim = untrusted_json.parsed(content or b"{}")
        except ValueError:  # of no search
            return {}
        return claim if isinstance(claim, dict) else {}

    def _check(self, claim: dict[str, Any]) -> None:
        owner, beat = claim.get("owner"), claim.get("time")
        if owner in (None, self.owner) or claim.get("copy") == self._copy:
            return
        if isinstance(beat, (int, float)) and abs(time.time() - beat) < SECONDS:
            host = str(claim.get("copy")).partition(" ")[0]
            raise ProjectError(
                f"Another search is running in the project at {without_keys(self._remote.uri)}, "
                f"on {host!r}. Wait for its end (for {SECONDS:.0f} s where it was killed), or "
                "choose another `project_name`."
            )

    def _write(self) -> None:
        claim = {"owner": self.owner, "copy": self._copy, "time": round(time.time(), 3)}
        self._remote.put_whole(self._name, json.dumps(claim).encode(), f".{self.owner}")
        self._written = time.monotonic()
