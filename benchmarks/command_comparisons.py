"""Does ``mlbench compare`` find that a command of 100 ms takes 5 % longer, and how often is it wrong?

    python benchmarks/command_comparisons.py record [--minutes 60] [--spinners 0] [--trace FILE]
    python benchmarks/command_comparisons.py live [--identical 20] [--slower 20] [--spinners 0] [--save FILE]
    python benchmarks/command_comparisons.py replay [--repetitions 2000] [--trace FILE]

``record`` runs three commands in blocks, in random order in each: one that computes for about 100 ms, its
copy, and one that computes for 5 % longer. Each block is a line of the trace, with the times by the wall and
by the CPU as the harness measures them, and the load; it goes on at the end of what is there. ``live`` runs
``mlbench compare`` itself. ``replay`` lets the harness's own decision, and what people use instead, decide on
parts of the trace that begin at random blocks; the identical pairs get random labels. The bounds are Wilson's
at 95 %. Parts of one trace overlap: they are worth less than as many separate comparisons, so ``replay`` also
uses each block once. With ``--spinners``, as many processes compete for the cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.stats import binomtest, ttest_1samp, ttest_ind  # noqa: E402
from tabulate import tabulate  # noqa: E402

from benchmarking.programs import process  # noqa: E402
from benchmarking.programs.command import Command, Outcome  # noqa: E402
from benchmarking.results import documents  # noqa: E402
from benchmarking.results.model import NET_DELAY, SequentialDecision, Verdict  # noqa: E402
from benchmarking.statistics import sequential  # noqa: E402
from benchmarking.statistics.sequential import SequentialPlan  # noqa: E402

MEASURED = ROOT / "benchmarks/measured"
TRACE = MEASURED / "command_comparisons_trace.jsonl"
LIVE = MEASURED / "command_comparisons_live.jsonl"
LIMIT_S = 60.0
COMPUTE = "import sys\ntotal = 0\nfor number in range(int(sys.argv[1])):\n    total += number * number\n"
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass\n"
CPU_S, SLOWER = 0.1, 0.05
BASE, SAME, SLOW = COMMANDS = ("base", "same", "slow")


def seconds_of(command: Command, cancellation: process.Cancellation) -> Outcome:
    outcome = process.run(command, cancellation)
    if outcome.exit_code != 0:
        sys.exit(f"{command}: {outcome.tail()}")
    return outcome


class Programs:
    """The commands: the same script in three files, with its number of rounds."""

    def __init__(self, directory: Path, cancellation: process.Cancellation) -> None:
        self.cancellation = cancellation
        self.paths = {name: directory / f"{name}.py" for name in COMMANDS}
        for path in self.paths.values():
            path.write_text(COMPUTE)
        # By CPU time, which the load hardly changes; the interpreter's start counts as well.
        few, many = (min(self._cpu_s(rounds) for _ in range(15)) for rounds in (1000, 501_000))
        per_round_s = (many - few) / 500_000
        rounds = (CPU_S - few) / per_round_s
        more = CPU_S * SLOWER / per_round_s
        self.rounds = {BASE: round(rounds), SAME: round(rounds), SLOW: round(rounds + more)}

    def command(self, name: str) -> Command:
        return Command((sys.executable, "-S", str(self.paths[name]), str(self.rounds[name])))

    def _cpu_s(self, rounds: int) -> float:
        command = Command((sys.executable, "-S", str(self.paths[BASE]), str(rounds)))
        return cpu_s(seconds_of(command, self.cancellation))


def cpu_s(outcome: Outcome) -> float:
    if outcome.cpu is None:
        sys.exit("this system does not report the CPU time of a command")
    return outcome.cpu.total_s


def record(minutes: float, trace: Path) -> None:
    deadline = time.monotonic() + 60 * minutes
    with process.Cancellation() as cancellation, tempfile.TemporaryDirectory() as directory:
        programs = Programs(Path(directory), cancellation)
        print(f"rounds: {programs.rounds}", file=sys.stderr)
        with trace.open("a") as stream:
            while time.monotonic() < deadline:
                order = random.sample(COMMANDS, k=3)
                ran = {name: seconds_of(programs.command(name), cancellation) for name in order}
                line = {
                    "time": round(time.time(), 1),
                    "load": round(os.getloadavg()[0], 2),
                    "order": order,
                    "wall": {name: round(one.duration_s, 6) for name, one in ran.items()},
                    "cpu": {name: round(cpu_s(one), 6) for name, one in ran.items()},
                }
                stream.write(json.dumps(line) + "\n")
                stream.flush()


# --- live ---------------------------------------------------------------------------------------------------


def live(identical: int, slower: int, save: Path) -> None:
    """Goes on until the file has so many of each."""
    done = [json.loads(line) for line in save.read_text().splitlines()] if save.exists() else []
    todo = [SAME] * (identical - sum(one["head"] == SAME for one in done))
    todo += [SLOW] * (slower - sum(one["head"] == SLOW for one in done))
    random.shuffle(todo)
    with process.Cancellation() as cancellation, tempfile.TemporaryDirectory() as directory:
        programs = Programs(Path(directory), cancellation)
        for head in todo:
            line = json.dumps(_compared(programs, head, directory))
            print(line, file=sys.stderr)
            with save.open("a") as stream:
                stream.write(line + "\n")
            done.append(json.loads(line))
    for head in (SAME, SLOW):
        rows = [one for one in done if one["head"] == head]
        confirmed = sum(one["status"] == 5 for one in rows)
        seconds = statistics.median(one["seconds"][0] for one in rows) if rows else math.nan
        print(f"{head}: {confirmed} of {len(rows)} confirmed; first verdict after {seconds:.0f} s (median)")


def _compared(programs: Programs, head: str, directory: str) -> dict[str, Any]:
    commands = [str(programs.command(name)) for name in (BASE, head)]
    options = ["--json", "--canary", "off", "--max_seconds", str(LIMIT_S)]
    own = {f"XDG_{kind}_HOME": directory for kind in ("CACHE", "DATA", "STATE")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarking", "compare", *commands, *options],
        cwd=ROOT,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    results = documents.read(documents.Document, done.stdout).results
    samplings = [one.sampling for one in results if one.sampling is not None]
    return {
        "head": head,
        "status": done.returncode,
        "verdicts": [str(one.verdict) for one in results],
        "ratios": [round(one.net.ratio, 4) for one in results if one.net and one.net.ratio],
        "clock": samplings[0].clock,
        "clock_reason": samplings[0].clock_reason,
        "pairs": [one.pairs for one in samplings],
        "seconds": [round(one.duration_s, 1) for one in samplings],
        "load": round(os.getloadavg()[0], 2),
    }


# --- replay -------------------------------------------------------------------------------------------------


Rows = list[dict[str, Any]]
"""Of the trace."""


@dataclass(frozen=True)
class Pair:
    """The times of HEAD and BASE by one clock, and how long both took."""

    head: float
    base: float
    seconds: float


class Blocks:
    """Of a trace, from a block on; after the last comes the first."""

    def __init__(self, rows: Rows, head: str, clock: str, at: int, seed: int) -> None:
        self.rows, self.head, self.clock, self.at = rows, head, clock, at
        self.random = random.Random(f"{at} {seed}")
        self.used = 0

    def pair(self) -> Pair:
        row = self.rows[(self.at + self.used) % len(self.rows)]
        self.used += 1
        names = [self.head, BASE]
        if self.head == SAME:
            self.random.shuffle(names)
        head, base = (row[self.clock][name] for name in names)
        return Pair(head, base, sum(row["wall"][name] for name in names))

    def pairs(self, count: int) -> list[Pair]:
        return [self.pair() for _ in range(count)]


@dataclass(frozen=True)
class Answer:
    slower: bool
    """It says that HEAD is slower."""
    seconds: float
    """Until it says so or that it is not."""
    verdict: str = ""


def harness(blocks: Blocks, *, confirmed: bool) -> Answer:
    plan = SequentialPlan(max_pairs=sequential.MOST_PAIRS).for_run(1)
    first, seconds = _decided(plan, blocks)
    if first.verdict is not Verdict.REGRESSED or not confirmed:
        return Answer(first.verdict is Verdict.REGRESSED, seconds, str(first.verdict))
    second, more = _decided(plan.for_verification(), blocks)
    verdict = sequential.confirm(first, second).verdict
    return Answer(verdict is Verdict.REGRESSED, seconds + more, str(verdict))


def _decided(plan: SequentialPlan, blocks: Blocks) -> tuple[SequentialDecision, float]:
    """As ``driver.paired_test`` decides."""
    ratios: list[float] = []
    seconds = 0.0
    while True:
        pair = blocks.pair()
        seconds += pair.seconds
        ratios.append(math.log(pair.head / pair.base))
        found = sequential.decide_all(plan, {NET_DELAY: ratios}, limit_reached=seconds >= LIMIT_S)
        if found is not None:
            return found[NET_DELAY], seconds


def retried(blocks: Blocks) -> Answer:
    """A paired t-test after each pair from the sixth on, until it is significant or 40 pairs were run."""
    pairs = blocks.pairs(5)
    while len(pairs) < 40:
        pairs.append(blocks.pair())
        ratios = [math.log(one.head / one.base) for one in pairs]
        if ttest_1samp(ratios, 0, alternative="greater").pvalue < 0.01:
            return Answer(True, sum(one.seconds for one in pairs))
    return Answer(False, sum(one.seconds for one in pairs))


def one_after_the_other(blocks: Blocks, count: int) -> tuple[list[float], list[float], float]:
    """Runs of BASE, and then of HEAD."""
    base, head = blocks.pairs(count), blocks.pairs(count)
    # Of each pair only one of the two runs is used.
    seconds = sum(one.seconds / 2 for one in (*base, *head))
    return [one.head for one in head], [one.base for one in base], seconds


def welch(blocks: Blocks) -> Answer:
    head, base, seconds = one_after_the_other(blocks, 10)
    p_value = ttest_ind(head, base, equal_var=False, alternative="greater").pvalue
    return Answer(bool(p_value < 0.01), seconds)


def hyperfine(blocks: Blocks) -> Answer:
    """The ratio of the means is above 1 by more than the uncertainty printed behind it."""
    head, base, seconds = one_after_the_other(blocks, 10)
    ratio = statistics.mean(head) / statistics.mean(base)
    scatter = math.hypot(*(statistics.stdev(one) / statistics.mean(one) for one in (head, base)))
    return Answer(ratio - ratio * scatter > 1, seconds)


def minimum_of_3(blocks: Blocks) -> Answer:
    """The fastest of three runs each is slower by more than 3 %."""
    pairs = blocks.pairs(3)
    slower = min(one.head for one in pairs) > 1.03 * min(one.base for one in pairs)
    return Answer(slower, sum(one.seconds for one in pairs))


Method = Callable[[Blocks], Answer]
METHODS: dict[str, Method] = {
    "mlbench compare": partial(harness, confirmed=True),
    "mlbench compare, one stage": partial(harness, confirmed=False),
    "retry until significant": retried,
    "Welch's t-test, 10 runs each": welch,
    "minimum of 3, more than 3 %": minimum_of_3,
    "hyperfine's interval, 10 runs each": hyperfine,
}


def answers(
    method: Callable[[Blocks], Answer],
    rows: list[dict[str, Any]],
    head: str,
    clock: str,
    starts: Iterable[int],
) -> Iterator[Answer]:
    for number, at in enumerate(starts):
        yield method(Blocks(rows, head, clock, at, number))


def once(method: Method, rows: Rows, head: str, clock: str) -> Iterator[Answer]:
    """Each begins where the one before it ended."""
    at = 0
    while at < len(rows):
        blocks = Blocks(rows, head, clock, at, 0)
        answer = method(blocks)
        at += blocks.used
        if at <= len(rows):
            yield answer


def replay(repetitions: int, trace: Path) -> None:
    rows = [json.loads(line) for line in trace.read_text().splitlines()]
    loads = [row["load"] for row in rows]
    middle = statistics.median(loads)
    print(f"{len(rows)} blocks; load {min(loads):.1f} to {max(loads):.1f}, median {middle:.1f}")
    for clock in ("cpu", "wall"):
        scatter = np.std([math.log(row[clock][SAME] / row[clock][BASE]) for row in rows])
        change = math.expm1(np.mean([math.log(row[clock][SLOW] / row[clock][BASE]) for row in rows]))
        print(f"{clock}: identical commands scatter by {scatter:.1%}; the slower takes {change:+.1%}")
    starts = [random.Random(number).randrange(len(rows)) for number in range(repetitions)]
    table = []
    for name, method in METHODS.items():
        for clock in ("cpu", "wall"):
            cells, seconds = [], []
            for head in (SAME, SLOW):
                found = list(answers(method, rows, head, clock, starts))
                cells += [share(found), share(list(once(method, rows, head, clock)))]
                seconds = sorted(one.seconds for one in found)
            took = f"{statistics.median(seconds):.0f} s, {seconds[len(seconds) * 95 // 100]:.0f} s"
            table.append([name, clock, *cells, took])
    columns = ("method", "clock", "false", "blocks used once", "+5 % found", "blocks used once", "p50, p95")
    print(tabulate(table, columns, tablefmt="pipe", disable_numparse=True))


def share(found: list[Answer]) -> str:
    """As in ``3 of 500: 0.6 % (0.2 to 1.7 %)``, with Wilson's interval at 95 %."""
    slower = sum(one.slower for one in found)
    interval = binomtest(slower, len(found)).proportion_ci(method="wilson")
    bounds = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    return f"{slower} of {len(found)}: {100 * slower / len(found):.1f} % ({bounds})"


def spin(count: int) -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("record", "live", "replay"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--spinners", type=int, default=0)
    parser.add_argument("--identical", type=int, default=20)
    parser.add_argument("--slower", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--trace", type=Path, default=TRACE)
    parser.add_argument("--save", type=Path, default=LIVE)
    arguments = parser.parse_args()
    if arguments.what == "replay":
        replay(arguments.repetitions, arguments.trace)
        return
    spinners = spin(arguments.spinners)
    try:
        if arguments.what == "record":
            record(arguments.minutes, arguments.trace)
        else:
            live(arguments.identical, arguments.slower, arguments.save)
    finally:
        for one in spinners:
            one.kill()


if __name__ == "__main__":
    main()
