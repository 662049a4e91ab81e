"""The loop on a lab: what it does elsewhere, under names by which a killed loop finds it again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from benchmarking.bounds import read_file
from benchmarking.continuous.measurement import Harness, HarnessReport, HarnessRequest
from benchmarking.errors import ExitStatus, StorageError
from benchmarking.files import atomic_file
from benchmarking.platforms.platforms import find_platform
from benchmarking.programs.own_program import own_program
from benchmarking.results.model import new_uid

NAME_LIMIT_BYTES = 100


@dataclass(frozen=True)
class Submissions:
    """The names of the submissions that are not over, each in a file."""

    directory: Path

    @contextmanager
    def unfinished(self, *what: str) -> Iterator[str]:
        """The name of the submission that does this; if it is over, the next one gets another name.

        Raises:
            StorageError: the name cannot be kept.
        """
        path = self.directory / hashlib.sha256("\0".join(what).encode("utf-8", "surrogateescape")).hexdigest()
        try:
            name = self._name(path)
            yield name
            path.unlink()
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror or error}") from error

    def _name(self, path: Path) -> str:
        try:
            return read_file(path, NAME_LIMIT_BYTES).decode("ascii")
        except (FileNotFoundError, ValueError):
            name = new_uid()
            self.directory.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, name)
            return name


@dataclass(frozen=True, kw_only=True)
class LabHarness(Harness):
    """Submits to every device of the lab that fits: ``lab submit`` has the options, the document and the exit
    status of the harness.
    """

    here: Harness
    """The harness of this host."""
    submissions: Submissions
    target: str
    """Further conditions on the devices, besides their platform."""
    run_limit_s: float
    """For a run on a device; ``timeout_s`` would count the time in the queue."""
    program: tuple[str, ...] = (*own_program("mlbench"), "lab", "submit", "--all")

    @classmethod
    def instead_of(cls, here: Harness, submissions: Submissions, target: str, run_limit_s: float) -> Self:
        same = {one.name: getattr(here, one.name) for one in fields(Harness)}
        del same["program"], same["timeout_s"]
        return cls(**same, here=here, submissions=submissions, target=target, run_limit_s=run_limit_s)

    def validate(self, request: HarnessRequest) -> HarnessReport:
        """Checks the options as the harness does, and whether the lab has a device."""
        report = self.here.validate(request)
        return report if report.exit_status != ExitStatus.OK else super().validate(request)

    def measure(self, request: HarnessRequest) -> HarnessReport:
        with self.submissions.unfinished(*self.arguments, *self._own_arguments(request)) as name:
            return Harness.measure(replace(self, arguments=(*self.arguments, f"--key={name}")), request)

    def _where(self, platform: str) -> tuple[str, ...]:
        conditions = filter(None, (f"platform={find_platform(platform).name}", self.target))
        return (f"--on={','.join(conditions)}", f"--run_limit={self.run_limit_s:g}")
