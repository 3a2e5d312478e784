"""`glimr-keras dashboard`: Optuna's dashboard for a project, live. Uses Optuna; runs anywhere.

The dashboard shows an in-memory study that is kept up to date with the project. Changes that the
user makes there, such as notes, are kept in memory only.
"""

from __future__ import annotations

import argparse
import contextlib
import socketserver
import sys
import threading
import wsgiref.simple_server
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glimr_keras.cli.arguments import port, seconds
from glimr_keras.cli.messages import EXPECTED, said_by
from glimr_keras.cli.opened import Opened, add_place
from glimr_keras.exports.extras import needed
from glimr_keras.results.study import to_study

if TYPE_CHECKING:
    import optuna


def add_to(commands: Any) -> None:
    """Add the command."""
    text = "show a project in Optuna's dashboard, live, until Ctrl-C"
    parser = commands.add_parser("dashboard", help=text, description=f"{text.capitalize()}.")
    add_place(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address that it is at; 127.0.0.1, which only this machine reaches, by default",
    )
    parser.add_argument(
        "--port", type=port, default=8080, help="8080 by default; 0 for one that is free"
    )
    parser.add_argument(
        "--interval",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="between two looks at the project; 5 by default",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve the dashboard."""
    with needed("optuna_dashboard", "'glimr_keras[dashboard]'"):
        import optuna_dashboard
    import optuna

    opened = Opened.of(arguments)
    storage = optuna.storages.InMemoryStorage()
    follower = Follower(opened, storage)
    follower.look()
    app = optuna_dashboard.wsgi(storage)
    try:
        server = wsgiref.simple_server.make_server(
            arguments.host, arguments.port, app, _Server, _Quiet
        )
    except OSError as error:
        raise OSError(
            f"The dashboard cannot be at {arguments.host}:{arguments.port}: {error.strerror}. "
            "Choose another `--port`."
        ) from error
    with server, follower.following(arguments.interval):
        address = f"http://{arguments.host}:{server.server_port}"
        print(f"{opened.name} is at {address}/dashboard. Ctrl-C ends.", flush=True)
        server.serve_forever()


class Follower:
    """Keep a study up to date while a search runs.

    Args:
        opened: The project.
        storage: The storage of the study.
    """

    def __init__(self, opened: Opened, storage: optuna.storages.BaseStorage) -> None:
        self._opened, self._storage = opened, storage
        self._stamp: Any = None

    def look(self) -> bool:
        """Add what is new to the study, and return whether there was anything."""
        stamp = self._opened.stamp()
        if stamp == self._stamp:
            return False
        to_study(self._opened.read(), self._storage, self._opened.name, self._opened.directory)
        self._stamp = stamp
        return True

    @contextlib.contextmanager
    def following(self, interval: float) -> Iterator[None]:
        """Update the study periodically in a separate thread while the block runs."""
        done = threading.Event()

        def follow() -> None:
            while not done.wait(self._opened.pause(interval)):
                try:
                    self.look()
                except EXPECTED as error:
                    print(f"glimr-keras: {said_by(error)}", file=sys.stderr, flush=True)

        thread = threading.Thread(target=follow, name="glimr_keras.dashboard", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class _Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """A server that handles several requests at once, since browsers send them so."""

    daemon_threads = True


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    """A request handler that does not log each request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""
