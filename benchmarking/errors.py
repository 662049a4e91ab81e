"""Every error that a user can fix, and the exit status of each.

::

    BenchmarkError
    |-- UsageError                   wrong options or --info
    |   |-- SpecificationError       faults of specification files, all of them at once
    |   `-- UnknownCommitError       no commit, branch or tag has this name
    |-- CaseError                    one test case failed; the others go on
    |   |-- ModelError               a model file could not be had
    |   |   |-- DownloadError        it could not be fetched or stored
    |   |   `-- ChecksumError        it is not the file that the specification means
    |   |-- ProgramError             the benchmark program did not do its work
    |   |   |-- ProgramStartError    it could not be started
    |   |   |-- ProgramExitError     it ended with an exit status other than 0
    |   |   |-- ProgramTimeoutError  it ran longer than --timeout
    |   |   `-- ProgramOutputError   what it printed or wrote is not what was asked for
    |   `-- ToleranceError           its output is too far from the golden output
    |-- DeviceError                  the device or the connection to it failed: the case is missing
    |   |-- DeviceLostError          the connection to it broke; it may come back
    |   |-- DeviceBusyError          somebody else uses it
    |   `-- NoDeviceError            no device of the platform can be used
    |-- RepositoryError              a repository could not be read; nothing is known of the commit
    |   |-- RemoteError              its remote cannot be reached
    |   `-- CheckoutError            a commit could not be checked out
    |-- BuildError                   a commit or an environment cannot be built
    |-- HarnessError                 harness.py ended without having measured
    |   `-- HarnessRefusedError      it did not accept its arguments or the benchmark file
    |-- StorageError                 the disk is full, or may not be written
    |-- ReporterError                a result could not be delivered
    `-- RunCancelledError            Ctrl-C or SIGTERM

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from benchmarking.results.plain_text import plain

FAULTS_SHOWN = 50
LONGEST_FAULT = 1000
"""Characters, as it is shown."""


class ExitStatus(IntEnum):
    """What the process ends with."""

    OK = 0
    INTERNAL_ERROR = 1
    BAD_USAGE = 2
    BENCHMARK_FAILED = 3
    DEVICE_FAILED = 4
    REGRESSION_CONFIRMED = 5
    REPORTER_FAILED = 6
    BUILD_FAILED = 7
    INCONCLUSIVE = 8
    INTERRUPTED = 130


EXIT_STATUS_MEANING: dict[ExitStatus, str] = {
    ExitStatus.OK: "every test ran and was reported",
    ExitStatus.INTERNAL_ERROR: "a bug of this program; its traceback is shown",
    ExitStatus.BAD_USAGE: "wrong options or a faulty specification; nothing was run",
    ExitStatus.BENCHMARK_FAILED: "at least one test failed",
    ExitStatus.DEVICE_FAILED: "a device or the connection to it failed; tests are missing",
    ExitStatus.REGRESSION_CONFIRMED: "a regression was confirmed",
    ExitStatus.REPORTER_FAILED: "every test ran, but a reporter could not deliver",
    ExitStatus.INCONCLUSIVE: "a comparison was inconclusive (only with --fail_on inconclusive)",
    ExitStatus.INTERRUPTED: "interrupted; the finished tests were reported",
}


def run_meaning(status: ExitStatus, *, has_results: bool) -> str:
    """The meaning of the exit status of a run that has ended."""
    if status == ExitStatus.INTERRUPTED and not has_results:
        return "interrupted before the first test was finished"
    return EXIT_STATUS_MEANING[status]


REPO_DRIVER_EXIT_STATUS_MEANING: dict[ExitStatus, str] = {
    ExitStatus.OK: "every commit was measured, and none of them is slower; or --status_file ended the loop",
    ExitStatus.INTERNAL_ERROR: "a bug of this program or of harness.py; its traceback is shown",
    ExitStatus.BAD_USAGE: "wrong options, an unknown commit or a faulty specification",
    ExitStatus.BENCHMARK_FAILED: "at least one test of a commit failed",
    ExitStatus.DEVICE_FAILED: "a device, a disk or a remote failed; commits are left to do",
    ExitStatus.REGRESSION_CONFIRMED: "a regression was confirmed",
    ExitStatus.REPORTER_FAILED: "every commit was measured, but a reporter could not deliver",
    ExitStatus.BUILD_FAILED: "at least one commit could not be built",
    ExitStatus.INCONCLUSIVE: "a commit was inconclusive (only with --fail_on inconclusive)",
    ExitStatus.INTERRUPTED: "interrupted; what was finished is kept",
}


class BenchmarkError(Exception):
    """Base of all errors that the user can fix. The message is one clear line."""

    exit_status: ClassVar[ExitStatus] = ExitStatus.BENCHMARK_FAILED


class UsageError(BenchmarkError):
    exit_status = ExitStatus.BAD_USAGE


class UnknownCommitError(UsageError):
    pass


@dataclass(frozen=True)
class Fault:
    """One mistake in a specification file, and its location."""

    file: str
    """Empty: the message names it."""
    json_path: str
    """As in ``$.tests[0].iter``."""
    message: str
    """What is wrong and what would be right."""

    def __str__(self) -> str:
        """One line, without control characters and short enough to be shown: any part may come
        from a file.
        """
        place = "" if self.json_path == "$" else self.json_path
        return ": ".join(_short(part) for part in (self.file, place, self.message) if part)


def _short(text: str) -> str:
    """Shortens long text in the middle, because the end of a path identifies the file."""
    shown, half = plain(text), LONGEST_FAULT // 6 - 5
    return shown if len(shown) <= 2 * half else f"{shown[:half]}...{shown[-half:]}"


class SpecificationError(UsageError):
    """Carries every fault that was found; the message shows the first faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        lines = [str(fault) for fault in faults[:FAULTS_SHOWN]]
        if len(faults) > FAULTS_SHOWN:
            lines.append(f"... and {len(faults) - FAULTS_SHOWN:,} more faults")
        super().__init__("\n".join(lines))
        self.faults = tuple(faults)


class CaseError(BenchmarkError):
    """One test case failed.

    ``evidence`` is shown in addition to the message: the end of the program's log.
    """

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(message)
        self.evidence = evidence


class ModelError(CaseError):
    pass


class DownloadError(ModelError):
    pass


class ChecksumError(ModelError):
    pass


class ProgramError(CaseError):
    pass


class ProgramStartError(ProgramError):
    pass


class ProgramExitError(ProgramError):
    pass


class ProgramTimeoutError(ProgramError):
    pass


class ProgramOutputError(ProgramError):
    pass


class ToleranceError(CaseError):
    pass


class DeviceError(BenchmarkError):
    exit_status = ExitStatus.DEVICE_FAILED

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(message)
        self.evidence = evidence


class DeviceLostError(DeviceError):
    pass


class DeviceBusyError(DeviceError):
    pass


class NoDeviceError(DeviceError):
    pass


class RepositoryError(BenchmarkError):
    exit_status = ExitStatus.DEVICE_FAILED


class RemoteError(RepositoryError):
    pass


class CheckoutError(RepositoryError):
    pass


class BuildError(BenchmarkError):
    exit_status = ExitStatus.BUILD_FAILED


class HarnessError(BenchmarkError):
    exit_status = ExitStatus.INTERNAL_ERROR


class HarnessRefusedError(HarnessError):
    exit_status = ExitStatus.BAD_USAGE


class StorageError(BenchmarkError):
    exit_status = ExitStatus.DEVICE_FAILED


class ReporterError(BenchmarkError):
    exit_status = ExitStatus.REPORTER_FAILED


class RunCancelledError(BenchmarkError):
    exit_status = ExitStatus.INTERRUPTED
