"""What a person sees: each result as it comes, and a table of all at the end."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar, TextIO

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarking.console import PlainConsole
from benchmarking.errors import ReporterError
from benchmarking.plain_text import plain
from benchmarking.reporters import backend_screen, backend_table, numbers
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results import (
    Cost,
    Fact,
    Failure,
    Meta,
    Result,
    Sampling,
    TypeResult,
    Verdict,
    by_test,
)

PIPED_WIDTH = 160
"""Wide enough for every line: what reads a pipe does not wrap."""

VERDICT_STYLES: dict[Verdict | None, str] = {
    Verdict.REGRESSED: "bold red",
    Verdict.IMPROVED: "bold green",
    Verdict.UNCHANGED: "green",
}
_OPEN = ("inconclusive", "not comparable", "suspicious", "not confirmed", "known")


class ScreenReporter(ReporterBase):
    name: ClassVar[str] = "screen"

    def __init__(self, stream: TextIO, *, top_operators: int = 5) -> None:
        width = None if stream.isatty() else PIPED_WIDTH
        self._stream = stream
        self._console = PlainConsole(stream, width)
        self._top_operators = top_operators
        self._results: list[Result] = []

    def report(self, result: Result) -> None:
        self._results.append(result)
        self._write(_heading(result))
        if result.types and result.meta.metric == "delay":
            self._print_delay(result)
        elif result.types:
            self._write(_error_table(result), indent=2)
        for line in backend_screen.result_lines(result):
            self._write(line, indent=2)
        self._print_backend(result.meta)
        if result.failure:
            self._print_failure(result.failure)
        for reason in result.meta.tainted:
            self._write(Text(f"tainted: {plain(reason)}", "yellow"), indent=2)
        for warning in result.warnings:
            self._write(Text(f"warning: {plain(warning)}", "yellow"), indent=2)
        self._write(Text())

    def finish(self, summary: RunSummary) -> None:
        if summary.ended_by_error and not self._results:
            return
        results = [stages[-1] for stages in by_test(self._results)]
        single = [result for result in results if result.meta.cell is None]
        if len(single) > 1:
            self._write(_overview(single))
            self._write(Text())
        for table in backend_table.tables(results):
            for part in backend_screen.blocks_of(table):
                self._write(part)
            self._write(Text())
        if len(_devices(results)) > 1 or any(one.status == "missing" for one in results):
            self._write(_where(results))
            self._write(Text())
        for problem in summary.problems:
            self._write(Text(f"problem: {plain(problem)}", "red"))
        style = "green" if summary.exit_status == 0 else "bold red"
        self._write(Text(numbers.closing(results, summary), style))
        if promised := numbers.guarantee(results):
            self._write(Text(promised, "dim"))
        for destination in summary.destinations:
            self._write(Text(plain(destination), overflow="ignore", no_wrap=True))

    def _print_delay(self, result: Result) -> None:
        net = result.net
        if net is not None:
            self._write(_net_table(net), indent=2)
            self._print_verdict(net, result.meta.sampling)
            if net.cost is not None:
                self._write(_cost_line(net, net.cost, result.meta.program), indent=2)
        if operators := list(result.operators):
            self._write(_operator_table(operators, self._top_operators, result.meta.program), indent=2)

    def _print_verdict(self, net: TypeResult, sampling: Sampling | None) -> None:
        judged = net.judged
        if judged is None:
            return
        style = VERDICT_STYLES.get(judged.verdict, "yellow")
        self._write(Text(f"{judged.verdict}: {plain(judged.reason)}", style), indent=2)
        if sampling is not None:
            for line in numbers.sampling(sampling):
                self._write(Text(plain(line), "dim"), indent=2)

    def _print_backend(self, meta: Meta) -> None:
        fallbacks = numbers.fallbacks(meta)
        if meta.backend is None and not fallbacks:
            return  # nobody chose one, and it is the one that ran
        if summary := numbers.ran_on(meta):
            self._write(Text(plain(summary), "yellow" if fallbacks else "dim"), indent=2)
        for line in filter(None, [*fallbacks, numbers.without_kernels(meta)]):
            self._write(Text(plain(line), "dim"), indent=4)

    def _print_failure(self, failure: Failure) -> None:
        self._write(Text(f"{failure.kind}: {plain(failure.message)}", "bold red"), indent=2)
        if failure.evidence:
            evidence = "\n".join(numbers.plain_lines(failure.evidence))
            self._write(Text(evidence, "dim"), indent=6)

    def _write(self, what: Table | Text, indent: int = 0) -> None:
        """Without the blanks that rich puts behind short lines.

        Raises:
            ReporterError: the stream is closed, or its disk is full.
        """
        with self._console.capture() as capture:
            self._console.print(Padding(what, (0, 0, 0, indent), expand=False) if indent else what)
        lines = [line.rstrip() for line in capture.get().split("\n")]
        try:
            self._stream.write("\n".join(lines))
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise ReporterError(f"cannot write to the screen: {error}") from error


def _heading(result: Result) -> Text:
    meta = result.meta
    text = Text(plain(meta.net_name), "bold")
    text.append(f" {meta.metric} {plain(meta.identifier)}", "bold")
    details = [numbers.shapes(meta), f"on {meta.platform}", f"backend {meta.backend}" if meta.backend else ""]
    text.append("  " + "  ".join(plain(one) for one in details if one), "dim")
    if meta.run_type != "benchmark":
        text.append(f"  ({meta.run_type})", "yellow")
    return text


def _table(*columns: str, show_header: bool = True) -> Table:
    """The first column holds names and folds; the others hold numbers and do not."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=show_header, header_style="dim")
    for index, column in enumerate(columns):
        if index == 0:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _net_table(net: TypeResult) -> Table:
    interval = net.summary.median_interval
    coverage = f" ({numbers.confidence(interval)})" if interval else ""
    table = _table("net", "p10", "p50", "p90", f"median within{coverage}", "samples")
    for label, summary in (("treatment", net.summary), ("control", net.control_summary)):
        if summary is not None:
            delays = [numbers.duration(one) for one in (summary.p10, summary.p50, summary.p90)]
            name = label if net.control_summary else "delay"
            table.add_row(name, *delays, numbers.median_interval(summary), str(summary.count))
    if net.comparison is not None:
        pairs = f"{net.comparison.pairs} pair{'s' if net.comparison.pairs > 1 else ''}"
        ratio_interval = net.comparison.ratio_interval
        coverage = f" ({numbers.confidence(ratio_interval)})" if ratio_interval else ""
        table.add_row(
            "change", "", numbers.percent(net.comparison.ratio), "", _change_interval(net) + coverage, pairs
        )
    return table


def _cost_line(net: TypeResult, cost: Cost, program: Mapping[str, Fact]) -> Text:
    amounts = f"{cost.flops / 1e9:.3g} GFLOP, {cost.parameters / 1e6:.3g} M parameters"
    speed, share = _speed(net, program)
    return Text(", ".join(filter(None, [amounts, speed, _of_the_peak(share)])), "dim")


def _of_the_peak(share: str) -> str:
    percentage, _, what = share.rpartition(" ")
    return f"{percentage} of the {what} peak" if share else ""


def _change_interval(one: TypeResult) -> str:
    interval = one.comparison.ratio_interval if one.comparison else None
    return (
        f"{numbers.percent(interval.low)} to {numbers.percent(interval.high)}"
        if interval
        else "too few pairs"
    )


def _operator_table(operators: list[TypeResult], count: int, program: Mapping[str, Fact]) -> Table:
    total = sum(one.summary.p50 for one in operators)
    compared = any(one.comparison for one in operators)
    changed = [one for one in operators if one.is_changed]
    slowest = sorted(operators, key=lambda one: one.summary.p50, reverse=True)[:count]
    shown = [*slowest, *(one for one in changed if one not in slowest)]
    title = f"slowest {len(slowest)} of {len(operators)} operators"
    speeds = {one.type: _speed(one, program) for one in operators}
    speed_columns = [any(column) for column in zip(*speeds.values(), strict=True)]
    columns = ["type", "p50", "share", *itertools.compress(("speed", "of peak"), speed_columns)]
    table = _table(title, *columns, *(["change"] if compared else []), *([""] if changed else []))
    told = any(one.kernel for one in shown)
    if told:
        table.add_column("kernel", overflow="fold")
    for one in shown:
        kind, name = numbers.operator(one.type)
        share = f"{one.summary.p50 / total:.1%}" if total else ""
        change = [numbers.change(one.comparison) if one.comparison else ""] if compared else []
        style = VERDICT_STYLES.get(one.verdict, "") if one.is_changed else ""
        text = Text(plain(name), style)
        speed = itertools.compress(speeds[one.type], speed_columns)
        verdict = [Text(str(one.verdict) if one.is_changed else "", style)] if changed else []
        delay = numbers.duration(one.summary.p50)
        kernel = [_kernel(one)] if told else []
        table.add_row(text, plain(kind), delay, share, *speed, *change, *verdict, *kernel)
    return table


def _kernel(one: TypeResult) -> Text:
    if one.kernel is None:
        return Text()
    return Text(plain(one.kernel.name), "dim" if one.kernel.own else "yellow")


def _speed(one: TypeResult, program: Mapping[str, Fact]) -> list[str]:
    if one.cost is None:
        return ["", ""]
    return [
        numbers.throughput(one.cost, one.summary.p50),
        numbers.share_of_peak(one.cost, one.summary.p50, program),
    ]


def _error_table(result: Result) -> Table:
    in_ab = any(one.control_error for one in result.types)
    columns = ("max absolute", "max relative", "RMSE", "cosine")
    table = _table("error of", *columns, *(["control's max absolute"] if in_ab else []))
    for one in result.types:
        if one.error is None:
            continue
        values = [one.error.max_absolute, one.error.max_relative, one.error.root_mean_square]
        row = [*(numbers.error(value) for value in values), f"{one.error.cosine_similarity:.7f}"]
        if in_ab:
            row.append(numbers.error(one.control_error.max_absolute) if one.control_error else "")
        table.add_row(Text(plain(one.type), "bold red" if one.regressed else ""), *row)
    return table


def _overview(results: list[Result]) -> Table:
    compared = any(one.comparison for result in results for one in result.types)
    devices = len(_devices(results)) > 1
    columns = [
        "model",
        "test",
        "shape",
        *(["device"] if devices else []),
        "p50",
        "median within",
        "max error",
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        numeric = column in ("p50", "median within", "max error")
        table.add_column(column, overflow="fold", justify="right" if numeric else "left", no_wrap=numeric)
    if compared:
        table.add_column("change", justify="right", no_wrap=True)
    table.add_column("")
    styles = {"passed": "green", "unchanged": "green", "improved": "green", **dict.fromkeys(_OPEN, "yellow")}
    for result in results:
        meta = result.meta
        names = [meta.net_name, f"{meta.metric} {meta.identifier}", _short_shapes(result)]
        names += [meta.platform] if devices else []
        row = [plain(name) for name in names] + _overview_numbers(result, compared)
        table.add_row(*row, Text(result.outcome, styles.get(result.outcome, "bold red")))
    return table


def _devices(results: list[Result]) -> dict[str, str]:
    """The names of the devices by their hashes."""
    return {result.key.device: result.meta.platform for result in results}


def _where(results: list[Result]) -> Table:
    """What ran where, and what is missing."""
    table = _table("device", "ran", "failed", "missing", "missing tests")
    table.columns[-1].justify = "left"
    table.columns[-1].no_wrap = False
    for device, name in _devices(results).items():
        own = [result for result in results if result.key.device == device]
        missing = [result for result in own if result.status == "missing"]
        failed = sum(result.status == "failed" for result in own)
        names = ", ".join(dict.fromkeys(f"{one.meta.net_name} {one.meta.identifier}" for one in missing))
        table.add_row(
            plain(name),
            str(len(own) - len(missing)),
            str(failed),
            Text(str(len(missing)), "bold red" if missing else ""),
            plain(names),
        )
    return table


def _short_shapes(result: Result) -> str:
    return ", ".join(numbers.shape(sizes) for sizes in result.meta.input_shapes.values())


def _overview_numbers(result: Result, compared: bool) -> list[str]:
    net = result.net
    errors = [one.error.max_absolute for one in result.types if one.error]
    row = [
        numbers.duration(net.summary.p50) if net else "",
        numbers.median_interval(net.summary) if net else "",
        numbers.error(max(errors)) if errors else "",
    ]
    if compared:
        row.append(numbers.change(net.comparison) if net and net.comparison else "")
    return row
