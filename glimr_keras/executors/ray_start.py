"""Start or join Ray: join the Ray that is running or named, or start one on this machine. Runs in
the driver.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray.util.client import ray as client

from glimr_keras.errors import ResourcesError

_TRIES = 2
"""How often a start is tried: on a busy machine, the first may take longer than Ray waits."""
_PATIENCE_S = 10.0
"""The seconds to retry an address that does not answer. Ray would retry for two minutes."""

_ONE_AT_A_TIME = threading.Lock()
"""A search may start Ray in the background while another requests it."""

_own: str | None = None
"""The ID of this machine in the Ray that was started here."""


def ensure_ray(address: str | None, chatty: bool) -> None:
    """Join the Ray that is running or named, or start one on this machine, which Ray shuts down at
    exit.

    Args:
        address: The address of a cluster; `None` for the environment variable `RAY_ADDRESS`.
        chatty: Whether to show the output of Ray and the workers.

    Raises:
        ResourcesError: If none can be joined or started.
    """
    with _ONE_AT_A_TIME:
        _ensure_ray(address, chatty)


def _ensure_ray(address: str | None, chatty: bool) -> None:
    if ray.is_initialized() and not _is_gone():
        return
    quiet: dict[str, Any] = (
        {} if chatty else {"log_to_driver": False, "logging_level": logging.ERROR}
    )
    if address is not None:
        _join(address, f"`address={address!r}`", "leave `address` out", quiet)
    elif os.environ.get("RAY_ADDRESS"):
        address = os.environ["RAY_ADDRESS"]
        said = f"the environment variable RAY_ADDRESS={address!r}"
        _join(address, said, "remove the variable", quiet)
    else:
        _start(quiet)


@contextlib.contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables during a block."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _is_gone() -> bool:
    """Return whether the Ray of this process has died. If it was started here, remove the rest of
    it.

    Raises:
        ResourcesError: If it is gone and was not started here, since its owner may want another.
    """
    context = ray.get_runtime_context()
    machine = context.get_node_id()
    is_own = machine == _own
    # A process that is Ray's client has no such address, and is told by its server
    address = "" if client.is_connected() else context.gcs_address
    # Where nothing answers, Ray itself would wait a minute, and then end the process
    if _unreachable(address, 1.0) is None and any(map(_answers, _machines(machine))):
        return False
    if not is_own:
        raise ResourcesError(
            "The Ray that this process has joined must be running. Received: one without any "
            "machine that is alive. Call `ray.shutdown()`, and join or start another."
        )
    ray.shutdown()
    return True


def _machines(here: str) -> list[dict[str, Any]]:
    """Return Ray's entry for the machine of this process, or for all machines if it has none."""
    machines = ray.nodes()
    return [each for each in machines if each["NodeID"] == here] or machines


def _answers(machine: Mapping[str, Any]) -> bool:
    """Return whether a machine of Ray's is alive; Ray itself may notice half a minute later."""
    place = f"{machine['NodeManagerAddress']}:{machine['NodeManagerPort']}"
    return machine["Alive"] and (client.is_connected() or _unreachable(place, 1.0) is None)


def _join(address: str, said: str, instead: str, quiet: Mapping[str, Any]) -> None:
    """Join a cluster.

    Args:
        said: The setting that named it.
        instead: How to use a separate Ray instead.
    """
    error: BaseException | None = _unreachable(address, _PATIENCE_S)
    if error is None:
        try:
            ray.init(address=address, **quiet)
            return
        except (Exception, SystemExit) as raised:  # Ray ends the process where it waits in vain
            error = raised
            ray.shutdown()
    raise ResourcesError(
        f"A Ray must be running at the address that is named. Received: {said}, where none can be "
        f"joined ({type(error).__name__}: {error}). Start it there with `ray start --head`, or "
        f"{instead}: then one is started on this machine."
    ) from error


def _unreachable(address: str, patience: float) -> OSError | None:
    """Return why nothing answers at an address; `None` if something does, or if only Ray can
    resolve it, such as `"auto"`.

    Args:
        patience: The seconds to retry.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return None
    until = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=max(patience, 1)):
                return None
        except OSError as error:
            if time.monotonic() > until:
                return error
        time.sleep(0.5)


def _start(quiet: Mapping[str, Any]) -> None:
    global _own  # noqa: PLW0603  # a process has one Ray
    error: BaseException | None = None
    for _ in range(_TRIES):
        try:
            # Workers find modules where this process does, also on paths that a notebook added
            with environment({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
                ray.init(include_dashboard=False, **quiet)
            _own = ray.get_runtime_context().get_node_id()
            return
        except (Exception, SystemExit) as raised:
            error = raised
            ray.shutdown()
    raise ResourcesError(
        f"Ray must start on this machine to run trials side by side. Received, {_TRIES} times: "
        f"{type(error).__name__}: {error}. Is there too little memory, is the disk full, or is "
        "the machine very busy? Try again when there is more room; or start Ray with "
        '`ray start --head` and pass `address="auto"`; or pass `executor="inline"`, by which '
        "trials run in this process, one at a time."
    ) from error
