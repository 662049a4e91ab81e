"""Makes up the results of eighty commits, with a step and a creep in them.

    python examples/history_demo/make_results.py DIRECTORY

What a loop over a repository would have saved: each commit is compared with the first of its week, and that
one with its parent. The numbers come from a generator with a fixed seed, so they are the same everywhere.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarking.records.tree import History  # noqa: E402
from benchmarking.results.model import NET_DELAY, Device, Provenance, Result, TestKey, TypeResult, Workload  # noqa: E402
from benchmarking.statistics import summaries  # noqa: E402

COMMITS = 80
FIRST_COMMIT_TIME = 1_767_571_200
"""Monday, 2026-01-05."""
COMMIT_EVERY_S = 12 * 3600
COMMITS_OF_A_WEEK = 14
PAIRS = 8
NOISE = 0.01
"""Standard deviation of a pair's ratio."""

STEP_AT = 51
STEP = 1.03
CREEP_PER_COMMIT = 0.0008


@dataclass(frozen=True)
class Commit:
    hash: str
    time: int


def commits(count: int = COMMITS) -> list[Commit]:
    return [
        Commit(
            hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest(),
            FIRST_COMMIT_TIME + number * COMMIT_EVERY_S,
        )
        for number in range(count)
    ]


def control_of(number: int) -> int | None:
    """The first commit of the week; that one's parent."""
    if number % COMMITS_OF_A_WEEK == 0:
        return number - 1 if number else None
    return number - number % COMMITS_OF_A_WEEK


def make_results(directory: Path) -> None:
    step = [1.0 if number < STEP_AT else STEP for number in range(COMMITS)]
    creep = [math.exp(number * CREEP_PER_COMMIT) for number in range(COMMITS)]
    nets: dict[str, tuple[float, Sequence[float]]] = {
        "squeezenet": (12_000.0, step),
        "lenet": (400.0, creep),
        "mobilenet": (9_000.0, [1.0] * COMMITS),
    }
    directory.mkdir(parents=True, exist_ok=True)
    history = History(directory)
    random = Random(1)
    for net_name, (typical_us, levels) in nets.items():
        for number, commit in enumerate(commits()):
            control = control_of(number)
            if control is not None:
                one = _delay(random, typical_us, levels[number], levels[control])
                history.save(_result(net_name, commit, commits()[control], one))


def _delay(random: Random, typical_us: float, level: float, control_level: float) -> TypeResult:
    """Machine and hour change what both take; only their ratio stays."""
    hour = random.uniform(1.0, 1.3)

    def sample(of: float) -> tuple[float, ...]:
        return tuple(
            typical_us * of * hour * math.exp(random.gauss(0, NOISE / math.sqrt(2))) for _ in range(PAIRS)
        )

    values, control_values, pairs = sample(level), sample(control_level), tuple(range(PAIRS))
    return TypeResult(
        type=NET_DELAY,
        unit="us",
        summary=summaries.summarize(values),
        values=values,
        pairs=pairs,
        control_summary=summaries.summarize(control_values),
        control_values=control_values,
        control_pairs=pairs,
        comparison=summaries.compare(values, pairs, control_values, pairs),
    )


def _result(net: str, commit: Commit, control: Commit, one: TypeResult) -> Result:
    return Result(
        TestKey(net, "delay", "delay-0", framework="caffe2", backend=None, device="0123456789ab"),
        Provenance(
            time=commit.time + 600,
            commit=commit.hash,
            commit_time=commit.time,
            control_commit=control.hash,
            control_commit_time=control.time,
            run_type="benchmark",
            command=("harness.py",),
            group=None,
        ),
        Device("Linux-x86_64-Example"),
        workload=Workload(ab_pairs=PAIRS),
        types=(one,),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make_results(Path(sys.argv[1]))
