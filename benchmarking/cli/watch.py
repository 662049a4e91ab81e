"""``mlbench watch``: what ``repo_driver.py`` does."""

from benchmarking.cli.repo_driver import main
from benchmarking.cli.repo_driver_arguments import make_parser

__all__ = ["main", "make_parser"]
