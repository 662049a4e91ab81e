"""The lab's PostgreSQL: its tables, and connections to it.

Everything is in a schema of its own beside the tables of the results server, the queue of Procrastinate
included.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarking.dispatch.request import PROTOCOL
from benchmarking.errors import DeviceError, RunCancelledError, UsageError
from benchmarking.programs.process import Cancellation

if TYPE_CHECKING:
    import procrastinate
    import psycopg

SCHEMA = "lab"
CONNECT_LIMIT_S = 10
SILENCE_LIMIT_S = 30.0
"""A link over which nothing comes for so long is broken, and a database that says so long nothing hangs."""
CHECK_S = 0.1
ANSWER_GRACE = 1.2
"""The server ends a statement itself where it can: what it works on is free then, and the link stays."""
BLOB_QUOTA_BYTES = 50 * 2**30
JOB_QUOTA = 1000

DISK_FULL = "53100"
"""PostgreSQL's code."""

TABLES = """
CREATE TABLE setting (
    name text PRIMARY KEY,
    value bigint NOT NULL
);
CREATE TABLE agent (
    host text PRIMARY KEY,
    identity text NOT NULL,
    role text NOT NULL DEFAULT session_user,
    version text NOT NULL,
    protocol integer NOT NULL,
    free_bytes bigint NOT NULL,
    seen timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE device (
    platform text NOT NULL,
    hash text NOT NULL,
    host text NOT NULL REFERENCES agent ON DELETE CASCADE,
    name text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    labels text[] NOT NULL,
    facts jsonb NOT NULL,
    seen timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, hash, host)
);
CREATE TABLE submission (
    id text PRIMARY KEY,
    role text NOT NULL DEFAULT session_user,
    person text NOT NULL,
    title text NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE job (
    id bigint PRIMARY KEY,
    submission text NOT NULL REFERENCES submission,
    kind text NOT NULL,
    platform text NOT NULL,
    device text NOT NULL,
    device_name text NOT NULL,
    round integer NOT NULL,
    tests integer NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_of_device ON job (platform, device, round);
CREATE INDEX job_of_submission ON job (submission);
CREATE TABLE run (
    job bigint NOT NULL REFERENCES job,
    attempt integer NOT NULL,
    host text NOT NULL,
    role text NOT NULL DEFAULT session_user,
    started timestamptz NOT NULL DEFAULT now(),
    ended timestamptz,
    exit_status integer,
    problem text NOT NULL DEFAULT '',
    program jsonb,
    delivered boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job, attempt)
);
CREATE INDEX run_to_deliver ON run (ended) WHERE NOT delivered;
CREATE TABLE result (
    job bigint NOT NULL REFERENCES job,
    number integer NOT NULL,
    attempt integer NOT NULL,
    test text NOT NULL,
    document bytea NOT NULL,
    received timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, number)
);
CREATE TABLE log (
    job bigint NOT NULL REFERENCES job,
    attempt integer NOT NULL,
    number integer NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (job, attempt, number)
);
CREATE TABLE blob (
    sha256 text PRIMARY KEY,
    role text NOT NULL DEFAULT session_user,
    person text NOT NULL,
    size_bytes bigint NOT NULL,
    complete boolean NOT NULL DEFAULT false,
    used timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE blob_part (
    sha256 text NOT NULL REFERENCES blob ON DELETE CASCADE,
    number integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (sha256, number)
);
CREATE FUNCTION check_blob_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT coalesce(sum(size_bytes), 0) FROM lab.blob
        WHERE person = NEW.person AND role = NEW.role) + NEW.size_bytes
        > (SELECT value FROM lab.setting WHERE name = 'blob_quota_bytes') THEN
        RAISE EXCEPTION 'quota: % may keep no more files in this lab', NEW.person;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER blob_quota BEFORE INSERT ON blob FOR EACH ROW EXECUTE FUNCTION check_blob_quota();
CREATE FUNCTION check_job_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM lab.job JOIN lab.submission s ON s.id = job.submission
        JOIN lab.procrastinate_jobs q ON q.id = job.id
        WHERE q.status = 'todo' AND (s.role, s.person) = (
            SELECT role, person FROM lab.submission WHERE id = NEW.submission))
        >= (SELECT value FROM lab.setting WHERE name = 'job_quota') THEN
        RAISE EXCEPTION 'quota: too many of your jobs are waiting in this lab';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER job_quota BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION check_job_quota();
CREATE FUNCTION check_agent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.role <> session_user AND OLD.seen > now() - interval '90 seconds' THEN
        RAISE EXCEPTION 'the host % belongs to the account %: give --name', OLD.host, OLD.role;
    END IF;
    NEW.role := session_user;
    RETURN NEW;
END $$;
CREATE TRIGGER agent_of_account BEFORE UPDATE ON agent FOR EACH ROW EXECUTE FUNCTION check_agent();
CREATE FUNCTION check_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM lab.agent WHERE (host, role) = (NEW.host, session_user)) THEN
        RAISE EXCEPTION 'the host % is not one of the account %', NEW.host, session_user;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER run_of_host BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION check_run();
CREATE FUNCTION check_result() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM lab.run r JOIN lab.procrastinate_jobs q ON q.id = r.job
        WHERE (r.job, r.attempt, r.role) = (NEW.job, NEW.attempt, session_user) AND r.ended IS NULL
        AND (q.status, q.attempts) = ('doing', NEW.attempt)) THEN
        RAISE EXCEPTION 'no attempt % of job % runs for the account %', NEW.attempt, NEW.job, session_user;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER result_of_run BEFORE INSERT ON result FOR EACH ROW EXECUTE FUNCTION check_result();
CREATE FUNCTION check_build() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.task_name = 'build' AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'mlbench_builder')
        AND NOT pg_has_role(session_user, 'mlbench_builder', 'MEMBER')
        AND session_user <> (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'lab') THEN
        RAISE EXCEPTION 'the account % may not build in this lab: it needs the group mlbench_builder',
            session_user;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER build_of_builder BEFORE INSERT OR UPDATE OF task_name, args ON procrastinate_jobs
    FOR EACH ROW EXECUTE FUNCTION check_build();
CREATE TRIGGER begun_again AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status = 'doing' AND NEW.status = 'todo')
    EXECUTE FUNCTION procrastinate_notify_queue_job_inserted_v1();
"""

ROLES = """
DO $$ BEGIN
    CREATE ROLE mlbench_person NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
DO $$ BEGIN
    CREATE ROLE mlbench_agent NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
DO $$ BEGIN
    CREATE ROLE mlbench_builder NOLOGIN IN ROLE mlbench_person; EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
GRANT USAGE ON SCHEMA lab TO mlbench_person, mlbench_agent;
GRANT SELECT ON ALL TABLES IN SCHEMA lab TO mlbench_person, mlbench_agent;
GRANT INSERT (id, person, title) ON submission TO mlbench_person;
GRANT INSERT (id, submission, kind, platform, device, device_name, round, tests) ON job TO mlbench_person;
GRANT INSERT (sha256, person, size_bytes), UPDATE (complete, used) ON blob TO mlbench_person;
GRANT INSERT ON blob_part TO mlbench_person;
GRANT INSERT, UPDATE, DELETE ON agent, device, run, result, log, blob, blob_part TO mlbench_agent;
GRANT INSERT, UPDATE ON procrastinate_jobs, procrastinate_events TO mlbench_person;
GRANT INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers,
    procrastinate_periodic_defers TO mlbench_agent;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA lab TO mlbench_person, mlbench_agent;
"""
"""For a lab whose people and agents have accounts of their own; a desk has one account for all."""


_REFUSALS = {
    'relation ".*" does not exist': "; mlbench lab init makes the tables, and an account needs the right to "
    "see them",
    "permission denied": "; agents need the group mlbench_agent, and people mlbench_person",
    "belongs to the account|may not build|authentication failed|no pg_hba.conf entry": "",
    '(role|database) ".*" does not exist': "",
}
"""What PostgreSQL says again and again until somebody mends it, and what to say to that."""
_CLEARER = {
    "connection timeout expired": "it does not answer",
    "canceling statement due to statement timeout": "it did not finish in time: it is busy, or somebody "
    "holds what is asked for",
}


class LabError(DeviceError):
    """The lab's database cannot be reached, or refuses."""


class RefusedByLabError(LabError):
    """Trying again does not help: the lab has other tables, or this account has no right to what it asks."""


class FullLabError(LabError):
    """The disk of the lab's database is full: it can be read, and takes nothing."""


class QuotaError(LabError):
    """Somebody may keep or ask for no more: trying again does not help until others remove something."""


class Database:
    """Where the lab's database is, and how to connect to it."""

    def __init__(
        self, url: str, silence_limit_s: float = SILENCE_LIMIT_S, cancellation: Cancellation | None = None
    ) -> None:
        """
        Args:
            url: as in ``postgresql://user@host/database``, also in SQLAlchemy's form with ``+psycopg``. A
                password belongs into ~/.pgpass, or certificates into the usual variables of PostgreSQL.

        Raises:
            UsageError: it is not such a URL.
        """
        self._url = re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql://", url)
        if not self._url.startswith("postgresql://"):
            raise UsageError("the lab's database has a URL as in postgresql://user@host/database")
        # PostgreSQL would quote a part of the password in its error.
        if not _can_be_read(self._url):
            raise UsageError(
                "the URL of the lab's database cannot be read: in a password, % is %25, / is %2F, @ is %40"
            )
        self._silence_limit_s = min(silence_limit_s, SILENCE_LIMIT_S)
        self._cancellation = cancellation

    def noticing_within(self, silence_limit_s: float) -> Database:
        """The same, but a link or a database that is silent is given up after so long, if that is sooner."""
        return Database(self._url, silence_limit_s, self._cancellation)

    def interrupted_by(self, cancellation: Cancellation) -> Database:
        """The same, but whoever waits for an answer waits no longer once this is set: RunCancelledError."""
        return Database(self._url, self._silence_limit_s, cancellation)

    @property
    def name(self) -> str:
        """Without secrets, for messages."""
        parts = urlsplit(self._url)
        return f"{parts.hostname or 'this machine'}{parts.path}"

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection, on which each statement is a transaction of its own.

        Raises:
            LabError: it cannot be made, ends, or says nothing for too long.
            RunCancelledError: see ``interrupted_by``.
        """
        with closing(Link(self)) as link, link.used() as connection:
            yield connection

    def connect(self) -> psycopg.Connection[Any]:
        """
        Raises:
            psycopg.Error: it cannot be made.
            RunCancelledError: see ``interrupted_by``.
        """
        from benchmarking.dispatch.bounded_connection import connection_class

        limit_s = self._silence_limit_s * ANSWER_GRACE
        attempt = _Attempt(connection_class(limit_s, self._check), self._url, self._arguments)
        if self._cancellation is None:
            attempt.work()
        else:
            threading.Thread(target=attempt.work, name="connects", daemon=True).start()
            while not attempt.is_over.wait(CHECK_S):
                if self._cancellation.is_set:
                    attempt.abandon()
                    self._check()
        return attempt.connection()

    def _check(self) -> None:
        if self._cancellation is not None and self._cancellation.is_set:
            raise RunCancelledError("cancelled")

    def error(self, error: Exception) -> LabError:
        """One clear line for what PostgreSQL answers."""
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        said = next((clear for words, clear in _CLEARER.items() if words in said), said)
        kind, advice = LabError, ""
        if getattr(error, "sqlstate", None) == DISK_FULL:
            # The name of the file differs from table to table, and says nothing to whoever mends it.
            kind, said = FullLabError, f"its disk is full: {said.rpartition(': ')[2]}"
        if re.match(r"(ERROR:\s*)?quota: ", said):
            kind = QuotaError
        for pattern, further in _REFUSALS.items():
            if re.search(pattern, said):
                kind, advice = RefusedByLabError, further
        return kind(f"the lab's database on {self.name}: {said.removeprefix('ERROR:').strip()}{advice}")

    def app(self) -> procrastinate.App:
        """The queue, for an event loop."""
        import procrastinate

        from benchmarking.dispatch.bounded_connection import asynchronous_connection_class

        connector = procrastinate.PsycopgConnector(
            conninfo=self._url,
            kwargs=self._arguments,
            connection_class=asynchronous_connection_class(self._silence_limit_s * ANSWER_GRACE),
            min_size=1,
            max_size=4,
        )
        return procrastinate.App(connector=connector)

    def check(self) -> None:
        """
        Raises:
            LabError: it cannot be reached, has no tables, or those of another version.
        """
        with self.connected() as connection:
            row = connection.execute("SELECT value FROM setting WHERE name = 'protocol'").fetchone()
        if row is None or row[0] != PROTOCOL:
            raise RefusedByLabError(
                f"the lab's database on {self.name} has the version {row[0] if row else 'none'}, and this "
                f"program has {PROTOCOL}: update the older of the two"
            )

    def initialize(self, *, blob_quota_bytes: int = BLOB_QUOTA_BYTES, job_quota: int = JOB_QUOTA) -> bool:
        """Makes the tables, if they are not there, and sets the quotas. Returns whether it made them.

        Raises:
            LabError: it may not, or cannot be reached.
        """
        from procrastinate.schema import SchemaManager

        settings = {"protocol": PROTOCOL, "blob_quota_bytes": blob_quota_bytes, "job_quota": job_quota}
        with self.connected() as connection, connection.transaction():
            # Two administrators at once: the second waits, and finds the tables.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('mlbench lab'))")
            is_new = connection.execute("SELECT to_regnamespace(%s) IS NULL", [SCHEMA]).fetchone() == (True,)
            if is_new:
                connection.execute("CREATE SCHEMA lab")
                connection.execute(SchemaManager.get_schema())
                connection.execute(TABLES)
                if _may_create_roles(connection):
                    connection.execute(ROLES)
            for name, value in settings.items():
                connection.execute(
                    "INSERT INTO setting VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = %s"
                    " WHERE setting.name <> 'protocol'",
                    [name, value, value],
                )
        self.check()
        return is_new

    @property
    def _arguments(self) -> dict[str, Any]:
        limit_s = self._silence_limit_s
        keepalive = {
            "keepalives_idle": max(1, int(limit_s / 3)),
            "keepalives_interval": max(1, int(limit_s / 6)),
            "keepalives_count": 4,
        }
        unanswered = {"tcp_user_timeout": int(limit_s * 1000)}
        # The server too: what a host locked whose link was cut is free soon, not after two hours.
        session = {f"tcp_{name}": value for name, value in keepalive.items()} | {
            **unanswered,
            "search_path": SCHEMA,
            "statement_timeout": int(limit_s * 1000),
            # What a stopped process holds is free before those who wait for it give up.
            "idle_in_transaction_session_timeout": int(limit_s * 1000),
        }
        options = " ".join(f"-c {name}={value}" for name, value in session.items())
        connect_limit_s = max(2, min(CONNECT_LIMIT_S, int(limit_s)))
        return {"options": options, "connect_timeout": connect_limit_s, **keepalive, **unanswered}


class _Attempt:
    """To connect. It cannot be interrupted, and is left alone instead; looking up a name takes long too."""

    def __init__(self, kind: type[psycopg.Connection[Any]], url: str, arguments: dict[str, Any]) -> None:
        self._kind, self._url, self._arguments = kind, url, arguments
        self._made: psycopg.Connection[Any] | None = None
        self._error: Exception | None = None
        self._is_abandoned = False
        self.is_over = threading.Event()

    def work(self) -> None:
        try:
            self._made = self._kind.connect(self._url, autocommit=True, **self._arguments)
        except Exception as error:
            self._error = error
        self.is_over.set()
        if self._is_abandoned and self._made is not None:
            self._made.close()

    def abandon(self) -> None:
        self._is_abandoned = True

    def connection(self) -> psycopg.Connection[Any]:
        if self._made is None:
            raise self._error or RuntimeError("the attempt is not over")
        return self._made


class Link:
    """A connection that is kept, and made again after it broke. For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def used(self) -> Iterator[psycopg.Connection[Any]]:
        """
        Raises:
            LabError: it cannot be made, or ends, or the database refuses something or says nothing.
            RunCancelledError: see ``Database.interrupted_by``.
        """
        import psycopg

        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._database.connect()
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise self._database.error(error) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _can_be_read(url: str) -> bool:
    try:
        path = urlsplit(url).path
    except ValueError:  # half of the brackets of IPv6
        return False
    return "@" not in path and re.search("%(?![0-9A-Fa-f]{2})", url) is None


def _may_create_roles(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    return row == (True,)
