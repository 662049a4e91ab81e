"""The interface of reporters, the destinations of results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from benchmarking.errors import ExitStatus
from benchmarking.results.model import Result


@dataclass(frozen=True)
class RunSummary:
    """The end of a run, for reporters with a summary."""

    exit_status: ExitStatus
    duration_s: float
    destinations: tuple[str, ...] = ()
    """Where the other reporters saved the results, one line each, for people."""
    problems: tuple[str, ...] = ()
    """Problems outside any case: a reporter that failed, a device that was lost."""
    ended_by_error: bool = False
    """The run was ended by an error, the last of the problems, which is always shown."""


class ReporterBase(ABC):
    """Receives each result as soon as it is available. Used by one thread at a time."""

    name: ClassVar[str]

    @abstractmethod
    def report(self, result: Result) -> None:
        """Delivers one result, also that of a failed case.

        Raises:
            ReporterError: it could not be delivered. The run goes on, its exit status tells.
        """

    def begin(self) -> None:  # noqa: B027 - nothing to do for most reporters
        """Called once before the first test.

        Raises:
            ReporterError: as in ``report``.
        """

    def save(self) -> None:  # noqa: B027 - nothing to do for most reporters
        """Called after the results of each test: makes them survive the process.

        Raises:
            ReporterError: as in ``report``.
        """

    def finish(self, summary: RunSummary) -> None:  # noqa: B027 - nothing to do for most reporters
        """Called once after the last result, also when the run was interrupted or ended by an error.

        Raises:
            ReporterError: as in ``report``.
        """

    @property
    def destination(self) -> str | None:
        """Where people find the report; None if there is nothing to find."""
        return None
