"""Performs one benchmark run; see ``harness.py --help``."""

import sys

from benchmarking.cli.harness import main

if __name__ == "__main__":
    sys.exit(main())
