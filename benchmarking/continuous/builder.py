"""Builds a commit for a platform with the nearest ``build.sh``; keeps the executable with a manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarking.bounds import parse_json, read_file
from benchmarking.continuous.activities import Activities
from benchmarking.errors import BuildError, ProgramStartError, StorageError, UsageError
from benchmarking.files import atomic_file
from benchmarking.programs.build_script import run_build_script, tail
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import RepoBase, Revision
from benchmarking.results import unix_time

logger = logging.getLogger(__name__)

SCRIPT = "build.sh"
MANIFEST = "manifest.json"
MANIFEST_LIMIT_BYTES = 1_000_000
LOG = "build.log"


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
class Builder(ABC):
    """Used by one thread at a time, because a platform has one source directory."""

    repo: RepoBase
    options: BuildOptions
    source_directory: Path
    """Of the checkouts."""
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

    def check(self, platform: str) -> Path:
        """Whether there is what a build for the platform needs, before the first one. Returns its script.

        Raises:
            UsageError, DeviceError: there is not.
        """
        return self.find_script(platform)

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
        script_sha256 = _sha256(script)
        logger.debug("building %s for %s with %s", revision.short, platform, script)
        with tempfile.TemporaryDirectory(
            prefix=atomic_file.TEMPORARY_PREFIX, dir=program.parent, ignore_cleanup_errors=True
        ) as temporary:
            result, log = Path(temporary) / program.name, program.with_name(LOG)
            problem = self._make(revision, platform, script, result, log)
            if problem:
                raise BuildError(f"{revision.short} cannot be built for {platform}: {problem}\n{tail(log)}")
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

    def _source(self, platform: str) -> Path:
        return self.source_directory / platform.replace("/", "+")

    @abstractmethod
    def _make(self, revision: Revision, platform: str, script: Path, result: Path, log: Path) -> str | None:
        """Builds, and writes the messages of the build to ``log``. Returns what went wrong, None if nothing
        did. Raises as ``build``.
        """


class LocalBuilder(Builder):
    """Builds on this host."""

    def _make(self, revision: Revision, platform: str, script: Path, result: Path, log: Path) -> str | None:
        source = self._source(platform)
        was_used = source.exists()
        self.repo.check_out(revision.commit, source)
        problem = self._run_script(script, source, result, log)
        if problem and was_used:
            # Files left by the build of an earlier commit must not cause this commit to fail.
            self.repo.check_out(revision.commit, source, clean=True)
            problem = self._run_script(script, source, result, log)
        return problem

    def _run_script(self, script: Path, source: Path, result: Path, log: Path) -> str | None:
        try:
            return run_build_script(
                script, source, result, log, self.cancellation, timeout_s=self.options.timeout_s
            )
        except ProgramStartError as error:
            raise UsageError(f"--frameworks_dir: {error}") from error


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
