"""Run the command `glimr-keras` with `python -m glimr_keras`."""

import sys

from glimr_keras.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
