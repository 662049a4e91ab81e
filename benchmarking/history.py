"""``python -m benchmarking.history show|changes``: what the results of many commits tell together."""

import sys

from benchmarking.cli.history import main

if __name__ == "__main__":
    sys.exit(main())
