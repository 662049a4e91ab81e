"""Builds a commit for a platform with the nearest ``build.sh``; keeps the executable with a manifest."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarking.bounds import parse_json, read_file
from benchmarking.continuous.activities import Activities
from benchmarking.errors import BuildError, ProgramStartError, StorageError, UsageError
from benchmarking.files import atomic_file
from benchmarking.programs import process
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation, Streams
from benchmarking.repos.repo_base import RepoBase, Revision
from benchmarking.results import unix_time

logger = logging.getLogger(__name__)

SCRIPT = "build.sh"
MANIFEST = "manifest.json"
MANIFEST_LIMIT_BYTES = 1_000_000
LOG = "build.log"
TAIL_LINES = 20
TAIL_BYTES = 2**16
SCARCE_BYTES = 64 * 2**20
"""If a build fails with less than this free on its disk, the cause is lack of space, not the commit."""
_NO_SPACE = os.strerror(errno.ENOSPC)


@dataclass(frozen=True)
class Built:
    """An executable of a commit."""

    revision: Revision
    program: Path
    build_s: float
    """0 if it had been built before."""


@dataclass(frozen=True)
class Manifest:
    """Written last: an executable without its manifest was not finished."""

    commit: str
    script: str
    script_sha256: str
    program_sha256: str
    built_at: str
    build_s: float


@dataclass(frozen=True)
class BuildOptions:
    framework: str
    frameworks_directory: Path
    executable_directory: Path
    timeout_s: float | None = None


@dataclass(frozen=True)
class Builder:
    """Used by one thread at a time, because a platform has one source directory."""

    repo: RepoBase
    options: BuildOptions
    source_directory: Path
    activities: Activities
    cancellation: Cancellation

    def find_script(self, platform: str) -> Path:
        """The nearest ``build.sh`` from the platform's directory up to the framework's.

        Raises:
            UsageError: there is none.
        """
        top = self.options.frameworks_directory / self.options.framework
        directory = top / platform
        while not (directory / SCRIPT).is_file():
            if directory == top:
                raise UsageError(
                    f"--frameworks_dir: there is no {SCRIPT} in {top / platform} or above it up to {top}"
                )
            directory = directory.parent
        return (directory / SCRIPT).resolve()

    def script_sha256(self, platform: str) -> str:
        return _sha256(self.find_script(platform))

    def directory(self, revision: Revision, platform: str) -> Path:
        """The directory of the executable (docs/contracts.md, section 7)."""
        root = self.options.executable_directory / self.options.framework / platform
        date = map(str, unix_time.year_month_day(revision.commit_time))
        return root.joinpath(*date, revision.commit)

    def build(self, revision: Revision, platform: str) -> Built:
        """The executable; an existing one is reused if it is complete and was built by the same script.

        Raises:
            BuildError: this commit cannot be built; its message ends with the end of the log.
            StorageError: the disk is full.
            RepositoryError, RunCancelledError, UsageError
        """
        script = self.find_script(platform)
        directory = self.directory(revision, platform)
        program = directory / f"{self.options.framework}_benchmark"
        try:
            if _is_whole(program, directory / MANIFEST, revision.commit, script):
                return Built(revision, program, 0.0)
            directory.mkdir(parents=True, exist_ok=True)
            for left_by_a_kill in directory.glob(f"{atomic_file.TEMPORARY_PREFIX}*"):
                shutil.rmtree(left_by_a_kill, ignore_errors=True)
            with self.activities.during("building", revision, platform):
                return self._build_anew(revision, platform, script, program)
        except OSError as error:
            raise StorageError(f"{directory}: {error.strerror or error}") from error

    def _build_anew(self, revision: Revision, platform: str, script: Path, program: Path) -> Built:
        started = time.monotonic()
        source = self.source_directory / platform.replace("/", "+")
        was_used = source.exists()
        script_sha256 = _sha256(script)
        logger.debug("building %s for %s with %s", revision.short, platform, script)
        with tempfile.TemporaryDirectory(
            prefix=atomic_file.TEMPORARY_PREFIX, dir=program.parent, ignore_cleanup_errors=True
        ) as temporary:
            result = Path(temporary) / program.name
            self.repo.check_out(revision.commit, source)
            problem = self._run_script(script, source, result)
            if problem and was_used:
                # Files left by the build of an earlier commit must not cause this commit to fail.
                self.repo.check_out(revision.commit, source, clean=True)
                problem = self._run_script(script, source, result)
            if problem:
                raise BuildError(f"{revision.short} cannot be built for {platform}: {problem}")
            self._put_in_place(result, program)
        build_s = time.monotonic() - started
        manifest = Manifest(
            commit=revision.commit,
            script=str(script),
            script_sha256=script_sha256,
            program_sha256=_sha256(program),
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            build_s=round(build_s, 3),
        )
        atomic_file.write_text(program.with_name(MANIFEST), json.dumps(asdict(manifest), indent=2) + "\n")
        return Built(revision, program, build_s)

    @staticmethod
    def _put_in_place(result: Path, program: Path) -> None:
        program.with_name(MANIFEST).unlink(missing_ok=True)
        with result.open("rb") as stream:
            os.fsync(stream.fileno())
        result.replace(program)
        atomic_file.sync_directory(program.parent)

    def _run_script(self, script: Path, source: Path, result: Path) -> str | None:
        """The problem, with the end of the log; None if there is none."""
        log = result.parent.parent / LOG
        launcher = () if os.access(script, os.X_OK) else ("sh",)
        command = Command(
            (*launcher, str(script), str(source), str(result)),
            timeout_s=self.options.timeout_s,
        )
        with log.open("wb") as stream:
            stream.write(f"{command}\n".encode())
            stream.flush()
            try:
                outcome = process.run(
                    command,
                    self.cancellation,
                    directory=source,
                    streams=Streams(stdout=stream, stderr=stream),
                )
            except ProgramStartError as error:
                raise UsageError(f"--frameworks_dir: {error}") from error
        if outcome.timed_out:
            limit = f"--build_timeout of {self.options.timeout_s:g} s"
            return f"it exceeded the {limit} and was killed\n{_tail(log)}"
        if outcome.exit_code == 0:
            return None if _is_program(result) else f"{script} left no executable\n{_tail(log)}"
        end = _tail(log)
        if _NO_SPACE in end or shutil.disk_usage(source).free < SCARCE_BYTES:
            raise StorageError(f"the disk of {source} is full: the build could not finish")
        return f"{script} ended with exit status {outcome.exit_code}\n{end}"


def _is_program(path: Path) -> bool:
    """A linker sets the executable bit when it has finished."""
    return path.is_file() and path.stat().st_size > 0 and os.access(path, os.X_OK)


def _is_whole(program: Path, manifest: Path, commit: str, script: Path) -> bool:
    if not program.is_file():
        return False
    try:
        found = parse_json(read_file(manifest, MANIFEST_LIMIT_BYTES))
        expected = (found["commit"], found["program_sha256"], found["script_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.info("%s is built again: its manifest cannot be read (%s)", program, error)
        return False
    if expected == (commit, _sha256(program), _sha256(script)):
        return True
    logger.info("%s is built again: it does not match %s", program, manifest.name)
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tail(log: Path) -> str:
    with suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
        lines = text.rstrip().splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- end of {log} ---", *(line[:1000] for line in lines)])
    return f"(its log {log} cannot be read)"
