"""Which files are the user's own."""

import sysconfig

import numpy as np
import pytest

import glimr_keras
from glimr_keras._utils.own_code import is_own_file


def test_libraries_are_not_the_users():
    assert is_own_file(__file__, __name__)
    for file, name in (
        (np.__file__, "numpy"),
        (glimr_keras.__file__, "glimr_keras"),
        (f"{sysconfig.get_paths()['stdlib']}/json/__init__.py", "json"),
        (pytest.__file__, "pytest"),
        ("<frozen importlib>", "importlib"),
        (None, "settings"),
    ):
        assert not is_own_file(file, name)


@pytest.mark.parametrize("place", ["vendor", "."])
def test_what_was_installed_into_any_directory_is_not_the_users(tmp_path, place):
    """Beside it may be modules that are, as where all is in one folder."""
    directory = (tmp_path / place).resolve()
    (directory / "library-1.0.dist-info").mkdir(parents=True)
    (directory / "library-1.0.dist-info" / "METADATA").write_text("Name: library\nVersion: 1.0\n")
    record = "library/__init__.py,,\nlibrary/inner.py,,\nsingle.py,,\n"
    (directory / "library-1.0.dist-info" / "RECORD").write_text(record)
    for file, name in (
        ("library/__init__.py", "library"),
        ("library/inner.py", "library.inner"),
        ("single.py", "single"),
    ):
        assert not is_own_file(str(directory / file), name)
        assert is_own_file(str(directory / file), name, ["library", "single"])
    assert is_own_file(str(directory / "settings.py"), "settings")
    assert is_own_file(str(directory / "settings.py"), None)
