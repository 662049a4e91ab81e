"""Does regression on what is known of a pair make comparisons more precise? On the recorded traces.

    python benchmarks/control_variates.py

The number of a pair, x, is regressed on differences between its arms: how long they waited (wall time over
CPU time), their first iterations, and their spread. The coefficients come from the first half of the pairs.
Shown for the second half: the standard deviation that is left, as a fraction of that of x, and the median of
x with and without the regression, which has to stay what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from detection_power import WORKLOADS, trace_rows  # noqa: E402

from benchmarking.statistics.sequential import pair_log_ratio  # noqa: E402

Row = Mapping[str, Any]
ARMS = {"identical": ("t", "c"), "identical, too": ("c2", "c"), "+3 %": ("t3", "c")}


def waited(row: Row, clock: str, arm: str) -> float:
    return float(np.median(np.log(np.divide(row["w"][arm], np.maximum(row["cpu"][arm], 1)))))


def first(row: Row, clock: str, arm: str) -> float:
    return float(np.log(row[clock][arm][0]))


def spread(row: Row, clock: str, arm: str) -> float:
    low, high = np.percentile(np.log(row[clock][arm]), [25, 75])
    return float(np.log(high - low + 1e-3))


COVARIATES: Mapping[str, tuple[Callable[[Row, str, str], float], ...]] = {
    "waiting": (waited,),
    "first iteration": (first,),
    "spread": (spread,),
    "all": (waited, first, spread),
}


def left(x: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """The fraction of the standard deviation that is left, and the median, in the second half."""
    half = len(x) // 2
    centred = z[:half] - z[:half].mean(axis=0)
    coefficients = np.linalg.lstsq(centred, x[:half] - x[:half].mean(), rcond=None)[0]
    adjusted = x[half:] - z[half:] @ coefficients
    return float(adjusted.std() / x[half:].std()), float(np.median(adjusted))


def main() -> None:
    table = []
    for workload in WORKLOADS:
        rows = trace_rows("iteration_level_pairs.jsonl.gz")[workload]
        for clock, name in (("cpu", "CPU time"), ("w", "wall time")):
            for what, (treatment, control) in ARMS.items():
                used = [row for row in rows if treatment in row["w"]]
                x = np.array([pair_log_ratio(row[clock][treatment], row[clock][control]) for row in used])
                cells = [f"{100 * np.median(x[len(x) // 2 :]):+.2f} %"]
                for covariates in COVARIATES.values():
                    z = np.array(
                        [
                            [of(row, clock, treatment) - of(row, clock, control) for of in covariates]
                            for row in used
                        ]
                    )
                    share, center = left(x, z)
                    cells.append(f"{share:.2f} ({100 * center:+.2f} %)")
                table.append([workload, name, what, *cells])
    print(tabulate(table, ["trace", "clock", "programs", "median of x", *COVARIATES], tablefmt="pipe"))


if __name__ == "__main__":
    main()
