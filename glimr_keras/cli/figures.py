"""Figures that are written to files. Uses Matplotlib; runs anywhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from glimr_keras.project.journal import Project
from glimr_keras.visualization import FIGURES
from glimr_keras.visualization.backends import figure_of


@contextlib.contextmanager
def drawn(name: str, project: Project, backend: str = "matplotlib") -> Iterator[Any]:
    """Provide a figure without opening a window.

    Args:
        name: The name of the figure, one of `FIGURES`.
        project: The project to show.
        backend: `"matplotlib"` or `"plotly"`. Defaults to `"matplotlib"`.

    Raises:
        ValueError: If the project has no data for the figure.
        ImportError: If the backend is not installed.
    """
    os.environ["MPLBACKEND"] = "Agg"  # read when Matplotlib is imported
    drawing = FIGURES[name](project, backend=backend)
    if backend == "plotly":
        yield drawing
        return
    from matplotlib import pyplot

    figure = figure_of(drawing)
    try:
        yield figure
    finally:
        pyplot.close(figure)
