"""Made-up results with a history: commits with steps, scatter, tainted runs and confirmed regressions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarking.results.model import (
    NET_DELAY,
    Comparison,
    Cost,
    Device,
    Failure,
    FailureKind,
    Interval,
    Kernel,
    Program,
    Provenance,
    Result,
    SequentialDecision,
    TestKey,
    TypeResult,
    Verdict,
    Workload,
)
from benchmarking.statistics import summaries

FIRST_COMMIT = 1_740_000_000
HOUR = 3600
AUTHORS = ("Ann Example", "Bo Example", "Cem Example")
KINDS = ("Conv", "Relu", "MaxPool", "FC", "Softmax")
NAMES = ("squeezenet", "resnet50", "mobilenet_v2", "lenet", "shufflenet", "bert_small", "unet", "yolo_tiny")


@dataclass(frozen=True)
class History:
    """The same arguments yield the same results."""

    nets: int = 4
    backends: tuple[str, ...] = ("default", "xnnpack")
    devices: int = 2
    commits: int = 40
    operators: int = 6
    samples: int = 20
    scatter: float = 0.01
    """Of runs of one program."""
    steps: float = 0.02
    """The probability that a net becomes slower or faster with a commit, by 4 to 30 %."""
    tainted: float = 0.02
    failed: float = 0.005
    compares: bool = True
    """Whether each run is an A/B run against the commit before."""
    seed: int = 1

    def __iter__(self) -> Iterator[Result]:
        """Oldest commit first."""
        generator = random.Random(self.seed)
        levels = dict.fromkeys(range(self.nets), 1.0)
        for number in range(self.commits):
            changes = {net: self._change(generator) if number else 1.0 for net in levels}
            for net, change in changes.items():
                levels[net] *= change
            for device in range(self.devices):
                run = f"{self.seed:04x}{device:04x}{number:024x}"
                for net in levels:
                    for place in range(len(self.backends)):
                        yield self._result(
                            generator, number, device, net, place, levels[net], changes[net], run
                        )

    def _change(self, generator: random.Random) -> float:
        if generator.random() >= self.steps:
            return 1.0
        return generator.uniform(1.04, 1.3) ** generator.choice((1, 1, -1))

    def _result(
        self,
        generator: random.Random,
        number: int,
        device: int,
        net: int,
        place: int,
        level: float,
        change: float,
        run: str,
    ) -> Result:
        name = NAMES[net] if net < len(NAMES) else f"net_{net:04}"
        typical = 800.0 * (1 + net) * (1 + 0.4 * place) * (1 + 0.7 * device) * level
        uid = f"{run[:8]}{net:04x}{place:04x}{number:016x}"
        time = FIRST_COMMIT + number * HOUR
        result = Result(
            TestKey(name, "delay", f"{name}-1x3x224x224", "caffe2", self.backends[place], f"{device:012x}"),
            Provenance(
                time=time + 600,
                commit=sha(number),
                commit_time=time,
                control_commit=sha(number - 1) if number and self.compares else None,
                control_commit_time=time - HOUR if number and self.compares else None,
                run_type="benchmark",
                command=("harness.py", "--benchmark_file", f"{name}.json", "--backend", self.backends[place]),
                group=None,
                run_uid=run,
                uid=uid,
                position=number,
                control_position=number - 1 if number and self.compares else None,
                branch="main",
                author=AUTHORS[number % len(AUTHORS)],
                subject=f"change number {number} of the convolutions",
                harness_version="1.0",
            ),
            Device(
                f"Board-{device}",
                facts={"cpu_model": f"CPU {device}", "logical_cores": 4, "memory_bytes": 2**33},
                conditions_before={"load": 0.1, "temperature_celsius": 41.5},
                conditions_after={"load": 1.1, "temperature_celsius": 44.0},
                tainted=("the load was 3.1 on 4 cores",) if generator.random() < self.tainted else (),
            ),
            Program(
                f"./benchmark --net {name}", {"engine": "torch", "threads": 1, "engine_version": "2.13.0"}
            ),
            Workload(iterations=self.samples, warmup=5, input_shapes={"data": (1, 3, 224, 224)}),
            duration_s=12.5,
        )
        if generator.random() < self.failed:
            return replace(
                result, failure=Failure(FailureKind.CASE, "ProgramExitError", "exit status 139", "...")
            )
        types = [self._net(generator, typical, change if number and self.compares else None)]
        types += [self._operator(generator, typical, index) for index in range(self.operators)]
        return replace(result, types=tuple(types))

    def _values(self, generator: random.Random, typical: float) -> tuple[float, ...]:
        level = typical * (1 + self.scatter * generator.gauss())
        return tuple(round(level * (1 + abs(generator.gauss()) * 0.02), 3) for _ in range(self.samples))

    def _net(self, generator: random.Random, typical: float, change: float | None) -> TypeResult:
        values = self._values(generator, typical)
        one = TypeResult(NET_DELAY, "us", summaries.summarize(values), values)
        if change is None:
            return one
        before = self._values(generator, typical / change)
        ratio = change * (1 + self.scatter / 3 * generator.gauss())
        interval = Interval(ratio * 0.99, ratio * 1.01, 0.95)
        verdict = (
            Verdict.REGRESSED
            if interval.low > 1.02
            else Verdict.IMPROVED
            if interval.high < 0.98
            else Verdict.UNCHANGED
        )
        comparison = Comparison(12, ratio, interval)
        return replace(
            one,
            control_values=before,
            control_summary=summaries.summarize(before),
            comparison=comparison,
            decision=SequentialDecision(
                verdict, f"{ratio - 1:+.2%} after 12 pairs", 12, comparison, 0.01, 0.0002, 0.99
            ),
        )

    def _operator(self, generator: random.Random, typical: float, index: int) -> TypeResult:
        values = self._values(generator, typical / (index + 2))
        kind = KINDS[index % len(KINDS)]
        return TypeResult(
            f"ID_{index}_{kind}_{kind.lower()}{index}",
            "us",
            summaries.summarize(values),
            values,
            cost=Cost(1000 * index, 2_000_000 * (index + 1), 300_000),
            kernel=Kernel("jit:avx2", own=index % 3 > 0),
        )


def sha(number: int) -> str:
    return f"{number * 2654435761 % 2**160:040x}"
