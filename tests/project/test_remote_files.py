"""Places of projects, as others may see them."""

import pytest

from glimr_keras.project.remote_files import project_name, without_keys


@pytest.mark.parametrize(
    ("place", "shown", "name"),
    [
        ("s3://bucket/runs/digits", "s3://bucket/runs/digits", "digits"),
        ("s3://key:secret@bucket/runs/digits?region=eu", "s3://bucket/runs/digits", "digits"),
        ("s3://bucket/runs/digits/", "s3://bucket/runs/digits/", "digits"),
        (
            "abfs://box@acc.dfs.core.windows.net/p?sig=1",
            "abfs://box@acc.dfs.core.windows.net/p",
            "p",
        ),
        (
            "wasbs://box:key@acc.blob.core.windows.net/p",
            "wasbs://box@acc.blob.core.windows.net/p",
            "p",
        ),
        ("abfss://:key@acc.dfs.core.windows.net/p", "abfss://acc.dfs.core.windows.net/p", "p"),
        ("file:///runs/p", "file:///runs/p", "p"),
        ("runs/a@b?c", "runs/a@b?c", "a@b?c"),
        ("runs/digits", "runs/digits", "digits"),
        ("/runs/digits/", "/runs/digits/", "digits"),
    ],
)
def test_a_place_is_shown_without_keys_and_called_by_its_last_part(place, shown, name):
    assert without_keys(place) == shown
    assert project_name(place) == name


def test_the_working_directory_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_name(".") == tmp_path.name
