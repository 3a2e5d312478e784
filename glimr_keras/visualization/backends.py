"""Which library draws a figure, and files of what it drew. Runs anywhere."""

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
    """Check that there is such a backend, and that it is installed.

    Raises:
        ValueError: If there is none.
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
    """Return what a backend draws of a picture."""
    library = on_matplotlib if backend == "matplotlib" else on_plotly
    return library.drawn(picture)


def save(figure: Any, path: str | os.PathLike[str]) -> pathlib.Path:
    """Write a figure to a file.

    Args:
        figure: What a function that plots returned, or a figure of Matplotlib or Plotly.
        path: Of Matplotlib's `.png`, `.svg`, `.pdf`, or what else Matplotlib writes; of Plotly's
            `.html`, one file that needs no network.

    Returns:
        The path.

    Raises:
        ValueError: If such a figure cannot be written so.
        TypeError: If it is no figure.
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
    """Return the figure of Matplotlib that axes are in.

    Raises:
        TypeError: If it is nothing of Matplotlib's.
    """
    first = drawing.flat[0] if hasattr(drawing, "flat") else drawing
    figure = first if hasattr(first, "savefig") else getattr(first, "figure", None)
    if figure is None:
        raise TypeError(
            "`figure` must be a figure, or what a function of `glimr_keras.visualization` "
            f"returned. Received: {type(drawing).__name__}"
        )
    return figure
