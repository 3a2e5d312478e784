"""`glimr-keras report`: the results of a search as one HTML file to share. Runs anywhere."""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any

from glimr_keras.cli import console
from glimr_keras.cli.arguments import count
from glimr_keras.cli.opened import Opened, add_place
from glimr_keras.cli.report_figures import figures
from glimr_keras.cli.report_page import page
from glimr_keras.cli.report_sections import best, failed, head, setting, trials, versions
from glimr_keras.exports.files import put


def add_to(commands: Any) -> None:
    """Add the command."""
    text = "write a report of a project: one HTML file with all figures, to read, print and send"
    parser = commands.add_parser("report", help=text, description=f"{text.capitalize()}.")
    add_place(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=pathlib.Path,
        default=pathlib.Path("report.html"),
        help="report.html by default",
    )
    parser.add_argument("--title", help="the project's name by default")
    parser.add_argument(
        "-n", "--best", type=count, default=10, metavar="N", help="how many trials; 10 by default"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the report."""
    opened = Opened.of(arguments)
    project, title = opened.read(), arguments.title or opened.name
    sections = [
        head(title, project, time.time()),
        best(project, arguments.best),
        figures(project),
        setting(opened.place, project),
        failed(project),
        trials(project),
        versions(),
    ]
    content = page(title, sections).encode()
    put(arguments.output, content)
    console.tell(f"Wrote {arguments.output} ({len(content) / 1e6:.1f} MB).", arguments.output)
