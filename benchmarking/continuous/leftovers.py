"""Ends what a killed loop has left running: it would disturb the measurement, and write beside it."""

from __future__ import annotations

from pathlib import Path

from benchmarking.programs.leftovers import end_marked

VARIABLE = "ML_BENCHMARK_LOOP"
"""In the environment of all that a loop starts: the directory of the loop."""


def end_leftovers(directory: Path) -> None:
    """Call it while the loop's lock is held: then nothing that runs with this marker is wanted."""
    end_marked(VARIABLE, str(directory).__eq__)
