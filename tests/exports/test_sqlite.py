"""New databases that are filled at once."""

import sqlite3

import pytest
import sqlalchemy

from glimr_keras.exports.sqlite import file_of, filled_at_once


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////tmp/a.db", "/tmp/a.db"),
        ("sqlite:///a.db?timeout=3", "a.db"),
        ("sqlite+pysqlite:///a.db", "a.db"),
        ("sqlite:///:memory:", None),
        ("postgresql:///a", None),
        ("https://mlflow.example.org", None),
    ],
)
def test_files_of_databases_are_told_from_others(url, file):
    assert (None if file_of(url) is None else str(file_of(url))) == file


def synchronous(url):
    """How often this database is put on the disk: 0 is never, 2 after each write."""
    with sqlalchemy.create_engine(url).connect() as connection:
        found = connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar_one()
        connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS t (x)"))
        connection.commit()
        return found


def test_only_a_new_database_is_put_on_the_disk_at_the_end(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    with filled_at_once(url):
        assert synchronous(url) == 0
    assert synchronous(url) == 2
    with filled_at_once(url):
        assert synchronous(url) == 2
    with sqlite3.connect(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    connection.close()


def test_elsewhere_nothing_is_changed():
    with filled_at_once("postgresql:///a"), filled_at_once(None):
        assert synchronous("sqlite://") == 2
