"""`glimr-keras plot`: write one figure of a project to a file. Runs anywhere."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

from glimr_keras.cli import console
from glimr_keras.cli.figures import drawn
from glimr_keras.cli.opened import Opened, add_place
from glimr_keras.errors import did_you_mean
from glimr_keras.exports.places import outside_projects
from glimr_keras.visualization import FIGURES, save


def add_to(commands: Any) -> None:
    """Add the command."""
    text = "draw a figure of a project into a file"
    parser = commands.add_parser(
        "plot",
        help=text,
        description=f"{text.capitalize()}.",
        epilog=f"Figures: {', '.join(FIGURES)}.",
    )
    add_place(parser)
    parser.add_argument("name", metavar="NAME", type=figure_name, help="of the figure; see below")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=pathlib.Path,
        help="the file: .png, .svg or .pdf, drawn by Matplotlib, or .html by Plotly; NAME.png by "
        "default",
    )
    parser.set_defaults(run=run)


def figure_name(text: str) -> str:
    """Return the name of a figure; `plot_edf` or `learning-curves` are accepted too."""
    name = text.replace("-", "_").removeprefix("plot_")
    if name not in FIGURES:
        raise argparse.ArgumentTypeError(
            f"there is no figure {text!r}.{did_you_mean(name, FIGURES)} There are: "
            f"{', '.join(FIGURES)}"
        )
    return name


def run(arguments: argparse.Namespace) -> None:
    """Draw the figure."""
    file = outside_projects(arguments.output or pathlib.Path(f"{arguments.name}.png"))
    backend = "plotly" if file.suffix.lower() == ".html" else "matplotlib"
    with drawn(arguments.name, Opened.of(arguments).read(), backend) as drawing:
        file.parent.mkdir(parents=True, exist_ok=True)
        console.tell(f"Wrote {save(drawing, file)}.", file)
