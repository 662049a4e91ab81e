"""Treatment and control alive side by side, single iterations in turn: what disturbs one disturbs both."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from random import Random

from benchmarking.driver import conditions
from benchmarking.driver.clock import device_clock, suitable_clock
from benchmarking.driver.paired_test import PairedTest
from benchmarking.driver.sampler import ArmSamples, Samples, TypeSamples, say_which_arm
from benchmarking.driver.waiting import Times, Watched
from benchmarking.errors import CaseError, DeviceError
from benchmarking.options import ClockChoice
from benchmarking.programs.worker_protocol import IterationSample, WorkerReady
from benchmarking.programs.workers import NoWorkersError, Worker, WorkerSource
from benchmarking.results.model import (
    NET_DELAY,
    Clock,
    Cost,
    Fact,
    Kernel,
    Sampling,
    SequentialDecision,
    Verdict,
)
from benchmarking.statistics import sequential

ARMS = ("treatment", "control")
PAIR_S = 0.25
"""What the iterations of a pair may take about: as long as making the pair ready does."""
FEWEST_ROUNDS, MOST_ROUNDS = 8, 200
WARM_UP_S = 0.1
"""What the iterations that are run before, and are not counted, take of both together."""
MOST_WARM_UP_ROUNDS = 30
TRIED_ROUNDS = 3
"""So many tell how long one takes."""
LEAST_SHARE = 0.01
"""Of the net's time: operators that take less in both arms are not judged. What such a one gains or loses
does not matter, and a few nanoseconds of chance would look like much."""
RENEWAL_PAIRS = 6
"""Workers that one process forked have its places in memory in common, which may favour one arm a little.
After so many pairs both processes are started anew."""
MEMORY_MARGIN = 1.2
"""The control may need so much more than the treatment took."""

ReadConditions = Callable[[], conditions.Conditions]
ReadThreadTimes = Callable[[int], Times | None]
"""As ``PlatformBase.thread_times``."""


@dataclass
class _ArmRecord:
    """What one arm's workers have told, in time order."""

    net: list[tuple[int, IterationSample]] = field(default_factory=list)
    """Each with the number of its pair."""
    by_operator: list[tuple[int, IterationSample]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    """Of the operators, in the order of the net."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    cpu_resolution_ns: float = 0.0
    computing: list[int] = field(default_factory=list)
    """How many threads were seen to compute in an iteration of the first pair."""
    tells_waiting: bool = False
    """How long it waits for a core."""

    @property
    def threads(self) -> int:
        """That compute at once, as far as it says so or was seen."""
        told = self.facts.get("threads")
        seen = statistics.median_low(self.computing) if self.computing else 1
        return max(seen, told) if isinstance(told, int) else seen

    def take(self, ready: WorkerReady) -> None:
        """Of its first worker."""
        self.facts = ready.facts
        self.names = tuple(ready.operators)
        self.cpu_resolution_ns = ready.cpu_resolution_ns or 0.0
        self.kernels = {name: Kernel(one.kernel, one.own) for name, one in ready.kernels.items()}
        self.costs = {name: Cost(one.parameters, one.flops, one.bytes) for name, one in ready.costs.items()}

    def of_pair(self, number: int) -> list[IterationSample]:
        return [sample for pair, sample in self.net if pair == number]

    def operators_of_pair(self, number: int) -> dict[str, list[float]]:
        values: defaultdict[str, list[float]] = defaultdict(list)
        for pair, sample in self.by_operator:
            if pair == number:
                for name, time_ns in (sample.operators or {}).items():
                    values[name].append(time_ns)
        return values


class IterationSampler:
    def __init__(
        self,
        test: PairedTest,
        random: Random,
        read_conditions: ReadConditions,
        pin: Callable[[int], int | None],
        thread_times: ReadThreadTimes = lambda pid: None,
        *,
        operators: bool,
        clock: ClockChoice,
        computes_on_cpu: bool = True,
        cores: int | None = None,
    ) -> None:
        """``pin``: as ``PlatformBase.pin``; ``operators``: time each of them as well, apart from the net."""
        self._test = test
        self._random = random
        self._read_conditions = read_conditions
        self._pin = pin
        self._thread_times = thread_times
        self._core: int | None = None
        self._operators = operators
        self._clock_choice = clock
        self._computes_on_cpu = computes_on_cpu
        self._cores = cores
        self._records = {arm: _ArmRecord() for arm in ARMS}
        self._conditions: list[Mapping[str, Fact]] = []
        self._rounds = 0
        self._judged: tuple[str, ...] | None = None
        self._clock: Clock = "wall"
        self._clock_reason = ""

    def sample(self, treatment: WorkerSource, control: WorkerSource) -> Samples:
        """Pairs until there is a verdict. A failed arm is part of the answer.

        Raises:
            NoWorkersError: one of the two does not do single iterations, or both do not fit into the memory.
            RunCancelledError: the run was cancelled.
        """
        sources = {"treatment": treatment, "control": control}
        decisions: dict[str, SequentialDecision] | None = None
        failure: CaseError | DeviceError | None = None
        running = "treatment"
        try:
            with ExitStack() as stack:
                for source in sources.values():
                    stack.enter_context(source)
                while decisions is None:
                    if self._test.pairs % RENEWAL_PAIRS == 0:
                        layout_seed = self._random.getrandbits(32)
                        for running in self._random.sample(ARMS, k=len(ARMS)):
                            sources[running].begin(layout_seed)
                        for running in ARMS:
                            sources[running].get_ready()
                    decisions = self._test.add(self._pair(sources))
        except NoWorkersError as error:
            raise NoWorkersError(f"{running}: {error}", error.evidence) from error
        except _ArmError as error:
            failure = say_which_arm(error.cause, error.arm)
        except (CaseError, DeviceError) as error:
            failure = say_which_arm(error, running)
        return Samples(
            treatment=_arm_samples(self._records["treatment"]),
            control=_arm_samples(self._records["control"]),
            failure=failure,
            decisions=self._trusted(decisions or {}),
            sampling=Sampling(
                level="iteration",
                level_reason="both programs run single iterations",
                clock=self._clock,
                clock_reason=self._clock_reason,
                rounds=self._rounds,
                core=self._core,
                pairs=self._test.pairs,
                duration_s=self._test.duration_s,
                conditions=tuple(self._conditions),
            ),
        )

    def _pair(self, sources: Mapping[str, WorkerSource]) -> dict[str, float]:
        """Fresh processes, as many iterations of each, in random order; log(treatment / control) by type."""
        number = self._test.pairs
        before = self._read_conditions()
        order = self._random.sample(ARMS, k=len(ARMS))
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            # The first two one after the other: whether both fit into the memory is not known yet.
            for arm in order if number else ():
                with _telling(arm):
                    sources[arm].prepare()
            for arm in order:
                workers[arm] = stack.enter_context(_fresh(arm, sources[arm]))
                if number == 0:
                    self._records[arm].take(workers[arm].ready)
                self._core = self._pinned(workers[arm])
                if number == 0 and arm == order[0]:
                    _check_memory(workers[arm], before)
            self._warm_up(workers)
            self._run_rounds(workers, number)
        if number == 0:
            self._clock, self._clock_reason = self._choose_clock()
        self._conditions.append({**before, "first": order[0], **self._pair_conditions(number, before)})
        return self._log_ratios(number)

    def _pinned(self, worker: Worker) -> int | None:
        """Both on the same core: on two, whatever runs beside one of them makes it look slower."""
        if worker.ready.facts.get("threads") != 1 or worker.pid is None:
            return None
        return self._pin(worker.pid)

    def _iteration(self, arm: str, worker: Worker, number: int) -> IterationSample:
        """The system is asked how long it waited where it does not say so itself, and in the first pair how
        many threads computed. Both readings lie outside of what is timed."""
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
        """Both together: the first to be ready has cooled down while the other got ready."""
        took_ns = 0.0
        for arms in self._orders()[:MOST_WARM_UP_ROUNDS]:
            for operators in (False, True) if self._operators else (False,):
                for arm in arms:
                    with _telling(arm):
                        took_ns += workers[arm].run(operators=operators).wall_ns
            if took_ns > WARM_UP_S * 1e9:
                return

    def _run_rounds(self, workers: Mapping[str, Worker], number: int) -> None:
        for done, arms in enumerate(self._orders(), start=1):
            for arm in arms:
                with _telling(arm):
                    self._records[arm].net.append((number, self._iteration(arm, workers[arm], number)))
            if self._operators:
                for arm in arms:
                    with _telling(arm):
                        self._records[arm].by_operator.append((number, workers[arm].run(operators=True)))
            if done == TRIED_ROUNDS and not self._rounds:
                self._rounds = self._worth()
            if done == self._rounds:
                return

    def _orders(self) -> list[list[str]]:
        """Each arm is first equally often (but for one round of an odd number), in random order."""
        rounds = self._rounds or MOST_ROUNDS
        one, other = self._random.sample(ARMS, k=len(ARMS))
        orders = [[one, other] if number % 2 else [other, one] for number in range(rounds)]
        self._random.shuffle(orders)
        return orders

    def _worth(self) -> int:
        """How many rounds each pair gets, by what the first ones took at best; the same for both arms."""
        took_ns = sum(
            min(sample.wall_ns for _, sample in samples)
            for record in self._records.values()
            for samples in (record.net, record.by_operator)
            if samples
        )
        return min(MOST_ROUNDS, max(FEWEST_ROUNDS, round(PAIR_S * 1e9 / took_ns)))

    def _log_ratios(self, number: int) -> dict[str, float]:
        treatment, control = (self._records[arm] for arm in ARMS)
        ratios = {
            NET_DELAY: sequential.pair_log_ratio(
                *([self._time_ns(one) for one in record.of_pair(number)] for record in (treatment, control))
            )
        }
        ours, theirs = treatment.operators_of_pair(number), control.operators_of_pair(number)
        for name in self._worth_judging(ours, theirs):
            if len(theirs.get(name, ())) == len(ours[name]):
                ratios[name] = sequential.pair_log_ratio(ours[name], theirs[name])
        return ratios

    def _worth_judging(
        self, ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]
    ) -> tuple[str, ...]:
        """The operators that take more than ``LEAST_SHARE`` in either arm, by the first pair."""
        if self._judged is None:
            shares: dict[str, float] = {}
            for arm in (ours, theirs):
                medians = {name: statistics.median(values) for name, values in arm.items()}
                total = sum(medians.values())
                for name, median in medians.items():
                    shares[name] = max(shares.get(name, 0.0), median / total if total else 0.0)
            self._judged = tuple(name for name in ours if shares[name] >= LEAST_SHARE)
        return tuple(name for name in self._judged if name in ours)

    def _time_ns(self, sample: IterationSample) -> float:
        times_ns = {"cpu": sample.cpu_ns, "device": sample.device_ns, "wall": sample.wall_ns}
        return times_ns[self._clock] or 0.0

    # --- clock and conditions -------------------------------------------------------------------------------

    def _choose_clock(self) -> tuple[Clock, str]:
        """By what both arms did in the first pair, taken together: so it cannot favour one of them."""
        samples = [sample for record in self._records.values() for sample in record.of_pair(0)]
        if self._clock_choice != "auto":
            if self._clock_choice == "cpu" and any(one.cpu_ns is None for one in samples):
                raise _ArmError("treatment", CaseError("--clock cpu: the program does not tell its CPU time"))
            if self._clock_choice == "device" and any(one.device_ns is None for one in samples):
                raise _ArmError(
                    "treatment", CaseError("--clock device: the program tells no time of a device")
                )
            return self._clock_choice, "--clock says so"
        by_device = device_clock([one.wall_ns for one in samples], [one.device_ns for one in samples])
        if by_device is not None:
            return by_device
        if not self._computes_on_cpu:
            return "wall", "the work is not the CPU's"
        records = self._records.values()
        step_ns = max(record.cpu_resolution_ns for record in records)
        return suitable_clock(samples, step_ns, max(record.threads for record in records))

    def _pair_conditions(self, number: int, before: Mapping[str, Fact]) -> dict[str, Fact]:
        samples = [sample for record in self._records.values() for sample in record.of_pair(number)]
        wall_ns = sum(one.wall_ns for one in samples)
        facts: dict[str, Fact] = {}
        if all(one.run_delay_ns is not None for one in samples):
            facts[conditions.RUN_DELAY] = sum(one.run_delay_ns or 0 for one in samples) / wall_ns
        if all(one.involuntary_switches is not None for one in samples):
            facts["involuntary_switches"] = sum(one.involuntary_switches or 0 for one in samples)
        return facts

    def _trusted(self, decisions: Mapping[str, SequentialDecision]) -> dict[str, SequentialDecision]:
        """On a busy machine wall time hides changes: what then looks unchanged is not known to be."""
        reason = conditions.wall_time_is_doubtful(self._conditions, self._cores)
        wall = {name for name in decisions if name != NET_DELAY or self._clock == "wall"}
        if reason is None or not wall:
            return dict(decisions)
        return {
            name: replace(one, verdict=Verdict.INCONCLUSIVE, reason=f"{one.reason}, but {reason}")
            if name in wall and one.verdict is Verdict.UNCHANGED
            else one
            for name, one in decisions.items()
        }


class _ArmError(Exception):
    """What befell one arm while both were at work."""

    def __init__(self, arm: str, cause: CaseError | DeviceError) -> None:
        super().__init__(str(cause))
        self.arm, self.cause = arm, cause


@contextmanager
def _telling(arm: str) -> Iterator[None]:
    try:
        yield
    except (CaseError, DeviceError) as error:
        raise _ArmError(arm, error) from error


@contextmanager
def _fresh(arm: str, source: WorkerSource) -> Iterator[Worker]:
    """What goes wrong before and after the work is the arm's, too; what does meanwhile is not, by itself."""
    with ExitStack() as stack:
        with _telling(arm):
            worker = stack.enter_context(source.fresh())
        yield worker
        with _telling(arm):
            stack.close()


def _check_memory(worker: Worker, before: Mapping[str, Fact]) -> None:
    """Raises:
    NoWorkersError: a second program like this one does not fit in beside it.
    """
    needed, available = worker.ready.rss_bytes, before.get("memory_available_bytes")
    if needed is None or not isinstance(available, int):
        return
    if needed * (1 + MEMORY_MARGIN) > available:
        raise NoWorkersError(
            f"two programs of {needed / 2**20:.0f} MiB do not fit into {available / 2**20:.0f} MiB of memory"
        )


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
    told = dict.fromkeys(name for _, sample in record.by_operator for name in sample.operators or ())
    for name in (
        *(one for one in record.names if one in told),
        *(one for one in told if one not in record.names),
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
        tuple(types) if record.net else (), facts=record.facts, kernels=record.kernels, costs=record.costs
    )
