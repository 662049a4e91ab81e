"""Decides what to do next, again and again: fetch, choose, process, remember."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path

from benchmarking.bounds import read_file
from benchmarking.continuous import messages
from benchmarking.continuous.known_regressions import KnownRegressions
from benchmarking.continuous.notification import Notifier
from benchmarking.continuous.pipeline import HARNESS_ATTEMPTS, Finished, Pipeline, Task, ends_the_harness
from benchmarking.continuous.schedule import Schedule, make_schedule
from benchmarking.continuous.state import Pending, Position, Run, RunStatus, State
from benchmarking.driver.settings import FailOn
from benchmarking.errors import (
    BenchmarkError,
    DeviceError,
    ExitStatus,
    HarnessError,
    RemoteError,
    RepositoryError,
    RunCancelledError,
    StorageError,
    UnknownCommitError,
)
from benchmarking.files import atomic_file
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import RepoBase, Revision

logger = logging.getLogger(__name__)

BUILDS_AHEAD = 2
"""The number of builds that are made while another commit is measured."""
FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 3600.0
SHORTEST_LOOK_S = 10.0
LONGEST_LOOK_S = 60.0
"""The longest time for which a new commit may go unnoticed while there is nothing to do."""
STATUS_POLL_S = 2.0
"""The interval at which --status_file is read while there is nothing to do."""
LINE_LIMIT_BYTES = 10_000
"""The size limit of a file that controls the loop."""
EVERYTHING = "everything"
"""Stands for the platform if all platforms fail."""
REMOTE = "remote"
"""Stands for the platform if the remote repository cannot be reached."""

_INFRASTRUCTURE_ERRORS = (RepositoryError, StorageError, DeviceError, HarnessError)
"""Failures that say nothing about the commit: it is tried again."""
_STATUS = {
    RunStatus.FAILED: ExitStatus.BENCHMARK_FAILED,
    RunStatus.BUILD_FAILED: ExitStatus.BUILD_FAILED,
}
_SEVERITY = (
    ExitStatus.REGRESSION_CONFIRMED,
    ExitStatus.DEVICE_FAILED,
    ExitStatus.INTERNAL_ERROR,
    ExitStatus.BAD_USAGE,
    ExitStatus.BUILD_FAILED,
    ExitStatus.BENCHMARK_FAILED,
    ExitStatus.INCONCLUSIVE,
    ExitStatus.REPORTER_FAILED,
)
"""The exit status for failures: the first of these that happened."""


class Mode(Enum):
    SINGLE = "one commit"
    ONCE = "pending commits"
    CONTINUOUS = "for ever"


@dataclass(frozen=True)
class LoopOptions:
    mode: Mode
    platforms: tuple[str, ...]
    branch: str
    start: str | None = None
    """The commit to begin with; None: the position in the state, or otherwise the newest commit of the
    branch.
    """
    interval_s: float = 0.0
    """The shortest time between the starts of two commits."""
    commit_file: Path | None = None
    status_file: Path | None = None
    step: int = 1
    max_pending: int | None = None
    merged_commits: bool = False
    retries_failed: bool = False
    fail_on: FailOn = "regressed"
    """The verdicts that the exit status reflects; findings and reports do not depend on it."""
    builds_ahead: bool = True


@dataclass(frozen=True)
class _Retry:
    """The retry of one platform that failed, or of all of them."""

    message: str
    failures: int
    not_before: float
    """On the monotonic clock; infinite: not in this run of the program."""


@dataclass
class Loop:
    options: LoopOptions
    repo: RepoBase
    pipeline: Pipeline
    state: State
    notifier: Notifier
    cancellation: Cancellation
    known: KnownRegressions | None = None
    _position: Position | None = None
    """None: the commit is measured even if it was measured before."""
    _only: Revision | None = None
    """The commit of a run that measures a single commit."""
    _again: list[Task] = field(default_factory=list)
    """Commits that failed in the past and are tried once more."""
    _done_now: dict[Task, ExitStatus] = field(default_factory=dict)
    """With what each means for the exit status."""
    _retries: dict[str, _Retry] = field(default_factory=dict)
    """Maps the platform to its retry."""
    _outages: set[str] = field(default_factory=set)
    """What was reported not to work, in this run of the program or an earlier one."""
    _statuses: set[ExitStatus] = field(default_factory=set)
    _last_revision: Revision | None = None
    _last_start: float = -math.inf
    _last_fetch: float = -math.inf
    _fetch_failed: bool = False
    _status_file_failed: bool = False
    _behind_step: tuple[Revision, ...] = ()
    """The commits that wait for the next step, as last reported."""
    _pending_known: list[Pending] | None = None
    """The position in the state."""
    _commits: tuple[tuple[Position, str], list[Revision]] | None = None
    """The commits between a position and a tip, as last read."""

    def run(self) -> ExitStatus:
        """Runs until there is nothing left to do, or until the status file or a signal ends it.

        Raises:
            UsageError: the branch or the commit does not exist.
            RepositoryError, StorageError: in a run that is not continuous: it cannot be gone on.
        """
        try:
            self._begin()
            while not self._is_told_to_stop():
                if not self._step():
                    break
        except RunCancelledError:
            pass
        if self.cancellation.is_set:
            logger.info("interrupted; what is finished is kept")
            return ExitStatus.INTERRUPTED
        if self.options.mode is Mode.CONTINUOUS:
            return ExitStatus.OK
        happened = {*self._statuses, *self._done_now.values()}
        return next((one for one in _SEVERITY if one in happened), ExitStatus.OK)

    def _step(self) -> bool:
        """False: there is nothing left to do."""
        try:
            if self._explain_regression():
                return True
            tasks = self._look()
            self._works_again(EVERYTHING)
            return self._go_on(tasks)
        except _INFRASTRUCTURE_ERRORS as error:
            if self.options.mode is not Mode.CONTINUOUS:
                raise
            self._put_off(EVERYTHING, error)
            self._wait_until(self._retries[EVERYTHING].not_before)
            return True

    def _go_on(self, tasks: Sequence[Task]) -> bool:
        ready = [one for one in tasks if self._is_ready(one.platform)]
        if not ready:
            if self.options.mode is not Mode.CONTINUOUS:
                return False
            self._wait_until(self._next_look())
        elif ready[0].revision == self._last_revision or self._is_turn():
            self._process(ready[0], ready[1:], len(tasks))
        else:
            self._wait_until(self._last_start + self.options.interval_s)
        return True

    # --- where to begin -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._outages = self.state.outages()
        self._fetch()
        tip = self.repo.resolve(self.options.branch)
        start = self.repo.resolve(self.options.start) if self.options.start else None
        known = self._read_commit_file()
        if self.options.retries_failed:
            self._again = self._failed_tasks()
        if self.options.mode is Mode.SINGLE and known is None:
            self._only = start or tip
            return
        self._position = self._find_position(start, tip) if known is None else Position(known.commit, True)
        logger.debug("beginning %s %s", "behind" if self._position.is_done else "with", self._position.commit)

    def _find_position(self, start: Revision | None, tip: Revision) -> Position:
        stored = self.state.position(self.options.branch)
        if stored is not None and not self._is_known(stored.commit):
            logger.warning("the state ends at %s, which the repository no longer has", stored.commit)
        elif stored is not None and (start is None or self.repo.is_ancestor(start.commit, stored.commit)):
            return stored
        first = start or tip
        if not self.repo.is_ancestor(first.commit, tip.commit):
            raise UnknownCommitError(f"--commit: {first.short} is not on the branch {self.options.branch}")
        position = Position(first.commit, is_done=False)
        self.state.set_position(self.options.branch, position)
        return position

    def _is_known(self, commit: str) -> bool:
        try:
            self.repo.resolve(commit)
        except UnknownCommitError:
            return False
        return True

    def _failed_tasks(self) -> list[Task]:
        tasks = [Task(run.revision, run.platform) for run in self.state.failed_runs()]
        return [one for one in tasks if one.platform in self.options.platforms]

    def _read_commit_file(self) -> Revision | None:
        path = self.options.commit_file
        if path is None or not path.exists():
            return None
        try:
            return self.repo.resolve(_read_line(path))
        except (UnknownCommitError, OSError, ValueError) as error:
            logger.warning("--commit_file %s is not valid and is not used: %s", path, error)
            return None

    # --- what to do next
    # --------------------------------------------------------------------------------------

    def _look(self) -> list[Task]:
        """The tasks in order, after everything that is known now is remembered."""
        if self.options.mode is Mode.CONTINUOUS and time.monotonic() >= self._last_fetch + self._look_s:
            self._fetch()
        if self._only is not None:
            tasks = [Task(self._only, platform) for platform in self.options.platforms]
        else:
            tasks = self._scheduled_tasks()
        # A commit that failed may also be the one that is asked for.
        tasks = [one for one in dict.fromkeys((*self._again, *tasks)) if one not in self._done_now]
        pending = [self._pending(one) for one in tasks]
        if pending != self._pending_known:
            self.state.set_pending(pending)
            self._pending_known = pending
        return tasks

    def _scheduled_tasks(self) -> list[Task]:
        commits = self._new_commits()
        runs = self.state.runs([one.commit for one in commits])
        schedule = self._schedule(commits, runs)
        self._remember(schedule, runs)
        pending = schedule.pending
        if self.options.mode is Mode.SINGLE and pending:
            self._only = pending[0]
            pending = pending[:1]
            done = [one for one in self.options.platforms if (self._only.commit, one) in runs]
            self._done_now |= {Task(self._only, platform): ExitStatus.OK for platform in done}
        return [
            Task(revision, platform)
            for revision in pending
            for platform in self.options.platforms
            if (revision.commit, platform) not in runs
        ]

    def _new_commits(self) -> list[Revision]:
        """The commits from the position to the tip of the branch, oldest first."""
        position = self._the_position
        tip = self.repo.resolve(self.options.branch)
        if self._commits is None or self._commits[0] != (position, tip.commit):
            commits = self.repo.commits_after(
                position.commit, tip.commit, merged_commits=self.options.merged_commits
            )
            if not position.is_done:
                commits = [self.repo.resolve(position.commit), *commits]
            self._commits = ((position, tip.commit), commits)
        return self._commits[1]

    def _schedule(self, commits: Sequence[Revision], runs: dict[tuple[str, str], Run]) -> Schedule:
        position = self._the_position

        def is_done(revision: Revision) -> bool:
            return all((revision.commit, platform) in runs for platform in self.options.platforms)

        return make_schedule(
            commits,
            is_done,
            cursor=position.commit if position.is_done else None,
            step=self.options.step,
            max_pending=self.options.max_pending,
            # The last look for now: skipped commits would otherwise be unknown until the next step.
            newest=self.options.mode is Mode.ONCE,
        )

    def _remember(self, schedule: Schedule, runs: dict[tuple[str, str], Run]) -> None:
        now = time.time()
        skipped = [
            Run(platform, revision, RunStatus.SKIPPED, finished_at=now)
            for revision in schedule.skipped
            for platform in self.options.platforms
            if (revision.commit, platform) not in runs
        ]
        if skipped:
            logger.info(messages.skipped(schedule.skipped))
            self.state.finish(skipped)
        if schedule.behind_step != self._behind_step:
            self._behind_step = schedule.behind_step
            if schedule.behind_step:
                logger.info(messages.behind_step(schedule.behind_step, self.options.step))
        if schedule.cursor is not None and schedule.cursor != self._finished_commit:
            self._position = Position(schedule.cursor, is_done=True)
            self.state.set_position(self.options.branch, self._position)
            self._write_commit_file(schedule.cursor)

    @property
    def _the_position(self) -> Position:
        if self._position is None:
            raise ValueError("a loop over commits has a position")
        return self._position

    @property
    def _finished_commit(self) -> str | None:
        return self._position.commit if self._position and self._position.is_done else None

    def _write_commit_file(self, commit: str) -> None:
        path = self.options.commit_file
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, f"{commit}\n")
        except OSError as error:
            raise StorageError(f"--commit_file {path}: {error.strerror or error}") from error

    def _pending(self, task: Task) -> Pending:
        retry = self._retries.get(task.platform)
        return Pending(task.platform, task.revision, retry.message if retry else "")

    # --- doing it -------------------------------------------------------------------------------------------

    def _process(self, task: Task, following: Sequence[Task], pending: int) -> None:
        if task.revision != self._last_revision:
            self._last_revision, self._last_start = task.revision, time.monotonic()
        if task in self._again:
            self.state.forget_build_failure(task.platform, task.revision.commit)
        ahead = tuple(islice(following, BUILDS_AHEAD)) if self.options.builds_ahead else ()
        try:
            finished = self.pipeline.run(task, ahead)
        except _INFRASTRUCTURE_ERRORS as error:
            given_up = self._give_up(task, error)
            if given_up is None:
                self._put_off(task.platform, error, task.revision)
                return
            finished = given_up
        self._works_again(task.platform)
        # Reported first: a kill in between reports it twice, which is better than never.
        for event in messages.change_events(self.state.last_run(task.platform), finished.run):
            self.notifier.notify(event)
        self._record(finished.run)
        self._done_now[task] = self._status(finished.run.status)
        self._statuses.add(finished.around_it)
        logger.info(messages.run_line(finished.run, pending - 1))
        self._finish_single(task)

    def _status(self, status: RunStatus) -> ExitStatus:
        if status is RunStatus.REGRESSED and self.options.fail_on != "never":
            return ExitStatus.REGRESSION_CONFIRMED
        if status is RunStatus.INCONCLUSIVE and self.options.fail_on == "inconclusive":
            return ExitStatus.INCONCLUSIVE
        return _STATUS.get(status, ExitStatus.OK)

    def _give_up(self, task: Task, error: BenchmarkError) -> Finished | None:
        """A commit that repeatedly ends the harness is at fault itself."""
        if not ends_the_harness(error):
            return None
        if self.state.count_attempt(task.platform, task.revision.commit) < HARNESS_ATTEMPTS:
            return None
        run = Run(task.platform, task.revision, RunStatus.FAILED, str(error), finished_at=time.time())
        return Finished(run)

    def _record(self, run: Run) -> None:
        """A measured commit is not measured again because of a full disk; recording it waits for
        free space.
        """
        while True:
            try:
                self.state.finish([run])
            except StorageError as error:
                if self.options.mode is not Mode.CONTINUOUS:
                    raise
                self._put_off(EVERYTHING, error)
                self._wait_until(self._retries[EVERYTHING].not_before)
                if self._is_told_to_stop():
                    raise RunCancelledError(f"stopped before {run.revision.short} was recorded") from error
            else:
                return

    def _finish_single(self, task: Task) -> None:
        """A commit that is measured on its own also updates the commit file, once every platform is done."""
        tasks = {Task(task.revision, platform) for platform in self.options.platforms}
        if task.revision == self._only and tasks <= self._done_now.keys():
            self._write_commit_file(task.revision.commit)

    def _explain_regression(self) -> bool:
        """Whether a regression was explained, on a platform that works."""
        own = (one for one in self.state.unexplained() if one.platform in self.options.platforms)
        run = next((one for one in own if self._is_ready(one.platform)), None)
        if run is None:
            return False
        task = Task(run.revision, run.platform)
        # The commits that come after it must not wait for ever for the end of the search.
        failures = self.state.attempts(run.platform, run.revision.commit)
        try:
            explained = self.pipeline.explain(run, passes_over=failures >= HARNESS_ATTEMPTS - 1)
        except _INFRASTRUCTURE_ERRORS as error:
            if ends_the_harness(error):
                self.state.count_attempt(run.platform, run.revision.commit)
            self._put_off(run.platform, error, run.revision)
            return True
        if failures:
            self.state.finish([run])  # its attempts are over
        if explained.run != run:
            logger.warning(messages.withdrawn(explained.run))
            self.state.finish([explained.run])
            if task in self._done_now:
                self._done_now[task] = self._status(explained.run.status)
        culprits = explained.culprits
        for line in messages.culprit_lines(culprits):
            logger.warning(line)
        # Reported first: a kill in between reports it twice, which is better than never.
        commits = {one.revision.commit for one in culprits}
        silenced = self.known.silenced(commits) if self.known else set()
        news = [one for one in culprits if one.revision.commit not in silenced]
        if news:
            self.notifier.notify(messages.regression_event(run, news))
        self.state.add_culprits(culprits)
        if run.platform in self._retries:  # which the search needed, and there may be no further commit
            self._works_again(run.platform)
        return True

    # --- failures -------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        """An unreachable remote does not delay work on known commits."""
        self._last_fetch = time.monotonic()
        try:
            self.repo.fetch(self.options.branch)
        except RemoteError as error:
            self._statuses.add(ExitStatus.DEVICE_FAILED)
            if not self._fetch_failed:
                logger.warning("%s; continuing with the commits fetched before", error)
                self._begins_to_fail(REMOTE, str(error))
            self._fetch_failed = True
        else:
            if self._fetch_failed:
                logger.info("the remote can be reached again")
            self._fetch_failed = False
            self._no_longer_fails(REMOTE)

    def _put_off(self, platform: str, error: BenchmarkError, revision: Revision | None = None) -> None:
        before = self._retries.get(platform)
        failures = before.failures + 1 if before else 1
        delay_s = math.inf
        if self.options.mode is Mode.CONTINUOUS:
            delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 20))
        self._retries[platform] = _Retry(str(error), failures, time.monotonic() + delay_s)
        self._statuses.add(error.exit_status)
        logger.error(messages.put_off(platform, error, revision, delay_s))
        self._begins_to_fail(platform, str(error), revision)

    def _works_again(self, platform: str) -> None:
        if self._retries.pop(platform, None) is not None:
            logger.info("%s works again", platform)
        self._no_longer_fails(platform)

    def _begins_to_fail(self, what: str, message: str, revision: Revision | None = None) -> None:
        if what not in self._outages:
            self.notifier.notify(messages.failure_event(what, message, revision))
            self._remember_outages(self._outages | {what})

    def _no_longer_fails(self, what: str) -> None:
        if what in self._outages:
            self.notifier.notify(messages.recovery_event(what))
            self._remember_outages(self._outages - {what})

    def _remember_outages(self, outages: set[str]) -> None:
        self._outages = outages
        try:
            self.state.set_outages(outages)
        except StorageError as error:  # it may be the very outage
            logger.debug("the next run may report it again: %s", error)

    def _is_ready(self, platform: str) -> bool:
        retry = self._retries.get(platform)
        return retry is None or time.monotonic() >= retry.not_before

    # --- waiting --------------------------------------------------------------------------------------------

    @property
    def _look_s(self) -> float:
        return min(max(self.options.interval_s, SHORTEST_LOOK_S), LONGEST_LOOK_S)

    def _is_turn(self) -> bool:
        waits = self.options.mode is Mode.CONTINUOUS
        return not waits or time.monotonic() >= self._last_start + self.options.interval_s

    def _next_look(self) -> float:
        return min(self._last_fetch + self._look_s, *self._retry_times(), math.inf)

    def _retry_times(self) -> Iterator[float]:
        now = time.monotonic()
        return (one.not_before for one in self._retries.values() if one.not_before > now)

    def _wait_until(self, moment: float) -> None:
        """Waits until this time, or until it is told to stop."""
        while not self._is_told_to_stop():
            remaining_s = moment - time.monotonic()
            if remaining_s <= 0:
                return
            self.cancellation.wait(min(remaining_s, STATUS_POLL_S))

    def _is_told_to_stop(self) -> bool:
        if self.cancellation.is_set:
            return True
        path = self.options.status_file
        try:
            is_stopped = path is not None and _read_line(path) == "0"
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            if not self._status_file_failed:
                logger.warning("--status_file %s cannot be read: %s", path, error)
            self._status_file_failed = True
            return False
        self._status_file_failed = False
        if is_stopped:
            logger.info("--status_file %s says 0: stopping", path)
        return is_stopped


def _read_line(path: Path) -> str:
    """Reads the first line of a small text file.

    Raises:
        OSError, ValueError: it cannot be read, or is not a small text file.
    """
    return read_file(path, LINE_LIMIT_BYTES).decode("utf-8").strip()
