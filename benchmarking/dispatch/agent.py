"""The agent of a host: announces its devices, and runs the jobs of their queues."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import benchmarking
from benchmarking.dispatch import host_files
from benchmarking.dispatch.build_run import BuildRun
from benchmarking.dispatch.database import Database, LabError, RefusedByLabError
from benchmarking.dispatch.job_run import LONGEST_PROBLEM, AnyJob, Host, JobRun, SupersededError
from benchmarking.dispatch.ledger import SEEN_LIMIT_S, device_key
from benchmarking.dispatch.measure_run import MeasureRun
from benchmarking.dispatch.request import (
    BUILD,
    MEASURE,
    PROTOCOL,
    RESERVE,
    BuildJob,
    Job,
    MeasureJob,
    ReserveJob,
    read_job,
)
from benchmarking.driver.survey import FoundDevice
from benchmarking.errors import BenchmarkError, RunCancelledError, UsageError
from benchmarking.platforms.platforms import find_platform
from benchmarking.platforms.remote.remote_platform import RemotePlatform
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import procrastinate
    import psycopg
    from procrastinate.worker import Worker

ANNOUNCE_S = 30.0
LOST_AFTER_S = 60.0
"""An agent that gave no sign of life for so long lost its jobs."""
RECONNECT_S = 5.0
RESTART_S = 0.2
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""When a job that is given back may begin: now, by every clock."""
CLEAN_S = 3600.0
POLL_S = 10.0
"""New jobs are announced by PostgreSQL; this is for an announcement that got lost."""

_DOING = """
SELECT q.id, q.attempts, q.worker_id, q.abort_requested, r.ended IS NOT NULL AS has_ended,
    coalesce(r.host = %(host)s, NOT EXISTS (
        SELECT 1 FROM device d WHERE d.platform || ':' || d.hash = q.queue_name AND d.host <> %(host)s
    )) AS is_of_this_host,
    w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => %(lost_after_s)s) AS is_silent
FROM procrastinate_jobs q LEFT JOIN procrastinate_workers w ON w.id = q.worker_id
LEFT JOIN run r ON (r.job, r.attempt) = (q.id, q.attempts)
WHERE q.status = 'doing' AND q.queue_name = ANY(%(queues)s)
"""
"""A job that no run has begun was claimed by this host if no other has the device. Only times of the database
are compared: the clocks of hosts differ.
"""
_SETTLE = """
WITH lost AS MATERIALIZED (SELECT id FROM procrastinate_jobs
    WHERE (id, attempts, status) = (%(job)s, %(attempt)s, 'doing') FOR UPDATE)
SELECT {} FROM lost
"""
"""Another agent may have settled it meanwhile."""
_FINISH = _SETTLE.format("procrastinate_finish_job_v1(id, %(status)s, false)")
_BEGIN_AGAIN = _SETTLE.format("procrastinate_retry_job_v2(id, NULL, NULL, NULL, NULL)")

logger = logging.getLogger(__name__)


Identity = tuple[int, int]
"""The number of a job, and that of the attempt."""


class HostEndsError(BenchmarkError):
    """The agent ends: its job goes back into the queue."""


@dataclass
class Agent:
    database: Database
    host: Host
    survey: Callable[[], Sequence[FoundDevice]]
    """Looks at every device of this host."""
    labels: tuple[str, ...] = ()
    lost_after_s: float = LOST_AFTER_S
    _workers: dict[str, tuple[Worker, asyncio.Task[None]]] = field(default_factory=dict)
    """By the queue of each device."""
    _found: Mapping[str, FoundDevice] = field(default_factory=dict)
    """The devices of the last look, by queue."""
    _running: dict[Identity, Cancellation] = field(default_factory=dict)
    _reservations: set[Identity] = field(default_factory=set)
    """Those of the running jobs that measure nothing."""
    _suspected: dict[Identity, float] = field(default_factory=dict)
    """Since when a job looks lost."""
    _look_now: asyncio.Event = field(default_factory=asyncio.Event)
    _this_machine: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A build would disturb what is measured on the same machine, other than on a phone."""
    _is_ending: bool = False

    def __post_init__(self) -> None:
        self.database = self.database.noticing_within(self.lost_after_s / 2)

    async def run(self, end: asyncio.Event) -> None:
        """Works until ``end`` is set, and over every loss of the database.

        Raises:
            LabError: the database is that of another version, or this agent may not use it.
        """
        if not await self._first_contact(end):
            return
        app = self.database.app()
        self._add_tasks(app)
        async with app.open_async():
            logger.info("%s works for the lab on %s", self.host.name, self.database.name)
            look_after = partial(self._look_after, app)
            tasks = [
                asyncio.create_task(end.wait()),
                asyncio.create_task(self._repeatedly(ANNOUNCE_S, self._announce)),
                asyncio.create_task(self._repeatedly(CLEAN_S, self._clean)),
                asyncio.create_task(self._repeatedly(self.lost_after_s / 6, look_after, self._look_now)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await self._stop_workers()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def _first_contact(self, end: asyncio.Event) -> bool:
        """A database that cannot be reached yet is waited for, one that refuses this agent is not."""
        while not end.is_set():
            try:
                await asyncio.to_thread(self._introduce_itself)
                return True
            except RefusedByLabError:
                raise
            except LabError as error:
                logger.warning("%s; trying again", error)
                await _set_within(end, RECONNECT_S)
        return False

    def _introduce_itself(self) -> None:
        self.database.check()
        with self.database.connected() as connection:
            self._write_agent(connection)

    async def _repeatedly(
        self, pause_s: float, action: Callable[[], Awaitable[None]], now: asyncio.Event | None = None
    ) -> None:
        """
        Raises:
            RefusedByLabError: the agent has to end.
        """
        now = now or asyncio.Event()
        said = ""
        while True:
            now.clear()
            try:
                await action()
            except RefusedByLabError:
                raise
            except Exception as error:
                if not _is_of_the_database(error):
                    logger.exception("a bug of the agent")
                elif (line := _one_line(error, self.database)) != said:
                    said = line
                    logger.warning("%s; trying again", said)
                await asyncio.sleep(min(pause_s, RECONNECT_S))
            else:
                said = ""
                await _set_within(now, pause_s)

    # --- devices --------------------------------------------------------------------------------------------

    async def _announce(self) -> None:
        # A device that measures is not disturbed: what is known of it stays as it is.
        if self._running.keys() - self._reservations:
            await asyncio.to_thread(self._write_devices, None)
            return
        surveyed = [one for one in await asyncio.to_thread(self.survey) if one.hash]
        found = {device_key(one.platform, one.hash): one for one in surveyed}
        if self._running:  # a reserved device may be away, in its owner's hands: its queue stays with it
            found = {**self._found, **found}
        await asyncio.to_thread(self._write_devices, [*found.values()])
        self._found = found
        self._look_now.set()

    def _write_devices(self, found: Sequence[FoundDevice] | None) -> None:
        """None: they are what they were."""
        name = self.host.name
        with self.database.connected() as connection, connection.transaction():
            self._write_agent(connection)
            if found is None:
                connection.execute("UPDATE device SET seen = now() WHERE host = %s", [name])
                return
            connection.execute("DELETE FROM device WHERE host = %s", [name])
            for one in found:
                values = [one.platform, one.hash, name, one.device, one.state, one.reason]
                connection.execute(
                    "INSERT INTO device (platform, hash, host, name, state, reason, labels, facts)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    [*values, list(self.labels), json.dumps(dict(one.facts))],
                )

    def _write_agent(self, connection: psycopg.Connection[Any]) -> None:
        """
        Raises:
            RefusedByLabError: another agent has this name.
        """
        written = connection.execute(
            "INSERT INTO agent (host, identity, version, protocol, free_bytes)"
            " VALUES (%(host)s, %(identity)s, %(version)s, %(protocol)s, %(free)s)"
            " ON CONFLICT (host) DO UPDATE SET identity = %(identity)s, version = %(version)s,"
            " protocol = %(protocol)s, free_bytes = %(free)s, seen = now()"
            " WHERE agent.identity = %(identity)s OR agent.seen < now() - make_interval(secs => %(limit)s)",
            {
                "host": self.host.name,
                "identity": self.host.identity,
                "version": benchmarking.__version__,
                "protocol": PROTOCOL,
                "free": shutil.disk_usage(self.host.directory).free,
                "limit": SEEN_LIMIT_S,
            },
        ).rowcount
        if not written:
            raise RefusedByLabError(
                f"another agent of the lab is called {self.host.name}, and works: give --name"
            )

    async def _clean(self) -> None:
        await asyncio.to_thread(host_files.remove_unused, self.host.directory)

    async def _look_after(self, app: procrastinate.App) -> None:
        """Gives a sign of life, settles what was lost, and has a worker for each device."""
        await app.connector.execute_query_async(
            "UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = ANY(%(workers)s)",
            workers=[*self._living_workers()],
        )
        # Before there are workers: nobody says that a job which was begun again can be had.
        await self._settle_lost_jobs(app)
        self._serve(app)

    def _living_workers(self) -> set[int]:
        return {
            worker.worker_id
            for worker, task in self._workers.values()
            if worker.worker_id is not None and not task.done()
        }

    def _serve(self, app: procrastinate.App) -> None:
        """A worker for each device, while it is there; another one where a worker lost the database."""
        from procrastinate.worker import Worker

        for queue, (_, task) in list(self._workers.items()):
            if task.done():
                del self._workers[queue]
        for queue in self._found.keys() - self._workers.keys():
            worker = Worker(
                app,
                queues=[queue],
                name=f"{self.host.name} {queue}"[:100],
                fetch_job_polling_interval=POLL_S,
                # A worker that ends waits for its job, and would give no sign of life: the agent does.
                update_heartbeat_interval=10 * self.lost_after_s,
                stalled_worker_timeout=10 * self.lost_after_s,
                install_signal_handlers=False,
                shutdown_graceful_timeout=None,
            )
            task = asyncio.create_task(worker.run())
            task.add_done_callback(self._worker_ended)
            self._workers[queue] = (worker, task)
            logger.info("device %s (%s)", self._found[queue].device, queue)
        for queue in self._workers.keys() - self._found.keys():
            worker, _ = self._workers.pop(queue)
            worker.stop()
            logger.warning("the device %s is gone", queue)

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        asyncio.get_running_loop().call_later(RESTART_S, self._look_now.set)

    async def _stop_workers(self) -> None:
        self._is_ending = True
        for worker, _ in self._workers.values():
            worker.stop()
        for cancellation in self._running.values():
            cancellation.set()
        await asyncio.gather(*(task for _, task in self._workers.values()), return_exceptions=True)

    async def _settle_lost_jobs(self, app: procrastinate.App) -> None:
        """Jobs of these devices whose agent is gone: what had ended is finished, the rest is begun again.

        The program of the lost run may still compute: the harness waits for the device's lock, which lives as
        long as any process of that run.
        """
        doing = await app.connector.execute_query_all_async(
            _DOING, host=self.host.name, queues=[*self._found], lost_after_s=self.lost_after_s
        )
        suspected, now_s = self._suspected, time.monotonic()
        self._suspected = {}
        living = self._living_workers()
        for row in doing:
            identity = row["id"], row["attempts"]
            patience_s = self._patience_s(row, row["worker_id"] in living)
            if identity in self._running or patience_s is None:
                continue
            since_s = suspected.get(identity, now_s)
            if now_s - since_s < patience_s:
                self._suspected[identity] = since_s
            else:
                await self._settle(app, row)

    def _patience_s(self, row: Mapping[str, Any], is_of_a_living_worker: bool) -> float | None:
        """For how long a job that does not run here has to look lost until it is; None: it does not look so.

        After the database was away every agent looks silent, until it has found the database again.
        """
        if row["is_of_this_host"]:
            return self.lost_after_s if is_of_a_living_worker else 0.0
        return self.lost_after_s / 3 if row["is_silent"] else None

    async def _settle(self, app: procrastinate.App, row: Mapping[str, Any]) -> None:
        job = {"job": row["id"], "attempt": row["attempts"]}
        if row["abort_requested"] and not row["has_ended"]:
            await asyncio.to_thread(self._end, row["id"], row["attempts"])
        if row["abort_requested"] or row["has_ended"]:
            logger.warning("job %d had ended when its agent was lost", row["id"])
            status = "aborted" if row["abort_requested"] else "succeeded"
            await app.connector.execute_query_async(_FINISH, status=status, **job)
        else:
            logger.warning("job %d is lost with its agent: it is begun again", row["id"])
            await app.connector.execute_query_async(_BEGIN_AGAIN, **job)

    # --- jobs -----------------------------------------------------------------------------------------------

    def _add_tasks(self, app: procrastinate.App) -> None:
        retry = _retry_strategy()
        app.task(name=MEASURE, pass_context=True, retry=retry)(self._measure)
        app.task(name=BUILD, pass_context=True, retry=retry)(self._build)
        app.task(name=RESERVE, pass_context=True, retry=retry)(self._reserve)

    async def _measure(self, context: procrastinate.JobContext, job: Any) -> None:
        request: MeasureJob = await self._read(context, MeasureJob, job)
        alone = None if _is_elsewhere(request.platform) else self._this_machine
        await self._perform(context, request, MeasureRun, alone)

    async def _build(self, context: procrastinate.JobContext, job: Any) -> None:
        request: BuildJob = await self._read(context, BuildJob, job)
        await self._perform(context, request, BuildRun, self._this_machine)

    async def _perform(
        self,
        context: procrastinate.JobContext,
        request: AnyJob,
        kind: type[JobRun[AnyJob]],
        alone: asyncio.Lock | None,
    ) -> None:
        """``alone``: what it needs for itself, besides its device."""
        async with AsyncExitStack() as stack:
            cancellation = stack.enter_context(self._begun(context))
            if alone is not None and self.host.builds:
                await stack.enter_async_context(alone)
            run = kind(self.database, self.host, *_identity(context), request, cancellation)
            logger.info("job %d of %s for %s begins", run.id, request.person, request.platform)
            try:
                await _uninterrupted(asyncio.to_thread(run.run), cancellation.set)
            except SupersededError as error:
                _start_again(error)
            except RunCancelledError as error:
                await self._aborted(context, error)
            except Exception as error:
                problem = str(error) if isinstance(error, BenchmarkError) else self._bug(error)
                with suppress(LabError):
                    await asyncio.to_thread(self._end, run.id, run.attempt, plain(problem))
                raise
        logger.info("job %d is done", run.id)

    def _bug(self, error: Exception) -> str:
        return f"a bug of the agent of {self.host.name}: {type(error).__name__}: {error}"

    async def _reserve(self, context: procrastinate.JobContext, job: Any) -> None:
        request: ReserveJob = await self._read(context, ReserveJob, job)
        with self._begun(context, is_reservation=True) as cancellation:
            lasted_s = await asyncio.to_thread(self._begin_reservation, *_identity(context))
            waiting = asyncio.to_thread(cancellation.wait, max(0.0, request.duration_s - lasted_s))
            if await _uninterrupted(waiting, cancellation.set):
                await self._aborted(context, RunCancelledError("released"))
            else:
                await asyncio.to_thread(self._end, *_identity(context))

    @contextmanager
    def _begun(
        self, context: procrastinate.JobContext, *, is_reservation: bool = False
    ) -> Iterator[Cancellation]:
        identity = _identity(context)
        with Cancellation() as cancellation:
            self._running[identity] = cancellation
            if is_reservation:
                self._reservations.add(identity)
            try:
                yield cancellation
            finally:
                del self._running[identity]
                self._reservations.discard(identity)

    def _begin_reservation(self, job: int, attempt: int) -> float:
        """Returns for how many seconds it lasts already: a lost agent does not make it longer."""
        with self.database.connected() as connection:
            connection.execute(
                "INSERT INTO run (job, attempt, host) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [job, attempt, self.host.name],
            )
            row = connection.execute(
                "SELECT extract(epoch FROM now() - min(started)) FROM run WHERE job = %s", [job]
            ).fetchone()
        return float(row[0]) if row else 0.0

    async def _read(self, context: procrastinate.JobContext, kind: type[Job], value: Any) -> Any:
        try:
            return read_job(kind, value)
        except BenchmarkError as error:
            await asyncio.to_thread(self._refuse, *_identity(context), str(error))
            raise

    def _refuse(self, job: int, attempt: int, problem: str) -> None:
        with self.database.connected() as connection:
            connection.execute(
                "INSERT INTO run (job, attempt, host, ended, problem) VALUES (%s, %s, %s, now(), %s)"
                " ON CONFLICT DO NOTHING",
                [job, attempt, self.host.name, problem],
            )

    async def _aborted(self, context: procrastinate.JobContext, error: RunCancelledError) -> None:
        """
        Raises:
            HostEndsError: nobody cancelled the job.
            JobAborted: somebody did.
        """
        from procrastinate.exceptions import JobAborted

        if self._is_ending and not context.should_abort():
            raise HostEndsError(f"{self.host.name} ends") from error
        await asyncio.to_thread(self._end, *_identity(context))
        raise JobAborted from error

    def _end(self, job: int, attempt: int, problem: str | None = None) -> None:
        """``problem``: None: what was said before holds."""
        with self.database.connected() as connection:
            connection.execute(
                "UPDATE run SET ended = now(), problem = coalesce(left(%s, %s), problem)"
                " WHERE (job, attempt) = (%s, %s)",
                [problem, LONGEST_PROBLEM, job, attempt],
            )


def _is_elsewhere(platform: str) -> bool:
    """Whether its programs do not run on this machine."""
    with suppress(UsageError):  # which the harness says as well
        return issubclass(find_platform(platform), RemotePlatform)
    return False


async def _set_within(event: asyncio.Event, limit_s: float) -> None:
    """Waits until then at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), limit_s)


async def _uninterrupted(work: Any, interrupt: Callable[[], None]) -> Any:
    """The end of the work, also if the task is cancelled: the queue would otherwise call a job ended whose
    program still runs.
    """
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                return task.result()
            interrupt()


def _identity(context: procrastinate.JobContext) -> Identity:
    return int(context.job.id or 0), context.job.attempts


def _retry_strategy() -> Any:
    from procrastinate.retry import BaseRetryStrategy, RetryDecision

    class OnlyIfTheHostEnds(BaseRetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Any) -> RetryDecision | None:
            return RetryDecision(retry_at=LONG_AGO) if isinstance(exception, HostEndsError) else None

    return OnlyIfTheHostEnds()


def _start_again(error: SupersededError) -> None:
    """Whatever this process says of its job now would be taken for what the other run says."""
    logger.warning("%s; the agent starts again", error)
    with suppress(OSError):
        sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def _is_of_the_database(error: Exception) -> bool:
    import psycopg
    from procrastinate.exceptions import ProcrastinateException

    return isinstance(error, BenchmarkError | psycopg.Error | ProcrastinateException)


def _one_line(error: Exception, database: Database) -> str:
    return str(error if isinstance(error, BenchmarkError) else database.error(error))
