"""`python -m tensordeck`: the same as the `tensordeck` command."""

import sys

from tensordeck.cli import main

if __name__ == "__main__":
    sys.exit(main())
