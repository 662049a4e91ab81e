"""The time that the harness adds to the programs that it runs: start-up, and each further test.

    python benchmarks/overhead.py [--rounds 9]

The program is a shell script of a few lines, so that nearly all of the remaining time is the harness's. Runs
of 1 and of 40 tests, with and without A/B, and of the same number of bare programs, are interleaved in random
order; the table shows medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MANY = 40
PAIRS = 2
PROGRAM = """#!/bin/sh
echo 'Caffe2Observer Delay Start' >&2
echo 'Caffe2Observer NET_DELAY - 100.0 (us)' >&2
echo 'Caffe2Observer Delay End' >&2
"""


def write_benchmark(directory: Path, tests: int) -> Path:
    files = {}
    for key in ("init", "predict"):
        (directory / key).write_text(key)
        digest = hashlib.md5(key.encode()).hexdigest()
        files[key] = {"filename": f"{key}.pb", "location": key, "md5": digest}
    shapes = [[1, 1]] * tests
    test = {"identifier": "{ID}", "metric": "delay", "iter": 1, "inputs": {"data": {"shapes": shapes}}}
    path = directory / f"benchmark_{tests}.json"
    path.write_text(
        json.dumps({"model": {"name": "tiny", "format": "caffe2", "files": files}, "tests": [test]})
    )
    return path


def harness_command(directory: Path, tests: int, in_ab: bool) -> list[str]:
    program = str(directory / "program")
    arms = ["treatment", "control"] if in_ab else ["treatment"]
    info = {name: {"commit": name, "commit_time": 1, "program": program} for name in arms}
    return [
        *(
            sys.executable,
            str(ROOT / "harness.py"),
            "--benchmark_file",
            str(write_benchmark(directory, tests)),
        ),
        *("--model_cache", str(directory / "cache"), "--local_reporter", str(directory / "results")),
        *(
            "--info",
            json.dumps(info),
            "--ab_pairs",
            str(PAIRS),
            "--ab_mode",
            "process",
            "--canary",
            "off",
            "--log_level",
            "error",
        ),
    ]


def wall_s(command: list[str], times: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(times):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(rounds: int, directory: Path) -> dict[str, float]:
    """The median seconds of each kind of run."""
    program = directory / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    per_ab_test = 2 * PAIRS
    kinds: dict[str, tuple[list[str], int]] = {
        "help": ([sys.executable, str(ROOT / "harness.py"), "--help"], 1),
        "bare": ([str(program)], MANY),
        "1": (harness_command(directory, 1, False), 1),
        "many": (harness_command(directory, MANY, False), 1),
        "1 A/B": (harness_command(directory, 1, True), 1),
        "many A/B": (harness_command(directory, MANY, True), 1),
    }
    samples: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name in random.sample(sorted(kinds), k=len(kinds)):
            samples[name].append(wall_s(*kinds[name]))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    bare = medians["bare"] / MANY
    return {
        "harness.py --help": medians["help"],
        "one bare program": bare,
        "start-up (1 test, less its program)": medians["1"] - bare,
        "each further test, beside its program": (medians["many"] - medians["1"]) / (MANY - 1) - bare,
        "start-up in A/B": medians["1 A/B"] - per_ab_test * bare,
        "each further test in A/B, beside its programs": (medians["many A/B"] - medians["1 A/B"]) / (MANY - 1)
        - per_ab_test * bare,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    with tempfile.TemporaryDirectory() as directory:
        for name, seconds in measure(parser.parse_args().rounds, Path(directory)).items():
            print(f"{name:48} {seconds * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
