"""``mlbench watch``: the same as ``repo_driver.py``."""

from benchmarking.cli.repo_driver import main
from benchmarking.cli.repo_driver_arguments import make_parser

__all__ = ["main", "make_parser"]
