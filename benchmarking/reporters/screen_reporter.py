"""The output for people: each result as soon as it is available, and a table of all results at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TextIO

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmarking.errors import ReporterError
from benchmarking.reporters import backend_screen, backend_table, numbers, operator_rows
from benchmarking.reporters.operator_rows import OperatorRow, OperatorRows
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.reporters.screen_table import ALWAYS, Column, fitted, texts
from benchmarking.reporters.settings import USUAL_COUNT, OperatorChoice
from benchmarking.results.model import (
    Comparison,
    Cost,
    Fact,
    Failure,
    Outcome,
    Result,
    Sampling,
    TypeResult,
    Verdict,
    by_test,
)
from benchmarking.results.plain_text import plain, plain_lines
from benchmarking.terminal.console import PlainConsole, width_for

VERDICT_STYLES: dict[Verdict | None, str] = {
    Verdict.REGRESSED: "bold red",
    Verdict.IMPROVED: "bold green",
    Verdict.UNCHANGED: "green",
}
_OUTCOME_STYLES = {
    Outcome.PASSED: "green",
    Outcome.UNCHANGED: "green",
    Outcome.IMPROVED: "green",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NOT_COMPARABLE: "yellow",
    Outcome.SUSPICIOUS: "yellow",
    Outcome.NOT_CONFIRMED: "yellow",
    Outcome.KNOWN: "yellow",
}


class ScreenReporter(ReporterBase):
    name: ClassVar[str] = "screen"

    def __init__(self, stream: TextIO, *, operators: OperatorChoice = USUAL_COUNT) -> None:
        self._stream = stream
        self._console = PlainConsole(stream, width_for(stream))
        self._operators = operators
        self._results: list[Result] = []

    def report(self, result: Result) -> None:
        self._results.append(result)
        self._write(_heading(result))
        if result.types and result.test.metric == "delay":
            self._print_delay(result)
        elif result.types:
            self._write(_error_table(result, self._width(2)), indent=2)
        for line in backend_screen.result_lines(result):
            self._write(line, indent=2)
        self._print_backend(result)
        if result.failure:
            self._print_failure(result.failure)
        for reason in result.device.tainted:
            self._write(Text(f"tainted: {plain(reason)}", "yellow"), indent=2)
        for warning in result.warnings:
            self._write(Text(f"warning: {plain(warning)}", "yellow"), indent=2)
        self._write(Text())

    def finish(self, summary: RunSummary) -> None:
        if summary.ended_by_error and not self._results:
            return
        results = [stages[-1] for stages in by_test(self._results)]
        single = [result for result in results if result.cell is None]
        if len(single) > 1:
            self._write(_overview(single, self._width()))
            self._write(Text())
        for table in backend_table.tables(results):
            for part in backend_screen.blocks_of(table, self._width()):
                self._write(part)
            self._write(Text())
        if len(_devices(results)) > 1 or any(one.status is Outcome.MISSING for one in results):
            self._write(_where(results, self._width()))
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
        net, sampling = result.net, result.sampling
        if net is not None:
            self._write(_net_table(net, sampling, self._width(2)), indent=2)
            self._print_verdict(net, sampling)
            if net.cost is not None:
                self._write(_cost_line(net, net.cost, result.program.facts), indent=2)
        operators = result.operators
        if sampling is not None and result.provenance.run_type != "benchmark":
            # A stage that only measured the suspects again; the other types are shown above.
            operators = tuple(one for one in operators if one.judged or one.regressed)
        if operators and self._operators != 0:
            rows = operator_rows.chosen(operators, self._operators)
            wall = net is not None and net.clock_summary is not None
            self._write(_operator_table(rows, result.program.facts, wall, self._width(2)), indent=2)

    def _print_verdict(self, net: TypeResult, sampling: Sampling | None) -> None:
        judged = net.judged
        if judged is None:
            return
        style = VERDICT_STYLES.get(judged.verdict, "yellow")
        self._write(Text(f"{judged.verdict}: {plain(judged.reason)}", style), indent=2)
        if sampling is not None:
            for line in numbers.sampling(sampling):
                self._write(Text(plain(line), "dim"), indent=2)

    def _print_backend(self, result: Result) -> None:
        if unused := numbers.unused_options(result):
            self._write(Text(plain(unused), "yellow"), indent=2)
        fallbacks = numbers.fallbacks(result)
        if result.test.backend is None and not fallbacks:
            return  # no backend was chosen, and this is the backend that ran
        if summary := numbers.ran_on(result):
            self._write(Text(plain(summary), "yellow" if fallbacks else "dim"), indent=2)
        for line in filter(None, [*fallbacks, numbers.without_kernels(result)]):
            self._write(Text(plain(line), "dim"), indent=4)

    def _print_failure(self, failure: Failure) -> None:
        self._write(Text(f"{failure.kind}: {plain(failure.message)}", "bold red"), indent=2)
        if failure.evidence:
            self._write(Text(plain_lines(failure.evidence.rstrip()), "dim"), indent=6)

    def _width(self, indent: int = 0) -> int:
        """Read each time, because the window may have changed."""
        return max(self._console.width - indent, 1)

    def _write(self, what: Table | Text, indent: int = 0) -> None:
        """Without the spaces that rich adds to short lines.

        Raises:
            ReporterError: the stream is closed, or its disk is full.
        """
        try:
            with self._console.capture() as capture:  # flushes the stream in the end
                self._console.print(Padding(what, (0, 0, 0, indent), expand=False) if indent else what)
            self._stream.write("\n".join(line.rstrip() for line in capture.get().split("\n")))
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise ReporterError(f"cannot write to the screen: {error}") from error


def _heading(result: Result) -> Text:
    text = Text(plain(result.test.net), "bold")
    text.append(f" {result.test.metric} {plain(result.test.identifier)}", "bold")
    details = [
        numbers.shapes(result),
        f"on {result.device.name}",
        _backend_of(result),
        numbers.threads(result),
        numbers.versions(result),
    ]
    text.append("  " + "  ".join(plain(one) for one in details if one), "dim")
    if result.provenance.run_type != "benchmark":
        text.append(f"  ({result.provenance.run_type})", "yellow")
    return text


def _backend_of(result: Result) -> str:
    """With the framework's name in front where several are compared."""
    backend = result.test.backend
    if result.arm and result.arm != backend:
        return result.arm
    return f"backend {backend}" if backend else ""


def _net_table(net: TypeResult, sampling: Sampling | None, width: int) -> Table:
    summary, control = net.judged_summary, net.judged_control_summary
    rows = [("treatment" if control else "delay", summary), *([("control", control)] if control else [])]
    interval = summary.median_interval
    coverage = f" ({numbers.confidence(interval)})" if interval else ""
    columns = {
        "p10": [numbers.duration(one.p10) for _, one in rows],
        "p50": [numbers.duration(one.p50) for _, one in rows],
        "p90": [numbers.duration(one.p90) for _, one in rows],
        f"median within{coverage}": [numbers.median_interval(one) for _, one in rows],
        "samples": [str(one.count) for _, one in rows],
    }
    names = [name for name, _ in rows]
    if net.comparison is not None:
        names.append("change")
        for cells, cell in zip(columns.values(), _change_row(net.comparison), strict=True):
            cells.append(cell)
    title = numbers.clock_name(net, sampling) if control or net.clock_summary else "net"
    matters = (2, ALWAYS, 3, 4, 1)
    return fitted(
        [
            Column(title, texts(names), right=False),
            *(
                Column(name, texts(cells), one)
                for (name, cells), one in zip(columns.items(), matters, strict=True)
            ),
        ],
        width,
    )


def _change_row(comparison: Comparison) -> list[str]:
    interval = comparison.ratio_interval
    within = "too few pairs"
    if interval is not None:
        bounds = f"{numbers.percent(interval.low)} to {numbers.percent(interval.high)}"
        within = f"{bounds} ({numbers.confidence(interval)})"
    return ["", numbers.percent(comparison.ratio), "", within, numbers.counted(comparison.pairs, "pair")]


def _cost_line(net: TypeResult, cost: Cost, program: Mapping[str, Fact]) -> Text:
    amounts = f"{cost.flops / 1e9:.3g} GFLOP, {cost.parameters / 1e6:.3g} M parameters"
    time_us = net.judged_summary.p50
    share = numbers.share_of_peak(cost, time_us, program)
    parts = [amounts, numbers.throughput(cost, time_us), _of_the_peak(share)]
    return Text(", ".join(filter(None, parts)), "dim")


def _of_the_peak(share: str) -> str:
    percentage, _, what = share.rpartition(" ")
    return f"{percentage} of the {what} peak" if share else ""


def _operator_table(shown: OperatorRows, program: Mapping[str, Fact], wall: bool, width: int) -> Table:
    """``wall``: note that the times are wall time, while those of the net are not."""
    rows = shown.rows
    styles = [VERDICT_STYLES.get(row.verdict, "") for row in rows]
    names = tuple(Text(plain(row.name), style) for row, style in zip(rows, styles, strict=True))
    verdicts = tuple(Text(row.verdict_text, style) for row, style in zip(rows, styles, strict=True))
    return fitted(
        [
            Column(shown.title, names, is_name=True, short_title=shown.short_title),
            Column("type", texts([plain(row.kind) for row in rows]), 6, right=False),
            Column("p50 (wall)" if wall else "p50", texts([numbers.duration(row.p50_us) for row in rows])),
            Column("share", texts([row.share_text for row in rows]), 5),
            Column("speed", texts([row.speed_text for row in rows]), 3),
            Column("of peak", texts([row.peak_text(program) for row in rows]), 2),
            Column("change", texts([row.change_text for row in rows])),
            Column("interval", texts([row.interval_text for row in rows]), 4),
            Column("", verdicts),
            Column("kernel", tuple(map(_kernel, rows)), 1, right=False),
        ],
        width,
    )


def _kernel(row: OperatorRow) -> Text:
    if row.kernel is None:
        return Text()
    return Text(plain(row.kernel.name), "dim" if row.kernel.own else "yellow")


def _error_table(result: Result, width: int) -> Table:
    rows = [(one, one.error, one.control_error) for one in result.types if one.error]
    names = tuple(Text(plain(one.type), "bold red" if one.regressed else "") for one, _, _ in rows)
    errors = [error for _, error, _ in rows]
    controls = [numbers.error(one.max_absolute) if one else "" for _, _, one in rows]
    return fitted(
        [
            Column("error of", names, is_name=True),
            Column("max absolute", texts([numbers.error(one.max_absolute) for one in errors])),
            Column("max relative", texts([numbers.error(one.max_relative) for one in errors]), 3),
            Column("RMSE", texts([numbers.error(one.root_mean_square) for one in errors]), 1),
            Column("cosine", texts([f"{one.cosine_similarity:.7f}" for one in errors]), 2),
            Column("control's max absolute", texts(controls), 4),
        ],
        width,
    )


def _overview(results: list[Result], width: int) -> Table:
    """A row for each test."""
    nets = [result.net for result in results]
    comparisons = [net.comparison if net else None for net in nets]
    devices = [plain(one.device.name) for one in results] if len(_devices(results)) > 1 else []
    outcomes = [Text(one.outcome, _OUTCOME_STYLES.get(one.outcome, "bold red")) for one in results]
    intervals = [numbers.median_interval(net.judged_summary) if net else "" for net in nets]
    changes = [numbers.percent(one.ratio) if one else "" for one in comparisons]
    bounds = [one.ratio_interval if one else None for one in comparisons]
    tests = [plain(f"{one.test.metric} {one.test.identifier}") for one in results]
    return fitted(
        [
            Column("model", texts([plain(one.test.net) for one in results]), is_name=True, folds=True),
            Column("test", texts(tests), is_name=True, folds=True),
            Column("shape", texts([plain(numbers.short_shapes(one)) for one in results]), 2, right=False),
            *([Column("device", texts(devices), is_name=True, folds=True)] if devices else []),
            Column("p50", texts([numbers.overview_delay(one) for one in results])),
            Column("median within", texts(intervals), 1),
            Column("max error", texts([numbers.largest_error(one) for one in results]), 5),
            Column("change", texts(changes)),
            Column("interval", texts([numbers.percent_interval(one) if one else "" for one in bounds]), 3),
            Column("", tuple(outcomes), right=False),
        ],
        width,
        header_style="bold",
    )


def _devices(results: list[Result]) -> dict[str, str]:
    """Maps the hashes of devices to their names."""
    return {result.test.device: result.device.name for result in results}


def _where(results: list[Result], width: int) -> Table:
    """Which tests ran on which device, and which are missing."""
    by_device = [
        (name, [one for one in results if one.test.device == device])
        for device, name in _devices(results).items()
    ]
    missing = [[one for one in own if one.status is Outcome.MISSING] for _, own in by_device]
    ran = [str(len(own) - len(gone)) for (_, own), gone in zip(by_device, missing, strict=True)]
    failed = [str(sum(one.status is Outcome.FAILED for one in own)) for _, own in by_device]
    tests = [
        ", ".join(dict.fromkeys(f"{one.test.net} {one.test.identifier}" for one in gone)) for gone in missing
    ]
    return fitted(
        [
            Column("device", texts([plain(name) for name, _ in by_device]), is_name=True, folds=True),
            Column("ran", texts(ran)),
            Column("failed", texts(failed)),
            Column("missing", tuple(Text(str(len(one)), "bold red" if one else "") for one in missing)),
            Column("missing tests", texts([plain(one) for one in tests]), is_name=True, folds=True),
        ],
        width,
    )
