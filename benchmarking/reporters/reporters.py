"""Treats all reporters of a run as one: each gets every result, even if another fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from benchmarking.errors import BenchmarkError, ExitStatus, ReporterError
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.results.model import Result

logger = logging.getLogger(__name__)


class ReporterGroup:
    """Safe to use from the threads of several devices."""

    def __init__(self, reporters: Sequence[ReporterBase]) -> None:
        self._reporters = tuple(reporters)
        self._lock = threading.Lock()
        self._problems: dict[str, None] = {}
        self._had_bug = False
        self._is_finished = False

    def begin(self) -> None:
        with self._lock:
            for reporter in self._reporters:
                self._attempt(reporter, reporter.begin)

    def report(self, *results: Result) -> None:
        """Delivers the results of a test; several if it ran on several backends."""
        with self._lock:
            for reporter in self._reporters:
                for result in results:
                    self._attempt(reporter, partial(reporter.report, result))
                self._attempt(reporter, reporter.save)

    def report_bug(self, where: str, error: Exception) -> None:
        """Reports a bug that did not affect any test's result: the run continues, and ends with status 1."""
        logger.error("a bug: %s", where, exc_info=error)
        with self._lock:
            self._had_bug = True
            self._problems[f"a bug: {where}: {error!r}"] = None

    def finish(self, exit_status: ExitStatus, duration_s: float, problems: Sequence[str] = ()) -> ExitStatus:
        """Lets every reporter finish. Returns the exit status, which a failed reporter changes."""
        return self._finish(RunSummary(exit_status, duration_s, problems=tuple(problems)))

    def abort(self, error: BaseException, duration_s: float) -> None:
        """Lets every reporter finish a run that this error ends; the caller shows the error."""
        if isinstance(error, BenchmarkError):
            status, problem = error.exit_status, str(error)
        elif isinstance(error, Exception):
            status, problem = ExitStatus.INTERNAL_ERROR, f"a bug ended the run: {error!r}"
        else:
            status, problem = ExitStatus.INTERRUPTED, f"the run was ended by {type(error).__name__}"
        self._finish(RunSummary(status, duration_s, problems=(problem,), ended_by_error=True))

    def _finish(self, summary: RunSummary) -> ExitStatus:
        """Makes sure that a run ends once, with one document on stdout, even if errors occur
        while it ends.
        """
        if self._is_finished:
            return self._worsened(summary.exit_status)
        self._is_finished = True
        own_status, own_problems = summary.exit_status, summary.problems
        delivering = list(self._reporters)
        for reporter in self._reporters:
            summary = replace(
                summary,
                exit_status=self._worsened(own_status),
                destinations=_destinations(delivering),
                problems=(*own_problems, *self._problems),
            )
            if not self._attempt(reporter, partial(reporter.finish, summary)):
                delivering.remove(reporter)
        return self._worsened(own_status)

    def _worsened(self, exit_status: ExitStatus) -> ExitStatus:
        if self._had_bug and exit_status is not ExitStatus.INTERRUPTED:
            return ExitStatus.INTERNAL_ERROR
        if exit_status is ExitStatus.OK and self._problems:
            return ExitStatus.REPORTER_FAILED
        return exit_status

    def _attempt(self, reporter: ReporterBase, deliver: Callable[[], None]) -> bool:
        try:
            deliver()
            return True
        except ReporterError as error:
            problem = f"the {reporter.name} reporter failed: {error}"
            if problem not in self._problems:
                logger.error("%s", problem)
        except Exception as error:
            # A bug of one reporter affects neither the run nor the other reporters.
            logger.exception("the %s reporter has a bug", reporter.name)
            self._had_bug = True
            problem = f"the {reporter.name} reporter has a bug: {error!r}"
        self._problems[problem] = None
        return False


def _destinations(reporters: Sequence[ReporterBase]) -> tuple[str, ...]:
    return tuple(one.destination for one in reporters if one.destination)
