"""Are workers that are forked as exchangeable as fresh processes? And how many rounds are worth it?

    python benchmarks/worker_exchangeability.py --net lenet [--blocks 10] [--output raw.jsonl]
    python benchmarks/worker_exchangeability.py --show raw.jsonl

Two identical workers, pinned to the same core (a random one for each pair), run single iterations in turn,
the order random in each round. Per pair, x = median over the rounds of log(T / C); without any difference it
should be 0. A block is one pair of zygotes (--worker fork) with --children pairs of workers forked from them,
and --fresh pairs of processes of their own (--worker true), in random order, so that what disturbs the
machine disturbs both designs. One thread. Shown, for the CPU's clock and the wall's:

- the standard deviation of x in percent, and (robust) that of a normal distribution with the same median
  absolute value, over the number of rounds and the number of first iterations left out;
- what one pair of zygotes adds: the spread between pairs of zygotes and within them (one-way analysis of
  variance with random effects: Searle, Casella, McCulloch, Variance Components, 1992, chapter 3). A zygote's
  place in memory and its hashes of strings are the same for all its children, so a part between pairs of
  zygotes is a bias that more children do not average out. --conditions takes some of these chances away;
- how much longer the first iterations take than the later ones, and how long a pair takes to be ready.
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
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "benchmarking/frameworks/caffe2/program"
MODELS = ROOT / "specifications/models/caffe2"
ROUNDS = (5, 10, 15, 25, 50, 100, 150)
LEFT_OUT = (0, 2, 5, 10)
STARTS = {
    "scattered": "",
    "siblings": "import benchmarking.frameworks.kit.worker as w; w.scatter = lambda: None; ",
}
"""What is done before the program runs: nothing, or its forked workers keep their siblings' addresses."""
MAIN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); {}"
    "from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import Caffe2Program; "
    "from benchmarking.frameworks.kit.main import run; sys.exit(run(Caffe2Program(), sys.argv[1:]))"
)
SAME_HASHES = {"PYTHONHASHSEED": "0"}
SAME_ADDRESSES = ["setarch", "--addr-no-randomize"]
CONDITIONS: dict[str, tuple[list[str], str, dict[str, str]]] = {
    "as_driven": ([], "scattered", SAME_HASHES),
    "plain": ([], "siblings", {}),
    "same_hashes": ([], "siblings", SAME_HASHES),
    "same_addresses": (SAME_ADDRESSES, "siblings", {}),
    "same_both": (SAME_ADDRESSES, "siblings", SAME_HASHES),
}
"""To find what a zygote's bias comes from. As driven: as the harness starts workers."""
FIRST = 8
"""First iterations that are shown one by one."""
CLOCKS = ("cpu", "wall")
ARMS = ("treatment", "control")


class Worker:
    """A program that speaks the worker protocol."""

    def __init__(self, arguments: Sequence[str], condition: str) -> None:
        front, start, environment = CONDITIONS[condition]
        code = MAIN.format(STARTS[start])
        command = [*front, sys.executable, "-c", code, str(ROOT), *arguments]
        pipe, environment = subprocess.PIPE, {**os.environ, **environment}
        self._process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        self.pid = self._process.pid
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def send(self, line: str) -> None:
        self._requests.write(f"{line}\n".encode())
        self._requests.flush()

    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._answers.readline())
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        self.send(line)
        return self.answer()

    def close(self) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()


def program_arguments(net: str, input_dims: str | None, optimize: str) -> list[str]:
    """Of a net of the zoo, with made-up weights where it has them, as its specification calls it."""
    path = MODELS / net / f"{net}_synthetic.json"
    path = path if path.exists() else path.with_name(f"{net}.json")
    specification = json.loads(path.read_text())
    files = specification["model"]["files"]
    test = next(one for one in specification["tests"] if one["metric"] == "delay")
    inputs = test["inputs"]
    shapes = [",".join(map(str, one["shapes"][0])) for one in inputs.values()]
    arguments = {
        "init_net": str(path.parent / files["init"]["location"]),
        "net": str(path.parent / files["predict"]["location"]),
        "input": ",".join(inputs),
        "input_dims": input_dims or ";".join(shapes),
        "input_type": ";".join(one["type"] for one in inputs.values()),
        "optimize": optimize,
        "engine": "torch",
        "threads": "1",
    }
    return [word for name, value in arguments.items() for word in (f"--{name}", value)]


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    draw = random.Random(arguments.seed)
    words = [
        *program_arguments(arguments.net, arguments.input_dims, arguments.optimize),
        "--warmup",
        str(arguments.warmup),
    ]
    for block in range(arguments.blocks):
        for condition in shuffled(draw, arguments.conditions.split(",")):
            for pair in measure_block(arguments, draw, words, condition):
                yield {"net": arguments.net, "condition": condition, "block": block, **pair}


def measure_block(
    arguments: argparse.Namespace, draw: random.Random, words: Sequence[str], condition: str
) -> Iterator[dict[str, Any]]:
    cores = sorted(os.sched_getaffinity(0))
    zygotes = {arm: Worker([*words, "--worker", "fork"], condition) for arm in shuffled(draw, ARMS)}
    for one in zygotes.values():
        one.answer()
    for design in shuffled(draw, ["forked"] * arguments.children + ["fresh"] * arguments.fresh):
        core = {draw.choice(cores)}
        os.sched_setaffinity(0, core)
        if design == "forked":
            workers = zygotes
            for one in workers.values():
                os.sched_setaffinity(one.pid, core)
        else:
            order = shuffled(draw, ARMS)
            workers = {arm: Worker([*words, "--worker", "true"], condition) for arm in order}
        ready_s = set_up(draw, workers, "fork" if design == "forked" else None)
        times = rounds(draw, workers, arguments.rounds)
        for one in workers.values():
            one.ask("end") if design == "forked" else one.close()
        os.sched_setaffinity(0, cores)
        yield {"design": design, "ready_s": ready_s, **times}
    for one in zygotes.values():
        one.close()


def set_up(draw: random.Random, workers: dict[str, Worker], line: str | None) -> float:
    """Seconds for both, one after the other where they are forked."""
    start = time.monotonic()
    for arm in shuffled(draw, ARMS):
        if line is not None:
            workers[arm].send(line)
        workers[arm].answer()
    return time.monotonic() - start


def rounds(draw: random.Random, workers: dict[str, Worker], count: int) -> dict[str, dict[str, list[int]]]:
    """Nanoseconds: of each clock, of each arm."""
    times: dict[str, dict[str, list[int]]] = {clock: {arm: [] for arm in ARMS} for clock in CLOCKS}
    for _ in range(count):
        for arm in shuffled(draw, ARMS):
            sample = workers[arm].ask("run")
            for clock in CLOCKS:
                times[clock][arm].append(sample[f"{clock}_ns"])
    return times


def shuffled(draw: random.Random, values: Sequence[str]) -> list[str]:
    return draw.sample(values, len(values))


def show(pairs: list[dict[str, Any]]) -> None:
    for net, condition in dict.fromkeys((one["net"], one["condition"]) for one in pairs):
        some = [one for one in pairs if (one["net"], one["condition"]) == (net, condition)]
        names = dict.fromkeys(one["design"] for one in some)
        designs = {name: [one for one in some if one["design"] == name] for name in sorted(names)}
        print(f"\n{net}, {condition}")
        for name, of_design in designs.items():
            seconds = statistics.median(one["ready_s"] for one in of_design)
            print(
                f"{name}: {len(of_design)} pairs, ready after {seconds:.2f} s, {first_iterations(of_design)}"
            )
        show_deviations(designs)
        for clock in CLOCKS:
            show_between_zygotes(designs["forked"], clock)


def first_iterations(pairs: list[dict[str, Any]]) -> str:
    later = [(one["cpu"][arm], statistics.median(one["cpu"][arm][FIRST:])) for one in pairs for arm in ARMS]
    shares = [
        statistics.median(times[number] / median - 1 for times, median in later) for number in range(FIRST)
    ]
    shown = ", ".join(f"{100 * share:+.1f}" for share in shares)
    time_ms = statistics.median(median for _, median in later) / 1e6
    return f"an iteration {time_ms:.2f} ms of CPU, the first {FIRST} beyond that in %: {shown}"


def show_deviations(designs: dict[str, list[dict[str, Any]]]) -> None:
    from tabulate import tabulate

    total = min(len(one["cpu"][ARMS[0]]) for some in designs.values() for one in some)
    rows = []
    for left_out in LEFT_OUT:
        for count in (one for one in ROUNDS if left_out + one <= total):
            row = [str(left_out), str(count)]
            for clock in CLOCKS:
                for some in designs.values():
                    x = [log_ratio(one[clock], left_out, count) for one in some]
                    row += [f"{100 * statistics.stdev(x):.2f}", f"{100 * robust_deviation(x):.2f}"]
            rows.append(row)
    headers = ["left out", "rounds"]
    headers += [f"{clock} {name}{how}" for clock in CLOCKS for name in designs for how in ("", " robust")]
    print(tabulate(rows, headers, disable_numparse=True, stralign="right"))


def log_ratio(times: dict[str, list[int]], left_out: int, count: int | None = None) -> float:
    """x of a pair, from ``count`` rounds (None: all) after the first ``left_out``."""
    end = None if count is None else left_out + count
    some = [times[arm][left_out:end] for arm in ARMS]
    return statistics.median(math.log(one / other) for one, other in zip(*some, strict=True))


def robust_deviation(x: Sequence[float]) -> float:
    return 1.4826 * statistics.median(map(abs, x))


def show_between_zygotes(pairs: list[dict[str, Any]], clock: str) -> None:
    """What is further than 4 robust deviations from 0 is moved there: the F test bears no outliers."""
    from scipy import stats

    groups: dict[int, list[float]] = {}
    for one in pairs:
        groups.setdefault(one["block"], []).append(log_ratio(one[clock], max(LEFT_OUT)))
    limit = 4 * robust_deviation([value for some in groups.values() for value in some])
    cut = [[min(max(value, -limit), limit) for value in some] for some in groups.values()]
    children = statistics.fmean(map(len, cut))
    within = statistics.fmean(map(statistics.variance, cut))
    of_means = statistics.variance(map(statistics.fmean, cut))
    between = math.sqrt(max(0.0, of_means - within / children))
    by_chance = math.sqrt(within / children)
    first, of_means = max(LEFT_OUT), math.sqrt(of_means)
    print(
        f"{clock}, {first} left out: {100 * math.sqrt(within):.2f} % within a pair of zygotes,"
        f" {100 * between:.2f} % between (the means of {len(cut)} pairs have {100 * of_means:.2f} %,"
        f" {100 * by_chance:.2f} % by chance; F test p = {stats.f_oneway(*cut).pvalue:.2g})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", default="lenet", help="a directory of specifications/models/caffe2")
    parser.add_argument(
        "--input_dims", help="as 1,3,224,224; those of the specification's first test by default"
    )
    parser.add_argument("--optimize", default="none")
    parser.add_argument("--blocks", type=int, default=10, help="pairs of zygotes")
    parser.add_argument("--children", type=int, default=12, help="pairs forked from each pair of zygotes")
    parser.add_argument("--fresh", type=int, default=4, help="pairs of fresh processes in each block")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--conditions", default="as_driven", help=", ".join(CONDITIONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="FILE", help="append the raw times, a pair a line")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="measure nothing; show what --output has left"
    )
    arguments = parser.parse_args()
    if arguments.show:
        show([json.loads(line) for line in arguments.show.read_text().splitlines()])
        return
    pairs = []
    for pair in measure(arguments):
        pairs.append(pair)
        if arguments.output:
            with arguments.output.open("a") as stream:
                stream.write(json.dumps(pair) + "\n")
    show(pairs)


if __name__ == "__main__":
    main()
