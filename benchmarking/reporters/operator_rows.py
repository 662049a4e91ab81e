"""The operators of a test as rows of a table: which of them are shown, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarking.reporters import numbers
from benchmarking.reporters.settings import OperatorChoice
from benchmarking.results.model import CHANGED, Cost, Fact, Interval, Kernel, TypeResult, Verdict


@dataclass(frozen=True)
class OperatorRow:
    """An operator, or all operators of a type."""

    name: str
    """For a type: the number of its operators."""
    kind: str
    p50_us: float
    share: float | None
    """The fraction of the time of all operators; None if that is 0."""
    ratio: float | None = None
    """In A/B: treatment divided by control; for a type, of its operators weighted by their time."""
    interval: Interval | None = None
    verdict: Verdict | None = None
    """The verdict, if it has changed."""
    too_short: bool = False
    """For the clock that timed it."""
    kernel: Kernel | None = None
    cost: Cost | None = None

    @property
    def share_text(self) -> str:
        return "" if self.share is None else f"{100 * self.share:.1f} %"

    @property
    def verdict_text(self) -> str:
        return "too short to compare" if self.too_short else str(self.verdict or "")

    @property
    def speed_text(self) -> str:
        return numbers.throughput(self.cost, self.p50_us) if self.cost else ""

    def peak_text(self, program: Mapping[str, Fact]) -> str:
        return numbers.share_of_peak(self.cost, self.p50_us, program) if self.cost else ""

    @property
    def change_text(self) -> str:
        return "" if self.ratio is None else numbers.percent(self.ratio)

    @property
    def interval_text(self) -> str:
        return "" if self.interval is None else numbers.percent_interval(self.interval)


@dataclass(frozen=True)
class OperatorRows:
    title: str
    short_title: str
    """Includes the title of the first column."""
    rows: tuple[OperatorRow, ...]


def chosen(operators: Sequence[TypeResult], choice: OperatorChoice) -> OperatorRows:
    """The slowest first. Operators that have changed are always shown."""
    total = sum(one.summary.p50 for one in operators)
    if choice == "by_type":
        rows = _by_type(operators, total)
        return OperatorRows(f"{len(operators)} operators by type", "operators", rows)
    by_time = sorted(operators, key=lambda one: one.summary.p50, reverse=True)
    count = len(by_time) if isinstance(choice, str) else min(choice, len(by_time))
    shown = [*by_time[:count], *(one for one in by_time[count:] if one.verdict in CHANGED)]
    title = f"slowest {count} of {len(by_time)}"
    return OperatorRows(f"{title} operators", title, tuple(_row(one, total) for one in shown))


def _row(one: TypeResult, total: float) -> OperatorRow:
    kind, name = numbers.operator(one.type)
    comparison = one.comparison
    return OperatorRow(
        name=name or one.type,
        kind=kind,
        p50_us=one.summary.p50,
        share=one.summary.p50 / total if total else None,
        ratio=comparison.ratio if comparison else None,
        interval=comparison.ratio_interval if comparison else None,
        verdict=one.verdict if one.is_changed else None,
        too_short=one.too_short,
        kernel=one.kernel,
        cost=one.cost,
    )


def _by_type(operators: Sequence[TypeResult], total: float) -> tuple[OperatorRow, ...]:
    by_kind: dict[str, list[TypeResult]] = {}
    for one in operators:
        by_kind.setdefault(numbers.operator(one.type)[0] or "(other)", []).append(one)
    rows = [_type_row(kind, members, total) for kind, members in by_kind.items()]
    return tuple(sorted(rows, key=lambda row: row.p50_us, reverse=True))


def _type_row(kind: str, members: Sequence[TypeResult], total: float) -> OperatorRow:
    own = sum(one.summary.p50 for one in members)
    compared = [(one.summary.p50, one.comparison.ratio) for one in members if one.comparison]
    before = sum(p50 / ratio for p50, ratio in compared if ratio > 0)
    costs = [one.cost for one in members if one.cost]
    return OperatorRow(
        name=str(len(members)),
        kind=kind,
        p50_us=own,
        share=own / total if total else None,
        ratio=own / before if before and len(compared) == len(members) else None,
        cost=Cost(
            sum(one.parameters for one in costs),
            sum(one.flops for one in costs),
            sum(one.bytes for one in costs),
        )
        if len(costs) == len(members)
        else None,
    )
