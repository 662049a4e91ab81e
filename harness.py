"""Performs one benchmark run; see ``harness.py --help``."""

from benchmarking.start import harness

if __name__ == "__main__":
    harness()
