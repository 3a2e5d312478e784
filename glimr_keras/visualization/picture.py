"""The parts of a figure, for any backend: panels with axes, and layers of dots, lines, bars and
cells. Runs anywhere; draws nothing.

A figure is computed once, as a `Picture`, so it is the same in Matplotlib and in Plotly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from glimr_keras.visualization import style

Numbers = Sequence[float] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of a panel.

    Attributes:
        label: The measured quantity, with its unit.
        limits: The ends; `None` to fit the layers.
        ticks: The positions and texts of the ticks; `None` to let the library choose.
        is_log: Whether the scale is logarithmic.
        is_time: Whether positions are seconds since 1970, shown in local time.
        is_count: Whether all positions are integers.
        is_reversed: Whether the axis goes down, or to the left.
        angle: The rotation of the tick labels, in degrees.
        has_grid: Whether there are grid lines at the ticks.
        is_hidden: Whether label and tick labels are omitted, since a neighbour has the same ones.
    """

    label: str = ""
    limits: tuple[float, float] | None = None
    ticks: Sequence[tuple[float, str]] | None = None
    is_log: bool = False
    is_time: bool = False
    is_count: bool = False
    is_reversed: bool = False
    angle: int = 0
    has_grid: bool = True
    is_hidden: bool = False


@dataclasses.dataclass(frozen=True)
class Dots:
    """A mark at each of some points.

    Attributes:
        x, y: The positions. Shape (points,).
        name: The name in the legend; empty for none.
        colour: The colour of all points, or a number of the picture's scale for each.
        symbol: `"dot"`, `"ring"`, `"cross"`, `"dash"`, or for a triangle that points in this
            direction `"up"`, `"down"`, `"left"` or `"right"`.
        size: In points of 1/72 inch.
        opacity: From 0 to 1.
        about: The hover text of each point in Plotly; empty for none.
    """

    x: Numbers
    y: Numbers
    name: str = ""
    colour: str | np.ndarray = style.BLUE
    symbol: str = "dot"
    size: float = 5.0
    opacity: float = 1.0
    about: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Lines:
    """One line, or several with the same look.

    Attributes:
        x, y: The points; NaN separates lines. Shape (points,).
        name: The name in the legend; empty for none.
        colour: The colour of all lines, or a number of the picture's scale.
        width: In points of 1/72 inch.
        opacity: From 0 to 1.
        has_steps: Whether a value stays constant until the next point.
        about: The hover text of each point in Plotly; empty for none.
    """

    x: Numbers
    y: Numbers
    name: str = ""
    colour: str | float = style.BLUE
    width: float = 1.5
    opacity: float = 1.0
    has_steps: bool = False
    about: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Band:
    """The area between two lines. Each array has shape (points,)."""

    x: Numbers
    low: Numbers
    high: Numbers
    colour: str = style.BLUE
    opacity: float = 0.2


@dataclasses.dataclass(frozen=True)
class Bars:
    """Horizontal bars.

    Attributes:
        y: The positions. Shape (bars,).
        start: The starts on the x axis. Shape (bars,).
        length: The lengths. Shape (bars,).
        name: The name in the legend; empty for none.
        colour: The colour of all bars.
        height: The height of each bar, in units of the y axis.
        texts: The texts at the ends of the bars; empty for none.
        about: The hover text of each bar in Plotly.
    """

    y: Numbers
    start: Numbers
    length: Numbers
    name: str = ""
    colour: str = style.BLUE
    height: float = 0.7
    texts: Sequence[str] = ()
    about: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Cells:
    """A colour map.

    Attributes:
        x, y: The centres of the cells, shapes (columns,) and (rows,).
        z: Numbers of the picture's scale, NaN for no colour. Shape (rows, columns).
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


@dataclasses.dataclass(frozen=True)
class Texts:
    """A text to the right of each of some points. Each array has shape (points,)."""

    x: Numbers
    y: Numbers
    texts: Sequence[str]


Layer = Dots | Lines | Band | Bars | Cells | Texts


@dataclasses.dataclass(frozen=True)
class Panel:
    """A pair of axes with their layers, the bottom layer first."""

    x: Axis
    y: Axis
    layers: Sequence[Layer]
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Scale:
    """The colour scale of a picture.

    Attributes:
        label: The measured quantity.
        low, high: The numbers at its ends.
        is_reversed: Whether the highest number is dark instead of the lowest.
        ticks: The positions and texts of the ticks; `None` to let the library choose.
        is_count: Whether all numbers are integers.
    """

    label: str
    low: float
    high: float
    is_reversed: bool = False
    ticks: Sequence[tuple[float, str]] | None = None
    is_count: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        title: The subject of the figure, and the project.
        panels: The grid by rows; `None` for an empty cell.
        height: In inches.
        scale: The scale of colours that are given as numbers.
    """

    title: str
    panels: Sequence[Sequence[Panel | None]]
    height: float = 4.2
    scale: Scale | None = None


def in_grid(panels: Sequence[Panel], columns: int) -> list[list[Panel | None]]:
    """Return panels in rows of this many columns; the last row is filled with `None`."""
    width = min(columns, len(panels))
    padded = [*panels, *[None] * (-len(panels) % width)]
    return [padded[start : start + width] for start in range(0, len(padded), width)]
