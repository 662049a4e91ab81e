"""Logs the most important outcomes on stderr, for runs without the screen reporter."""

from __future__ import annotations

import logging
from typing import ClassVar

from benchmarking.reporters import numbers
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results.model import Failure, FailureKind, Result, by_test
from benchmarking.results.plain_text import plain, plain_lines

SHOWN_EVIDENCE_LINES = 10
"""The number of last lines of a program's log; the other reports have all of it. The traceback of a bug is
shown completely.
"""

logger = logging.getLogger(__name__)


class LogReporter(ReporterBase):
    """The reasons of failed tests, each verdict, doubts about results, and the end of the run.

    These are logged as warnings, which the level ``error`` silences; a bug is logged as an error.
    """

    name: ClassVar[str] = "log"

    def __init__(self) -> None:
        self._results: list[Result] = []

    def report(self, result: Result) -> None:
        self._results.append(result)
        name = numbers.test_name(result)
        if result.failure:
            _log_failure(name, result.failure)
        for one in result.types:
            if one.judged and (one is result.net or one.is_changed):
                what = "" if one is result.net else f"{one.type}: "
                _log(f"{name}: {what}{one.judged.verdict}: {one.judged.reason}")
        for text in result.regressed_types:
            _log(f"{name}: {text}: the regression is confirmed")
        for text in result.device.tainted:
            _log(f"{name}: tainted: {text}")
        if unused := numbers.unused_options(result):
            _log(f"{name}: {unused}")
        for text in result.warnings:
            _log(f"{name}: warning: {text}")

    def finish(self, summary: RunSummary) -> None:
        if not summary.ended_by_error:
            for problem in summary.problems:
                _log(f"problem: {problem}")
        if summary.ended_by_error and not self._results:
            return
        _log(numbers.closing([stages[-1] for stages in by_test(self._results)], summary))
        for destination in summary.destinations:
            _log(destination)


def _log_failure(name: str, failure: Failure) -> None:
    is_bug = failure.kind is FailureKind.BUG
    lines = plain_lines(failure.evidence.rstrip()).splitlines()
    shown = lines if is_bug else lines[-SHOWN_EVIDENCE_LINES:]
    for line in (f"{name}: {failure.kind}: {failure.message}", *(f"    {line}" for line in shown)):
        _log(line, logging.ERROR if is_bug else logging.WARNING)


def _log(text: str, level: int = logging.WARNING) -> None:
    logger.log(level, "%s", plain(text))
