"""Files that are never half written."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import pytest

from glimr_keras._utils import files
from glimr_keras.errors import ProjectError, StorageError
from glimr_keras.project.journal import Journal
from tests.results import made


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


class Windows:
    """What locks a part of a file there, for all who open it in this process."""

    LK_NBLCK = 2

    def __init__(self):
        self.locked, self.refusals, self.error = set(), 0, errno.EACCES

    def locking(self, file, mode, size):
        assert (mode, size) == (self.LK_NBLCK, 1)
        found = os.fstat(file).st_ino, os.lseek(file, 0, os.SEEK_CUR)
        if found in self.locked:
            self.refusals += 1
            if self.refusals == 3:
                self.locked.clear()
            raise OSError(self.error, "no")
        self.locked.add(found)


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", Windows())
    return files.msvcrt


def test_on_windows_a_file_is_locked_behind_its_end(tmp_path, windows):
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb+") as file, (tmp_path / "file").open("rb+") as other:
        file.seek(3)
        files.lock(file, waits=False)
        ((_, place),) = windows.locked
        assert (file.read(), place > 2**30) == (b"tent", True)
        with pytest.raises(BlockingIOError):
            files.lock(other, waits=False)
        files.lock(other, waits=True)
        assert windows.refusals == 3


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOSYS])
def test_on_windows_a_file_system_without_locks_has_none(tmp_path, windows, error):
    windows.error = error
    with (tmp_path / "file").open("w") as file, (tmp_path / "file").open() as other:
        files.lock(file, waits=False)
        files.lock(other, waits=False)


def test_on_windows_a_second_search_is_kept_out_of_a_project(tmp_path, windows):
    directory = made.written(made.project([made.trial(0, [[0.5]])]), tmp_path / "project")
    windows.locked.clear()  # as it is when a file is closed
    first, second = Journal(directory), Journal(directory)
    first.claim()
    with pytest.raises(ProjectError, match="Another search is running in"):
        second.claim()
    first.close()
