"""The pairs of a test as they come in, and when they are enough for a verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from benchmarking import sequential
from benchmarking.driver.plan import Comparing
from benchmarking.results import SequentialDecision


class PairedTest:
    def __init__(self, comparing: Comparing, suspects: tuple[str, ...] = ()) -> None:
        """``suspects``: the types to judge; all, where there are none."""
        self._comparing = comparing
        self._suspects = suspects
        self._started = time.monotonic()
        self._log_ratios: dict[str, list[float]] = {}
        self.pairs = 0

    @property
    def duration_s(self) -> float:
        return time.monotonic() - self._started

    def add(self, log_ratios: Mapping[str, float]) -> dict[str, SequentialDecision] | None:
        """Takes a pair's log(treatment / control) by type; gives the verdicts once there are pairs enough."""
        for name in log_ratios:
            if not self._suspects or name in self._suspects:
                self._log_ratios.setdefault(name, [math.nan] * self.pairs)
        self.pairs += 1
        for name, values in self._log_ratios.items():
            values.append(log_ratios.get(name, math.nan))
        fixed = self._comparing.fixed_pairs
        if fixed is not None and self.pairs < fixed:
            return None
        limit_reached = self.pairs == fixed or self.duration_s >= self._comparing.max_seconds
        if not self._log_ratios:  # the two programs have no type in common
            return {}
        return sequential.decide_all(self._comparing.plan, self._log_ratios, limit_reached=limit_reached)
