"""Results on several backends, of one framework or of several, as a table of models and backends, for all
reports of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarking.reporters import numbers
from benchmarking.results.model import (
    BackendCell,
    Comparison,
    Interval,
    Program,
    Result,
    Sampling,
    Summary,
    TestKey,
)
from benchmarking.results.precision import PRECISION


@dataclass(frozen=True)
class Entry:
    """One test on one backend."""

    result: Result
    cell: BackendCell

    @property
    def name(self) -> str:
        """Of its column."""
        return self.result.arm or ""

    @property
    def summary(self) -> Summary | None:
        """The summary of the times on which the ratio is based."""
        return self.result.net.judged_summary if self.result.net else None

    @property
    def ratio(self) -> Comparison | None:
        """The ratio to the reference; None if one of the two has no valid delay."""
        return self.cell.comparison if self.result.failure is None else None

    @property
    def is_reference(self) -> bool:
        return self.name == self.cell.reference

    @property
    def load_us(self) -> float | None:
        """What loading the model took."""
        return self._microseconds("load_ns")

    @property
    def first_us(self) -> float | None:
        """What the first inference took."""
        return self._microseconds("first_ns")

    def _microseconds(self, fact: str) -> float | None:
        value = self.result.program.facts.get(fact)
        return value / 1e3 if isinstance(value, int | float) else None

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that the program has taken."""
        value = self.result.program.facts.get("peak_rss_bytes")
        return value if isinstance(value, int) else None

    @property
    def precision(self) -> str:
        """What it computes in, as the program says: ``f32``; where another one is more precise ``bf16, not
        f32``."""
        said = self.result.program.facts.get(PRECISION)
        least = self.cell.less_precise_than
        return f"{said}, not {least}" if least else said if isinstance(said, str) else ""

    @property
    def state(self) -> str:
        """``measured``, ``wrong``, ``failed`` or ``missing``."""
        if self.cell.wrong:
            return "wrong"
        return self.result.status if self.result.failure else "measured"


@dataclass(frozen=True)
class Row:
    """One test."""

    test: TestKey
    """The test without a framework and a backend."""
    shapes: str
    entries: Mapping[str, Entry]
    """Maps the backend to its entry."""

    @property
    def how(self) -> list[str]:
        """Lines on how the backends were compared; empty for a test of outputs, and if nothing ran."""
        by_backend = {
            name: one.result.sampling for name, one in self.entries.items() if one.ratio is not None
        }
        lines = []
        usual: Sampling | None = None
        for name, sampling in by_backend.items():
            if sampling is None:
                continue
            if usual is None:
                usual = sampling
                lines += numbers.sampling(sampling, "block")
            elif sampling.clock != usual.clock:
                lines.append(f"{name} by {numbers.CLOCK_NAMES[sampling.clock]}: {sampling.clock_reason}")
        return lines


@dataclass(frozen=True)
class BackendTable:
    """All tests of one device."""

    device: str
    reference: str
    """``the reference``, where it is not the same one in every test."""
    backends: tuple[str, ...]
    rows: tuple[Row, ...]
    unavailable: Mapping[str, str]
    """Maps the backend to the reason why it is unavailable."""

    @property
    def blocks(self) -> int:
        return max(entry.cell.blocks for row in self.rows for entry in row.entries.values())

    def mean_ratio(self, backend: str) -> float | None:
        """The geometric mean over the tests; None if a test has no ratio."""
        delays = [row for row in self.rows if row.test.metric == "delay"]
        ratios = [row.entries[backend].ratio for row in delays if backend in row.entries]
        logs = [math.log(one.ratio) for one in ratios if one]
        return math.exp(math.fsum(logs) / len(logs)) if logs and len(logs) == len(delays) else None


def tables(results: Sequence[Result]) -> list[BackendTable]:
    """A table for each device; empty if no test ran on several backends."""
    by_device: dict[str, list[tuple[Result, BackendCell]]] = {}
    for one in results:
        if one.cell is not None:
            by_device.setdefault(one.test.device, []).append((one, one.cell))
    return [_table(entries) for entries in by_device.values()]


def _table(entries: Sequence[tuple[Result, BackendCell]]) -> BackendTable:
    rows: dict[TestKey, dict[str, Entry]] = {}
    for result, cell in entries:
        row = rows.setdefault(replace(result.test, framework="", backend=None), {})
        entry = Entry(result, cell)
        row[entry.name] = entry
    references = list(dict.fromkeys(cell.reference for _, cell in entries))
    names = dict.fromkeys([*references, *(name for row in rows.values() for name in row)])
    return BackendTable(
        device=entries[0][0].device.name,
        reference=references[0] if len(references) == 1 else "the reference",
        backends=tuple(names),
        rows=tuple(_row(test, row) for test, row in rows.items()),
        unavailable={
            name: reason
            for _, cell in entries
            for name, reason in cell.unavailable.items()
            if name not in names  # of another engine, which some of the tests name
        },
    )


def _row(test: TestKey, entries: Mapping[str, Entry]) -> Row:
    of_any = next(iter(entries.values())).result
    return Row(test, numbers.short_shapes(of_any), entries)


def own_operators(program: Program) -> tuple[int, int] | None:
    """The number of operators that ran on the backend's own kernels, and of all operators; None if they are
    not reported.
    """
    if program.kernels:
        return program.own_kernels, len(program.kernels)
    own, all_of_them = program.facts.get("backend_operators"), program.facts.get("operators")
    if isinstance(own, int) and isinstance(all_of_them, int):
        return own, all_of_them
    return None


def share(result: Result) -> str:
    """``18 of 26``."""
    own = own_operators(result.program)
    return f"{own[0]} of {own[1]}" if own else ""


def ratio(comparison: Comparison) -> str:
    """``1.24x [1.20, 1.28]``."""
    bounds = comparison.ratio_interval
    return factor(comparison.ratio) + (f" {interval(bounds)}" if bounds else "")


def interval(bounds: Interval) -> str:
    """``[1.20, 1.28]``."""
    return f"[{_factor(bounds.low)}, {_factor(bounds.high)}]"


def factor(value: float) -> str:
    return f"{_factor(value)}x"


def _factor(value: float) -> str:
    if value < 0.1:
        return f"{value:.2g}"  # a device that is 200 times as fast as the reference: 0.005, not 0.00
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table_json(table: BackendTable) -> dict[str, Any]:
    """The names and numbers of the table; everything else is in the results."""
    return {
        "device": table.device,
        "reference": table.reference,
        "backends": list(table.backends),
        "mean_ratios": {name: table.mean_ratio(name) for name in table.backends},
        "unavailable": [{"name": name, "reason": reason} for name, reason in table.unavailable.items()],
        "tests": [
            {
                "net_name": row.test.net,
                "metric": row.test.metric,
                "identifier": row.test.identifier,
                "backends": {name: _entry_json(entry) for name, entry in row.entries.items()},
            }
            for row in table.rows
        ],
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    own = own_operators(entry.result.program)
    comparison = entry.ratio
    bounds = comparison.ratio_interval if comparison else None
    return {
        "state": entry.state,
        "reason": entry.result.failure.message if entry.result.failure else None,
        "framework": entry.result.test.framework,
        "backend": entry.result.test.backend,
        "p50": entry.summary.p50 if entry.summary else None,
        "p90": entry.summary.p90 if entry.summary else None,
        "load_us": entry.load_us,
        "first_us": entry.first_us,
        "peak_bytes": entry.peak_bytes,
        "precision": entry.result.program.facts.get(PRECISION),
        "less_precise_than": entry.cell.less_precise_than or None,
        "ran_on": numbers.ran_on(entry.result) or None,
        "ratio": comparison.ratio if comparison else None,
        "ratio_low": bounds.low if bounds else None,
        "ratio_high": bounds.high if bounds else None,
        "ratio_confidence": bounds.confidence if bounds else None,
        "blocks": entry.cell.blocks,
        "answer_of": entry.cell.answer_of or None,
        "max_absolute_error": entry.cell.max_absolute_error,
        "max_relative_error": entry.cell.max_relative_error,
        "own_operators": own[0] if own else None,
        "operators": own[1] if own else None,
    }
