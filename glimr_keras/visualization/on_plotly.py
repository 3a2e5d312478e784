"""Draw pictures with Plotly. Runs anywhere."""

from __future__ import annotations

import datetime
import html
import math
from typing import Any

import numpy as np

from glimr_keras.visualization import style
from glimr_keras.visualization.picture import (
    Axis,
    Band,
    Bars,
    Cells,
    Dots,
    Lines,
    Panel,
    Picture,
    Scale,
    Texts,
)

_SYMBOLS = {
    "dot": "circle",
    "ring": "circle-open",
    "cross": "x-thin-open",
    "up": "triangle-up",
    "down": "triangle-down",
    "left": "triangle-left",
    "right": "triangle-right",
    "dash": "line-ew-open",
}
_PIXELS = 96
"""Pixels per inch."""
_TOP, _BOTTOM = 0.7, 0.95
_MARGINS = _TOP + _BOTTOM
"""Above and below the panels, in inches."""


def drawn(picture: Picture) -> Any:
    """Return a picture as a figure that is as wide as the page that shows it."""
    from plotly.subplots import make_subplots

    rows, columns = len(picture.panels), len(picture.panels[0])
    panels = [panel for row in picture.panels for panel in row]
    titles = [panel.title if panel else "" for panel in panels]
    is_x_shared = all(panel is None or panel.x.is_hidden for panel in panels[:-columns])
    gap = 0.25 if is_x_shared and not any(titles) else 1.0  # inches
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=titles if any(titles) else None,
        horizontal_spacing=0.04,
        vertical_spacing=min(gap / (picture.height - _MARGINS), 0.9 / rows),
    )
    figure.update_annotations(font_size=12)  # the titles of the panels
    named: set[str] = set()
    for row, across in enumerate(picture.panels, start=1):
        for column, panel in enumerate(across, start=1):
            if panel is None:
                figure.update_xaxes(visible=False, row=row, col=column)
                figure.update_yaxes(visible=False, row=row, col=column)
            else:
                place = {"row": row, "col": column}
                figure.update_xaxes(_axis(panel.x, 9 // columns), **place)
                figure.update_yaxes(_axis(panel.y, 9 // rows), **place)
                _add_layers(figure, panel, place, picture.scale, named)
    if picture.scale is not None:
        figure.update_layout(coloraxis=_colours(picture.scale))
        figure.add_trace(_nothing_coloured())
    _dress(figure, picture)
    return figure


def _dress(figure: Any, picture: Picture) -> None:
    """Apply this package's style to a figure."""
    figure.update_layout(
        template="plotly_white",
        title={
            "text": _plain(picture.title),
            "x": 0.01,
            "y": 0.98,
            "yanchor": "top",
            "font": {"size": 16},
        },
        font={"size": 12},
        height=_PIXELS * picture.height,
        margin={"t": _TOP * _PIXELS, "l": 70, "r": 30, "b": _BOTTOM * _PIXELS},
        legend={"orientation": "h", "x": 0, "y": 0.01, "yanchor": "bottom", "yref": "container"},
        barmode="overlay",
    )


def _colours(scale: Scale) -> dict[str, Any]:
    bar: dict[str, Any] = {"title": {"text": _plain(scale.label), "side": "right"}}
    if scale.ticks is not None:
        bar["tickvals"], bar["ticktext"] = zip(*scale.ticks, strict=True)
    bar |= {"thickness": 14, "outlinewidth": 0, **({"tickformat": "d"} if scale.is_count else {})}
    ends = {"cmin": scale.low, "cmax": scale.high}
    return {**ends, "colorscale": _name(scale), "colorbar": bar}


def _nothing_coloured() -> Any:
    """Return an invisible trace: Plotly shows a colour scale only if a trace uses it."""
    import plotly.graph_objects as go

    marker = {"color": [0.0], "coloraxis": "coloraxis"}
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, showlegend=False)


def _name(scale: Scale) -> str:
    return style.SCALE + ("_r" if scale.is_reversed else "")


def _add_layers(
    figure: Any, panel: Panel, place: dict[str, int], scale: Scale | None, named: set[str]
) -> None:
    for layer in panel.layers:
        if isinstance(layer, Texts):
            _add_texts(figure, layer, place)
            continue
        name = getattr(layer, "name", "")
        legend = {
            "name": _plain(name),
            "legendgroup": name,
            "showlegend": bool(name) and name not in named,
        }
        named.add(name)
        figure.add_trace(_trace(layer, panel.x.is_time, scale).update(legend), **place)


def _add_texts(figure: Any, layer: Texts, place: dict[str, int]) -> None:
    for x, y, text in zip(layer.x, layer.y, layer.texts, strict=True):
        figure.add_annotation(
            x=x,
            y=y,
            text=_plain(text),
            xanchor="left",
            yanchor="middle",
            showarrow=False,
            font_size=10,
            bgcolor="rgba(255, 255, 255, 0.75)",
            borderpad=0,
            **place,
        )


def _axis(axis: Axis, most: int) -> dict[str, Any]:
    look: dict[str, Any] = {"title": {"text": _plain(axis.label)}, "showgrid": axis.has_grid}
    look |= {"zeroline": False, "showline": True, "linecolor": style.GREY, "automargin": True}
    if axis.limits is not None:
        ends = sorted(axis.limits, reverse=axis.is_reversed)
        if axis.is_log:
            ends = [math.log10(end) for end in ends]
        look["range"] = _times(ends) if axis.is_time else ends
    elif axis.is_reversed:
        look["autorange"] = "reversed"
    if axis.is_log:
        low, high = np.log10(axis.limits or (1.0, 10.0))
        every = max(1, round((high - low) / max(2, most)))
        look |= {"type": "log", "dtick": every, "exponentformat": "power"}
    if axis.is_time:
        look["type"] = "date"
    if axis.ticks is not None:
        texts = [_plain(text) for _, text in axis.ticks]
        look |= {"tickvals": [place for place, _ in axis.ticks], "ticktext": texts}
    elif axis.is_count and not axis.is_log:
        low, high = axis.limits or (0.0, 0.0)
        look |= {"dtick": 1} if high - low <= 8 else {"tickformat": "d"}
    if axis.is_hidden:
        look |= {"title": {"text": ""}, "showticklabels": False}
    return look | {"tickangle": -axis.angle}


def _trace(layer: Dots | Lines | Band | Bars | Cells, is_time: bool, scale: Scale | None) -> Any:
    import plotly.graph_objects as go

    match layer:
        case Dots():
            return _dots(layer)
        case Lines():
            return _lines(layer, scale)
        case Band():
            return _band(layer)
        case Bars():
            return _bars(layer, is_time)
        case Cells():
            return go.Heatmap(
                x=layer.x, y=layer.y, z=layer.z, coloraxis="coloraxis", hoverinfo="skip"
            )


def _lines(layer: Lines, scale: Scale | None) -> Any:
    import plotly.graph_objects as go

    line = {
        "color": _line_colour(layer, scale),
        "width": layer.width,
        "shape": "hv" if layer.has_steps else "linear",
    }
    return go.Scatter(
        x=layer.x,
        y=list(layer.y),
        mode="lines",
        opacity=layer.opacity,
        line=line,
        **_about(layer.about),
    )


def _dots(layer: Dots) -> Any:
    import plotly.graph_objects as go

    marker: dict[str, Any] = {
        "symbol": _SYMBOLS[layer.symbol],
        "size": layer.size * _PIXELS / 72,
        "opacity": layer.opacity,
    }
    if isinstance(layer.colour, str):
        marker["color"] = _own(layer.colour)
    else:
        marker |= {"color": layer.colour, "coloraxis": "coloraxis"}
    marker["line"] = {"width": 1.5} if layer.symbol in ("ring", "cross", "dash") else {"width": 0}
    return go.Scatter(x=layer.x, y=layer.y, mode="markers", marker=marker, **_about(layer.about))


def _band(layer: Band) -> Any:
    import plotly.graph_objects as go

    colour = _own(layer.colour)
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return go.Scatter(
        x=[*layer.x, *reversed(layer.x)],
        y=[*layer.high, *reversed(layer.low)],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{layer.opacity})",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )


def _bars(layer: Bars, is_time: bool) -> Any:
    import plotly.graph_objects as go

    return go.Bar(
        y=list(layer.y),
        x=np.asarray(layer.length, float) * (1000 if is_time else 1),  # milliseconds
        base=_times(layer.start) if is_time else layer.start,
        width=layer.height,
        orientation="h",
        marker={"color": _own(layer.colour), "line": {"width": 0}},
        text=list(layer.texts) or None,
        textposition="outside" if layer.texts else "none",
        cliponaxis=False,
        **_about(layer.about),
    )


def _about(texts: Any) -> dict[str, Any]:
    if not len(texts):
        return {"hoverinfo": "skip"}
    return {"hovertext": list(texts), "hovertemplate": "%{hovertext}<extra></extra>"}


def _times(seconds: Any) -> list[str]:
    """Return times in Plotly's format: local time without a time zone."""
    return [datetime.datetime.fromtimestamp(float(each)).isoformat() for each in seconds]


def _plain(text: str) -> str:
    """Return a text without anything that Plotly reads as HTML, with line breaks."""
    return html.escape(text, quote=False).replace("\n", "<br>")


def _line_colour(layer: Lines, scale: Scale | None) -> str:
    from plotly.colors import sample_colorscale

    if isinstance(layer.colour, str) or scale is None:
        return _own(str(layer.colour))
    part = (layer.colour - scale.low) / (scale.high - scale.low)
    found: str = sample_colorscale(_name(scale), min(max(part, 0.0), 1.0))[0]
    return found


def _own(colour: str) -> str:
    return "#222222" if colour == style.INK else colour
