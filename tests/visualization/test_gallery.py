"""The gallery of all figures is made from real searches."""

import re

import pytest

from glimr_keras.visualization import FIGURES
from tests.test_examples import run_example


@pytest.mark.slow
def test_the_gallery_has_every_figure_as_a_picture_and_as_a_page(tmp_path):
    run_example("gallery.py", ["--quick", "--output", str(tmp_path / "gallery")], tmp_path)
    page = (tmp_path / "gallery" / "index.html").read_text()
    shown = re.findall(r"<a href='(\w+)\.html'><img src='\1\.png'>", page)
    assert {name.partition("_")[2] for name in shown} == set(FIGURES)
    for name in shown:
        assert (tmp_path / "gallery" / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / "gallery" / f"{name}.html").stat().st_size > 5000
