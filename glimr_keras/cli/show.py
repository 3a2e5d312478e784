"""`glimr-keras show`: a project's main facts, best trials and failures. Runs anywhere."""

from __future__ import annotations

import argparse
from typing import Any

from glimr_keras.cli.arguments import count
from glimr_keras.cli.console import width, write
from glimr_keras.cli.opened import Opened, add_place
from glimr_keras.cli.project_lines import best_lines, facts, failure_lines


def add_to(commands: Any) -> None:
    """Add the command."""
    text = "show a project: how far it is, the best trials, and why others failed"
    parser = commands.add_parser("show", help=text, description=f"{text.capitalize()}.")
    add_place(parser)
    parser.add_argument(
        "-n", "--best", type=count, default=10, metavar="N", help="how many trials; 10 by default"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the project."""
    opened = Opened.of(arguments)
    project, columns = opened.read(), width()
    write(
        [
            *facts(opened, project, columns),
            *best_lines(project, arguments.best, columns),
            *failure_lines(project, columns),
        ]
    )
