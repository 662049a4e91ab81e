"""Do pull requests that change nothing ever alarm, and does one that slows the program down?

    python benchmarks/pull_requests.py [--count 100] [--slower 5] [--size 150000] [--max_seconds 20]

Each pull request goes through ci/github/action.yml, whose steps run as on GitHub's runner. The benchmark is
an awk script that computes for some ten milliseconds; whole processes are timed. ``--slower``: so many pull
requests with 20 % more work follow, which should alarm.
"""

from __future__ import annotations

import argparse
import collections
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.actions_runner import Ended, Runner  # noqa: E402
from tests.support.small_repository import clone, write_mlbench  # noqa: E402

SCRIPT = "BEGIN {{ for (number = 0; number < {size}; number++) sum += number % 7; print sum }}\n"


def make_repository(directory: Path, sizes: tuple[int, int]) -> None:
    """Base and head; where the sizes are the same, head changes only a text."""
    subprocess.run(["git", "init", "--quiet", directory], check=True)
    for name, size in zip(("base", "head"), sizes, strict=True):
        (directory / "benchmark.awk").write_text(SCRIPT.format(size=size))
        (directory / "README").write_text(name)
        identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", "-C", directory, "add", "."], check=True)
        subprocess.run(["git", "-C", directory, *identity, "commit", "--quiet", "-m", name], check=True)


def check(sizes: tuple[int, int], options: str) -> Ended:
    """The check of one pull request."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        origin = work / "origin"
        make_repository(origin, sizes)
        environment = {f"XDG_{kind}_HOME": str(work / "user") for kind in ("STATE", "CACHE", "DATA")}
        runner = Runner(
            work / "workspace",
            {"workspace": str(work / "workspace")},
            environment,
            lambda path, ref: clone(origin, path, ref),
        )
        return runner.run(
            ROOT / "ci/github/action.yml",
            mlbench=str(write_mlbench(work)),
            command="awk -f benchmark.awk",
            options=options,
            comment="false",
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--slower", type=int, default=5)
    parser.add_argument("--size", type=int, default=150_000)
    parser.add_argument("--max_seconds", type=float, default=20)
    arguments = parser.parse_args()
    size, slower = arguments.size, arguments.size * 6 // 5
    options = f"--format process --max_seconds {arguments.max_seconds:g}"
    for what, count, head in (
        ("nothing changes", arguments.count, size),
        ("20 % more work", arguments.slower, slower),
    ):
        verdicts: collections.Counter[str] = collections.Counter()
        took_s: list[float] = []
        for number in range(count):
            started = time.monotonic()
            ended = check((size, head), options)
            took_s.append(time.monotonic() - started)
            verdicts[ended.outputs["verdict"]] += 1
            if ended.outputs["verdict"] == "failed" or (ended.exit_status != 0) != (head != size):
                print(ended.log, file=sys.stderr)
            print(f"{what} {number + 1}: {dict(verdicts)}, load {os.getloadavg()[0]:.1f}", flush=True)
        if took_s:
            print(f"{what}: {dict(verdicts)} of {count}, {statistics.median(took_s):.1f} s each (median)")


if __name__ == "__main__":
    main()
