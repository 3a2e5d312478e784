"""Processes that run a command."""

import subprocess
import sys

from tests.script_environment import script_environment

_CODE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job ignores
if os.isatty(0):
    os.open(os.ttyname(0), os.O_RDWR)  # makes it the terminal that Ctrl-C is of
from glimr_keras.cli.main import main
sys.exit(main())
"""


def start(*arguments, **options):
    """A process that runs a command.

    Args:
        options: As for `Popen`.
    """
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": script_environment()}
    command = [sys.executable, "-c", _CODE, *map(str, arguments)]
    return subprocess.Popen(command, text=True, **{**usual, **options})
