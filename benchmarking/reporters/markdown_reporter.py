"""A Markdown table that can be posted on a pull request."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarking.errors import run_meaning
from benchmarking.reporters import backend_markdown, backend_table, numbers, operator_rows
from benchmarking.reporters.file_reporter import FileReporter
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.reporters.settings import OperatorChoice
from benchmarking.results.model import (
    Confirmation,
    Outcome,
    Result,
    SequentialDecision,
    Verdict,
    by_test,
)
from benchmarking.results.plain_text import plain, plain_lines

_QUIET = (Outcome.PASSED, Outcome.UNCHANGED)


class MarkdownReporter(FileReporter):
    name: ClassVar[str] = "markdown"
    content_name: ClassVar[str] = "Markdown table"

    def __init__(self, file: Path, *, operators: OperatorChoice = 0) -> None:
        """See ``FileReporter``. ``operators``: the operators that are shown."""
        super().__init__(file)
        self._operators = operators

    def _content(self, summary: RunSummary | None) -> bytes:
        return markdown(self._results, summary, self._operators).encode("utf-8", errors="replace")


def markdown(stages: Sequence[Result], summary: RunSummary | None, operators: OperatorChoice = 0) -> str:
    """Nothing in it but what this module writes is interpreted as Markdown or HTML.

    Args:
        stages: in the order in which they were reported.
        summary: None while the run goes on.
    """
    tests = by_test(stages)
    results = [one[-1] for one in tests]
    counted = numbers.counts(Counter(result.outcome for result in results))
    if summary is None:
        parts = [f"**{counted}** so far: the run has not ended"]
    else:
        meaning = run_meaning(summary.exit_status, has_results=bool(results))
        parts = [f"**{counted}** in {summary.duration_s:.1f} s: {meaning}"]
    single = [result for result in results if result.cell is None]
    if single:
        parts.append(_table(single))
    for table in backend_table.tables(results):
        parts += backend_markdown.parts(table, escape)
    if promised := numbers.guarantee(results):
        parts.append(f"_{escape(promised)}_")
    parts += [f"- {escape(problem)}" for problem in summary.problems] if summary else []
    parts += [line for test in tests for line in _verdict_lines(test)]
    parts += [
        _backend(result) for result in results if numbers.fallbacks(result) or numbers.unused_options(result)
    ]
    # A test on several backends has the same conditions for all of them.
    parts += dict.fromkeys(_tainted(result) for result in results if result.device.tainted)
    parts += dict.fromkeys(_warning(result, text) for result in results for text in result.warnings)
    parts += [_operators(result, operators) for result in results if result.operators and operators != 0]
    parts += [_failure(result) for result in results if result.failure]
    return "\n\n".join(parts) + "\n"


def _table(results: list[Result]) -> str:
    from tabulate import tabulate

    compared = any(result.provenance.control_commit for result in results)
    columns = ["model", "test", "shape", "device", "p50", "median within"]
    columns += ["control p50", "change"] if compared else []
    rows = [_row(result, compared) for result in results]
    return tabulate(rows, [*columns, "max error", "status"], tablefmt="pipe", disable_numparse=True)


def _row(result: Result, compared: bool) -> list[str]:
    net = result.net
    test = result.test
    names = [test.net, f"{test.metric} {test.identifier}", numbers.shapes(result), result.device.name]
    row = [escape(text) for text in names]
    row += [numbers.overview_delay(result), numbers.median_interval(net.judged_summary)] if net else ["", ""]
    if compared:
        control = net.judged_control_summary if net else None
        row.append(numbers.duration(control.p50) if control else "")
        row.append(numbers.change(net.comparison) if net and net.comparison else "")
    status = result.outcome if result.outcome in _QUIET else f"**{result.outcome}**"
    if result.regressed_types and not result.failure:
        status = "**regressed**: " + escape(", ".join(result.regressed_types))
    if result.device.tainted:
        status += " (tainted)"
    return [*row, numbers.largest_error(result), status]


def _verdict_lines(stages: tuple[Result, ...]) -> list[str]:
    """Explains comparisons that are not simply unchanged: how they were made, and which operators changed."""
    operators = [one for stage in stages for one in stage.operators if one.verdict]
    changed = {one.type for one in operators if one.is_changed}
    moved = {one.type: one for one in operators if one.type in changed}  # as of the last stage with a verdict
    judged = [(stage, net.judged) for stage in stages if (net := stage.net) and net.judged]
    if not moved and all(how.verdict is Verdict.UNCHANGED for _, how in judged):
        return []
    reasons = [_reason(stage, how) for stage, how in judged]
    name = stages[-1].test.name
    if len(reasons) == 1:
        lines = [f"- {escape(f'{name}: {reasons[0]}')}"]
    else:  # several stages, or none whose net was judged by pairs
        lines = [f"- {escape(f'{name}: {stages[-1].outcome}')}"]
        explained = zip(judged, reasons, strict=True)
        lines += [f"  - {escape(f'{stage.provenance.run_type}: {text}')}" for (stage, _), text in explained]
    for one in moved.values():
        change = f" {numbers.change(one.comparison)}" if one.comparison else ""
        lines.append(f"  - {escape(f'{one.type}{change}: {one.verdict}')}")
    return ["\n".join(lines)]


def _reason(stage: Result, how: Confirmation | SequentialDecision) -> str:
    sampling = stage.sampling
    return f"{how.verdict}: {how.reason}" + (f"; {numbers.sampling(sampling)[0]}" if sampling else "")


def _backend(result: Result) -> str:
    framework = f"{result.test.framework} " if result.arm not in (None, result.test.backend) else ""
    lines = [f"- {escape(f'{result.test.name}: {framework}{numbers.ran_on(result) or result.test.backend}')}"]
    notes = [*numbers.fallbacks(result), numbers.without_kernels(result), numbers.unused_options(result)]
    lines += [f"  - {escape(line)}" for line in notes if line]
    return "\n".join(lines)


def _tainted(result: Result) -> str:
    text = f"{result.test.name} on {result.device.name} is tainted: "
    return f"- {escape(text + '; '.join(result.device.tainted))}"


def _warning(result: Result, text: str) -> str:
    return f"- {escape(f'{result.test.name}{result.on_arm}: warning: {text}')}"


def _operators(result: Result, choice: OperatorChoice) -> str:
    """Folded, because only readers who search for something read a long table."""
    from tabulate import tabulate

    shown = operator_rows.chosen(result.operators, choice)
    rows = [
        [
            *(escape(row.name), escape(row.kind), numbers.duration(row.p50_us), row.share_text),
            *(escape(f"{row.change_text} {row.interval_text}".strip()), row.verdict_text),
            escape(row.kernel.name if row.kernel else ""),
        ]
        for row in shown.rows
    ]
    columns = [shown.short_title, "type", "p50", "share", "change", "verdict", "kernel"]
    kept = [index for index in range(len(columns)) if index == 0 or any(row[index] for row in rows)]
    grid = tabulate(
        [[row[index] for index in kept] for row in rows],
        [columns[index] for index in kept],
        tablefmt="pipe",
        disable_numparse=True,
    )
    title = f"{result.test.name}{result.on_arm} on {result.device.name}: {shown.title}"
    return _folded(title, grid)


def _folded(title: str, content: str) -> str:
    summary = html.escape(_without_references(plain(title)))
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _failure(result: Result) -> str:
    failure = result.failure
    if failure is None:
        return ""
    text = f"{result.test.name}{result.on_arm}: {failure.message}"
    if not failure.evidence:
        return f"- {escape(text)}"
    evidence = plain_lines(failure.evidence.rstrip())
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", evidence)), default=0))
    return _folded(text, f"{fence}text\n{evidence}\n{fence}")


def escape(text: str) -> str:
    """Prevents names from being interpreted as Markdown or HTML. An underscore inside a word is
    not emphasis.
    """
    html_safe = html.escape(plain(text), quote=False)
    return _without_references(re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", html_safe))


def _without_references(text: str) -> str:
    """A zero-width space prevents a hosting service from notifying a user of that name, from mentioning this
    text in another discussion, and from turning an address that somebody else chose into a link.
    """
    return re.sub(r"@|#|\bGH-|://|\bwww\.", "\\g<0>\u200b", text, flags=re.IGNORECASE)
