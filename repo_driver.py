"""Benchmarks the commits of a repository, one after another; see ``repo_driver.py --help``."""

from benchmarking.start import repo_driver

if __name__ == "__main__":
    repo_driver()
