"""One run of a job: its files are fetched, and its log goes to the lab as it comes."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from benchmarking.dispatch import blobs
from benchmarking.dispatch.database import Database, FullLabError, LabError, Link, QuotaError
from benchmarking.dispatch.request import FilesJob, PackedFile
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError, UsageError
from benchmarking.programs.installation import own_program
from benchmarking.programs.process import Cancellation, Tether
from benchmarking.results.plain_text import plain_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

LOOK_AGAIN_S = 0.2
RETRY_S = 2.0
LAST_TRY_S = 60.0
LONGEST_PROBLEM = 10_000
"""Characters."""
JOBS, FILES = "jobs", "files"
"""In the agent's directory: the directories of the jobs that run, and the files that jobs have used."""
LARGEST_LINE_BYTES = 64 * 2**20
LARGEST_LOG_CHARACTERS = 2 * 10**6

logger = logging.getLogger(__name__)

AnyJob = TypeVar("AnyJob", bound=FilesJob)


class SupersededError(BenchmarkError):
    """The lab took this run for lost and gave the job to somebody else: nothing of it counts any more."""


class UnusableOutputError(BenchmarkError):
    """What a run wrote cannot be sent, however often that is tried."""


@dataclass(frozen=True)
class Host:
    """What the owner of a host decided."""

    name: str
    identity: str
    """Distinguishes this agent from all others, also if it is started again."""
    directory: Path
    """For the files of jobs."""
    tether: Tether
    """Of everything that the agent starts: each job's own mark begins with this."""
    programs: Path | None = None
    """If given, jobs run only programs whose content is that of a file in this directory."""
    arguments: tuple[str, ...] = ()
    """Further arguments of every run of the harness."""
    builds: tuple[str, ...] = ()
    """The platforms for which it builds: a build runs a script of whoever submits it."""
    harness: tuple[str, ...] = own_program("harness")
    """The command line of the harness of this installation."""


@dataclass(frozen=True)
class JobOutcome:
    exit_status: ExitStatus | None
    """None: it did not get that far."""
    problem: str = ""
    program: PackedFile | None = None
    """What a build made."""


@dataclass
class JobRun(ABC, Generic[AnyJob]):
    """Runs in a thread of its own. ``cancellation`` ends it early."""

    database: Database
    host: Host
    id: int
    attempt: int
    job: AnyJob
    cancellation: Cancellation

    log_name: ClassVar[str] = "log"

    def __post_init__(self) -> None:
        self._link = Link(self.database)
        self._waits_for = ""
        """Why the lab takes nothing, as was said."""

    @property
    def directory(self) -> Path:
        return self.host.directory / JOBS / f"{self.id}-{self.attempt}"

    @property
    def tether(self) -> Tether:
        return replace(self.host.tether, mark=f"{self.host.tether.mark}{self.id}-{self.attempt}")

    def run(self) -> None:
        """
        Raises:
            RunCancelledError: it was cancelled; what was measured is kept.
            SupersededError: another run of the job has begun.
        """
        try:
            self.persistently(self._begin)
            outcome = self._outcome()
            if self.cancellation.is_set and not outcome.problem:
                raise RunCancelledError(f"job {self.id} was cancelled")
            self.persistently(lambda connection: self._end(connection, outcome))
        finally:
            self._link.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def _outcome(self) -> JobOutcome:
        """Also of a host whose disk is full or cannot be written."""
        shutil.rmtree(self.directory, ignore_errors=True)
        try:
            self.directory.mkdir(parents=True)
            return self._perform()
        except OSError as error:
            where = error.filename or self.directory
            return JobOutcome(None, f"{self.host.name}: {where}: {error.strerror or error}")

    @abstractmethod
    def _perform(self) -> JobOutcome:
        """Does what is asked for.

        Raises:
            RunCancelledError, SupersededError, OSError
        """

    def persistently(self, action: Callable[[psycopg.Connection[Any]], Any], link: Link | None = None) -> Any:
        """Goes on until the database is there again: a result is not lost with a connection.

        Raises:
            LabError: the run was cancelled, and the database is away for a minute.
            QuotaError: others must not wait until the files of somebody are removed.
        """
        last_try: float | None = None
        while True:
            try:
                with (link or self._link).used() as connection:
                    done = action(connection)
                    self.is_taken(connection)
                    return done
            except QuotaError:
                raise
            except LabError as error:
                if self.cancellation.is_set:
                    last_try = last_try or time.monotonic() + LAST_TRY_S
                    if time.monotonic() > last_try:
                        raise
                self._say(error)
                self._pause()

    def _pause(self) -> None:
        if self.cancellation.is_set:
            time.sleep(RETRY_S)
        else:
            self.cancellation.wait(RETRY_S)

    def _say(self, error: LabError) -> None:
        """Once in the log, and in ``mlbench lab status`` if the lab can still take that."""
        if str(error) == self._waits_for:
            return
        self._waits_for = str(error)
        logger.warning("job %d: %s; trying again", self.id, error)
        if isinstance(error, FullLabError):
            with suppress(LabError), self._link.used() as connection:
                self._show_problem(connection, f"{self.host.name} keeps what comes: {error}")

    def is_taken(self, connection: psycopg.Connection[Any]) -> None:
        """What was said before does not hold any more."""
        if self._waits_for:
            self._waits_for = ""
            logger.info("job %d: the lab's database on %s takes it again", self.id, self.database.name)
            self._show_problem(connection, "")

    def _show_problem(self, connection: psycopg.Connection[Any], problem: str) -> None:
        connection.execute(
            "UPDATE run SET problem = %s WHERE (job, attempt) = (%s, %s) AND ended IS NULL",
            [problem, self.id, self.attempt],
        )

    # --- the database ---------------------------------------------------------------------------------------

    def _begin(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            self.check(connection)
            connection.execute(
                "INSERT INTO run (job, attempt, host) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [self.id, self.attempt, self.host.name],
            )

    def check(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(
            "SELECT status = 'doing' AND attempts = %s FROM procrastinate_jobs WHERE id = %s FOR SHARE",
            [self.attempt, self.id],
        ).fetchone()
        if row != (True,):
            raise SupersededError(f"job {self.id}: the lab took this run for lost")

    def _end(self, connection: psycopg.Connection[Any], outcome: JobOutcome) -> None:
        program = outcome.program.model_dump_json() if outcome.program else None
        with connection.transaction():
            self.check(connection)
            connection.execute(
                "UPDATE run SET ended = now(), exit_status = %s, problem = %s, program = %s"
                " WHERE (job, attempt) = (%s, %s)",
                [
                    outcome.exit_status,
                    plain_lines(outcome.problem)[:LONGEST_PROBLEM],
                    program,
                    self.id,
                    self.attempt,
                ],
            )

    # --- files ----------------------------------------------------------------------------------------------

    def _fetch_files(self) -> None:
        cache = self.host.directory / FILES

        def fetch(connection: psycopg.Connection[Any]) -> None:
            for relative, file in self.job.files.items():
                target = self.directory / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                source = blobs.fetch(connection, file, cache, self.cancellation)
                _place(source, target, file)

        # Over a slow link a part takes long: who cancels does not wait for it.
        with closing(Link(self.database.interrupted_by(self.cancellation))) as link:
            self.persistently(fetch, link)

    def _inside(self, relative: str) -> Path:
        """Only files of the job: everything else is a path of this host."""
        if relative not in self.job.files:
            raise UsageError("the job names a file that it does not have")
        return self.directory / relative


def _place(source: Path, target: Path, file: PackedFile) -> None:
    """A copy where the mode differs: the file in the cache is nobody's program."""
    if not file.executable:
        with suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)
    target.chmod(0o500 if file.executable else 0o400)


class Pump:
    """Sends the log of a run. The file waits where the database is away."""

    def __init__(self, run: JobRun[Any]) -> None:
        self._run = run
        self._is_over = threading.Event()
        self._positions: dict[str, int] = {}
        self._parts = 0
        self._characters = 0
        self._unanswered_bytes = 0
        """Of a part that was perhaps written when the link broke: whoever has read it reads it no more."""
        self._error: Exception | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Meanwhile, in a thread; everything is sent in the end.

        Raises:
            SupersededError, LabError
        """
        thread = threading.Thread(target=self._work, name=f"job {self._run.id}")
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
            if self._error is not None:
                raise self._error

    def _work(self) -> None:
        try:
            self._run.persistently(self._pump)
        except Exception as error:
            self._error = error
            with suppress(OSError):
                self._run.cancellation.set()

    def _pump(self, connection: psycopg.Connection[Any]) -> None:
        while True:
            is_last = self._is_over.wait(LOOK_AGAIN_S)
            self._send(connection, is_last=is_last)
            self._run.is_taken(connection)
            if is_last:
                return

    def _send(self, connection: psycopg.Connection[Any], *, is_last: bool) -> None:
        if self._unanswered_bytes:
            self._send_part(connection, self._content(is_last)[: self._unanswered_bytes])
        self._send_part(connection, self._content(is_last))

    def _content(self, is_last: bool) -> bytes:
        return b"".join(self._lines(JobRun.log_name, whole=not is_last))

    def _send_part(self, connection: psycopg.Connection[Any], content: bytes) -> None:
        text = plain_lines(content.decode("utf-8", "replace"))
        text = text[: max(0, LARGEST_LOG_CHARACTERS - self._characters)]
        self._unanswered_bytes = len(content)
        if text:
            connection.execute(
                "INSERT INTO log VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [self._run.id, self._run.attempt, self._parts, text],
            )
        self._unanswered_bytes = 0
        self._parts += 1
        self._characters += len(text)
        self._advance(JobRun.log_name, len(content))

    def _advance(self, name: str, count: int) -> None:
        self._positions[name] = self._positions.get(name, 0) + count

    def _lines(self, name: str, *, whole: bool = True) -> list[bytes]:
        """What was added since the last time; only whole lines, or everything."""
        path = self._run.directory / name
        if not path.exists():
            return []
        with path.open("rb") as stream:
            stream.seek(self._positions.get(name, 0))
            content = stream.read(LARGEST_LINE_BYTES)
        lines = content.splitlines(keepends=True)
        if whole and lines and not lines[-1].endswith(b"\n"):
            if len(lines[-1]) == LARGEST_LINE_BYTES:
                raise UnusableOutputError(f"a line of {name} is larger than {LARGEST_LINE_BYTES:,} bytes")
            del lines[-1]
        return lines
