"""`glimr-keras plot`."""

import pytest

from glimr_keras.cli.main import main
from tests.results import made

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("html", b"<!doctype html>")],
)
def test_the_suffix_says_what_is_written(suffix, start, digits, tmp_path, capsys):
    if suffix == "html":
        pytest.importorskip("plotly")
    file = tmp_path / "new" / f"figure.{suffix}"
    assert main(["plot", str(digits), "plot-optimization-history", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"Wrote {file}.\n"
    assert file.read_bytes().startswith(start)
    assert file.stat().st_size > 5000


def test_a_file_is_called_like_its_figure(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(digits), "edf"]) == 0
    assert (tmp_path / "edf.png").exists()


def test_what_a_project_has_nothing_for_is_told(digits, tmp_path, capsys):
    file = str(tmp_path / "figure.png")
    assert main(["plot", str(digits), "folds", "-o", file]) == 1
    assert "There are no folds" in capsys.readouterr().err
    assert main(["plot", str(digits), "edf", "-o", f"{file}.xyz"]) == 1
    assert ".xyz" in capsys.readouterr().err
    empty = made.written(made.project([]), tmp_path / "empty")
    assert main(["plot", str(empty), "edf", "-o", file]) == 1
    assert not (tmp_path / "figure.png").exists()
