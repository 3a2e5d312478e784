"""Write files to paths that the user chose. Runs anywhere."""

from __future__ import annotations

import pathlib

from glimr_keras._utils.files import write_whole
from glimr_keras.exports.places import outside_projects


def put(path: pathlib.Path, content: bytes) -> None:
    """Write a file atomically, and create its directory.

    If the path is a link, its target is written. If it is not a regular file, such as
    `/dev/stdout`, the content is written into it directly.

    Raises:
        ProjectError: If the path is inside a project.
    """
    place = outside_projects(path).resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as there:
            there.write(content)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, content)
