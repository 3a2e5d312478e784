"""`glimr-keras`: its commands, messages and exit codes. Runs anywhere, without Keras or Ray."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from glimr_keras.cli import dashboard, export, plot, report, show, watch
from glimr_keras.cli.messages import EXPECTED, said_by
from glimr_keras.version import __version__

COMMANDS = (show, watch, plot, report, export, dashboard)
FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141
"""Exit codes. Wrong usage has 2, as in `argparse`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The command's arguments. Defaults to `None`, which means the arguments of the process.

    Returns:
        The exit code: 0 for success, 1 if the request cannot be met, 130 after Ctrl-C.

    Raises:
        SystemExit: With 2 if the arguments are wrong.
    """
    for stream in (sys.stdout, sys.stderr):
        _take_any_text(stream)
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # as with `glimr-keras show runs/digits | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except EXPECTED as error:
        print(f"glimr-keras: {said_by(error)}", file=sys.stderr)
        return FAILED
    return 0


def _take_any_text(stream: Any) -> None:
    """Make a stream replace characters that its encoding lacks by `?` instead of failing.

    Standard error already escapes them.
    """
    if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glimr-keras",
        description="Look at what a search found, or finds now. Nothing in a project is changed, "
        "and none of its code is run.",
        epilog="`glimr-keras COMMAND --help` has the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"glimr_keras {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser
