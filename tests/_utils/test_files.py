"""Files that are never half written."""

import json
import pathlib
import subprocess
import sys

import pytest

from glimr_keras._utils import files
from glimr_keras.errors import StorageError


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    files.write_json(path, {"a": 1})

    def dies(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(pathlib.Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_directory_is_made_and_what_cannot_be_written_is_an_error_of_storage(tmp_path):
    files.write_json(tmp_path / "a" / "b.json", [1])
    with pytest.raises(StorageError, match=r"b\.json/c\.json cannot be written"):
        files.write_json(tmp_path / "a" / "b.json" / "c.json", [1])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_locked_file_is_not_another_processes(tmp_path):
    path = tmp_path / "file"
    code = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'a+') as file:\n"
        "    try:\n"
        "        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except BlockingIOError:\n"
        "        sys.exit(7)"
    )

    def other():
        return subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode

    with files.locked(path) as file:
        file.write("mine")
        assert other() == 7
    assert other() == 0
    with files.locked(path) as file:
        assert file.read() == "mine"
