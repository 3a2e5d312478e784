"""Where KerasTuner has its private modules. A door: `engine.private_paths` opens what is below, and
takes the place of this module.
"""

from glimr_keras import engine  # noqa: F401
