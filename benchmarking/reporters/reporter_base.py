"""Where results go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from benchmarking.errors import ExitStatus
from benchmarking.results.model import Result


@dataclass(frozen=True)
class RunSummary:
    """The end of a run, for reporters that sum up."""

    exit_status: ExitStatus
    duration_s: float
    destinations: tuple[str, ...] = ()
    """Where the other reporters left the results, each a line for a person."""
    problems: tuple[str, ...] = ()
    """What went wrong outside of any case: a reporter that failed, a device that was lost."""
    ended_by_error: bool = False
    """An error, the last of the problems, ended the run; it is shown in any case."""


class ReporterBase(ABC):
    """Takes each result as soon as it is there. Used by one thread at a time."""

    name: ClassVar[str]

    @abstractmethod
    def report(self, result: Result) -> None:
        """Delivers one result, of a failed case too.

        Raises:
            ReporterError: it could not be delivered. The run goes on, its exit status tells.
        """

    def begin(self) -> None:  # noqa: B027 - nothing to do for most reporters
        """Called once before the first test.

        Raises:
            ReporterError: as in ``report``.
        """

    def save(self) -> None:  # noqa: B027 - nothing to do for most reporters
        """Called after the results of each test: makes them outlive the process.

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
        """Where a person finds what was reported; None where there is nothing to find."""
        return None
