"""One result: under which conditions, operator by operator, and the command that repeats it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from sqlalchemy import select

from benchmarking.reporters import numbers
from benchmarking.results.model import Fact, Result, TypeResult
from benchmarking.server import tables
from benchmarking.server.pages.reading import ROWS_PER_PAGE, Reader
from benchmarking.server.pages.views import Bar, ConditionRow, RunView, TypeRow

BARS = 60
BAR_WIDTH = 10
BAR_HEIGHT = 58.0


def run_view(result: Result) -> RunView:
    """The page of a result, without what else is known of its run."""
    test, provenance, program = result.test, result.provenance, result.program
    whole = [one for one in result.types if one not in result.operators]
    total = sum(one.summary.p50 for one in result.operators)
    net = result.net
    judged = next((one.judged for one in whole if one.judged), None)
    histogram, ends = _histogram(net) if net else ((), None)
    failure = result.failure
    return RunView(
        uid=provenance.uid,
        run=provenance.run_uid,
        model=test.net,
        test=test.identifier,
        where=" · ".join(filter(None, (test.metric, test.framework, test.backend, result.device.name))),
        time=provenance.time,
        status=result.status,
        verdict=result.outcome if result.verdict else "",
        reason=judged.reason if judged else "",
        commit=provenance.commit,
        control=provenance.control_commit,
        tainted=result.device.tainted,
        failure=f"{failure.error}: {failure.message}" if failure else "",
        evidence=failure.evidence if failure else "",
        notes=_notes(result),
        whole=tuple(_row(one, None, result) for one in whole),
        operators=tuple(_row(one, total, result) for one in result.operators),
        conditions=_conditions(result.device.conditions_before, result.device.conditions_after),
        histogram=histogram,
        histogram_ends=ends,
        samples=(len(net.values), len(net.control_values)) if net else (0, 0),
        command=shlex.join(provenance.command),
        program_command=program.command,
        facts=_facts(result),
    )


def with_context(reader: Reader, view: RunView) -> RunView:
    """Adds the keys of the series, and the other results of the same call of the harness."""
    results, points, series = tables.results, tables.points, tables.series
    own = select(results.c.id).where(results.c.uid == view.uid).scalar_subquery()
    keys = {
        row.type: row.key
        for row in reader.rows(
            select(series.c.type, series.c.key)
            .join(points, points.c.series_id == series.c.id)
            .join(results, points.c.result_id == results.c.id)
            .where(results.c.id == own, results.c.commit_id == points.c.commit_id)
        )
    }
    run = select(results.c.run_id).where(results.c.uid == view.uid).scalar_subquery()
    others = reader.rows(
        select(results.c.uid, results.c.net, results.c.identifier, results.c.backend, results.c.outcome)
        .where(results.c.run_id == run, results.c.uid != view.uid, results.c.project_id == reader.project)
        .order_by(results.c.id)
        .limit(ROWS_PER_PAGE)
    )
    return replace(
        view,
        whole=tuple(replace(one, series=keys.get(one.name, "")) for one in view.whole),
        siblings=tuple(
            (row.uid, " ".join(filter(None, (row.net, row.identifier, row.backend, f"({row.outcome})"))))
            for row in others
        ),
    )


def _row(one: TypeResult, total: float | None, result: Result) -> TypeRow:
    kernel = one.kernel or result.program.kernels.get(one.type)
    comparison = one.comparison
    interval = comparison.ratio_interval if comparison else None
    own, control = one.judged_summary, one.judged_control_summary
    median_interval = own.median_interval
    is_error = one.error is not None
    return TypeRow(
        name=one.type,
        kernel=kernel.name if kernel else "",
        fell_back=kernel is not None and not kernel.own,
        median=one.error.max_absolute if one.error else own.p50,
        low=median_interval.low if median_interval and not is_error else None,
        high=median_interval.high if median_interval and not is_error else None,
        p99=own.p99,
        control=one.control_error.max_absolute if one.control_error else control.p50 if control else None,
        share=one.summary.p50 / total if total else None,
        ratio=one.ratio,
        ratio_low=interval.low if interval else None,
        ratio_high=interval.high if interval else None,
        verdict="too short to compare" if one.too_short else "known" if one.known else str(one.verdict or ""),
        unit="largest error" if is_error else one.unit,
    )


def _notes(result: Result) -> tuple[str, ...]:
    found = [*result.warnings]
    if result.sampling:
        found.extend(numbers.sampling(result.sampling))
    found.extend(filter(None, (numbers.ran_on(result), numbers.without_kernels(result))))
    return (*found, *numbers.fallbacks(result))


def _conditions(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> tuple[ConditionRow, ...]:
    return tuple(
        ConditionRow(name, fact(before.get(name)), fact(after.get(name)))
        for name in sorted({*before, *after})
    )


def _facts(result: Result) -> tuple[tuple[str, str], ...]:
    workload = {"input_shapes": numbers.shapes(result), "iterations": result.workload.iterations or None}
    control = {f"control {name}": one for name, one in result.program.control_facts.items()}
    parts: Sequence[Mapping[str, Fact]] = (
        {"harness": result.provenance.harness_version, "group": result.provenance.group},
        workload,
        result.program.facts,
        {name: one for name, one in control.items() if one != result.program.facts.get(name[8:])},
        result.device.facts,
    )
    found = chain.from_iterable(one.items() for one in parts)
    return tuple((name, fact(value)) for name, value in found if value not in (None, ""))


def fact(value: Fact) -> str:
    """A fact as text, with few digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _histogram(net: TypeResult) -> tuple[tuple[Bar, ...], tuple[float, float] | None]:
    """The iterations of both programs on one axis, which ends at the 99th percentile."""
    both = sorted(one for one in (*net.values, *net.control_values) if math.isfinite(one))
    if not both:
        return (), None
    low, high = both[0], both[min(len(both) - 1, len(both) * 99 // 100)]
    step = (high - low) / BARS or 1.0
    counts = [_counts(values, low, step) for values in (net.values, net.control_values)]
    most = max(chain(*counts)) or 1
    heights = [[round(BAR_HEIGHT * one / most, 1) for one in side] for side in counts]
    bars = zip(*heights, strict=True)
    return tuple(Bar(x * BAR_WIDTH, BAR_WIDTH - 1, up, down) for x, (up, down) in enumerate(bars)), (
        low,
        high,
    )


def _counts(values: Sequence[float], low: float, step: float) -> list[int]:
    counts = [0] * BARS
    for one in values:
        place = (one - low) / step
        if 0 <= place < BARS + 1:
            counts[min(int(place), BARS - 1)] += 1
    return counts
