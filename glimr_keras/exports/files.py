"""Files that a user named. Runs anywhere."""

from __future__ import annotations

import pathlib

from glimr_keras._utils.files import write_whole
from glimr_keras.exports.places import outside_projects


def put(path: pathlib.Path, content: bytes) -> None:
    """Write a file whole, and make its directory. A link leads to the file that is written, and
    what is no file, such as `/dev/stdout`, is written into.

    Raises:
        ProjectError: If it is inside a project.
    """
    place = outside_projects(path).resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as there:
            there.write(content)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, content)
