"""Draw pictures with Matplotlib. Runs anywhere."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glimr_keras.visualization import style
from glimr_keras.visualization.picture import (
    Axis,
    Band,
    Bars,
    Cells,
    Dots,
    Layer,
    Lines,
    Panel,
    Picture,
    Scale,
    Texts,
)

_SYMBOLS = {
    "dot": "o",
    "ring": "o",
    "cross": "x",
    "up": "^",
    "down": "v",
    "left": "<",
    "right": ">",
    "dash": "_",
}
_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": False,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": style.DPI,
    "figure.titlesize": 12,
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
}
"""Fonts and the colours of background and text remain the user's."""

_DAY = 86400.0


def drawn(picture: Picture) -> Any:
    """Return a picture's axes, as an array for a grid, in a figure registered with pyplot.

    The user's settings are restored afterwards.
    """
    with _settings() as plt:
        rows, columns = len(picture.panels), len(picture.panels[0])
        figure, axes = plt.subplots(
            rows, columns, figsize=(style.WIDTH, picture.height), squeeze=False
        )
        figure.suptitle(_plain(picture.title), x=0.01, ha="left")
        for ax, panel in zip(axes.flat, (p for row in picture.panels for p in row), strict=True):
            _draw(ax, panel, picture.scale, plt.rcParams["text.color"])
        if picture.scale is not None:
            _add_colours(figure, axes, picture.scale)
        _add_legend(figure, axes)
        return axes[0, 0] if axes.size == 1 else axes


@contextlib.contextmanager
def _settings() -> Iterator[Any]:
    """Provide `matplotlib.pyplot` with this package's settings."""
    import matplotlib.pyplot as plt

    with plt.rc_context(_SETTINGS):
        yield plt


def _colours(scale: Scale) -> Any:
    """Return a map from the numbers of a scale to colours; reversed on a dark background."""
    from matplotlib import rcParams
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, to_rgb

    is_on_dark = sum(to_rgb(rcParams["text.color"])) > 1.5
    name = style.SCALE + ("_r" if scale.is_reversed != is_on_dark else "")
    return ScalarMappable(Normalize(scale.low, scale.high), name)


def _add_colours(figure: Any, axes: Any, scale: Scale) -> None:
    from matplotlib import ticker

    bar = figure.colorbar(_colours(scale), ax=list(axes.flat), label=_plain(scale.label), aspect=30)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    if scale.is_count:
        bar.locator = ticker.MaxNLocator(integer=True)
    if scale.ticks is not None:
        places, texts = _places_and_texts(scale.ticks)
        bar.set_ticks(places, labels=texts)


def _add_legend(figure: Any, axes: Any) -> None:
    """Add one legend below all panels, where it covers nothing."""
    found: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if found:
        widest = max(map(len, found))
        legend = figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower left",
            ncols=max(1, min(len(found), int(100 / (widest + 5)))),
            columnspacing=1.4,
            handlelength=1.4,
        )
        for handle in legend.legend_handles:
            handle.set_alpha(1)


def _draw(ax: Any, panel: Panel | None, scale: Scale | None, ink: str) -> None:
    if panel is None:
        ax.set_axis_off()
        return
    if panel.x.is_time:
        panel = _in_days(panel)
    ax.tick_params(labelsize=9)
    _set_axis(ax, "x", panel.x)
    _set_axis(ax, "y", panel.y)
    ax.set_title(_plain(panel.title))
    for order, layer in enumerate(panel.layers, start=2):
        _add(ax, layer, scale, order, ink)
    for letter, axis in (("x", panel.x), ("y", panel.y)):
        if axis.limits is not None:
            getattr(ax, f"set_{letter}lim")(*sorted(axis.limits, reverse=axis.is_reversed))
        elif axis.is_reversed:
            getattr(ax, f"invert_{letter}axis")()


def _in_days(panel: Panel) -> Panel:
    """Return a panel of bars over time in Matplotlib's units: days, in local time."""
    bars = [
        dataclasses.replace(
            layer,
            start=[_local_days(start) for start in layer.start],
            length=np.divide(layer.length, _DAY),
        )
        for layer in panel.layers
        if isinstance(layer, Bars)
    ]
    low, high = panel.x.limits or (0.0, _DAY)
    x = dataclasses.replace(panel.x, limits=(_local_days(low), _local_days(high)))
    return dataclasses.replace(panel, x=x, layers=bars)


def _local_days(seconds: float) -> float:
    """Return a time in seconds since 1970 (UTC) as days in local time."""
    shown = datetime.datetime.fromtimestamp(seconds).replace(tzinfo=datetime.timezone.utc)
    return shown.timestamp() / _DAY


def _set_axis(ax: Any, letter: str, axis: Axis) -> None:
    from matplotlib import dates, ticker

    mine = getattr(ax, f"{letter}axis")
    if axis.is_log:
        getattr(ax, f"set_{letter}scale")("log")
    if axis.has_grid:
        mine.grid(visible=True, alpha=0.25)
    mine.set_label_text(_plain(axis.label))
    if axis.ticks is not None:
        mine.set_ticks(*_places_and_texts(axis.ticks))
        mine.set_minor_locator(ticker.NullLocator())
    elif axis.is_time:
        kinds: Any = dates
        zone = datetime.timezone.utc  # as in `_local_days`
        mine.set_major_locator(kinds.AutoDateLocator(tz=zone))
        mine.set_major_formatter(kinds.ConciseDateFormatter(mine.get_major_locator(), tz=zone))
    elif axis.is_count and not axis.is_log:
        mine.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    if axis.is_hidden:
        mine.set_label_text("")
        ax.tick_params(axis=letter, labelbottom=letter == "y", labelleft=letter == "x")
    if axis.angle:
        ax.tick_params(axis=letter, labelrotation=axis.angle)
        for text in mine.get_ticklabels():
            text.set(ha="right", rotation_mode="anchor")


def _add(ax: Any, layer: Layer, scale: Scale | None, order: int, ink: str) -> None:
    match layer:
        case Dots():
            _add_dots(ax, layer, scale, order, ink)
        case Lines():
            ax.plot(
                layer.x,
                layer.y,
                color=_line_colour(layer, scale, ink),
                linewidth=layer.width,
                alpha=layer.opacity,
                label=_plain(layer.name) or None,
                drawstyle="steps-post" if layer.has_steps else "default",
                zorder=order,
            )
        case Band():
            ax.fill_between(
                layer.x,
                layer.low,
                layer.high,
                color=_own(layer.colour, ink),
                alpha=layer.opacity,
                linewidth=0,
                zorder=order,
            )
        case Bars():
            bars = ax.barh(
                layer.y,
                layer.length,
                height=layer.height,
                left=layer.start,
                color=_own(layer.colour, ink),
                label=_plain(layer.name) or None,
                zorder=order,
            )
            if layer.texts:
                ax.bar_label(bars, list(map(_plain, layer.texts)), padding=3, fontsize=9)
        case Cells() if scale is not None:
            kind = _colours(scale)
            ax.pcolormesh(
                layer.x, layer.y, layer.z, norm=kind.norm, cmap=kind.cmap, shading="nearest"
            )
        case Texts():
            for x, y, text in zip(layer.x, layer.y, layer.texts, strict=True):
                ax.annotate(
                    _plain(text),
                    (x, y),
                    (3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    zorder=order,
                    bbox={"fc": ax.get_facecolor(), "ec": "none", "alpha": 0.75, "pad": 0.5},
                )


def _add_dots(ax: Any, layer: Dots, scale: Scale | None, order: int, ink: str) -> None:
    if isinstance(layer.colour, str) or scale is None:
        colour = _own(str(layer.colour), ink)
    else:
        colour = _colours(scale).to_rgba(np.asarray(layer.colour, float))
    look = {"facecolors": "none", "edgecolors": colour} if layer.symbol == "ring" else {"c": colour}
    ax.scatter(
        layer.x,
        layer.y,
        s=layer.size**2,
        marker=_SYMBOLS[layer.symbol],
        linewidths=1.2 if layer.symbol in ("ring", "cross", "dash") else 0,
        alpha=layer.opacity,
        label=_plain(layer.name) or None,
        zorder=order,
        **look,
    )


def _places_and_texts(ticks: Sequence[tuple[float, str]]) -> tuple[list[float], list[str]]:
    return [place for place, _ in ticks], [_plain(text) for _, text in ticks]


def _plain(text: str) -> str:
    """Return a text without anything that Matplotlib reads as a formula."""
    return text.replace("$", r"\$")


def _line_colour(layer: Lines, scale: Scale | None, ink: str) -> Any:
    if isinstance(layer.colour, str) or scale is None:
        return _own(str(layer.colour), ink)
    return _colours(scale).to_rgba(layer.colour)


def _own(colour: str, ink: str) -> str:
    """Return a colour; ink becomes the user's text colour."""
    return ink if colour == style.INK else colour
