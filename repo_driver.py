"""Benchmarks the commits of a repository, one after the other; see ``repo_driver.py --help``."""

import sys

from benchmarking.cli.repo_driver import main

if __name__ == "__main__":
    sys.exit(main())
