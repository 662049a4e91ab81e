"""How often is a slowdown found, and how often is one reported that does not exist? Detectors replayed on
known changes.

    python benchmarks/detection_power.py [--repetitions 400] [--seed 1]

Each detector is given a machine with two operations: ``start`` processes, and ``measure`` one iteration of an
arm. Machines are synthetic (five kinds of noise, with the scale of the traces) or play back traces that were
measured on a busy machine (tests/data/regression). The treatment is slower by a known change; identical
programs are repeated more often. All detectors take about half an hour on one core.

Bounds are Clopper and Pearson's at 97.5 %; those of the traces are of the repetitions, which draw from the
same few hundred measured pairs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.stats import beta, mannwhitneyu, wilcoxon  # noqa: E402
from tabulate import tabulate  # noqa: E402

from benchmarking.regression_detectors.delay_detector import DelayDetector  # noqa: E402
from benchmarking.results.model import NET_DELAY, SequentialDecision, TypeResult, Verdict  # noqa: E402
from benchmarking.statistics import summaries  # noqa: E402
from benchmarking.statistics.sequential import (  # noqa: E402
    SequentialPlan,
    confirm,
    decide,
    decide_all,
    decide_once,
    pair_log_ratio,
)

DATA = ROOT / "tests/data/regression"
TREATMENT, CONTROL = ARMS = ("treatment", "control")
CHANGES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.10)
IDENTICAL_FACTOR = 10
ROUNDS = 25
PROCESS_ITERATIONS = 50
PROCESS_SCATTER = 0.01
"""For the synthetic machines: the relative standard deviation between processes, as in the traces."""
HISTORY_RUNS = 10


class Machine(Protocol):
    def start(self, *arms: str) -> None:
        """Fresh processes, one of each arm, to be measured in turn."""

    def measure(self, arm: str) -> float:
        """The time of one iteration of the arm's process."""


def gauss(generator: np.random.Generator, count: int) -> np.ndarray:
    return np.log(np.maximum(1 + 0.05 * generator.standard_normal(count), 0.5))


def lognormal(generator: np.random.Generator, count: int) -> np.ndarray:
    return 0.08 * generator.standard_normal(count)


def wide(generator: np.random.Generator, count: int) -> np.ndarray:
    return 0.20 * generator.standard_normal(count)


def switching(generator: np.random.Generator, count: int, enter: float, leave: float) -> np.ndarray:
    """0 or 1: a two-state Markov chain that starts in a random state of its own frequency."""
    state = generator.random() < enter / (enter + leave)
    states = np.empty(count)
    for index, draw in enumerate(generator.random(count)):
        states[index] = state
        state = draw >= leave if state else draw < enter
    return states


def bimodal(generator: np.random.Generator, count: int) -> np.ndarray:
    """Half as slow again for a third of the time, in runs of five iterations."""
    modes = switching(generator, count, enter=0.1, leave=0.2)
    return np.asarray(math.log(1.5) * modes + 0.02 * generator.standard_normal(count))


def drift(generator: np.random.Generator, count: int) -> np.ndarray:
    """A random walk of 1 % per iteration."""
    steps, noise = generator.standard_normal((2, count))
    return np.asarray(0.01 * np.cumsum(steps) + 0.02 * noise)


def bursts(generator: np.random.Generator, count: int) -> np.ndarray:
    """About twice as slow, in runs of twenty iterations, for two sevenths of the time."""
    in_burst = switching(generator, count, enter=0.02, leave=0.05)
    size, noise = generator.standard_normal((2, count))
    return np.asarray(in_burst * np.abs(0.7 + 0.3 * size) + 0.02 * noise)


class SyntheticMachine:
    """Both arms take their iterations from the same course of noise, in the order in which they
    are measured.
    """

    def __init__(
        self, noise: Callable[[np.random.Generator, int], np.ndarray], change: float, seed: int
    ) -> None:
        self.generator = np.random.default_rng(seed)
        self.noise = noise
        self.log_change = {TREATMENT: math.log1p(change), CONTROL: 0.0}
        self.process: dict[str, float] = {}
        self.course: Iterator[float] = iter(())

    def start(self, *arms: str) -> None:
        for arm in arms:
            self.process[arm] = PROCESS_SCATTER * self.generator.standard_normal() + self.log_change[arm]

    def measure(self, arm: str) -> float:
        value = next(self.course, None)
        if value is None:
            self.course = iter(self.noise(self.generator, 2000).tolist())
            value = next(self.course)
        return math.exp(value + self.process[arm])


@lru_cache
def trace_rows(file: str) -> dict[str, list[dict[str, Any]]]:
    """By workload, in the order of the time."""
    rows = defaultdict(list)
    with gzip.open(DATA / file, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            rows[row["wl"]].append(row)
    return {workload: sorted(of_one, key=lambda row: row["t"]) for workload, of_one in rows.items()}


class IterationTrace:
    """Pairs of processes whose iterations alternated, in order of time, starting with a random pair.

    The treatment is one of the two identical programs, scaled by the change; at 3 % it is the program that
    really does 3 % more work. Which of the two identical ones is the treatment is drawn for each pair.
    """

    def __init__(self, workload: str, clock: str, change: float, seed: int) -> None:
        self.rows = trace_rows("iteration_level_pairs.jsonl.gz")[workload]
        self.clock, self.change = clock, change
        self.random = random.Random(seed)
        self.position = self.random.randrange(len(self.rows))
        self.samples: dict[str, Iterator[float]] = {}

    def start(self, *arms: str) -> None:
        times = self.rows[self.position][self.clock]
        self.position = (self.position + 1) % len(self.rows)
        if self.change == 0.03:
            treatment, control, factor = times["t3"], times["c"], 1.0
        else:
            treatment, control = self.random.sample([times["t"], times["c"]], k=2)
            factor = 1 + self.change
        self.samples = {TREATMENT: (factor * time for time in treatment), CONTROL: iter(control)}

    def measure(self, arm: str) -> float:
        return next(self.samples[arm])


class ProcessTrace:
    """Processes that ran one after another, all of one program; the treatment's times are scaled."""

    def __init__(self, workload: str, clock: str, change: float, seed: int) -> None:
        self.rows = trace_rows("process_level_pairs.jsonl.gz")[workload]
        self.clock = clock
        self.factor = {TREATMENT: 1 + change, CONTROL: 1.0}
        self.position = random.Random(seed).randrange(len(self.rows))
        self.samples: dict[str, Iterator[float]] = {}

    def start(self, *arms: str) -> None:
        for arm in arms:
            self.samples[arm] = (self.factor[arm] * time for time in self.rows[self.position][self.clock])
            self.position = (self.position + 1) % len(self.rows)

    def measure(self, arm: str) -> float:
        return next(self.samples[arm])


@dataclass
class Outcome:
    verdict: Verdict
    launches: int
    covered: bool | None = None
    """Whether the interval covers the true change, if there is one."""


Detector = Callable[[Machine, random.Random, float], Outcome]


def alternating_pair(
    machine: Machine, order: random.Random, rounds: int = ROUNDS
) -> tuple[list[float], list[float]]:
    """Alternates single iterations, with a random order in each round."""
    machine.start(*order.sample(ARMS, k=2))
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(rounds):
        for arm in ARMS if order.random() < 0.5 else ARMS[::-1]:
            times[arm].append(machine.measure(arm))
    return times[TREATMENT], times[CONTROL]


def process_median(machine: Machine, arm: str) -> float:
    machine.start(arm)
    return float(np.median([machine.measure(arm) for _ in range(PROCESS_ITERATIONS)]))


def process_pair(machine: Machine, order: random.Random) -> tuple[list[float], list[float]]:
    """Whole processes one after another, in random order."""
    medians = {arm: process_median(machine, arm) for arm in order.sample(ARMS, k=2)}
    return [medians[TREATMENT]], [medians[CONTROL]]


def median_of_rounds(treatment: Sequence[float], control: Sequence[float]) -> float:
    return float(np.median(np.log(np.divide(treatment, control))))


PairOf = Callable[[Machine, random.Random], tuple[list[float], list[float]]]
Statistic = Callable[[Sequence[float], Sequence[float]], float]


PLAN = SequentialPlan()


@dataclass(frozen=True)
class Sequential:
    """The project's detector."""

    plan: SequentialPlan = PLAN
    pair: PairOf = alternating_pair
    statistic: Statistic = pair_log_ratio
    confirmed: bool = False

    def __call__(self, machine: Machine, order: random.Random, change: float) -> Outcome:
        first = self.stage(self.plan, machine, order)
        verdict, pairs = first.verdict, first.pairs
        if self.confirmed and verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
            second = self.stage(self.plan.for_verification(), machine, order)
            verdict, pairs = confirm(first, second).verdict, pairs + second.pairs
        assert first.comparison is not None
        interval = first.comparison.ratio_interval
        assert interval is not None
        return Outcome(verdict, 2 * pairs, interval.low <= 1 + change <= interval.high)

    def stage(self, plan: SequentialPlan, machine: Machine, order: random.Random) -> SequentialDecision:
        """Decides only at the looks, which is the same as after every pair and takes less time."""
        log_ratios: list[float] = []
        for look in plan.looks:
            while len(log_ratios) < look.pairs:
                log_ratios.append(self.statistic(*self.pair(machine, order)))
            if decision := decide(plan, log_ratios):
                return decision
        raise AssertionError("the last look decides")


@dataclass(frozen=True)
class OneLook(Sequential):
    """With ``--ab_pairs``: a number of pairs that is chosen before, and all of alpha and beta for them."""

    pairs: int = 20

    def stage(self, plan: SequentialPlan, machine: Machine, order: random.Random) -> SequentialDecision:
        log_ratios = [self.statistic(*self.pair(machine, order)) for _ in range(self.pairs)]
        return decide_once(plan, {NET_DELAY: log_ratios})[NET_DELAY]


def wilcoxon_20(machine: Machine, order: random.Random, change: float) -> Outcome:
    pairs = [process_pair(machine, order) for _ in range(20)]
    differences = [math.log(treatment / control) for (treatment,), (control,) in pairs]
    p_value = wilcoxon(differences, alternative="greater", method="exact").pvalue
    return Outcome(Verdict.REGRESSED if p_value < 0.01 else Verdict.INCONCLUSIVE, 40)


def mann_whitney(machine: Machine, order: random.Random, change: float) -> Outcome:
    times = []
    for arm in ARMS:
        machine.start(arm)
        times.append([machine.measure(arm) for _ in range(PROCESS_ITERATIONS)])
    p_value = mannwhitneyu(*times, alternative="greater").pvalue
    return Outcome(Verdict.REGRESSED if p_value < 0.01 else Verdict.INCONCLUSIVE, 2)


def old_rule(machine: Machine, order: random.Random, change: float) -> Outcome:
    """The newest p50 above the p90 of the p90s of earlier commits' runs, and again when it is run again."""

    def run(arm: str) -> TypeResult:
        machine.start(arm)
        times = [machine.measure(arm) for _ in range(PROCESS_ITERATIONS)]
        return TypeResult(NET_DELAY, "us", summaries.summarize(times))

    history = [run(CONTROL) for _ in range(HISTORY_RUNS)]
    first = DelayDetector().decide(history, run(TREATMENT)).verdict
    if first is not Verdict.REGRESSED:
        return Outcome(first, 1)
    return Outcome(DelayDetector().decide(history, run(TREATMENT)).verdict, 2)


@dataclass(frozen=True)
class Source:
    name: str
    machine: Callable[..., Machine]


WORKLOADS = ("py", "conv", "mem")
CLOCKS = {"cpu": ("cpu", "c"), "wall": ("w", "w")}
SYNTHETIC = [
    Source(noise.__name__, partial(SyntheticMachine, noise))
    for noise in (gauss, lognormal, bimodal, drift, bursts)
]
BEYOND = [Source("lognormal 20 %", partial(SyntheticMachine, wide))]
"""Far noisier than the traces: shown, but not part of the averages."""
ITERATION_TRACES = [
    Source(f"trace {workload} {clock}", partial(IterationTrace, workload, key))
    for clock, (key, _) in CLOCKS.items()
    for workload in WORKLOADS
]
PROCESS_TRACES = [
    Source(f"processes {workload} {clock}", partial(ProcessTrace, workload, key))
    for clock, (_, key) in CLOCKS.items()
    for workload in WORKLOADS
]


@dataclass(frozen=True)
class Replay:
    detector: Detector
    sources: Sequence[Source]
    identical_factor: int = 2
    """The factor by which identical programs are compared more often."""


ALTERNATING = [*SYNTHETIC, *ITERATION_TRACES]
WHOLE_PROCESSES = [*SYNTHETIC, *PROCESS_TRACES]
REPLAYS = {
    "sequential": Replay(Sequential(), [*ALTERNATING, *BEYOND], IDENTICAL_FACTOR),
    "sequential, confirmed": Replay(Sequential(confirmed=True), [*ALTERNATING, *BEYOND], IDENTICAL_FACTOR),
    "sequential, confirmed, in a run of 50": Replay(
        Sequential(PLAN.for_run(50), confirmed=True), ALTERNATING, IDENTICAL_FACTOR
    ),
    "sequential, median of rounds": Replay(Sequential(statistic=median_of_rounds), ALTERNATING),
    "sequential, 100 rounds": Replay(
        Sequential(pair=partial(alternating_pair, rounds=100)), [*SYNTHETIC, *BEYOND]
    ),
    "sequential, process pairs": Replay(Sequential(pair=process_pair), WHOLE_PROCESSES),
    "sequential, target of 1 %": Replay(
        Sequential(SequentialPlan.for_target(0.01, max_pairs=75)), ALTERNATING, IDENTICAL_FACTOR
    ),
    **{f"one look, {pairs} pairs": Replay(OneLook(pairs=pairs), ALTERNATING, 10) for pairs in (8, 12, 20)},
    "20 pairs, Wilcoxon": Replay(wilcoxon_20, WHOLE_PROCESSES),
    "one run each, Mann-Whitney": Replay(mann_whitney, WHOLE_PROCESSES),
    "p50 above p90 of p90s, twice": Replay(old_rule, WHOLE_PROCESSES),
}


@dataclass(frozen=True)
class Cell:
    """One detector on one source with one change."""

    verdicts: Counter[Verdict]
    launches: float
    """Processes that were started, on average."""
    coverage: float | None

    @property
    def count(self) -> int:
        return self.verdicts.total()

    @property
    def found(self) -> float:
        return self.share(Verdict.REGRESSED)

    def share(self, verdict: Verdict) -> float:
        return self.verdicts[verdict] / self.count


def replay(source: Source, detector: Detector, change: float, repetitions: int, seed: int) -> Cell:
    outcomes = []
    for repetition in range(repetitions):
        own_seed = hash((seed, repetition, int(change * 1000)))
        machine = source.machine(change, own_seed % 2**32)
        outcomes.append(detector(machine, random.Random(own_seed), change))
    covered = [outcome.covered for outcome in outcomes if outcome.covered is not None]
    return Cell(
        verdicts=Counter(outcome.verdict for outcome in outcomes),
        launches=float(np.mean([outcome.launches for outcome in outcomes])),
        coverage=float(np.mean(covered)) if covered else None,
    )


def upper_bound(found: int, count: int) -> float:
    """Clopper and Pearson 1934, one-sided 97.5 %."""
    return float(beta.ppf(0.975, found + 1, count - found)) if found < count else 1.0


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def false_alarms(cell: Cell) -> str:
    bound = upper_bound(cell.verdicts[Verdict.REGRESSED], cell.count)
    return f"{percent(cell.found)} (< {percent(bound)})"


def coverage(cells: Iterable[Cell]) -> str:
    """The smallest over the changes."""
    known = [cell.coverage for cell in cells if cell.coverage is not None]
    return percent(min(known)) if known else ""


def found_at(change: float) -> Callable[[dict[float, Cell]], str]:
    return lambda cells: percent(cells[change].found)


COLUMNS: dict[str, Callable[[dict[float, Cell]], str]] = {
    "false alarms": lambda cells: false_alarms(cells[0.0]),
    **{f"+{100 * change:g} %": found_at(change) for change in CHANGES[1:]},
    "+3 % passed": lambda cells: percent(cells[0.03].share(Verdict.UNCHANGED)),
    "0 % improved": lambda cells: percent(cells[0.0].share(Verdict.IMPROVED)),
    "0 % undecided": lambda cells: percent(cells[0.0].share(Verdict.INCONCLUSIVE)),
    "launches 0 %": lambda cells: f"{cells[0.0].launches:.1f}",
    "launches +3 %": lambda cells: f"{cells[0.03].launches:.1f}",
    "coverage": lambda cells: coverage(cells.values()),
}


def table(cells: dict[str, dict[float, Cell]]) -> str:
    rows = [[name, *(text(of_one) for text in COLUMNS.values())] for name, of_one in cells.items()]
    return tabulate(rows, ["%", *COLUMNS], tablefmt="pipe", disable_numparse=True)


def pooled(cells: Sequence[Cell]) -> Cell:
    """Sources have equal weights, because each is repeated equally often."""
    verdicts: Counter[Verdict] = sum((cell.verdicts for cell in cells), Counter())
    coverage = [cell.coverage for cell in cells if cell.coverage is not None]
    return Cell(
        verdicts,
        float(np.mean([cell.launches for cell in cells])),
        float(np.mean(coverage)) if coverage else None,
    )


def report(name: str, one: Replay, repetitions: int, seed: int) -> None:
    cells = {
        source.name: {
            change: replay(
                source, one.detector, change, repetitions * (1 if change else one.identical_factor), seed
            )
            for change in CHANGES
        }
        for source in one.sources
    }
    groups = {
        "all synthetic": SYNTHETIC,
        "all traces": [*ITERATION_TRACES, *PROCESS_TRACES],
        "all": one.sources,
    }
    for group, members in groups.items():
        names = [source.name for source in members if source in one.sources and source not in BEYOND]
        if names:
            cells[group] = {change: pooled([cells[member][change] for member in names]) for change in CHANGES}
    print(f"\n{name}\n\n{table(cells)}", flush=True)


OPERATORS = 20


def operator_pair(generator: np.random.Generator, change: float) -> dict[str, float]:
    """x of a net and its operators, of which one, a tenth of the net, makes the net slower by ``change``.

    Each operator has its own scatter between processes and between iterations, and all share the noise of the
    machine.
    """
    shares = np.full(OPERATORS, 0.9 / (OPERATORS - 1))
    shares[0] = 0.1
    machine = bursts(generator, 2 * ROUNDS).reshape(ROUNDS, 2, 1)
    process = PROCESS_SCATTER * generator.standard_normal((1, 2, OPERATORS))
    iteration = 0.05 * generator.standard_normal((ROUNDS, 2, OPERATORS))
    times = shares * np.exp(machine + process + iteration)
    times[:, 0, 0] *= 1 + change / shares[0]
    x = {NET_DELAY: pair_log_ratio(*times.sum(axis=2).T.tolist())}
    return x | {f"operator {i}": pair_log_ratio(*times[:, :, i].T.tolist()) for i in range(OPERATORS)}


def report_operators(repetitions: int, seed: int) -> None:
    rows = []
    for change in CHANGES:
        generator = np.random.default_rng((seed, int(change * 1000)))
        net = right = wrong = pairs = 0
        for _ in range(repetitions):
            log_ratios: dict[str, list[float]] = defaultdict(list)
            decisions = None
            while decisions is None:
                for name, x in operator_pair(generator, change).items():
                    log_ratios[name].append(x)
                decisions = decide_all(PLAN, log_ratios)
            named = {name for name, one in decisions.items() if one.verdict is Verdict.REGRESSED}
            net += NET_DELAY in named
            right += "operator 0" in named
            wrong += bool(named - {NET_DELAY, "operator 0"})
            pairs += len(log_ratios[NET_DELAY])
        shares = [percent(count / repetitions) for count in (net, right, wrong)]
        rows.append([f"+{100 * change:g} %", *shares, f"{2 * pairs / repetitions:.1f}"])
    headers = ["net slower by", "net found", "right operator named", "any other operator named", "launches"]
    text = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    print(f"\na net of {OPERATORS} operators in bursts of noise, a tenth of it made slower (%)\n\n{text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=400, help="per detector, source and change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--detector", choices=[*REPLAYS, "operators"], help="only this one")
    options = parser.parse_args()
    for name, one in REPLAYS.items():
        if options.detector in (None, name):
            report(name, one, options.repetitions, options.seed)
    if options.detector in (None, "operators"):
        report_operators(options.repetitions, options.seed)


if __name__ == "__main__":
    main()
