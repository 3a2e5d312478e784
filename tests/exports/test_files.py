"""Files that a user named."""

import os
import threading

from glimr_keras.exports.files import put


def test_a_file_is_written_with_its_directory(tmp_path):
    put(tmp_path / "new" / "file", b"text")
    assert (tmp_path / "new" / "file").read_bytes() == b"text"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    put(tmp_path / "link", b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"after"


def test_what_is_no_file_is_written_into(tmp_path):
    """As `/dev/stdout` of a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    put(pipe, b"text")
    reader.join(10)
    assert read == [b"text"]
    assert pipe.is_fifo()
