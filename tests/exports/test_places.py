"""Where exports may be, and what is said of those places."""

import dataclasses

import pytest

from glimr_keras.errors import ProjectError
from glimr_keras.exports.places import shown
from glimr_keras.exports.tools import TOOLS, export
from tests.cli.conftest import contents_of
from tests.exports import contents
from tests.results import made

INSIDE = {
    "csv": ["", "new", "trials.csv"],
    "parquet": ["", "trials.parquet"],
    "json": ["digits.json"],
    "optuna": ["study.db", "study.log", "journal://{}/j", "sqlite:///{}/url.db"],
    "tensorboard": ["", "..", "logs"],
    "mlflow": ["mlflow.db", "", "sqlite:///{}/mlflow.db", "file://{}/runs"],
    "wandb": ["", "new"],
}


def test_every_tool_is_tested():
    assert [*INSIDE] == [*TOOLS]


@pytest.mark.parametrize(("to", "place"), [(to, each) for to in INSIDE for each in INSIDE[to]])
def test_nothing_is_written_into_a_project(to, place, tmp_path):
    pytest.importorskip(to) if to in ("mlflow", "wandb") else None
    directory = made.written(contents.early().project, tmp_path / "digits")
    content = dataclasses.replace(contents.early(), directory=directory)
    before = contents_of(tmp_path)
    where = place.format(directory) if "{}" in place else str(directory / place)
    with pytest.raises(ProjectError, match=r"a project, which is only read.* such as .*-export\."):
        export(content, to, where)
    assert contents_of(tmp_path) == before


def test_nothing_is_written_into_a_project_that_one_works_in(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    directory = made.written(contents.early().project, tmp_path / "digits")
    monkeypatch.chdir(directory)
    with pytest.raises(ProjectError, match="which is only read"):
        export(contents.early(), "wandb")


def test_a_link_into_a_project_is_inside_of_it(tmp_path):
    directory = made.written(contents.early().project, tmp_path / "digits")
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(ProjectError, match="which is only read"):
        export(contents.early(), "json", str(tmp_path / "link" / "digits.json"))


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        ("postgresql+psycopg://me:s@cret@host:1/db?sslkey=x", "postgresql+psycopg://host:1/db"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("new/a@b?c.log", "new/a@b?c.log"),
    ],
)
def test_passwords_in_a_url_are_not_shown(where, seen):
    assert shown(where) == seen
