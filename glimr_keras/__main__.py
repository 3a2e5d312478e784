"""`python -m glimr_keras`: the command `glimr-keras`."""

import sys

from glimr_keras.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
