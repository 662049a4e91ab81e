"""Ends processes that a killed loop left running: they would disturb measurements, and write to the same
files.
"""

from __future__ import annotations

from pathlib import Path

from benchmarking.programs.leftovers import end_marked

VARIABLE = "ML_BENCHMARK_LOOP"
"""In the environment of all programs that a loop starts: the directory of the loop."""


def end_leftovers(directory: Path) -> None:
    """Call it while holding the loop's lock: no process with this mark is then wanted."""
    end_marked(VARIABLE, str(directory).__eq__)
