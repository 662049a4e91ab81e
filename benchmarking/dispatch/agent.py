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
from benchmarking.dispatch.build_run import BuildRun
from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.job_run import AnyJob, Host, JobRun, SupersededError
from benchmarking.dispatch.ledger import device_key
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

if TYPE_CHECKING:
    import procrastinate
    from procrastinate.worker import Worker

ANNOUNCE_S = 30.0
LOST_AFTER_S = 60.0
"""An agent that gave no sign of life for so long lost its jobs."""
RECONNECT_S = 5.0
POLL_S = 60.0
"""New jobs are announced by PostgreSQL; this is for an announcement that got lost."""

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
    _running: dict[Identity, Cancellation] = field(default_factory=dict)
    _known: set[Identity] = field(default_factory=set)
    """Every run of this process: none of them is lost."""
    _this_machine: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A build would disturb what is measured on the same machine, other than on a phone."""
    _is_ending: bool = False

    async def run(self, end: asyncio.Event) -> None:
        """Works until ``end`` is set, and over every loss of the database.

        Raises:
            LabError: the database is that of another version, or this agent may not use it.
        """
        await asyncio.to_thread(self._first_contact)
        app = self.database.app()
        self._add_tasks(app)
        async with app.open_async():
            logger.info("%s works for the lab on %s", self.host.name, self.database.name)
            tasks = [
                asyncio.create_task(self._repeatedly(ANNOUNCE_S, partial(self._announce, app))),
                asyncio.create_task(self._repeatedly(self.lost_after_s / 6, partial(self._keep_alive, app))),
            ]
            await end.wait()
            for task in tasks:
                task.cancel()
            await self._stop_workers()

    def _first_contact(self) -> None:
        """A database that cannot be reached yet is waited for, one of another version is not."""
        while True:
            try:
                self.database.check()
                return
            except LabError as error:
                if "update the older" in str(error) or "mlbench lab init" in str(error):
                    raise
                logger.warning("%s; trying again", error)
                time.sleep(RECONNECT_S)

    async def _repeatedly(self, pause_s: float, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await action()
            except Exception as error:
                if not _is_of_the_database(error):
                    logger.exception("a bug of the agent")
                else:
                    logger.warning("%s; trying again", _one_line(error, self.database))
                await asyncio.sleep(min(pause_s, RECONNECT_S))
            else:
                await asyncio.sleep(pause_s)

    # --- devices --------------------------------------------------------------------------------------------

    async def _announce(self, app: procrastinate.App) -> None:
        # A device that measures is not disturbed: what is known of it stays as it is.
        if self._running:
            await asyncio.to_thread(self._write_devices, None)
        else:
            found = [one for one in await asyncio.to_thread(self.survey) if one.hash]
            await asyncio.to_thread(self._write_devices, found)
            self._serve(app, {device_key(one.platform, one.hash): one for one in found})
        await self._settle_lost_jobs(app)

    def _write_devices(self, found: Sequence[FoundDevice] | None) -> None:
        """None: they are what they were."""
        name = self.host.name
        with self.database.connected() as connection, connection.transaction():
            values = [benchmarking.__version__, PROTOCOL, shutil.disk_usage(self.host.directory).free]
            connection.execute(
                "INSERT INTO agent (host, version, protocol, free_bytes) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (host) DO UPDATE"
                " SET version = %s, protocol = %s, free_bytes = %s, seen = now()",
                [name, *values, *values],
            )
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

    def _serve(self, app: procrastinate.App, found: Mapping[str, FoundDevice]) -> None:
        """A worker for each device, while it is there; another one where a worker lost the database."""
        from procrastinate.worker import Worker

        for queue, (_, task) in list(self._workers.items()):
            if task.done():
                del self._workers[queue]
        for queue in found.keys() - self._workers.keys():
            worker = Worker(
                app,
                queues=[queue],
                name=f"{self.host.name} {queue}"[:100],
                fetch_job_polling_interval=POLL_S,
                update_heartbeat_interval=self.lost_after_s / 6,
                stalled_worker_timeout=10 * self.lost_after_s,
                install_signal_handlers=False,
                shutdown_graceful_timeout=None,
            )
            self._workers[queue] = (worker, asyncio.create_task(worker.run()))
            logger.info("device %s (%s)", found[queue].device, queue)
        for queue in self._workers.keys() - found.keys():
            worker, _ = self._workers.pop(queue)
            worker.stop()
            logger.warning("the device %s is gone", queue)

    async def _keep_alive(self, app: procrastinate.App) -> None:
        """A worker that ends waits for its job, and gives no sign of life by itself meanwhile."""
        for worker, _ in list(self._workers.values()):
            if worker.worker_id is not None:
                await app.job_manager.update_heartbeat(worker.worker_id)

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
        from procrastinate.jobs import Status

        queues = list(self._workers)
        for job, attempt, has_ended in await asyncio.to_thread(self._lost_jobs, queues):
            if (job, attempt) in self._known:
                continue
            if has_ended:
                logger.warning("job %d had ended when its agent was lost", job)
                await app.job_manager.finish_job_by_id_async(job, Status.SUCCEEDED, delete_job=False)
            else:
                logger.warning("job %d is lost with its agent: it is begun again", job)
                await app.job_manager.retry_job_by_id_async(job, datetime.now(UTC))

    def _lost_jobs(self, queues: Sequence[str]) -> list[tuple[int, int, bool]]:
        """Jobs of workers without a sign of life, and those that an earlier agent of this host began: number,
        attempt, and whether the run ended.
        """
        with self.database.connected() as connection:
            return connection.execute(
                "SELECT q.id, q.attempts, coalesce(r.ended IS NOT NULL, false) FROM procrastinate_jobs q"
                " LEFT JOIN procrastinate_workers w ON w.id = q.worker_id"
                " LEFT JOIN run r ON (r.job, r.attempt) = (q.id, q.attempts)"
                " WHERE q.status = 'doing' AND q.queue_name = ANY(%s) AND (r.host = %s OR w.id IS NULL"
                " OR w.last_heartbeat < now() - make_interval(secs => %s))",
                [list(queues), self.host.name, self.lost_after_s],
            ).fetchall()

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
        logger.info("job %d is done", run.id)

    async def _reserve(self, context: procrastinate.JobContext, job: Any) -> None:
        request: ReserveJob = await self._read(context, ReserveJob, job)
        with self._begun(context) as cancellation:
            lasted_s = await asyncio.to_thread(self._begin_reservation, *_identity(context))
            waiting = asyncio.to_thread(cancellation.wait, max(0.0, request.duration_s - lasted_s))
            if await _uninterrupted(waiting, cancellation.set):
                await self._aborted(context, RunCancelledError("released"))

    @contextmanager
    def _begun(self, context: procrastinate.JobContext) -> Iterator[Cancellation]:
        identity = _identity(context)
        self._known.add(identity)
        with Cancellation() as cancellation:
            self._running[identity] = cancellation
            try:
                yield cancellation
            finally:
                del self._running[identity]

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
        await asyncio.to_thread(self._end_cancelled, *_identity(context))
        raise JobAborted from error

    def _end_cancelled(self, job: int, attempt: int) -> None:
        with self.database.connected() as connection:
            connection.execute("UPDATE run SET ended = now() WHERE (job, attempt) = (%s, %s)", [job, attempt])


def _is_elsewhere(platform: str) -> bool:
    """Whether its programs do not run on this machine."""
    with suppress(UsageError):  # which the harness says as well
        return issubclass(find_platform(platform), RemotePlatform)
    return False


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
            return RetryDecision(retry_in={"seconds": 0}) if isinstance(exception, HostEndsError) else None

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
