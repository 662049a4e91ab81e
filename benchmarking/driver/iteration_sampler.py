"""All arms stay alive side by side and take turns running single iterations: a disturbance affects all of
them.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from benchmarking.driver import conditions
from benchmarking.driver.clock import device_clock, require_times, shortest_operator_ns, suitable_clock
from benchmarking.driver.conditions import Conditions
from benchmarking.driver.sampler import (
    ArmFailedError,
    ArmSamples,
    LogRatios,
    Sampler,
    TypeSamples,
    blaming,
)
from benchmarking.driver.settings import ClockChoice
from benchmarking.driver.waiting import Times, Watched
from benchmarking.programs.worker_protocol import IterationSample, WorkerReady
from benchmarking.programs.workers import NoWorkersError, Worker, WorkerSource
from benchmarking.results.model import NET_DELAY, Clock, Cost, Fact, Kernel, SamplingLevel
from benchmarking.statistics import sequential

TURNS_S = 0.125
"""The default time for the iterations of an arm in a block: about the time that its setup takes."""
FEWEST_ROUNDS, MOST_ROUNDS = 8, 200
WARM_UP_S = 0.05
"""For each arm: the time of the warm-up iterations, all arms in turn, which are not counted."""
MOST_WARM_UP_ROUNDS = 30
TRIED_ROUNDS = 3
"""This number of iterations shows how long an iteration takes."""
LEAST_SHARE = 0.01
"""As a fraction of the net's time: operators that take less in both arms are not judged. Their changes do not
matter, and a few nanoseconds of chance would look like a large change.
"""
RENEWAL_BLOCKS = 6
"""Workers forked by the same process share its memory layout, which may slightly favour an arm. After this
many blocks the processes are restarted.
"""
MEMORY_MARGIN = 1.2
"""Each further arm may need this many times the memory of the first."""
SILENT_ARMS = 2
"""If this many starts do not speak the worker protocol, the program does not; a single one may have crashed.
"""

ReadConditions = Callable[[], Conditions]
ReadThreadTimes = Callable[[int], Times | None]
"""See ``PlatformBase.thread_times``."""


@dataclass
class _ArmRecord:
    """The reports of one arm's workers, in order of time."""

    net: list[tuple[int, IterationSample]] = field(default_factory=list)
    """Each sample with the number of its block."""
    by_operator: list[tuple[int, IterationSample]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    """The samples of operators, in the order of the net."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    cpu_resolution_ns: float = 0.0
    computing: list[int] = field(default_factory=list)
    """The number of threads that were seen to compute in an iteration of the first block."""
    tells_waiting: bool = False
    """The time for which it waits for a core."""

    @property
    def threads(self) -> int:
        """The number of threads that compute at once, as reported or observed."""
        reported = self.facts.get("threads")
        seen = statistics.median_low(self.computing) if self.computing else 1
        return max(seen, reported) if isinstance(reported, int) else seen

    def take(self, ready: WorkerReady) -> None:
        """Takes the report of its first worker."""
        self.facts = {**ready.facts, **ready.start_facts}
        self.names = tuple(ready.operators)
        self.warnings = ready.shown_warnings
        self.cpu_resolution_ns = ready.cpu_resolution_ns or 0.0
        self.kernels = {name: Kernel(one.kernel, one.own) for name, one in ready.kernels.items()}
        self.costs = {name: Cost(one.parameters, one.flops, one.bytes) for name, one in ready.costs.items()}

    def complete_operators(self, number: int, worker: Worker) -> None:
        """Adds the times that the program reports after the iterations."""
        first = next((at for at, (block, _) in enumerate(self.by_operator) if block == number), None)
        if first is not None:
            samples = [sample for _, sample in self.by_operator[first:]]
            self.by_operator[first:] = [(number, sample) for sample in worker.with_operators(samples)]

    def forget(self, number: int) -> None:
        """Drops a block that will be measured again."""
        self.net = [one for one in self.net if one[0] != number]
        self.by_operator = [one for one in self.by_operator if one[0] != number]

    def of_block(self, number: int) -> list[IterationSample]:
        return [sample for block, sample in self.net if block == number]

    def operators_of_block(self, number: int) -> dict[str, list[float]]:
        values: defaultdict[str, list[float]] = defaultdict(list)
        for block, sample in self.by_operator:
            if block == number:
                for name, time_ns in (sample.operators or {}).items():
                    values[name].append(time_ns)
        return values


class IterationSampler(Sampler[WorkerSource]):
    """In each block, a fresh worker of each arm, and the same number of iterations of each, in
    random order.
    """

    level: ClassVar[SamplingLevel] = "iteration"

    def __init__(
        self,
        random: Random,
        read_conditions: ReadConditions,
        pin: Callable[[int], int | None],
        thread_times: ReadThreadTimes = lambda pid: None,
        *,
        operator_rounds: int,
        clock: ClockChoice,
        computes_on_cpu: bool = True,
        goes_on_without_failed: bool = False,
        turns_s: float = TURNS_S,
        suspects: Sequence[str] = (),
    ) -> None:
        """Args:
        pin: as ``PlatformBase.pin``.
        turns_s: what the iterations of an arm may take about in a block.
        operator_rounds: in this many rounds of a block, at most, each operator is timed as well, in an
            iteration of its own.
        suspects: operators that are judged even if they take little time.
        """
        super().__init__(
            random,
            read_conditions,
            "the programs run single iterations",
            clock,
            goes_on_without_failed=goes_on_without_failed,
        )
        self._pin = pin
        self._thread_times = thread_times
        self._operator_rounds = operator_rounds
        self._computes_on_cpu = computes_on_cpu
        self._turns_s = turns_s
        self._suspects = frozenset(suspects)
        self._records: dict[str, _ArmRecord] = {}
        self._rounds = 0
        self._renewed_at: int | None = None
        """The block before which the programs were started; None: they have to be started."""
        self._judged: dict[str, tuple[str, ...]] = {}

    def _open(self, stack: ExitStack) -> None:
        self._records = {arm: _ArmRecord() for arm in self._sources}
        for source in self._sources.values():
            stack.enter_context(source)

    def _measure(self, block: int, order: Sequence[str], before: Conditions) -> Mapping[str, Fact]:
        if self._renewed_at is None or block - self._renewed_at >= RENEWAL_BLOCKS:
            self._renew(order)
            self._renewed_at = block
        try:
            self._run_block(block, order, before)
            if block == 0:
                self._clocks = {arm: self._own_clock(arm) for arm in order}
        except ArmFailedError as error:
            if self._goes_on_without_failed:
                for arm in order:
                    if arm != error.arm:
                        self._records[arm].forget(block)
                self._renewed_at = None  # the workers of the other arms were left in the middle of the block
            raise
        return self._noted(block, order)

    def _renew(self, order: Sequence[str]) -> None:
        """Restarts the programs that fork workers."""
        for arm, source in self._sources.items():
            if arm not in order:
                source.close()
        layout_seed = self._random.getrandbits(32)
        silent: dict[str, NoWorkersError] = {}
        for step in (lambda source: source.begin(layout_seed), WorkerSource.get_ready):
            for arm in order:
                if arm in silent:
                    continue
                with blaming(arm):
                    try:
                        step(self._sources[arm])
                    except NoWorkersError as error:
                        silent[arm] = error
                if silent and (
                    not self._goes_on_without_failed or len(silent) >= min(SILENT_ARMS, len(order))
                ):
                    name, why = next(iter(silent.items()))
                    raise NoWorkersError(f"{name}: {why}", why.evidence) from why
        for arm, why in silent.items():
            raise ArmFailedError(arm, why) from why

    def _run_block(self, block: int, order: Sequence[str], before: Conditions) -> None:
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            # The first programs are started one after another, because it is unknown whether all of them fit
            # into memory.
            for arm in order if block else ():
                with blaming(arm):
                    self._sources[arm].prepare()
            for arm in order:
                workers[arm] = stack.enter_context(_fresh(arm, self._sources[arm]))
                if block == 0:
                    self._records[arm].take(workers[arm].ready)
                self._core = self._pinned(workers[arm])
                if block == 0 and arm == order[0]:
                    _check_memory(workers[arm], before, len(order))
            self._warm_up(workers)
            self._run_rounds(workers, block)
            for arm, worker in workers.items():
                with blaming(arm):
                    self._records[arm].complete_operators(block, worker)

    def _pinned(self, worker: Worker) -> int | None:
        """All on the same core: on several cores, anything that runs on one of them makes one arm look
        slower.
        """
        if worker.ready.facts.get("threads") != 1 or worker.pid is None:
            return None
        return self._pin(worker.pid)

    def _iteration(self, arm: str, worker: Worker, number: int) -> IterationSample:
        """The system is asked for the waiting time if the worker does not report it, and in the first block
        for the number of threads that computed. Both readings are outside the timed part.
        """
        record = self._records[arm]
        pid = None if record.tells_waiting and number else worker.local_pid
        before = None if pid is None else self._thread_times(pid)
        sample = worker.run()
        record.tells_waiting = sample.run_delay_ns is not None
        watched = None if pid is None or before is None else Watched.between(before, self._thread_times(pid))
        if watched is None:
            return sample
        if number == 0:
            record.computing.append(watched.computing)
        return watched.completed(sample)

    def _warm_up(self, workers: Mapping[str, Worker]) -> None:
        """All together: while the others got ready, the caches of the first went cold.

        Only whole iterations count: the first by operators may include making a session for them.
        """
        took_ns = 0.0
        for arms in self._orders(list(workers))[:MOST_WARM_UP_ROUNDS]:
            for operators in (False, True) if self._operator_rounds else (False,):
                for arm in arms:
                    with blaming(arm):
                        sample = workers[arm].run(operators=operators)
                        took_ns += 0 if operators else sample.wall_ns
            if took_ns > WARM_UP_S * len(workers) * 1e9:
                return

    def _run_rounds(self, workers: Mapping[str, Worker], number: int) -> None:
        for done, arms in enumerate(self._orders(list(workers)), start=1):
            for arm in arms:
                with blaming(arm):
                    self._records[arm].net.append((number, self._iteration(arm, workers[arm], number)))
            if done <= self._operator_rounds:
                for arm in arms:
                    with blaming(arm):
                        self._records[arm].by_operator.append((number, workers[arm].run(operators=True)))
            if done == TRIED_ROUNDS and not self._rounds:
                self._rounds = self._worth(workers)
            if done == self._rounds:
                return

    def _orders(self, arms: Sequence[str]) -> list[list[str]]:
        """Each arm has each position equally often (except for the last rounds), in random order."""
        rounds = self._rounds or MOST_ROUNDS
        orders: list[list[str]] = []
        while len(orders) < rounds:
            drawn = self._drawn(arms)
            orders += [[*drawn[first:], *drawn[:first]] for first in range(len(drawn))]
        del orders[rounds:]
        self._random.shuffle(orders)
        return orders

    def _worth(self, arms: Iterable[str]) -> int:
        """The number of rounds in each block, from the fastest times of the first block; the same for all
        arms.

        Waiting for a core is excluded: a busy machine needs more rounds, not fewer.
        """
        records = [self._records[arm] for arm in arms]
        takes_ns = sum(
            min(min(one.wall_ns, one.cpu_ns or one.wall_ns) for _, one in samples)
            for record in records
            for samples in (record.net, record.by_operator if self._operator_rounds >= MOST_ROUNDS else ())
            if samples
        )
        return min(MOST_ROUNDS, max(FEWEST_ROUNDS, round(self._turns_s * len(records) * 1e9 / takes_ns)))

    def _log_ratios(self, block: int, arms: Sequence[str]) -> LogRatios:
        if self._baseline not in arms:
            return {}
        return {arm: self._log_ratios_of(arm, block) for arm in arms if arm != self._baseline}

    def _log_ratios_of(self, arm: str, block: int) -> dict[str, float]:
        own, baseline = self._records[arm], self._records[self._baseline]
        clock, _ = self._clock_of(arm)
        ratios = {
            NET_DELAY: sequential.pair_log_ratio(
                *([_time_ns(one, clock) for one in record.of_block(block)] for record in (own, baseline))
            )
        }
        ours, theirs = own.operators_of_block(block), baseline.operators_of_block(block)
        if arm not in self._judged:
            shortest_ns = shortest_operator_ns(own.facts, baseline.facts)
            self._judged[arm] = _worth_judging(ours, theirs, shortest_ns, self._suspects)
        for name in self._judged[arm]:
            if name in ours and len(theirs.get(name, ())) == len(ours[name]):
                ratios[name] = sequential.pair_log_ratio(ours[name], theirs[name])
        return ratios

    def _samples(self, arm: str) -> ArmSamples:
        return _arm_samples(self._records[arm])

    # --- clock and conditions -------------------------------------------------------------------------------

    def _own_clock(self, arm: str) -> tuple[Clock, str]:
        """The clock that suits the arm's first block.

        Raises:
            ArmFailedError: it does not have the clock that was chosen.
        """
        record = self._records[arm]
        samples = record.of_block(0)
        if self._clock_choice != "auto":
            _require_clock(arm, self._clock_choice, samples)
            return self._clock_choice, "requested by --clock"
        by_device = device_clock([one.wall_ns for one in samples], [one.device_ns for one in samples])
        if by_device is not None:
            return by_device
        if not self._computes_on_cpu:
            return "wall", "the CPU does not do the work"
        return suitable_clock(samples, record.cpu_resolution_ns, record.threads)

    def _noted(self, block: int, arms: Sequence[str]) -> dict[str, Fact]:
        samples = [sample for arm in arms for sample in self._records[arm].of_block(block)]
        wall_ns = sum(one.wall_ns for one in samples)
        facts: dict[str, Fact] = {}
        if all(one.run_delay_ns is not None for one in samples):
            facts[conditions.RUN_DELAY] = sum(one.run_delay_ns or 0 for one in samples) / wall_ns
        if all(one.involuntary_switches is not None for one in samples):
            facts["involuntary_switches"] = sum(one.involuntary_switches or 0 for one in samples)
        return facts


def _time_ns(sample: IterationSample, clock: Clock) -> float:
    times_ns = {"cpu": sample.cpu_ns, "device": sample.device_ns, "wall": sample.wall_ns}
    return times_ns[clock] or 0.0


def _require_clock(arm: str, clock: Clock, samples: Sequence[IterationSample]) -> None:
    """Raises:
    ArmFailedError: the arm's program does not have this clock.
    """
    times = {"cpu": [one.cpu_ns for one in samples], "device": [one.device_ns for one in samples]}
    if clock in times:
        with blaming(arm):
            require_times(clock, times[clock])


def _worth_judging(
    ours: Mapping[str, Sequence[float]],
    theirs: Mapping[str, Sequence[float]],
    shortest_ns: float,
    suspects: frozenset[str],
) -> tuple[str, ...]:
    """From the first block: operators that take more than ``LEAST_SHARE`` in either arm and can be timed.

    Suspects took that much when they were suspected; one that is near the limit must not escape.
    """
    shares: dict[str, float] = {}
    too_short: set[str] = set()
    for arm in (ours, theirs):
        medians = {name: statistics.median(values) for name, values in arm.items()}
        total = sum(medians.values())
        for name, median in medians.items():
            shares[name] = max(shares.get(name, 0.0), median / total if total else 0.0)
        too_short |= {name for name, median in medians.items() if median < shortest_ns}
    large = {name for name, share in shares.items() if share >= LEAST_SHARE} | suspects
    return tuple(name for name in ours if name in large and name not in too_short)


@contextmanager
def _fresh(arm: str, source: WorkerSource) -> Iterator[Worker]:
    """An error before or after the work is also the arm's; an error during the work is not necessarily."""
    with ExitStack() as stack:
        with blaming(arm):
            worker = stack.enter_context(source.fresh())
        yield worker
        with blaming(arm):
            stack.close()


def _check_memory(worker: Worker, before: Conditions, arms: int) -> None:
    """Raises:
    NoWorkersError: as many programs like this one do not fit in beside each other.
    """
    needed, available = worker.ready.rss_bytes, before.get("memory_available_bytes")
    if needed is None or not isinstance(available, int):
        return
    if needed * (1 + MEMORY_MARGIN * (arms - 1)) > available:
        needed_mib, available_mib = (f"{amount / 2**20:.0f} MiB" for amount in (needed, available))
        raise NoWorkersError(f"{arms} programs of {needed_mib} do not fit into {available_mib} of memory")


def _arm_samples(record: _ArmRecord) -> ArmSamples:
    types = [
        TypeSamples(
            type=NET_DELAY,
            unit="us",
            values=tuple(sample.wall_ns / 1e3 for _, sample in record.net),
            pairs=tuple(pair for pair, _ in record.net),
            cpu_values=tuple(sample.cpu_ns / 1e3 for _, sample in record.net if sample.cpu_ns is not None),
            device_values=tuple(
                sample.device_ns / 1e3 for _, sample in record.net if sample.device_ns is not None
            ),
        )
    ]
    reported = dict.fromkeys(name for _, sample in record.by_operator for name in sample.operators or ())
    for name in (
        *(one for one in record.names if one in reported),
        *(one for one in reported if one not in record.names),
    ):
        of_type = [
            (pair, sample.operators[name] / 1e3)
            for pair, sample in record.by_operator
            if sample.operators and name in sample.operators
        ]
        types.append(
            TypeSamples(name, "us", tuple(us for _, us in of_type), tuple(pair for pair, _ in of_type))
        )
    return ArmSamples(
        tuple(types) if record.net else (),
        facts=record.facts,
        warnings=record.warnings,
        costs=record.costs,
        kernels=record.kernels,
    )
