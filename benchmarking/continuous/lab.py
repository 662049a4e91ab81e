"""The loop on a lab: what it does elsewhere, under names by which a killed loop finds it again."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from benchmarking.bounds import read_file
from benchmarking.continuous.builder import Builder
from benchmarking.continuous.measurement import Harness, HarnessReport, HarnessRequest, storage_errors
from benchmarking.dispatch import blobs
from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.following import Following
from benchmarking.dispatch.ledger import LabDevice, LabJob, Ledger
from benchmarking.dispatch.packing import Package
from benchmarking.dispatch.person import person
from benchmarking.dispatch.request import BUILD, PROTOCOL, BuildJob
from benchmarking.errors import (
    BenchmarkError,
    DeviceError,
    ExitStatus,
    NoDeviceError,
    RunCancelledError,
    UsageError,
)
from benchmarking.files import atomic_file
from benchmarking.platforms.platforms import find_platform
from benchmarking.programs.build_script import tail
from benchmarking.programs.installation import own_program
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import new_uid

NAME_LIMIT_BYTES = 100


@dataclass(frozen=True)
class Submission:
    name: str
    path: Path
    """Of the file with its name."""

    def is_over(self) -> None:
        """The next one gets another name.

        Raises:
            StorageError
        """
        with storage_errors(self.path):
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Submissions:
    """The names of the submissions that are not over, each in a file."""

    directory: Path

    def unfinished(self, *what: str) -> Submission:
        """The submission that does this, under the same name until it is over.

        Raises:
            StorageError: the name cannot be kept.
        """
        path = self.directory / hashlib.sha256("\0".join(what).encode("utf-8", "surrogateescape")).hexdigest()
        with storage_errors(path):
            return Submission(self._name(path), path)

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
    program_name: str = "mlbench lab submit"

    @classmethod
    def instead_of(cls, here: Harness, submissions: Submissions, target: str, run_limit_s: float) -> Self:
        same = {one.name: getattr(here, one.name) for one in fields(Harness)}
        del same["program"], same["program_name"], same["timeout_s"]
        return cls(**same, here=here, submissions=submissions, target=target, run_limit_s=run_limit_s)

    def validate(self, request: HarnessRequest) -> HarnessReport:
        """Checks the options as the harness does, and whether the lab has a device."""
        report = self.here.validate(request)
        return report if report.exit_status != ExitStatus.OK else super().validate(request)

    def measure(self, request: HarnessRequest) -> HarnessReport:
        submission = self.submissions.unfinished(*self.arguments, *self._own_arguments(request))
        arguments = (*self.arguments, f"--key={submission.name}")
        report = Harness.measure(replace(self, arguments=arguments), request)
        # Without a document it was killed, or did not reach the lab: it says nothing of the jobs.
        if report.output.strip():
            submission.is_over()
        return report

    def _where(self, platform: str) -> tuple[str, ...]:
        conditions = filter(None, (f"platform={find_platform(platform).name}", self.target))
        return (f"--on={','.join(conditions)}", f"--run_limit={self.run_limit_s:g}")


@dataclass(frozen=True, kw_only=True)
class LabBuilder(Builder):
    """Builds on hosts of the lab: the commit's files and the scripts go there, the program comes back."""

    lab: Database
    submissions: Submissions

    def check(self, platform: str) -> Path:
        with self.lab.connected() as connection:
            _host(Ledger(connection), platform)
        return super().check(platform)

    def _make(self, revision: Revision, platform: str, script: Path, result: Path, log: Path) -> str | None:
        script_sha256 = self.script_sha256(platform)
        submission = self.submissions.unfinished(BUILD, platform, revision.commit, script_sha256)
        with self.lab.connected() as connection:
            ids = Ledger(connection).of_submission(submission.name)
        if not ids:
            ids = self._submit(submission.name, revision, platform, script)
        job = self._follow(ids, log)
        try:
            problem = self._fetch(job, platform, result, log)
        except (LabError, RunCancelledError, OSError):
            raise  # what it made is still there, and can be fetched the next time
        except BenchmarkError:
            submission.is_over()
            raise
        submission.is_over()
        return problem

    def _fetch(self, job: LabJob, platform: str, result: Path, log: Path) -> str | None:
        """What the job made, or why the commit cannot be built.

        Raises:
            LabError, RunCancelledError, OSError: it could not be fetched now.
            DeviceError: there is nothing that could be.
        """
        if job.exit_status == ExitStatus.BUILD_FAILED:
            return job.problem
        with self.lab.connected() as connection:
            program = Ledger(connection).program(job.id)
            if program is None:
                why = job.problem or f"it was {job.state}"
                raise DeviceError(f"job {job.id} of the lab, a build for {platform}: {why}", tail(log))
            fetched = blobs.fetch(connection, program, result.parent, self.cancellation)
        fetched.chmod(0o755)
        fetched.rename(result)
        return None

    def _submit(self, name: str, revision: Revision, platform: str, script: Path) -> list[int]:
        """
        Raises:
            NoDeviceError: nobody builds for the platform.
        """
        source, scripts = self._source(platform), self.options.frameworks_directory / self.options.framework
        with tempfile.TemporaryDirectory(prefix="benchmark-lab-") as temporary:
            package = Package(Path(temporary))
            self.repo.check_out(revision.commit, source, clean=True)
            try:
                request = BuildJob(
                    protocol=PROTOCOL,
                    submission=name,
                    person=person(),
                    platform=platform,
                    source=package.add_tree("source", source, hidden=(".git", ".hg")),
                    scripts=package.add_tree("scripts", scripts),
                    script=str(script.relative_to(scripts.resolve())),
                    files=package.files,
                    limit_s=self.options.timeout_s,
                )
            except ValueError as error:
                raise UsageError(f"--frameworks_dir: {script} cannot be sent to another host") from error
            with self.lab.connected() as connection:
                ledger = Ledger(connection)
                host = _host(ledger, platform)
                package.send(connection, request.person)
                title = f"build of {revision.short} for {platform}"
                return ledger.submit(self.lab, title, BUILD, [(host, request)], 0)

    def _follow(self, ids: Sequence[int], log: Path) -> LabJob:
        with log.open("w", encoding="utf-8") as stream:

            def show(job: LabJob, content: str) -> None:
                stream.write(content)

            # The loop shows one line when the commit is measured, as it does without a lab.
            following = Following(self.lab, ids, lambda results: None, show, state_level=logging.DEBUG)
            (job,) = following.until_over(self.cancellation)
        return job


def _host(ledger: Ledger, platform: str) -> LabDevice:
    """
    Raises:
        NoDeviceError: nobody builds for the platform.
    """
    found = (one for one in ledger.devices() if (one.platform, one.hash) == (BUILD, platform))
    host = next(found, None)
    if host is None:
        raise NoDeviceError(
            f"no host of the lab builds for {platform}: start mlbench lab agent --builds {platform} on one, "
            "or give --build_here"
        )
    return host
