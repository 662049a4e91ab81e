"""A build of a commit for a job: the program goes to the lab."""

from __future__ import annotations

from benchmarking.dispatch import LAB_VARIABLE, blobs
from benchmarking.dispatch.job_run import JobOutcome, JobRun, Pump, SupersededError
from benchmarking.dispatch.request import BuildJob
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError, UsageError
from benchmarking.files import archive
from benchmarking.programs.build_script import run_build_script


class BuildRun(JobRun[BuildJob]):
    def _perform(self) -> JobOutcome:
        try:
            self._unpack()
            problem = self._build()
            return JobOutcome(ExitStatus.BUILD_FAILED, problem) if problem else self._sent()
        except RunCancelledError:
            return JobOutcome(ExitStatus.INTERRUPTED)
        except SupersededError:
            raise
        except ValueError as error:
            return JobOutcome(ExitStatus.BUILD_FAILED, f"the files of the commit or the scripts: {error}")
        except BenchmarkError as error:
            return JobOutcome(None, str(error))

    def _unpack(self) -> None:
        if self.job.platform not in self.host.builds:
            raise UsageError(f"{self.host.name} does not build for {self.job.platform}")
        self._fetch_files()
        for name, relative in (("source", self.job.source), ("scripts", self.job.scripts)):
            archive.unpack(self._inside(relative), self.directory / name, self.cancellation)

    def _build(self) -> str | None:
        with Pump(self).working():
            return run_build_script(
                self.directory / "scripts" / self.job.script,
                self.directory / "source",
                self.directory / "program",
                self.directory / self.log_name,
                self.cancellation,
                timeout_s=self.job.limit_s,
                tether=self.tether,
                hidden_environment=(LAB_VARIABLE,),
            )

    def _sent(self) -> JobOutcome:
        path = self.directory / "program"
        program = blobs.described(path)
        self.persistently(lambda connection: blobs.send(connection, path, program, self.job.person))
        return JobOutcome(ExitStatus.OK, program=program)
