"""Whose what is exported is."""

import dataclasses

from tests.exports import contents


def without_id(directory):
    content = dataclasses.replace(contents.early(), directory=directory)
    content.project.project_id = None
    return content


def test_a_project_without_an_id_is_known_by_its_place(tmp_path, monkeypatch):
    mine, other = without_id(tmp_path / "a" / "digits"), without_id(tmp_path / "b" / "digits")
    assert mine.owner != other.owner
    assert len(mine.owner) == 32
    (tmp_path / "a" / "digits").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "link")
    assert without_id(mine.directory.relative_to(tmp_path / "a")).owner == mine.owner


def test_a_copy_is_known_by_what_it_is_a_copy_of(tmp_path):
    places = [
        ("cache", "s3://a/digits"),
        ("elsewhere", "s3://a/digits"),
        ("cache", "s3://b/digits"),
    ]
    first, again, other = (
        dataclasses.replace(without_id(tmp_path / place), uri=uri).owner for place, uri in places
    )
    assert first == again != other


def test_a_project_with_an_id_is_known_by_it(tmp_path):
    assert contents.early().owner == contents.OWNER
