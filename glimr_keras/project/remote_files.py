"""Files at a URI: on local file systems, object stores and anything that fsspec supports. Runs
in the driver.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.fs

from glimr_keras.errors import CheckpointError, ProjectError, StorageError

_WITHOUT_DIRECTORIES = ("s3", "gcs", "abfs")
"""File systems whose names only look like paths."""
_WITH_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")
"""URIs with the container before the `@`, instead of the user."""

PART = ".new"
"""The suffix of a file's name until it is complete."""


def is_uri(place: Any) -> bool:
    """Return whether a place is a URI and not a path."""
    return isinstance(place, str) and "://" in place


def without_keys(place: str) -> str:
    """Return a URI without its secrets: `s3://key:secret@bucket/runs?region=…` becomes
    `s3://bucket/runs`.

    The container of Azure's `abfs://container@account…` is kept. A path is returned unchanged.
    """
    if not is_uri(place):
        return place
    parts = urllib.parse.urlsplit(place)
    before, _, host = parts.netloc.rpartition("@")
    container = before.partition(":")[0] if parts.scheme in _WITH_CONTAINERS else ""
    host = f"{container}@{host}" if container else host
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def project_name(place: str | os.PathLike[str]) -> str:
    """Return the name of the project in a directory or at a URI: the last part of the path."""
    shown = without_keys(os.fspath(place))
    whole = shown if is_uri(shown) else os.path.abspath(shown)  # noqa: PTH100  # keeps links
    return (
        pathlib.PurePosixPath(whole.rstrip("/")).name if is_uri(shown) else pathlib.Path(whole).name
    )


class Remote:
    """The files below a URI, by their names relative to it.

    Args:
        uri: A URI of a file system that `pyarrow.fs` or fsspec knows. They read credentials and
            endpoints from the environment.
        local: The place of a complete local copy, for messages.

    Raises:
        StorageError: If there is no such file system. Every method raises it if the files cannot be
            read or written.
    """

    def __init__(self, uri: str, local: Any) -> None:
        self.uri, self._local = uri, local
        self._files, self._root = _file_system(uri)

    def names(self) -> Iterator[str]:
        """Yield the names of all files."""
        with self.storing():
            selector = pyarrow.fs.FileSelector(self._root, allow_not_found=True, recursive=True)
            for found in self._files.get_file_info(selector):
                if found.type == pyarrow.fs.FileType.File:
                    yield found.path.removeprefix(f"{self._root}/")

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Return a file's size in bytes and its modification time in ns; `None` if it does not
        exist.
        """
        with self.storing():
            found = self._files.get_file_info(f"{self._root}/{name}")
            return None if found.type != pyarrow.fs.FileType.File else (found.size, found.mtime_ns)

    def content(self, name: str) -> bytes | None:
        """Return a file's content; `None` if it does not exist."""
        with self.storing():
            path = f"{self._root}/{name}"
            if self._files.get_file_info(path).type != pyarrow.fs.FileType.File:
                return None
            try:
                with self._files.open_input_stream(path) as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:  # it was removed meanwhile
                return None
            return content

    def put(self, name: str, content: bytes) -> None:
        """Write a file that nobody reads yet."""
        with self.storing():
            path = f"{self._root}/{name}"
            if self._files.type_name not in _WITHOUT_DIRECTORIES:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(path) as stream:
                stream.write(content)

    def put_whole(self, name: str, content: bytes, by: str = "") -> None:
        """Write a file atomically, as others may read it meanwhile.

        Args:
            by: A name of the writer, needed if others may write at the same time. Defaults to `""`.
        """
        if self._files.type_name in _WITHOUT_DIRECTORIES:  # where a file appears only when complete
            self.put(name, content)
        else:
            self.put(f"{name}{by}{PART}", content)
            self.move(f"{name}{by}{PART}", name)

    def move(self, name: str, to: str) -> None:
        """Rename a file, replacing an existing one."""
        with self.storing():
            self._files.move(f"{self._root}/{name}", f"{self._root}/{to}")

    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""
        with self.storing():
            path = f"{self._root}/{name}"
            if self._files.get_file_info(path).type == pyarrow.fs.FileType.File:
                with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                    self._files.delete_file(path)

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Turn errors inside, which differ by file system, into a `StorageError` with the URI."""
        try:
            yield
        except (CheckpointError, ProjectError, StorageError):
            raise
        except Exception as error:
            raise StorageError(
                f"{self.uri} cannot be read or written: {error}. The local copy of the project, "
                f"with all that was done here, is in {self._local}; run the script again when it "
                "can."
            ) from error


def _file_system(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    try:
        files, path = pyarrow.fs.FileSystem.from_uri(uri)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        try:
            import fsspec  # for what pyarrow does not support

            known, path = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError) as error:
            raise StorageError(f"There is no file system for {uri}: {error}") from error
        files = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(known))
    except OSError as error:
        raise StorageError(f"{uri} cannot be reached: {error}") from error
    return files, path.rstrip("/")
