"""What a figure is made of, whichever library draws it: panels with axes, and layers of dots,
lines, bars and cells. Runs anywhere; draws nothing.

A figure is computed once, as a `Picture`, and is so the same in Matplotlib and in Plotly.
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
        label: What is measured, with its unit.
        limits: Its ends; `None` for what the layers need.
        ticks: Where there are which texts; `None` for what the library chooses.
        is_log: Whether its scale is logarithmic.
        is_time: Whether positions are seconds since 1970, shown as local time.
        is_count: Whether all positions are integers.
        is_reversed: Whether it goes down, or to the left.
        angle: Of the ticks' texts, in degrees.
        has_grid: Whether lines continue the ticks.
        is_hidden: Whether it has neither label nor texts, since a neighbour has the same.
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
    """A mark for each of some points.

    Attributes:
        x, y: Shape (points,).
        name: In the legend; empty for none.
        colour: Of all, or for each a number of the picture's scale.
        symbol: `"dot"`, `"ring"`, `"cross"`, `"dash"`, or for a triangle that points there `"up"`,
            `"down"`, `"left"` or `"right"`.
        size: In points of 1/72 inch.
        opacity: From 0 to 1.
        about: What Plotly shows where the pointer is, for each; empty for nothing.
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
    """One line, or several of one look.

    Attributes:
        x, y: Shape (points,); nan where one line ends and another begins.
        name: In the legend; empty for none.
        colour: Of all, or a number of the picture's scale.
        width: In points of 1/72 inch.
        opacity: From 0 to 1.
        has_steps: Whether a value stays until the next point.
        about: What Plotly shows where the pointer is, for each point; empty for nothing.
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
    """What is between two lines. Each of shape (points,)."""

    x: Numbers
    low: Numbers
    high: Numbers
    colour: str = style.BLUE
    opacity: float = 0.2


@dataclasses.dataclass(frozen=True)
class Bars:
    """Horizontal bars.

    Attributes:
        y: Where they are. Shape (bars,).
        start: Where they begin on the x axis. Shape (bars,).
        length: How long they are. Shape (bars,).
        name: In the legend; empty for none.
        colour: Of all.
        height: Of each, in units of the y axis.
        texts: Written at their ends; empty for none.
        about: What Plotly shows where the pointer is, for each.
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
    """A map of colours.

    Attributes:
        x, y: The middles of the cells, shapes (columns,) and (rows,).
        z: Numbers of the picture's scale, nan for no colour. Shape (rows, columns).
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


@dataclasses.dataclass(frozen=True)
class Texts:
    """A text to the right of each of some points. Each of shape (points,)."""

    x: Numbers
    y: Numbers
    texts: Sequence[str]


Layer = Dots | Lines | Band | Bars | Cells | Texts


@dataclasses.dataclass(frozen=True)
class Panel:
    """A pair of axes with what they show, the first layer lowest."""

    x: Axis
    y: Axis
    layers: Sequence[Layer]
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Scale:
    """What the colours of a picture mean.

    Attributes:
        label: What is measured.
        low, high: The numbers of its ends.
        is_reversed: Whether the highest is dark; else the lowest is.
        ticks: Where there are which texts; `None` for what the library chooses.
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
        title: What it shows, and of which project.
        panels: Its grid by rows; `None` where there is none.
        height: In inches.
        scale: Of the colours that are numbers.
    """

    title: str
    panels: Sequence[Sequence[Panel | None]]
    height: float = 4.2
    scale: Scale | None = None


def in_grid(panels: Sequence[Panel], columns: int) -> list[list[Panel | None]]:
    """Return panels in rows of so many columns, the last one filled with `None`."""
    width = min(columns, len(panels))
    padded = [*panels, *[None] * (-len(panels) % width)]
    return [padded[start : start + width] for start in range(0, len(padded), width)]
