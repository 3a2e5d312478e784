"""`glimr-keras export`: export a project to other tools. Runs anywhere."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

import rich.progress
from rich.console import Console

from glimr_keras.cli import console
from glimr_keras.cli.opened import Opened, add_place
from glimr_keras.exports import tools
from glimr_keras.exports.content import Content


def add_to(commands: Any) -> None:
    """Add the command."""
    text = "write a project for another tool, or bring what is there up to date"
    parser = commands.add_parser(
        "export",
        help=text,
        description=f"{text.capitalize()}. Each trial is there once, however often it is exported.",
        epilog="\n  ".join(["WHERE by tool:", *_places()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(parser)
    parser.add_argument("--to", required=True, choices=tools.TOOLS, help="the tool")
    parser.add_argument(
        "-o",
        "--output",
        metavar="WHERE",
        help="the place; see below. For mlflow and wandb the tool's own by default",
    )
    parser.add_argument(
        "--epochs",
        action="store_true",
        help="csv and parquet: a row for each epoch, and not for each trial",
    )
    parser.add_argument(
        "--name", help="what the tool calls the study, experiment or project; its own by default"
    )
    parser.add_argument(
        "--online", action="store_true", help="wandb: send the runs, and do not only write them"
    )
    parser.set_defaults(run=run, parser=parser)


def _tracked(items: Sequence[Any]) -> Iterable[Any]:
    """Yield the items to write, with a progress bar if standard error is a terminal."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        return items
    return rich.progress.track(items, "Writing", console=errors, transient=True)


def _places() -> list[str]:
    return [f"{name:<12} {tool.where}" for name, tool in tools.TOOLS.items()]


def _check(arguments: argparse.Namespace) -> None:
    """Exit with a usage error if the tool does not support an argument."""
    if arguments.output is None and tools.TOOLS[arguments.to].needs_place:
        arguments.parser.error(
            f"--to {arguments.to} needs -o WHERE: {tools.TOOLS[arguments.to].where}"
        )
    for option in ("epochs", "online"):
        takers = [name for name, tool in tools.TOOLS.items() if option in tool.takes]
        if getattr(arguments, option) and arguments.to not in takers:
            arguments.parser.error(
                f"--{option} is for --to {' and '.join(takers)}. Received: --to {arguments.to}"
            )


def run(arguments: argparse.Namespace) -> None:
    """Export the project."""
    _check(arguments)
    opened = Opened.of(arguments)
    content = Content(
        opened.read(),
        arguments.name or opened.name,
        opened.directory,
        opened.place.rstrip("/") if opened.is_remote else None,
        epochs=arguments.epochs,
        online=arguments.online,
        track=_tracked,
    )
    console.tell(tools.export(content, arguments.to, arguments.output), arguments.output)
