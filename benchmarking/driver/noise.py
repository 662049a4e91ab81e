"""The noise figure of a machine: the smallest change that can be found on it in a given time.

Two identical programs take turns, as treatment and control of an A/B run do.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random

from benchmarking.driver.iteration_sampler import IterationSampler
from benchmarking.driver.paired_test import CONTROL, TREATMENT
from benchmarking.driver.sampler import LogRatios, Sampled, TypeSamples
from benchmarking.packages import ROOT
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs.command import Command
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation
from benchmarking.programs.workers import WorkerSource
from benchmarking.results.model import Clock
from benchmarking.statistics import sequential
from benchmarking.statistics.sequential import MOST_PAIRS, SequentialPlan

DURATIONS_S = (10.0, 30.0, 60.0)
PROGRAM = "benchmarking.frameworks.kit.matrix_product"
ANSWER_LIMIT_S = 60.0
PLAN = SequentialPlan(minimum_effect=1e-6, max_pairs=MOST_PAIRS)
"""With the usual error probabilities. The smallest effect that counts does not limit the figure: it is a
choice of the user, and no property of the machine.
"""


@dataclass(frozen=True)
class NoiseFigure:
    duration_s: float
    pairs: int
    """As many as fit into this time."""
    smallest_change: Mapping[Clock, float | None]
    """As a fraction, by the clock with which the programs are timed; None: too few pairs for any change."""


def measure(
    platform: PlatformBase, cancellation: Cancellation, durations_s: Sequence[float]
) -> list[NoiseFigure]:
    """Takes as long as the longest of the durations.

    Raises:
        CaseError, DeviceError: the programs cannot be run.
        RunCancelledError: the run was cancelled.
    """

    def start(forks: bool, layout_seed: int) -> AbstractContextManager[LiveProgram]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        argv = (sys.executable, "-m", PROGRAM, "--worker", "fork" if forks else "true")
        return platform.start(
            Command(argv, environment={"PYTHONPATH": path, "PYTHONHASHSEED": str(layout_seed)}), cancellation
        )

    started = time.monotonic()
    ends_s: list[float] = []

    def enough(log_ratios: LogRatios) -> bool:
        ends_s.append(time.monotonic() - started)
        return ends_s[-1] >= max(durations_s) or len(ends_s) == MOST_PAIRS

    sampler = IterationSampler(
        Random(0),  # noqa: S311 - for an order, not for a secret
        platform.conditions,
        platform.pin,
        platform.thread_times,
        operator_rounds=0,
        clock="auto",
    )
    sources = {arm: WorkerSource(start, ANSWER_LIMIT_S) for arm in (TREATMENT, CONTROL)}
    sampled = sampler.sample(sources, CONTROL, enough)
    for error in sampled.failures.values():
        raise error
    ratios = _log_ratios(sampled, len(ends_s))
    return [
        NoiseFigure(
            duration_s,
            pairs := sum(end_s <= duration_s for end_s in ends_s),
            {clock: _smallest_change(values[:pairs]) for clock, values in ratios.items()},
        )
        for duration_s in durations_s
    ]


def _log_ratios(sampled: Sampled, pairs: int) -> Mapping[Clock, Sequence[float]]:
    """By clock, one for each pair."""
    arms = [sampled.arms[arm].types[0] for arm in (TREATMENT, CONTROL)]
    clocks: list[Clock] = ["cpu", "wall"] if all(one.cpu_values for one in arms) else ["wall"]
    return {
        clock: [
            sequential.pair_log_ratio(*(_of_pair(one, clock, number) for one in arms))
            for number in range(pairs)
        ]
        for clock in clocks
    }


def _of_pair(samples: TypeSamples, clock: Clock, number: int) -> Sequence[float]:
    values = samples.cpu_values if clock == "cpu" else samples.values
    return [value for value, pair in zip(values, samples.pairs, strict=True) if pair == number]


def _smallest_change(log_ratios: Sequence[float]) -> float | None:
    """Of a test that ends with these pairs."""
    import numpy as np

    usable = np.asarray(log_ratios, dtype=np.float64)
    usable = usable[np.isfinite(usable)]
    if not usable.size:
        return None
    last = PLAN.looks_until(usable.size, limit_reached=True)[-1]
    return sequential.smallest_change(PLAN, usable, last.alpha)
