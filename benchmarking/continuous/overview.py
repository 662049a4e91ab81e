"""``--status``: what is done, pending, failed and regressed, as text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from benchmarking.continuous.activities import Activity
from benchmarking.continuous.messages import WORDS, culprit_lines, subject, took
from benchmarking.continuous.state import Overview, Pending, Run, RunStatus
from benchmarking.results.unix_time import minute

SHOWN_PENDING = 10
_RUN_HEADERS = ("commit", "platform", "finished (UTC)", "result", "built", "measured", "subject")


def now_lines(activities: Sequence[Activity]) -> Iterator[str]:
    """The activities of the running loop."""
    yield from (f"now {one.line(time.time())}" for one in activities)


def overview_lines(overview: Overview) -> Iterator[str]:
    yield overview.benchmark
    for branch, position in overview.positions.items():
        yield f"{branch}: {'done up to' if position.is_done else 'begins with'} {position.commit[:12]}"
    yield ""
    yield from _counts(overview)
    yield from _section("pending", _pending(overview.pending))
    yield from _section("regressions", culprit_lines(overview.culprits))
    explained = {(one.regressed, one.platform) for one in overview.culprits}
    unexplained = [run for run in overview.regressed if (run.revision.commit, run.platform) not in explained]
    yield from _section("regressions whose origin is not found yet", _runs(unexplained))
    yield from _section("failed", _runs(overview.failed))
    yield from _section("newest results", _runs(overview.recent))
    yield ""


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is not None:
        yield from ("", title, f"  {first}")
        yield from (f"  {line}" for line in lines)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        text = tabulate(rows, headers, tablefmt="plain", disable_numparse=True)
        yield from (line.rstrip() for line in text.splitlines())


def _counts(overview: Overview) -> Iterator[str]:
    platforms = {platform for platform, _ in overview.counts} | {one.platform for one in overview.pending}
    rows = [
        (
            platform,
            *(str(overview.counts.get((platform, status), 0)) for status in RunStatus),
            str(sum(one.platform == platform for one in overview.pending)),
        )
        for platform in sorted(platforms)
    ]
    yield from _table(("platform", *(WORDS[one].lower() for one in RunStatus), "pending"), rows)


def _pending(pending: Sequence[Pending]) -> Iterator[str]:
    rows = [
        (
            *(one.revision.short, one.platform, minute(one.revision.commit_time)),
            *((one.waits_for.splitlines() or [""])[0], subject(one.revision)),
        )
        for one in pending[:SHOWN_PENDING]
    ]
    yield from _table(("commit", "platform", "committed (UTC)", "waits for", "subject"), rows)
    if len(pending) > SHOWN_PENDING:
        yield f"and {len(pending) - SHOWN_PENDING} more"


def _runs(runs: Sequence[Run]) -> Iterator[str]:
    rows = [
        (
            *(run.revision.short, run.platform, minute(run.finished_at), WORDS[run.status]),
            *(took(run.build_s), took(run.run_s), subject(run.revision)),
        )
        for run in runs
    ]
    yield from _table(_RUN_HEADERS, rows)
