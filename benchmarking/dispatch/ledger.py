"""What the lab's database knows: devices, submissions, jobs, runs, results and logs."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarking.bounds import OutOfBoundsError
from benchmarking.dispatch.blobs import PackedFileError
from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.request import BUILD, Job, PackedFile
from benchmarking.results import documents
from benchmarking.results.model import Fact, Result
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import psycopg

SEEN_LIMIT_S = 90
"""An agent that said nothing for so long is away."""
LARGEST_RESULT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class LabDevice:
    platform: str
    hash: str
    name: str
    host: str
    state: str
    """``ready``, ``in use`` (by somebody on its host), ``bad``, ``unusable``, ``away``."""
    reason: str
    labels: Sequence[str]
    facts: Mapping[str, Fact]
    seen: datetime
    waiting: int = 0
    running: str = ""
    """The job and the person."""

    @property
    def measures(self) -> bool:
        """Otherwise it stands for hosts that build."""
        return self.platform != BUILD

    @property
    def key(self) -> str:
        return device_key(self.platform, self.hash)


@dataclass(frozen=True)
class LabJob:
    id: int
    submission: str
    title: str
    person: str
    kind: str
    platform: str
    device: str
    device_name: str
    state: str
    """``waiting``, ``running``, ``done``, ``failed``, ``cancelled``."""
    created: datetime
    started: datetime | None
    ended: datetime | None
    host: str
    attempt: int
    exit_status: int | None
    problem: str
    tests: int
    tests_done: int

    @property
    def since(self) -> float:
        """Unix seconds: since when it is in this state."""
        times = {"waiting": self.created, "running": self.started}
        return (times.get(self.state, self.ended) or self.created).timestamp()

    @property
    def run_s(self) -> float:
        """How long its last run took, without the time in the queue."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "running")


def device_key(platform: str, device: str) -> str:
    """The name of a device's queue, and of the lock that one job at a time holds; builds need no lock."""
    return f"{platform}:{device}"


@dataclass(frozen=True)
class Person:
    person: str
    waiting: int
    running: int
    hours: float
    """On devices, in the last 7 days."""
    file_bytes: int


class Ledger:
    """Reads and writes through one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def now(self) -> datetime:
        """The database's clock: that of this host may differ from that of what it reads."""
        now: datetime
        ((now,),) = self.connection.execute("SELECT now()").fetchall()
        return now

    # --- devices --------------------------------------------------------------------------------------------

    def devices(self) -> list[LabDevice]:
        """One entry for each device, that of the host which saw it last."""
        rows = self.connection.execute(
            "SELECT DISTINCT ON (d.platform, d.hash) d.platform, d.hash, d.name, d.host,"
            " CASE WHEN a.seen < now() - make_interval(secs => %s) OR d.seen < a.seen - interval '5 minutes'"
            " THEN 'away' ELSE d.state END, d.reason, d.labels, d.facts, d.seen,"
            " (SELECT count(*) FROM procrastinate_jobs q WHERE q.queue_name = d.platform || ':' || d.hash"
            "  AND q.status = 'todo'),"
            " coalesce((SELECT 'job ' || q.id || ' of ' || s.person FROM procrastinate_jobs q"
            "  JOIN job j ON j.id = q.id JOIN submission s ON s.id = j.submission"
            "  WHERE q.queue_name = d.platform || ':' || d.hash AND q.status = 'doing' LIMIT 1), '')"
            " FROM device d JOIN agent a USING (host) ORDER BY d.platform, d.hash, d.seen DESC",
            [SEEN_LIMIT_S],
        )
        return sorted((LabDevice(*row) for row in rows), key=lambda one: (one.platform, one.name, one.hash))

    # --- jobs -----------------------------------------------------------------------------------------------

    def submit(
        self,
        database: Database,
        title: str,
        kind: str,
        requests: Sequence[tuple[LabDevice, Job]],
        tests: int,
    ) -> list[int]:
        """A job for each device. Returns their numbers; those of the first, if it was submitted meanwhile.

        A person's next job on a device comes after the jobs that others have waited with for as many rounds:
        start-time fair queueing (Goyal, Vin, Cheng, 1996), with one job as the unit.

        Raises:
            LabError: the database refuses, for example because of a quota.
        """
        import psycopg

        submission, person = requests[0][1].submission, requests[0][1].person
        try:
            with self.connection.transaction():
                self.connection.execute(
                    "INSERT INTO submission (id, person, title) VALUES (%s, %s, %s)",
                    [submission, person, plain(title)[:500]],
                )
                # Always in one order: two submissions do not wait for each other.
                ordered = sorted(requests, key=lambda one: one[0].key)
                return [self._add_job(kind, device, job, tests) for device, job in ordered]
        except psycopg.errors.UniqueViolation as error:
            # Somebody else submits under the same name: PostgreSQL waited for the end of that.
            if error.diag.constraint_name != "submission_pkey" or not (ids := self.of_submission(submission)):
                raise database.error(error) from error
            return ids
        except psycopg.Error as error:
            raise database.error(error) from error

    def _add_job(self, kind: str, device: LabDevice, job: Job, tests: int) -> int:
        # Procrastinate's own function; its Python interface has no transaction with other tables.
        self.connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [device.key])
        row = self.connection.execute(
            "SELECT greatest("
            " (SELECT coalesce(max(round), 0) FROM job JOIN procrastinate_jobs q USING (id)"
            "  WHERE platform = %(platform)s AND device = %(device)s AND q.status <> 'todo'),"
            " (SELECT coalesce(max(round) + 1, 0) FROM job JOIN submission s ON s.id = job.submission"
            "  WHERE platform = %(platform)s AND device = %(device)s AND s.person = %(person)s"
            "  AND s.role = session_user))",
            {"platform": device.platform, "device": device.hash, "person": job.person},
        ).fetchone()
        turn = int(row[0]) if row else 0
        arguments = json.dumps({"job": job.model_dump(mode="json", exclude_defaults=True)})
        row = self.connection.execute(
            "SELECT (procrastinate_defer_jobs_v1(ARRAY["
            "ROW(%s, %s, %s, %s, NULL, %s::jsonb, NULL)::procrastinate_job_to_defer_v1]))[1]",
            [device.key, kind, -turn, None if kind == BUILD else device.key, arguments],
        ).fetchone()
        if row is None:
            raise LabError("the queue did not take the job")
        self.connection.execute(
            "INSERT INTO job (id, submission, kind, platform, device, device_name, round, tests)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [row[0], job.submission, kind, device.platform, device.hash, device.name, turn, tests],
        )
        return int(row[0])

    def jobs(self, *, ids: Sequence[int] | None = None, limit: int = 50) -> list[LabJob]:
        """Newest first."""
        rows = self.connection.execute(
            "SELECT j.id, j.submission, s.title, s.person, j.kind, j.platform, j.device, j.device_name,"
            " CASE q.status WHEN 'todo' THEN 'waiting' WHEN 'doing' THEN 'running'"
            " WHEN 'succeeded' THEN 'done' WHEN 'failed' THEN 'failed' ELSE 'cancelled' END,"
            " j.created, r.started, r.ended, coalesce(r.host, ''), coalesce(r.attempt, 0), r.exit_status,"
            " coalesce(r.problem, ''), j.tests,"
            " (SELECT count(DISTINCT test) FROM result WHERE result.job = j.id)"
            " FROM job j JOIN submission s ON s.id = j.submission JOIN procrastinate_jobs q ON q.id = j.id"
            " LEFT JOIN LATERAL (SELECT * FROM run WHERE run.job = j.id ORDER BY attempt DESC LIMIT 1) r"
            " ON true"
            " WHERE (%(ids)s::bigint[] IS NULL OR j.id = ANY(%(ids)s)) ORDER BY j.id DESC LIMIT %(limit)s",
            {
                "ids": None if ids is None else list(ids),
                "limit": limit,
            },
        )
        return [LabJob(*row) for row in rows]

    def of_submission(self, submission: str) -> list[int]:
        """The numbers of its jobs; empty if the lab does not know the submission."""
        rows = self.connection.execute("SELECT id FROM job WHERE submission = %s ORDER BY id", [submission])
        return [number for (number,) in rows]

    def people(self) -> list[Person]:
        """Everybody with jobs or files, those who used devices most first."""
        rows = self.connection.execute(
            "SELECT person, coalesce(waiting, 0), coalesce(running, 0), coalesce(hours, 0),"
            " coalesce(file_bytes, 0) FROM"
            " (SELECT s.person, count(*) FILTER (WHERE q.status = 'todo') AS waiting,"
            "  count(*) FILTER (WHERE q.status = 'doing') AS running,"
            "  sum((SELECT sum(extract(epoch FROM coalesce(ended, now()) - started) / 3600) FROM run"
            "   WHERE run.job = j.id AND started > now() - interval '7 days'"
            "   AND (ended IS NOT NULL OR q.status = 'doing')))::float AS hours"
            "  FROM job j JOIN submission s ON s.id = j.submission JOIN procrastinate_jobs q ON q.id = j.id"
            "  GROUP BY s.person) AS work"
            " FULL JOIN (SELECT person, sum(size_bytes)::bigint AS file_bytes FROM blob GROUP BY person)"
            " AS kept USING (person) ORDER BY 4 DESC, 1 LIMIT 100"
        )
        return [Person(*row) for row in rows]

    def undelivered(self) -> list[tuple[int, int, str]]:
        """Runs that ended and whose results the results server does not have: job, attempt, person."""
        return self.connection.execute(
            "SELECT r.job, r.attempt, s.person FROM run r JOIN job j ON j.id = r.job"
            " JOIN submission s ON s.id = j.submission"
            " WHERE r.ended IS NOT NULL AND NOT r.delivered ORDER BY r.ended LIMIT 100"
        ).fetchall()

    def mark_delivered(self, job: int, attempt: int) -> None:
        self.connection.execute(
            "UPDATE run SET delivered = true WHERE (job, attempt) = (%s, %s)", [job, attempt]
        )

    def cancel(self, job: int) -> bool:
        """Takes a waiting job from the queue, and has a running one ended. Returns whether there was
        something to do.
        """
        row = self.connection.execute("SELECT procrastinate_cancel_job_v1(%s, true, false)", [job]).fetchone()
        return row is not None and row[0] is not None

    def results(self, job: int, after: int) -> Iterator[tuple[int, str, Result]]:
        """The results with a larger number: number, name of the test, result.

        Raises:
            LabError: one is not a result.
        """
        for number, test, packed in self.connection.execute(
            "SELECT number, test, document FROM result WHERE job = %s AND number > %s ORDER BY number",
            [job, after],
        ).fetchall():
            try:
                yield number, test, unpacked(packed)
            except ValueError as error:
                raise LabError(f"job {job}: the lab has something else than a result: {error}") from error

    def program(self, job: int) -> PackedFile | None:
        """What a build has made.

        Raises:
            PackedFileError: the lab has something else.
        """
        row = self.connection.execute(
            "SELECT program FROM run WHERE job = %s AND program IS NOT NULL ORDER BY attempt DESC LIMIT 1",
            [job],
        ).fetchone()
        try:
            return PackedFile.model_validate(row[0]) if row else None
        except ValueError as error:
            raise PackedFileError(f"job {job}: the lab has something else than a program") from error

    def newest_result(self, job: int) -> tuple[int, int] | None:
        """Its attempt and its number."""
        return self.connection.execute(
            "SELECT attempt, number FROM result WHERE job = %s ORDER BY attempt DESC, number DESC LIMIT 1",
            [job],
        ).fetchone()

    def log(self, job: int, after: tuple[int, int] = (-1, -1)) -> Iterator[tuple[tuple[int, int], str]]:
        """Parts of the harness's log: attempt and number, and the text."""
        for attempt, number, content in self.connection.execute(
            "SELECT attempt, number, content FROM log WHERE job = %s AND (attempt, number) > (%s, %s)"
            " ORDER BY attempt, number",
            [job, *after],
        ).fetchall():
            yield (attempt, number), content


def packed(result_line: bytes) -> bytes:
    return gzip.compress(result_line, 6)


def unpacked(content: bytes) -> Result:
    """
    Raises:
        ValueError: it is not a result, or too large.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        try:
            text = stream.read(LARGEST_RESULT_BYTES + 1)
        except (OSError, EOFError) as error:
            raise ValueError(str(error)) from error
    if len(text) > LARGEST_RESULT_BYTES:
        raise OutOfBoundsError(f"it is larger than {LARGEST_RESULT_BYTES:,} bytes")
    return documents.read(Result, text)
