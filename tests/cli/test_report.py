"""`glimr-keras report`: one file, in which all text is escaped."""

import base64
import hashlib
import html.parser
import re
import sys

import pytest

from glimr_keras.cli import figures, report_figures
from glimr_keras.cli.main import main
from glimr_keras.cli.report_figures import caption
from glimr_keras.cli.report_sections import head
from glimr_keras.trials.objective import MultiObjective, Objective
from glimr_keras.visualization import FIGURES
from tests.cli.conftest import trials
from tests.results import made

pytest.importorskip("matplotlib")
EVIL = "<script>alert('x')</script>"


class Page(html.parser.HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def written(directory, tmp_path, *arguments):
    file = tmp_path / "new" / "report.html"
    assert main(["report", str(directory), "-o", str(file), *arguments]) == 0
    text = file.read_text()
    page = Page(text)
    assert page.open == []
    return text, page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a project in which all that can be said is said in HTML."""
    place = tmp_path_factory.mktemp("report")
    evil = made.trial(5, [[0.6]], values={EVIL: EVIL, "units": 16})
    failed = made.trial(6, [[0.6]], "FAILED", message=f"ValueError: {EVIL}")
    project = made.project([*trials(), evil, failed], oracle=EVIL)
    directory = made.written(project, place / "digits")
    return written(directory, place, "--title", EVIL)


def test_it_has_all_of_a_project(report):
    text, page = report
    said = " ".join(page.texts)
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == [
        "Best trials",
        "Figures",
        "Setting",
        "Failed trials",
        "All trials",
        "Versions",
    ]
    assert "best val_loss, trial 00" in said
    assert "8 to 512, log" in said
    assert "norm = True" in said
    assert 'File "train.py", line 3, in build' in said
    assert "This report was made with glimr_keras " in said
    assert len(re.findall("<tr>", text.partition("All trials</h2>")[2])) == 1 + 7


def test_its_figures_are_in_it(report):
    _, page = report
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert len(images) >= 5
    for image in images:
        kind, _, content = image.partition(";base64,")
        start = {"data:image/svg+xml": b"<?xml", "data:image/png": b"\x89PNG"}[kind]
        assert base64.b64decode(content).startswith(start)
    assert caption("edf") in page.texts


def test_nothing_is_loaded_and_no_text_is_code(report):
    text, page = report
    assert EVIL not in text
    assert page.tags.count("script") == 1
    assert "\x1b" not in text
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [value for name in ("href", "action") for value in page.of(name)]
    assert all(value.startswith("data:") for value in page.of("src"))
    assert "http" not in re.sub(r"base64,[^\"]+|http-equiv", "", text)


def test_a_browser_runs_its_own_script_only(report):
    text, page = report
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [value for value in page.of("content") if "default-src" in value]
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def test_compromises_of_several_objectives_are_the_best(tmp_path):
    objective = MultiObjective(
        [Objective("loss", "min"), Objective("val_loss", "min")], pareto=True
    )
    directory = made.written(made.project(trials(), objective=objective), tmp_path / "several")
    text, page = written(directory, tmp_path)
    assert "<h2>Best compromises</h2>" in text
    assert "several" in page.texts


def test_a_project_without_trials_has_a_report(tmp_path):
    directory = made.written(made.project([]), tmp_path / "empty")
    text, _ = written(directory, tmp_path)
    assert "No trial has a score yet." in text
    assert "<h2>Figures</h2>" not in text
    assert "1970" not in text
    assert ", until" not in text


def test_workers_are_counted_where_they_are_known():
    project = made.project([made.trial(0, [[0.5], [0.25]])])
    assert ">of training by 2 workers<" in head("digits", project, made.BEGAN)
    for execution in project.trials["00"].executions.values():
        execution.worker = None
    assert ">of training<" in head("digits", project, made.BEGAN)


def test_a_figure_that_cannot_be_drawn_is_a_line(digits, tmp_path, monkeypatch):
    def failing(source, backend):
        raise RuntimeError(EVIL)

    monkeypatch.setattr(report_figures, "FIGURES", {**FIGURES, "edf": failing})
    monkeypatch.setattr(figures, "FIGURES", {**FIGURES, "edf": failing})
    text, page = written(digits, tmp_path)
    assert f"The figure edf cannot be drawn. RuntimeError: {EVIL}" in page.texts
    assert page.tags.count("img") >= 4
    assert "<h2>Versions</h2>" in text


def test_without_matplotlib_there_is_no_report(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(digits), "-o", str(tmp_path / "report.html")]) == 1
    assert "matplotlib" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_says_what_it_shows(name):
    said = caption(name)
    assert said[0].isupper()
    assert said.endswith(".")
    assert "`" not in said
