"""What is around a script that a test runs in a process of its own."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def script_environment(ray_files=None, **more):
    """Return environment variables for a script that finds this package and the tests' modules, and
    joins no Ray but its own.

    Args:
        ray_files: Where its Ray has its files; see the fixture of this name.
        more: Further variables.
    """
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    if ray_files is not None:
        environment["RAY_TMPDIR"] = ray_files
    return {**environment, "PYTHONPATH": str(ROOT), **more}
