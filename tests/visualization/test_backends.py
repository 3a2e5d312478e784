"""Libraries that draw, and their files."""

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
import pytest

from glimr_keras.visualization import plot_edf, plot_slice, save, style
from glimr_keras.visualization.backends import drawn
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
    in_grid,
)
from tests.visualization import made

LAYERS = [
    Band([1, 2, 3], [0, 1, 1], [2, 3, 4], style.GREEN),
    Band([1, 2, 3], [0, 1, 1], [1, 2, 2], style.INK),
    Lines([1, 2, np.nan, 2, 3], [1, 1, np.nan, 2, 2], "line", style.ORANGE, has_steps=True),
    Lines([1, 3], [2, 3], colour=0.5),
    Dots([1, 2], [3, 1], "dots", np.array([0.0, 1.0]), about=["a", "b"]),
    Dots([3], [1], "ring", style.INK, "ring"),
    Bars([1, 2], [0, 1], [1, 2], "bars", texts=["one", "two"]),
    Cells(np.array([1, 2]), np.array([1, 2, 3]), np.arange(6.0).reshape(3, 2) / 6),
    Texts([1.0, 2.0], [1.0, 2.0], ["here", "there"]),
]
PICTURE = Picture(
    "All layers",
    [[Panel(Axis("x", (0, 4)), Axis("y", (5, 0), is_reversed=True), LAYERS, "panel"), None]],
    scale=Scale("colour", 0.0, 1.0, ticks=[(0.0, "low"), (1.0, "high")]),
)


def test_both_libraries_draw_every_layer():
    axes = drawn(PICTURE, "matplotlib")
    figure = drawn(PICTURE, "plotly")
    assert axes.shape == (1, 2)
    assert not axes[0, 1].axison
    assert axes[0, 0].get_ylim() == (5, 0)
    assert list(figure.layout.yaxis.range) == [5, 0]
    names = ["line", "dots", "ring", "bars"]
    assert [text.get_text() for text in axes[0, 0].figure.legends[0].texts] == names
    assert [trace.name for trace in figure.data if trace.showlegend] == names
    assert {each.text for each in figure.layout.annotations} == {"panel", "here", "there"}
    assert list(figure.layout.coloraxis.colorbar.ticktext) == ["low", "high"]


def test_what_is_in_ink_is_light_on_dark_paper():
    with plt.style.context("dark_background"):
        axes = drawn(PICTURE, "matplotlib")
        ring = next(d for d in axes[0, 0].collections if d.get_label() == "ring")
    assert ring.get_edgecolors()[0][:3].tolist() == [1, 1, 1]


def test_every_symbol_is_one_of_both_libraries():
    names = ("dot", "ring", "cross", "dash", "up", "down", "left", "right")
    layers = [Dots([place], [0], symbol=name) for place, name in enumerate(names)]
    picture = Picture("Symbols", [[Panel(Axis(), Axis(), layers)]])
    marks = {trace.marker.symbol for trace in drawn(picture, "plotly").data}
    shapes = {str(each.get_paths()[0]) for each in drawn(picture, "matplotlib").collections}
    assert len(marks) == 8
    assert len(shapes) == 7  # a ring is a dot that is not filled


def test_a_grid_is_filled_up_with_nothing():
    panel = Panel(Axis(), Axis(), [])
    assert in_grid([panel] * 5, 3) == [[panel] * 3, [panel, panel, None]]
    assert in_grid([panel], 3) == [[panel]]


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
@pytest.mark.parametrize("plot", [plot_edf, plot_slice])
def test_axes_are_written_as_pictures(tmp_path, plot, suffix, start):
    path = save(plot(made.project(10)), tmp_path / f"figure.{suffix}")
    assert path == tmp_path / f"figure.{suffix}"
    assert path.read_bytes().startswith(start)


def test_a_page_of_plotly_needs_no_network(tmp_path):
    path = save(plot_edf(made.project(10), backend="plotly"), str(tmp_path / "figure.html"))
    page = path.read_text()
    assert "val_accuracy (maximised)" in page
    assert "<script src=" not in page


@pytest.mark.parametrize(
    ("backend", "name", "other"),
    [("plotly", "a.png", "matplotlib"), ("matplotlib", "a.html", "plotly")],
)
def test_a_file_of_another_kind_is_an_error_with_the_other_backend(tmp_path, backend, name, other):
    figure = plot_edf(made.project(10), backend=backend)
    with pytest.raises(ValueError, match=rf"Received: path=.*{name}.*backend='{other}'"):
        save(figure, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_figures_of_others_are_written_too(tmp_path):
    figure, ax = plt.subplots()
    ax.plot([1, 2])
    assert save(figure, tmp_path / "mine.png").exists()
    assert save(go.Figure(), tmp_path / "mine.html").exists()


def test_what_is_no_figure_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="Received: int"):
        save(3, tmp_path / "a.png")
