"""All reporters of a run as one: each gets every result, whatever happens to the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from benchmarking.errors import ExitStatus, ReporterError
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results import Result

logger = logging.getLogger(__name__)


class ReporterGroup:
    """Safe to use from the threads of several devices."""

    def __init__(self, reporters: Sequence[ReporterBase]) -> None:
        self._reporters = tuple(reporters)
        self._lock = threading.Lock()
        self._problems: list[str] = []
        self._had_bug = False

    def report(self, result: Result) -> None:
        with self._lock:
            for reporter in self._reporters:
                self._attempt(reporter, partial(reporter.report, result))

    def finish(self, exit_status: ExitStatus, duration_s: float, problems: Sequence[str]) -> ExitStatus:
        """Lets every reporter sum up. Returns the exit status, which a failed reporter changes."""
        summary = RunSummary(
            exit_status=self._worsened(exit_status),
            duration_s=duration_s,
            destinations=_destinations(self._reporters),
            problems=(*problems, *self._problems),
        )
        delivering = list(self._reporters)
        for reporter in self._reporters:
            known = len(self._problems)
            if not self._attempt(reporter, partial(reporter.finish, summary)):
                delivering.remove(reporter)
            summary = replace(
                summary,
                exit_status=self._worsened(exit_status),
                destinations=_destinations(delivering),
                problems=(*summary.problems, *self._problems[known:]),
            )
        return summary.exit_status

    def _worsened(self, exit_status: ExitStatus) -> ExitStatus:
        if exit_status is ExitStatus.OK and self._had_bug:
            return ExitStatus.INTERNAL_ERROR
        if exit_status is ExitStatus.OK and self._problems:
            return ExitStatus.REPORTER_FAILED
        return exit_status

    def _attempt(self, reporter: ReporterBase, deliver: Callable[[], None]) -> bool:
        try:
            deliver()
            return True
        except ReporterError as error:
            logger.error("the %s reporter failed: %s", reporter.name, error)
            self._problems.append(f"the {reporter.name} reporter failed: {error}")
        except Exception as error:
            # A bug of one reporter costs neither the run nor what the others deliver.
            logger.exception("the %s reporter has a bug", reporter.name)
            self._had_bug = True
            self._problems.append(f"the {reporter.name} reporter has a bug: {error!r}")
        return False


def _destinations(reporters: Sequence[ReporterBase]) -> tuple[str, ...]:
    return tuple(one.destination for one in reporters if one.destination)
