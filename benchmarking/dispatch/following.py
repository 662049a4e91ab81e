"""What the submitter sees of jobs that run elsewhere, while they run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from benchmarking.dispatch.database import Database, LabError, RefusedByLabError
from benchmarking.dispatch.ledger import LabJob, Ledger
from benchmarking.dispatch.request import RESERVE
from benchmarking.errors import ExitStatus, RunCancelledError, UsageError
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import Result

LOOK_AGAIN_S = 0.3
RETRY_S = 2.0

logger = logging.getLogger(__name__)

Report = Callable[[Sequence[Result]], None]
Show = Callable[[LabJob, str], None]
"""Shows a part of a job's log."""


@dataclass
class Following:
    """Reports each result once, also if its job is begun again on the way: when a later test of the job has
    results, or the job is over.
    """

    database: Database
    ids: Sequence[int]
    report: Report
    show: Show | None = None
    state_level: int = logging.INFO
    """At which the states of the jobs are logged."""
    results: list[Result] = field(default_factory=list)
    _reported: dict[int, int] = field(default_factory=dict)
    """By job: the number of the last result that was reported."""
    _seen: dict[int, object] = field(default_factory=dict)
    """By job: what tells whether there are other results than at the last look."""
    _log: dict[int, tuple[int, int]] = field(default_factory=dict)
    _states: dict[int, str] = field(default_factory=dict)

    def until_over(self, cancellation: Cancellation) -> list[LabJob]:
        """
        A database that is away or hangs is waited for.

        Raises:
            RunCancelledError: it was cancelled; the jobs go on.
            RefusedByLabError: waiting does not help.
            UsageError: the lab does not have one of the jobs.
        """
        database = self.database.interrupted_by(cancellation)
        said = ""
        while True:
            try:
                database.check()
                with database.connected() as connection:
                    if said:
                        logger.info("the lab's database on %s answers again", database.name)
                        said = ""
                    while True:
                        jobs = self.look(Ledger(connection))
                        if all(one.is_over for one in jobs):
                            return jobs
                        if cancellation.wait(LOOK_AGAIN_S):
                            break
            except RefusedByLabError:
                raise
            except RunCancelledError:
                break
            except LabError as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("%s; trying again", said)
            if cancellation.wait(RETRY_S):
                break
        raise RunCancelledError("the jobs go on")

    def look(self, ledger: Ledger) -> list[LabJob]:
        jobs = ledger.jobs(ids=self.ids, limit=len(self.ids))
        if missing := {*self.ids} - {one.id for one in jobs}:
            raise UsageError(f"the lab has no job {', '.join(map(str, sorted(missing)))}")
        for job in jobs:
            self._log_state(job)
            self._look_at_results(ledger, job)
            self._look_at_log(ledger, job)
        return jobs

    def _log_state(self, job: LabJob) -> None:
        if job.state == "running" and not job.host:
            return  # the host has taken it and does not yet say so
        state = f"{job.state}{f' on {job.host}' if job.state == 'running' else ''}"
        if self._states.get(job.id) != state:
            self._states[job.id] = state
            problem = f": {job.problem}" if job.problem else ""
            logger.log(self.state_level, "job %d on %s: %s%s", job.id, job.device_name, state, problem)

    def _look_at_results(self, ledger: Ledger, job: LabJob) -> None:
        seen = (ledger.newest_result(job.id), job.is_over)
        if self._seen.get(job.id) == seen:
            return
        self._seen[job.id] = seen
        found = ledger.results(job.id, self._reported.get(job.id, -1))
        groups = [list(group) for _, group in groupby(found, key=lambda one: one[1])]
        for group in groups if job.is_over else groups[:-1]:
            results = tuple(result for _, _, result in group)
            self.results.extend(results)
            self.report(results)
            self._reported[job.id] = group[-1][0]

    def _look_at_log(self, ledger: Ledger, job: LabJob) -> None:
        if self.show is not None:
            for at, content in ledger.log(job.id, self._log.get(job.id, (-1, -1))):
                self._log[job.id] = at
                self.show(job, content)


def worst_status(jobs: Sequence[LabJob]) -> ExitStatus | None:
    """The status of jobs that did not end as a run of the harness ends; None: all did."""
    if any(one.state == "cancelled" for one in jobs):
        return ExitStatus.INTERRUPTED
    if any(one.exit_status is None for one in jobs if one.kind != RESERVE):
        return ExitStatus.DEVICE_FAILED
    statuses = {ExitStatus(one.exit_status) for one in jobs if one.exit_status is not None}
    order = (
        ExitStatus.INTERNAL_ERROR,
        ExitStatus.BAD_USAGE,
        ExitStatus.DEVICE_FAILED,
        ExitStatus.BENCHMARK_FAILED,
        ExitStatus.INTERRUPTED,
    )
    if ExitStatus.BUILD_FAILED in statuses:  # of a build; a run does not end with it
        statuses.add(ExitStatus.BENCHMARK_FAILED)
    return next((one for one in order if one in statuses), None)
