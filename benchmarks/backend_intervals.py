"""How precisely are backends compared: by alternating single iterations, and by whole processes?

    python benchmarks/backend_intervals.py [--backends default,onednn,mkl,nnpack] [--size 224] [--rounds 1]

It uses Squeezenet with synthetic weights. For each method it shows the ratio of every backend with its
interval, how far the interval reaches to either side, the seconds that the harness took and the load before
it. Both methods run in random order.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "specifications/models/caffe2/squeezenet"
WAYS = ("iteration", "process")


def write_benchmark(directory: Path, size: int) -> Path:
    """One test of delays, with an image of ``size`` x ``size``."""
    suite = json.loads((MODEL / "squeezenet_synthetic.json").read_text())
    for file in suite["model"]["files"].values():
        file["location"] = str(MODEL / file["location"])
    inputs = {"data": {"shapes": [[1, 3, size, size]], "type": "float"}}
    suite["tests"] = [{"identifier": "delay", "metric": "delay", "iter": 50, "warmup": 5, "inputs": inputs}]
    path = directory / "benchmark.json"
    path.write_text(json.dumps(suite))
    return path


def compare(benchmark: Path, backends: str, way: str, cache: Path) -> dict[str, Any]:
    """Returns the harness's document."""
    command = [sys.executable, str(ROOT / "harness.py"), "--benchmark_file", str(benchmark), "--json"]
    command += ["--backend", backends, "--ab_mode", way, "--model_cache", str(cache), "--log_level", "error"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def lines(document: dict[str, Any]) -> Iterator[tuple[float, str]]:
    """For each ratio: how far its interval reaches to either side, as a fraction, and the line to print."""
    for test in document["backends"][0]["tests"]:
        for name, entry in test["backends"].items():
            ratio, low, high = (entry[key] for key in ("ratio", "ratio_low", "ratio_high"))
            if ratio is not None and low is not None:
                reach = max(high / ratio - 1, 1 - low / ratio)
                yield reach, f"  {name:12} {ratio:6.3f}x [{low:.3f}, {high:.3f}]  +-{100 * reach:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backends", default="default,onednn,mkl,nnpack")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=1, help="comparisons of each way")
    options = parser.parse_args()
    reaches: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="backend-intervals-") as temporary:
        directory = Path(temporary)
        benchmark = write_benchmark(directory, options.size)
        for _ in range(options.rounds):
            for way in random.sample(WAYS, k=len(WAYS)):
                load, started = os.getloadavg()[0], time.monotonic()
                document = compare(benchmark, options.backends, way, directory / "cache")
                seconds[way].append(time.monotonic() - started)
                found = list(lines(document))
                reaches[way].append(max((reach for reach, _ in found), default=float("nan")))
                print(f"{way}: {seconds[way][-1]:.1f} s, load {load:.1f}", flush=True)
                print("\n".join(line for _, line in found), flush=True)
    for way in WAYS:
        reach, took_s = statistics.median(reaches[way]), statistics.median(seconds[way])
        print(f"{way:10} widest interval +-{100 * reach:.1f} %, {took_s:.1f} s (medians of {options.rounds})")


if __name__ == "__main__":
    main()
