"""The libraries that draw figures, and saving of figures to files. Runs anywhere."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from typing import TYPE_CHECKING, Any, TypeAlias

from glimr_keras.errors import did_you_mean
from glimr_keras.visualization import on_matplotlib, on_plotly, style
from glimr_keras.visualization.picture import Picture

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

    Drawing: TypeAlias = Axes | np.ndarray | Figure
    """What functions that plot return: of Matplotlib the axes, of a grid as an array."""

BACKENDS = ("matplotlib", "plotly")


def check_backend(backend: str) -> None:
    """Check that a backend exists and is installed.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If it is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {BACKENDS}. Received: backend={backend!r}."
            f"{did_you_mean(str(backend), BACKENDS)}"
        )
    if importlib.util.find_spec(backend) is None:
        raise ImportError(
            f"backend={backend!r} needs the package {backend}, which is not installed: "
            "pip install 'glimr_keras[plots]'"
        )


def drawn(picture: Picture, backend: str) -> Any:
    """Draw a picture with a backend and return the result."""
    library = on_matplotlib if backend == "matplotlib" else on_plotly
    return library.drawn(picture)


def save(figure: Any, path: str | os.PathLike[str]) -> pathlib.Path:
    """Write a figure to a file.

    Args:
        figure: The return value of a plot function, or a Matplotlib or Plotly figure.
        path: The path of the file. For Matplotlib, `.png`, `.svg`, `.pdf`, or another format that
            Matplotlib writes. For Plotly, `.html`: one file that works offline.

    Returns:
        The path.

    Raises:
        ValueError: If the figure cannot be written in this format.
        TypeError: If `figure` is not a figure.
    """
    place = pathlib.Path(path)
    is_plotly = hasattr(figure, "write_html")
    drawing = figure if is_plotly else figure_of(figure)
    known = ["html", "htm"] if is_plotly else sorted(drawing.canvas.get_supported_filetypes())
    if place.suffix.lower().removeprefix(".") not in known:
        name, other = ("Plotly", "matplotlib") if is_plotly else ("Matplotlib", "plotly")
        raise ValueError(
            f"A figure of {name} is written as one of: {', '.join(known)}. Received: "
            f"path={str(path)!r}. For other files draw with backend={other!r}."
        )
    if is_plotly:
        drawing.write_html(place, include_plotlyjs=True)
    else:
        drawing.savefig(place, dpi=style.FILE_DPI)
    return place


def figure_of(drawing: Any) -> Any:
    """Return the Matplotlib figure that contains the axes.

    Raises:
        TypeError: If it is not a Matplotlib object.
    """
    first = drawing.flat[0] if hasattr(drawing, "flat") else drawing
    figure = first if hasattr(first, "savefig") else getattr(first, "figure", None)
    if figure is None:
        raise TypeError(
            "`figure` must be a figure, or what a function of `glimr_keras.visualization` "
            f"returned. Received: {type(drawing).__name__}"
        )
    return figure
