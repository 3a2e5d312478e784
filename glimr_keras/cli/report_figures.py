"""The figures of a report, embedded in its page. Runs anywhere."""

from __future__ import annotations

import base64
import inspect
import io
from typing import Any

from glimr_keras._utils.html import escaped
from glimr_keras.cli.figures import drawn
from glimr_keras.cli.report_page import section
from glimr_keras.project.journal import Project
from glimr_keras.visualization import FIGURES, applicable

_LARGEST_DRAWING = 250_000
"""The maximum size of an SVG drawing in bytes. Beyond it, a PNG image is smaller and faster to
show.
"""
_DPI = 170


def figures(project: Project) -> str:
    """Return all figures that a project has data for, each with a caption.

    If a figure cannot be drawn, a line in its place says why.

    Raises:
        ImportError: If Matplotlib is not installed.
    """
    return section("Figures", *(_figure(name, project) for name in applicable(project)))


def _figure(name: str, project: Project) -> str:
    try:
        with drawn(name, project) as figure:
            kind, content = _image(figure)
    except ImportError:  # would be the same for every figure
        raise
    except Exception as error:
        why = f"The figure {name} cannot be drawn. {type(error).__name__}: {error}"
        return f'<p class="quiet">{escaped(why)}</p>'
    source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    said = caption(name)
    image = f'<img src="{source}" alt="{escaped(said)}">'
    return f"<figure>{image}<figcaption>{escaped(said)}</figcaption></figure>"


def _image(figure: Any) -> tuple[str, bytes]:
    """Return the media type and content of an image: SVG if small enough, otherwise PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    if file.tell() <= _LARGEST_DRAWING:
        return "image/svg+xml", file.getvalue()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return "image/png", file.getvalue()


def caption(name: str) -> str:
    """Return the caption of a figure: the first sentence of its function's docstring."""
    first = (inspect.getdoc(FIGURES[name]) or "").split("\n\n")[0]
    said = " ".join(first.split()).removeprefix("Plot ").replace("`", "")
    return said[:1].upper() + said[1:]
