"""The place of KerasTuner's private modules.

An entry point only: `engine.private_paths` provides the modules below, and replaces this one.
"""

from glimr_keras import engine  # noqa: F401
