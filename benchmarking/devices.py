"""``python -m benchmarking.devices list|check``: which devices there are, and how they are."""

import sys

from benchmarking.cli.devices import main

if __name__ == "__main__":
    sys.exit(main())
