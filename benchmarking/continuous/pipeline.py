"""One commit on one platform: control, build, measurement and verdict; and the origin of a regression."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

from benchmarking.continuous.bisection import bisect, threshold
from benchmarking.continuous.builder import Builder, Built
from benchmarking.continuous.control import control_candidates
from benchmarking.continuous.history_choice import REACH, comparable_commits
from benchmarking.continuous.measurement import Harness, HarnessReport, HarnessRequest
from benchmarking.continuous.state import JUDGED, Culprit, Ratios, Run, RunStatus, State, Suspect, find_key
from benchmarking.errors import (
    BenchmarkError,
    BuildError,
    DeviceError,
    ExitStatus,
    HarnessError,
    HarnessRefusedError,
    StorageError,
)
from benchmarking.programs.build_script import SCARCE_BYTES
from benchmarking.repos.repo_base import RepoBase, Revision
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import Outcome, Result, TestKey, Verdict, by_test
from benchmarking.terminal import streams

logger = logging.getLogger(__name__)

HARNESS_ATTEMPTS = 3
"""The number of times that a commit may end the harness itself (by a bug, or lack of memory) before it counts
as failed.
"""


@dataclass(frozen=True)
class Task:
    revision: Revision
    platform: str


class BuildQueue:
    """One thread that builds in the order of the requests. A bug in it is raised by ``get``."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="builder")
        self._futures: dict[Task, Future[Built]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def set_ahead(self, tasks: Collection[Task]) -> None:
        """Sets the next builds; earlier plans that have not begun are dropped."""
        for task in [one for one in self._futures if one not in tasks]:
            if self._futures[task].cancel():
                del self._futures[task]
        for task in tasks:
            self._submit(task)

    def get(self, task: Task) -> Built:
        ahead = self._futures.get(task)
        # What hindered it then (a full disk, a remote that was away) may be over.
        if ahead and ahead.done() and not isinstance(ahead.exception(), BuildError | None):
            del self._futures[task]
        self._submit(task)
        return self._futures.pop(task).result()

    def _submit(self, task: Task) -> None:
        if task not in self._futures:
            self._futures[task] = self._executor.submit(self._builder.build, task.revision, task.platform)


@dataclass(frozen=True)
class Finished:
    run: Run
    around_it: ExitStatus = ExitStatus.OK
    """Problems that are not the commit's: a device is missing, or a reporter could not deliver."""


@dataclass(frozen=True)
class Explained:
    run: Run
    """Without the suspects that turned out to be those of a commit before."""
    culprits: Sequence[Culprit] = ()


@dataclass(frozen=True)
class Pipeline:
    repo: RepoBase
    builder: Builder
    builds: BuildQueue
    harness: Harness
    state: State
    base: Revision | None = None
    detects_regressions: bool = False
    show_screen: bool = False
    show_document: bool = False

    def run(self, task: Task, ahead: Collection[Task] = ()) -> Finished:
        """The records of the task; ``ahead`` is built while it is measured.

        Raises:
            RepositoryError, StorageError, DeviceError, HarnessError: nothing can be said of the commit; it
                is to be tried again.
            UsageError, RunCancelledError
        """
        started = time.monotonic()
        try:
            built = self.build(task)
        except BuildError as error:
            build_s, now = time.monotonic() - started, time.time()
            status = RunStatus.BUILD_FAILED
            run = Run(task.platform, task.revision, status, str(error), build_s=build_s, finished_at=now)
            return Finished(run)
        control = self._control(task) if self.detects_regressions or self.base else None
        history = self._history(task, control) if self.detects_regressions and control else ()
        self.builds.set_ahead(ahead)
        measured = self._measure(HarnessRequest(task.platform, built, control, history))
        return Finished(_run(task, built, control, measured), _around(measured))

    def build(self, task: Task) -> Built:
        """
        Raises:
            BuildError: it cannot be built, now or in an earlier run with the same script.
        """
        script_sha256 = self.builder.script_sha256(task.platform)
        known = self.state.build_failure(task.platform, task.revision.commit, script_sha256)
        if known is not None:
            raise BuildError(known)
        try:
            return self.builds.get(task)
        except BuildError as error:
            self.state.fail_build(task.platform, task.revision.commit, script_sha256, str(error))
            raise

    def _control(self, task: Task) -> Built | None:
        """The first candidate that can be built; None for a root commit, or if no candidate can be built."""
        for revision in control_candidates(self.repo, task.revision, self.base):
            try:
                return self.build(Task(revision, task.platform))
            except BuildError:
                logger.info("%s cannot be built and is not used as a control", revision.short)
        return None

    def _history(self, task: Task, control: Built) -> list[Revision]:
        chain = list(islice(self.repo.chain(task.revision.commit), REACH))
        culprits = [one.revision.commit for one in self.state.culprits() if one.platform == task.platform]
        return comparable_commits(chain, self._runs(chain, task.platform), control.revision.commit, culprits)

    def _runs(self, chain: Sequence[Revision], platform: str) -> dict[str, Run]:
        runs = self.state.runs([one.commit for one in chain])
        return {commit: run for (commit, where), run in runs.items() if where == platform}

    def _measure(self, request: HarnessRequest) -> Document:
        """The results of the harness. Its exit status is only used if it left no document, because the user's
        options change the status, and because it does not show whether the answer is complete.
        """
        report = self.harness.measure(replace(request, positions=self._positions(request)))
        if self.show_screen:
            streams.show(report.screen)
        if self.show_document:
            streams.show(report.output.decode("utf-8", errors="replace"))
        try:
            document = documents.read(Document, report.output)
        except ValueError as error:
            raise _without_document(report, request.platform, str(error)) from error
        _require_measurement(document, report, request.platform)
        if document.problems:
            _require_room(report)
            for problem in document.problems:
                logger.error(problem)
        return document

    def _positions(self, request: HarnessRequest) -> dict[str, int]:
        commits = [one.revision.commit for one in (request.treatment, request.control) if one]
        return {commit: self.repo.position(commit) for commit in commits}

    # --- the origin of a regression -------------------------------------------------------------------------

    def explain(self, run: Run, *, passes_over: bool = False) -> Explained:
        """The culprit of every suspect, found by bisection if commits before it were not judged.

        A commit that follows one with a regression was compared with a control that has none. How much slower
        it is than the commit before needs a measurement against that commit; if it is not, there is no
        culprit, as the regression is known.

        Args:
            passes_over: commits that end the harness are treated as those that cannot be built.

        Raises:
            RepositoryError, StorageError, DeviceError, HarnessError: to be tried again; what was measured
                is remembered.
        """
        good = self._last_good(run)
        if good is None:
            return Explained(
                run, [_culprit(run, one, None, note="no earlier commit was judged") for one in run.suspects]
            )
        commits = self.repo.commits_after(good.commit, run.revision.commit)
        is_known = self._has_regressed(good, run.platform)
        if len(commits) == 1 and not is_known:
            culprits = [_culprit(run, one, good) for one in run.suspects]
        else:
            logger.info(
                "%s regressed on %s: %s %s",
                *(run.revision.short, run.platform),
                f"searching the {len(commits)} commits since" if len(commits) > 1 else "measuring it against",
                good.short,
            )
            culprits = [self._narrow(run, one, good, commits, passes_over) for one in run.suspects]
            if is_known:
                run = _without(run, [one.suspect for one in culprits if not _is_slower(one)], good)
                culprits = [one for one in culprits if _is_slower(one)]
        self._report_culprits(run, good, culprits, passes_over)
        return Explained(run, culprits)

    def _last_good(self, run: Run) -> Revision | None:
        chain = list(islice(self.repo.chain(run.revision.commit), REACH))[1:]
        runs = self._runs(chain, run.platform)
        judged = (one for one in chain if one.commit in runs and runs[one.commit].status in JUDGED)
        return next(judged, None)

    def _has_regressed(self, good: Revision, platform: str) -> bool:
        run = self._runs([good], platform).get(good.commit)
        return run is not None and run.status in (RunStatus.KNOWN, RunStatus.REGRESSED)

    def _narrow(
        self, run: Run, suspect: Suspect, good: Revision, commits: Sequence[Revision], passes_over: bool
    ) -> Culprit:
        bad_ratio = self._ratio(suspect, good, commits[-1], run.platform, passes_over)
        if bad_ratio is None:
            return _culprit(run, suspect, good, note=f"it could not be measured against {good.short}")
        measured = replace(suspect, ratio=bad_ratio)
        if bad_ratio <= 1.0:
            return _culprit(
                run, measured, good, note=f"measured again against {good.short} it was not slower"
            )
        limit = threshold(bad_ratio)

        def is_bad(revision: Revision) -> bool | None:
            ratio = self._ratio(suspect, good, revision, run.platform, passes_over)
            return None if ratio is None else ratio > limit

        narrowed = bisect(commits, is_bad)
        return _culprit(run, measured, good, narrowed.culprit, narrowed.note)

    def _ratio(
        self, suspect: Suspect, good: Revision, revision: Revision, platform: str, passes_over: bool
    ) -> float | None:
        """The slowdown relative to ``good``; None if the commit cannot be built or the test fails."""
        ratios = self.state.probe(platform, good.commit, revision.commit)
        if ratios is None:
            try:
                ratios = self._probe(good, revision, platform)
            except HarnessError as error:
                if not (passes_over and ends_the_harness(error)):
                    raise
                logger.error("%s is passed over: %s", revision.short, error)
                ratios = {}
            self.state.add_probe(platform, good.commit, revision.commit, ratios)
        return ratios.get(find_key(suspect.key, ratios), {}).get(suspect.type)

    def _probe(self, good: Revision, revision: Revision, platform: str) -> Ratios:
        try:
            treatment = self.build(Task(revision, platform))
            control = self.build(Task(good, platform))
        except BuildError:
            return {}
        measured = self._measure(HarnessRequest(platform, treatment, control, run_type="verify"))
        logger.info("%s measured against %s in %.1f s", revision.short, good.short, measured.duration_s)
        return {
            result.test: {
                one.type: 1.0 if one.verdict is Verdict.UNCHANGED else one.ratio
                for one in result.types
                if one.ratio is not None
            }
            for result in measured.results
        }

    def _report_culprits(
        self, run: Run, good: Revision, culprits: Sequence[Culprit], passes_over: bool
    ) -> None:
        """Reports a regression that was found by bisection to every reporter as a confirmed regression of
        that commit.
        """
        by_commit: dict[str, list[Culprit]] = {}
        for one in culprits:
            by_commit.setdefault(one.revision.commit, []).append(one)
        by_commit.pop(run.revision.commit, None)  # reported when it was confirmed
        for found in by_commit.values():
            try:
                self._report(run, good, found)
            except BuildError as error:  # it was built when it was measured, and removed since
                logger.error("%s is not reported: %s", found[0].revision.short, error)
            except HarnessError as error:
                if not (passes_over and ends_the_harness(error)):
                    raise
                logger.error("%s is not reported: %s", found[0].revision.short, error)

    def _report(self, run: Run, good: Revision, found: Sequence[Culprit]) -> None:
        treatment = self.build(Task(found[0].revision, run.platform))
        control = self.build(Task(good, run.platform))
        for types, tests in _tests_by_types(one.suspect for one in found).items():
            self._measure(
                HarnessRequest(
                    platform=run.platform,
                    treatment=treatment,
                    control=control,
                    run_type="regress",
                    regressed_types=types,
                    tests=tests,
                )
            )


def ends_the_harness(error: BenchmarkError) -> bool:
    """Whether the commit itself may be at fault, and not the options."""
    return isinstance(error, HarnessError) and not isinstance(error, HarnessRefusedError)


def _culprit(
    run: Run, suspect: Suspect, good: Revision | None, revision: Revision | None = None, note: str = ""
) -> Culprit:
    """``revision``: None: the one of the run."""
    return Culprit(
        platform=run.platform,
        regressed=run.revision.commit,
        suspect=suspect,
        good=good.commit if good else None,
        revision=revision or run.revision,
        note=note,
        found_at=time.time(),
    )


def _is_slower(culprit: Culprit) -> bool:
    return culprit.suspect.ratio is None or culprit.suspect.ratio > 1.0


def _without(run: Run, suspects: Sequence[Suspect], good: Revision) -> Run:
    """As if these had been found to be known."""
    if not suspects:
        return run
    gone = {(one.key, one.type) for one in suspects}
    left = tuple(one for one in run.suspects if (one.key, one.type) not in gone)
    tests = dict.fromkeys(one.label for one in suspects)
    detail = "\n".join([run.detail, *(f"{one}: not slower than {good.short}" for one in tests)])
    has_failures = "\n" in run.detail  # behind the number of tests
    without_suspects = RunStatus.FAILED if has_failures else RunStatus.KNOWN
    status = RunStatus.REGRESSED if left else without_suspects
    return replace(run, suspects=left, status=status, detail=detail)


def _tests_by_types(suspects: Iterable[Suspect]) -> dict[tuple[str, ...], tuple[TestKey, ...]]:
    """A run marks the same types in each of its tests, so tests with other suspects need another run.

    No tests, which means all tests, if an older state only recorded the label.
    """
    types: dict[TestKey, dict[str, None]] = {}
    for one in suspects:
        types.setdefault(one.key, {})[one.type] = None
    found: dict[tuple[str, ...], tuple[TestKey, ...]] = {}
    for key, names in types.items():
        found[tuple(names)] = (*found.get(tuple(names), ()), *([key] if key.net else []))
    return found


def _run(task: Task, built: Built, control: Built | None, measured: Document) -> Run:
    results = measured.results
    failures = [f"{one.label}: {one.failure.message}" for one in results if one.failure]
    suspects = tuple(
        Suspect(result.test, result.label, one.type, one.ratio)
        for result in results
        for one in result.types
        if one.regressed
    )
    tests = by_test(results)
    number = len(tests)
    return Run(
        platform=task.platform,
        revision=task.revision,
        status=_status(suspects, failures, tests),
        detail="\n".join([f"{number} tests" if number != 1 else "1 test", *failures]),
        control=control.revision.commit if control else None,
        build_s=built.build_s,
        run_s=measured.duration_s,
        finished_at=time.time(),
        suspects=suspects,
    )


def _status(
    suspects: Sequence[Suspect], failures: Sequence[str], tests: Sequence[Sequence[Result]]
) -> RunStatus:
    """The most severe status that applies.

    Args:
        tests: the stages of each.
    """
    if suspects:
        return RunStatus.REGRESSED
    if failures:
        return RunStatus.FAILED
    if any(one.net and one.net.verdict is Verdict.INCONCLUSIVE for one, *_ in tests):
        return RunStatus.INCONCLUSIVE
    is_known = any(one.outcome is Outcome.KNOWN for *_, one in tests)
    return RunStatus.KNOWN if is_known else RunStatus.MEASURED


def _around(document: Document) -> ExitStatus:
    if document.misses_devices:
        return ExitStatus.DEVICE_FAILED
    return ExitStatus.REPORTER_FAILED if document.problems else ExitStatus.OK


# --- valid answers ------------------------------------------------------------------------------------------


def _without_document(
    report: HarnessReport, platform: str, why: str
) -> DeviceError | HarnessError | StorageError:
    """The error for a harness that left no complete document, whatever its exit status."""
    if _is_scarce(report):
        return StorageError(f"the disk of {report.log.parent} is full: the results could not be read")
    if report.exit_status == ExitStatus.DEVICE_FAILED:
        return DeviceError(f"a device of {platform} failed", report.tail())
    kind = HarnessRefusedError if report.exit_status == ExitStatus.BAD_USAGE else HarnessError
    return kind(f"{_end(report)} and left no complete document of results: {why}\n{report.tail()}")


def _require_measurement(document: Document, report: HarnessReport, platform: str) -> None:
    """Requires that everything was measured.

    Raises:
        DeviceError, HarnessError: the document says that not everything was measured that should have been.
    """
    if document.exit_status is ExitStatus.INTERRUPTED:
        raise HarnessError(f"the harness was interrupted before it had measured everything\n{report.tail()}")
    if document.exit_status is ExitStatus.BAD_USAGE:
        raise HarnessRefusedError(f"{_end(report)}\n{report.tail()}")
    if document.has_bug:
        raise HarnessError(f"{_end(report)}: a bug of the harness\n{report.tail()}")
    if document.misses_devices and not document.has_regression:
        raise DeviceError(f"a device of {platform} failed", report.tail())
    if not document.results:
        raise HarnessError(f"{_end(report)} and measured nothing\n{report.tail()}")


def _require_room(report: HarnessReport) -> None:
    if _is_scarce(report):
        raise StorageError(f"the disk of {report.log.parent} is full: the results could not be saved")


def _is_scarce(report: HarnessReport) -> bool:
    return shutil.disk_usage(report.log.parent).free < SCARCE_BYTES


def _end(report: HarnessReport) -> str:
    if report.exit_status is None:
        return "the harness ran longer than --run_timeout, was killed,"
    if report.exit_status < 0:
        return f"the harness was ended by signal {-report.exit_status}"
    return f"the harness ended with exit status {report.exit_status}"
