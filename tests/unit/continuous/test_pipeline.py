"""What the loop makes of the harness's answer: the document counts, not the exit status."""

import io
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.continuous import pipeline as pipeline_module
from benchmarking.continuous.builder import Built
from benchmarking.continuous.measurement import HarnessReport
from benchmarking.continuous.pipeline import BuildQueue, Explained, Pipeline, Task
from benchmarking.continuous.state import Run, RunStatus, State, Suspect
from benchmarking.errors import (
    BuildError,
    DeviceError,
    ExitStatus,
    HarnessError,
    HarnessRefusedError,
    StorageError,
)
from benchmarking.reporters.json_reporter import JsonReporter
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import NET_DELAY, Comparison, Failure, FailureKind, Verdict
from tests.support.sample_results import AGAINST_CONTROL, decided, delays, errors, having
from tests.support.waiting import wait_until

DELAY = having(AGAINST_CONTROL, identifier="same", types=(delays(NET_DELAY, 100.0),))
ERROR = having(AGAINST_CONTROL, identifier="same", metric="error", types=(errors("softmax", 1e-6),))


def slower(result, ratio):
    types = (replace(result.types[0], comparison=Comparison(7, ratio, None)), *result.types[1:])
    return replace(result, types=types)


def confirmed(result, ratio):
    found = slower(result, ratio)
    types = (replace(found.types[0], regressed=True), *found.types[1:])
    return having(found, run_type="regress", types=types)


def judged(result, verdict, **more):
    return replace(result, types=(replace(decided(result.types[0], verdict, "why"), **more),))


def failed(result, kind):
    return replace(result, types=(), failure=Failure(kind, "SomeError", "what went wrong"))


def document(*results, exit_status=ExitStatus.OK, problems=()):
    stream = io.StringIO()
    reporter = JsonReporter(stream)
    for result in results:
        reporter.report(result)
    reporter.finish(RunSummary(exit_status, 1.0, (), problems))
    return stream.getvalue().encode()


def revision(number):
    return Revision(f"{number:040x}", 1772409600 + 3600 * number, "Ann <ann@example.org>", f"commit {number}")


class Line:
    """A branch, its builds and the harness's answers, in memory."""

    def __init__(self, directory, length=2):
        self.directory = directory
        self.revisions = [revision(number) for number in range(length)]
        self.answers = {}
        self.asked = []

    def chain(self, commit):
        return reversed(self.revisions[: int(commit, 16) + 1])

    def commits_after(self, after, until):
        return self.revisions[int(after, 16) + 1 : int(until, 16) + 1]

    def position(self, commit):
        return int(commit, 16)

    def script_sha256(self, platform):
        return "script"

    def get(self, task):
        return Built(task.revision, self.directory / "program", 0.0)

    def set_ahead(self, tasks):
        pass

    def measure(self, request):
        number = int(request.treatment.revision.commit, 16)
        self.asked.append(request)
        exit_status, output = self.answers[number]
        return HarnessReport(exit_status, self.directory / "harness.log", "what it said", output)


@pytest.fixture
def line(tmp_path):
    return Line(tmp_path)


@pytest.fixture
def state(tmp_path):
    with State(tmp_path / "state.sqlite3", "a.json") as one:
        yield one


def pipeline(line, state):
    return Pipeline(repo=line, builder=line, builds=line, harness=line, state=state, detects_regressions=True)


def run(line, state, output, exit_status=0):
    line.answers[1] = exit_status, output
    return pipeline(line, state).run(Task(line.revisions[1], "host")).run


REGRESSED = (DELAY, confirmed(DELAY, 1.84))
KNOWN_WHEN_VERIFIED = (
    judged(DELAY, Verdict.REGRESSED),
    ERROR,
    having(judged(DELAY, Verdict.REGRESSED, known=True), run_type="verify"),
)


# --- an answer that is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\n",
        b"null",
        b"{}",
        b"[]",
        b'{"results": [], "exit_status": 0}',
        document(DELAY)[:-20],
        document(DELAY).replace(b'"exit_status": 0', b'"exit_status": 77'),
        document(DELAY).replace(b'"platform_hash"', b'"other"'),
        document(DELAY).replace(b'"problems": []', b'"problems": null'),
        b"[" * 100_000,
        document(DELAY) + document(DELAY),
        document(),
    ],
    ids=lambda output: output[:30].decode(),
)
@pytest.mark.parametrize("exit_status", [0, 3, 5, 6, 8, 139, -9, None])
def test_without_a_complete_document_nothing_was_measured(line, state, output, exit_status):
    with pytest.raises(HarnessError) as error:
        run(line, state, output, exit_status)
    assert "what it said" in str(error.value)
    assert state.runs([line.revisions[1].commit]) == {}


def test_without_a_document_the_exit_status_says_what_kind_of_failure_it_is(line, state):
    with pytest.raises(HarnessRefusedError):
        run(line, state, b"", ExitStatus.BAD_USAGE)
    with pytest.raises(DeviceError):
        run(line, state, b"", ExitStatus.DEVICE_FAILED)


def test_the_control_and_what_it_took_are_recorded(line, state):
    found = run(line, state, document(DELAY))
    assert (found.control, found.run_s) == (line.revisions[0].commit, 1.0)


# --- the verdict --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exit_status", [0, 3, 4, 5, 6, 8, -9, None])
@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((DELAY,), RunStatus.MEASURED),
        (REGRESSED, RunStatus.REGRESSED),
        ((*REGRESSED, failed(ERROR, FailureKind.CASE)), RunStatus.REGRESSED),
        ((*REGRESSED, failed(ERROR, FailureKind.DEVICE)), RunStatus.REGRESSED),
        ((DELAY, failed(ERROR, FailureKind.CASE)), RunStatus.FAILED),
        ((judged(DELAY, Verdict.INCONCLUSIVE), ERROR), RunStatus.INCONCLUSIVE),
        ((judged(DELAY, Verdict.REGRESSED, known=True), ERROR), RunStatus.KNOWN),
        (KNOWN_WHEN_VERIFIED, RunStatus.KNOWN),
        ((judged(DELAY, Verdict.REGRESSED), ERROR), RunStatus.MEASURED),  # and then not confirmed
    ],
)
def test_the_verdict_comes_from_the_document(line, state, results, expected, exit_status):
    found = run(line, state, document(*results, exit_status=ExitStatus.OK), exit_status)
    assert found.status is expected
    assert bool(found.suspects) == (expected is RunStatus.REGRESSED)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (document(DELAY, failed(ERROR, FailureKind.DEVICE)), DeviceError),
        (document(DELAY, failed(ERROR, FailureKind.LOST)), DeviceError),
        (document(DELAY, exit_status=ExitStatus.DEVICE_FAILED, problems=["on gpu"]), DeviceError),
        (document(DELAY, failed(ERROR, FailureKind.BUG)), HarnessError),
        (document(DELAY, exit_status=ExitStatus.INTERNAL_ERROR), HarnessError),
        (document(DELAY, exit_status=ExitStatus.INTERRUPTED), HarnessError),
        (document(exit_status=ExitStatus.BAD_USAGE, problems=["no such device"]), HarnessRefusedError),
        (document(exit_status=ExitStatus.DEVICE_FAILED, problems=["no device"]), DeviceError),
    ],
)
def test_what_is_not_the_commits_fault_is_tried_again(line, state, output, error):
    with pytest.raises(error):
        run(line, state, output)


@pytest.mark.parametrize("exit_status", [ExitStatus.OK, ExitStatus.REPORTER_FAILED, ExitStatus.INCONCLUSIVE])
def test_a_reporter_that_failed_is_known_whatever_else_happened(line, state, exit_status):
    output = document(DELAY, exit_status=exit_status, problems=["the junit reporter failed: full"])
    line.answers[1] = int(exit_status), output
    finished = pipeline(line, state).run(Task(line.revisions[1], "host"))
    assert finished.run.status is RunStatus.MEASURED
    assert finished.around_it is ExitStatus.REPORTER_FAILED


def test_a_missing_device_beside_a_regression_is_known(line, state):
    output = document(*REGRESSED, exit_status=ExitStatus.DEVICE_FAILED, problems=["on another device"])
    line.answers[1] = 0, output
    finished = pipeline(line, state).run(Task(line.revisions[1], "host"))
    assert finished.run.status is RunStatus.REGRESSED
    assert finished.around_it is ExitStatus.DEVICE_FAILED


# --- where it comes from ------------------------------------------------------------------------------------


def test_tests_of_one_label_are_bisected_apart(tmp_path, state):
    """The delay regressed at commit 2; the error of the same identifier never did."""
    line = Line(tmp_path, length=6)
    state.finish([Run("host", line.revisions[0], RunStatus.MEASURED)])
    for number in range(1, 6):
        delay = slower(DELAY, 2.0 if number >= 2 else 1.0)
        line.answers[number] = 0, document(delay, slower(ERROR, 1.0))
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 2.0)
    regressed = Run("host", line.revisions[5], RunStatus.REGRESSED, suspects=(suspect,))

    (culprit,) = pipeline(line, state).explain(regressed).culprits

    assert culprit.revision == line.revisions[2]
    assert culprit.note == ""
    assert culprit.suspect.key == DELAY.test
    report = line.asked[-1]
    assert (report.run_type, report.regressed_types, report.tests) == ("regress", (NET_DELAY,), (DELAY.test,))
    probes = state.probe("host", line.revisions[0].commit, line.revisions[5].commit)
    assert set(probes) == {DELAY.test, ERROR.test}


def test_a_commit_is_not_the_good_one_before_itself(line, state):
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 2.0)
    run = Run("host", line.revisions[1], RunStatus.REGRESSED, suspects=(suspect,))
    state.finish([Run("host", line.revisions[0], RunStatus.MEASURED), run])
    (culprit,) = pipeline(line, state).explain(run).culprits
    assert (culprit.good, culprit.revision) == (line.revisions[0].commit, line.revisions[1])


def test_a_search_passes_over_the_commits_that_end_the_harness(tmp_path, state, caplog):
    line = Line(tmp_path, length=6)
    state.finish([Run("host", line.revisions[0], RunStatus.MEASURED)])
    for number in range(1, 6):
        line.answers[number] = 0, document(slower(DELAY, 2.0 if number >= 2 else 1.0))
    line.answers[2] = -9, b""
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 2.0)
    regressed = Run("host", line.revisions[5], RunStatus.REGRESSED, suspects=(suspect,))
    with pytest.raises(HarnessError):
        pipeline(line, state).explain(regressed)

    (culprit,) = pipeline(line, state).explain(regressed, passes_over=True).culprits

    assert (culprit.revision, culprit.note) == (
        line.revisions[3],
        f"or one of {line.revisions[2].short}, which could not be measured",
    )
    assert f"{line.revisions[2].short} is passed over: the harness was ended by signal 9" in caplog.text
    assert line.asked[-1].run_type == "regress"
    # What is known by now is not measured again, and a report that ends the harness costs only itself.
    line.answers[3] = -9, b""
    with pytest.raises(HarnessError):
        pipeline(line, state).explain(regressed)
    (again,) = pipeline(line, state).explain(regressed, passes_over=True).culprits
    assert again.revision == culprit.revision
    assert f"{line.revisions[3].short} is not reported: the harness was ended" in caplog.text
    line.answers[3] = ExitStatus.BAD_USAGE, b""
    with pytest.raises(HarnessRefusedError):
        pipeline(line, state).explain(regressed, passes_over=True)


def test_a_search_that_the_harness_refuses_passes_over_nothing(line, state):
    state.finish([Run("host", line.revisions[0], RunStatus.KNOWN)])
    line.answers[1] = ExitStatus.BAD_USAGE, b""
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 2.0)
    regressed = Run("host", line.revisions[1], RunStatus.REGRESSED, suspects=(suspect,))
    with pytest.raises(HarnessRefusedError):
        pipeline(line, state).explain(regressed, passes_over=True)
    line.answers[1] = -9, b""
    (culprit,) = pipeline(line, state).explain(regressed, passes_over=True).culprits
    assert (culprit.revision, culprit.note) == (
        line.revisions[1],
        f"it could not be measured against {line.revisions[0].short}",
    )


@pytest.mark.parametrize("broken", [0, 2])
def test_a_culprit_that_cannot_be_built_any_more_is_known_and_not_measured_again(
    tmp_path, state, monkeypatch, caplog, broken
):
    """All that bisection needs was measured by a loop that was killed, and its programs are gone."""
    line = Line(tmp_path, length=4)
    state.finish([Run("host", line.revisions[0], RunStatus.MEASURED)])
    for number in (1, 2, 3):
        ratio = {DELAY.test: {NET_DELAY: 2.0 if number >= 2 else 1.0}}
        state.add_probe("host", line.revisions[0].commit, line.revisions[number].commit, ratio)

    def get(task):
        if task.revision == line.revisions[broken]:
            raise BuildError("no compiler")
        return Built(task.revision, tmp_path / "program", 0.0)

    monkeypatch.setattr(line, "get", get)
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 2.0)
    regressed = Run("host", line.revisions[3], RunStatus.REGRESSED, suspects=(suspect,))

    (culprit,) = pipeline(line, state).explain(regressed).culprits

    assert culprit.revision == line.revisions[2]
    assert line.asked == []
    assert f"{line.revisions[2].short} is not reported: no compiler" in caplog.text


@pytest.mark.parametrize(
    ("before", "answer", "ratio", "note"),
    [
        (RunStatus.MEASURED, None, 9.0, ""),
        (RunStatus.KNOWN, slower(DELAY, 2.0), 2.0, ""),
        (RunStatus.REGRESSED, slower(DELAY, 2.0), 2.0, ""),
        (RunStatus.KNOWN, failed(DELAY, FailureKind.CASE), 9.0, "it could not be measured against"),
    ],
)
def test_a_commit_after_a_known_regression_is_measured_against_the_commit_before(
    line, state, before, answer, ratio, note
):
    """The control has no regression, so a ratio to it says nothing about the two commits."""
    state.finish([Run("host", line.revisions[0], before)])
    if answer is not None:
        line.answers[1] = 0, document(answer)
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 9.0)
    run = Run("host", line.revisions[1], RunStatus.REGRESSED, suspects=(suspect,))

    explained = pipeline(line, state).explain(run)

    (culprit,) = explained.culprits
    assert explained.run == run
    assert [(one.control.revision, one.run_type) for one in line.asked] == (
        [] if answer is None else [(line.revisions[0], "verify")]
    )
    assert (culprit.revision, culprit.suspect.ratio) == (line.revisions[1], ratio)
    assert note in culprit.note
    assert bool(note) == bool(culprit.note)


@pytest.mark.parametrize("answer", [judged(slower(DELAY, 1.004), Verdict.UNCHANGED), slower(DELAY, 0.98)])
def test_a_commit_that_is_not_slower_than_one_with_a_known_regression_is_not_blamed(line, state, answer):
    state.finish([Run("host", line.revisions[0], RunStatus.KNOWN)])
    line.answers[1] = 0, document(answer, slower(ERROR, 3.0))
    delay = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 9.0)
    error = Suspect(ERROR.test, "squeezenet golden on here", ERROR.types[0].type, 9.0)
    run = Run("host", line.revisions[1], RunStatus.REGRESSED, "2 tests", suspects=(delay,))

    explained = pipeline(line, state).explain(run)
    both = pipeline(line, state).explain(replace(run, suspects=(delay, error)))

    detail = f"2 tests\nsqueezenet same on here: not slower than {line.revisions[0].short}"
    assert explained == Explained(replace(run, status=RunStatus.KNOWN, detail=detail, suspects=()), [])
    assert both.run == replace(run, detail=detail, suspects=(error,))
    with_failure = pipeline(line, state).explain(replace(run, detail="2 tests\nlenet: crashed"))
    assert with_failure.run.status is RunStatus.FAILED
    assert [one.suspect for one in both.culprits] == [replace(error, ratio=3.0)]


def test_a_commit_that_is_not_slower_than_one_without_a_regression_is_still_reported(tmp_path, state):
    """It is slower than the control of both: something became slower little by little."""
    line = Line(tmp_path, length=3)
    state.finish(
        [
            Run("host", line.revisions[0], RunStatus.MEASURED),
            Run("host", line.revisions[1], RunStatus.SKIPPED),
        ]
    )
    line.answers[2] = 0, document(judged(slower(DELAY, 1.004), Verdict.UNCHANGED))
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 9.0)
    run = Run("host", line.revisions[2], RunStatus.REGRESSED, suspects=(suspect,))

    explained = pipeline(line, state).explain(run)

    (culprit,) = explained.culprits
    assert explained.run == run
    assert (culprit.revision, culprit.note) == (
        line.revisions[2],
        f"measured again against {line.revisions[0].short} it was not slower",
    )


# --- builds -------------------------------------------------------------------------------------------------


class Builds:
    """In the place of a builder: each build waits until it may go on, and some fail."""

    def __init__(self, *broken):
        self.broken = broken
        self.begun = []
        self.may_end = threading.Event()
        self.may_end.set()
        self.has_begun = threading.Event()

    def script_sha256(self, platform):
        return "script"

    def build(self, revision, platform):
        number = int(revision.commit, 16)
        self.begun.append((number, platform))
        self.has_begun.set()
        assert self.may_end.wait(60)
        if number in self.broken:
            raise BuildError(f"{number} cannot be built")
        return Built(revision, Path("/program"), 0.5)


def tasks(*numbers):
    return [Task(revision(number), "host") for number in numbers]


def test_what_is_ahead_is_built_in_its_order_and_once():
    builds = Builds()
    with BuildQueue(builds) as queue:
        queue.set_ahead(tasks(1, 2, 3))
        assert queue.get(tasks(3)[0]).revision == revision(3)
        assert builds.begun == [(1, "host"), (2, "host"), (3, "host")]
        queue.set_ahead(tasks(2, 1))
        assert queue.get(tasks(1)[0]).revision == revision(1)
        assert len(builds.begun) == 3
        # What was taken is built again, if it is asked for again: the builder knows whether it has to.
        assert queue.get(Task(revision(1), "host/mkl")).revision == revision(1)
        assert queue.get(tasks(1)[0]).revision == revision(1)
        assert builds.begun[3:] == [(1, "host/mkl"), (1, "host")]


def test_what_hindered_a_build_ahead_may_be_over_when_it_is_needed():
    builds = Builds()
    failures = [StorageError("the disk is full")]

    def build(revision, platform):
        builds.begun.append(1)
        if failures:
            raise failures.pop()
        return Built(revision, Path("/program"), 0.5)

    builds.build = build
    with BuildQueue(builds) as queue:
        queue.set_ahead(tasks(1))
        wait_until(lambda: queue._futures[tasks(1)[0]].done())
        assert queue.get(tasks(1)[0]).revision == revision(1)
    broken = Builds(1)
    with BuildQueue(broken) as queue:
        queue.set_ahead(tasks(1))
        wait_until(lambda: queue._futures[tasks(1)[0]].done())
        with pytest.raises(BuildError):
            queue.get(tasks(1)[0])
    assert broken.begun == [(1, "host")]


def test_plans_that_have_not_begun_are_dropped():
    builds = Builds()
    builds.may_end.clear()
    with BuildQueue(builds) as queue:
        queue.set_ahead(tasks(1, 2, 3))
        assert builds.has_begun.wait(60)
        queue.set_ahead(tasks(3, 4))
        builds.may_end.set()
        for one in (4, 3, 1):
            assert queue.get(tasks(one)[0]).revision == revision(one)
        assert [number for number, _ in builds.begun] == [1, 3, 4]
        # They can be planned again.
        assert queue.get(tasks(2)[0]).revision == revision(2)


def test_at_the_end_nothing_more_is_built():
    builds = Builds()
    with BuildQueue(builds) as queue:

        def is_cancelled():
            future = queue._futures.get(tasks(2)[0])
            return future and future.cancelled()

        # The first one goes on until the second one will not begin any more.
        builds.may_end.wait = lambda _: wait_until(is_cancelled) is None
        queue.set_ahead(tasks(1, 2))
        assert builds.has_begun.wait(60)
    assert [number for number, _ in builds.begun] == [1]


@pytest.fixture
def building(line, state):
    """Makes the pipeline of a line, some of whose commits cannot be built."""
    queues = []

    def make(*broken, **options):
        builds = Builds(*broken)
        queues.append(BuildQueue(builds))
        made = Pipeline(repo=line, builder=builds, builds=queues[-1], harness=line, state=state, **options)
        return made, builds

    with ExitStack() as stack:
        yield make
        for one in queues:
            stack.enter_context(one)


def test_a_commit_that_cannot_be_built_is_recorded_and_not_measured(building, line):
    made, builds = building(1)
    finished = made.run(tasks(1)[0])
    found = finished.run
    assert (found.status, found.detail) == (RunStatus.BUILD_FAILED, "1 cannot be built")
    assert (found.platform, found.revision) == ("host", line.revisions[1])
    assert found.finished_at > found.build_s >= 0
    assert finished.around_it is ExitStatus.OK
    assert line.asked == []
    # Nor is it built again with the same script.
    assert made.run(tasks(1)[0]).run.detail == "1 cannot be built"
    assert builds.begun == [(1, "host")]
    made.run(Task(revision(1), "gpu"))
    assert builds.begun == [(1, "host"), (1, "gpu")]


def test_a_commit_is_measured_while_the_next_are_built(building, line):
    made, builds = building()
    line.answers[1] = 0, document(DELAY)
    measure = line.measure

    def wait_for_the_next(request):
        wait_until(lambda: len(builds.begun) == 2)
        return measure(request)

    line.measure = wait_for_the_next
    assert made.run(tasks(1)[0], tasks(0)).run.status is RunStatus.MEASURED
    assert builds.begun == [(1, "host"), (0, "host")]
    (request,) = line.asked
    assert (request.control, request.history) == (None, ())


@pytest.mark.parametrize(("broken", "control"), [((), 0), ((0,), 1), ((0, 1, 2), None)])
def test_a_control_that_cannot_be_built_is_replaced_by_a_later_commit(
    tmp_path, building, line, caplog, broken, control
):
    caplog.set_level("INFO")
    line.revisions[:] = [revision(number) for number in range(4)]
    made, _ = building(*broken, detects_regressions=True)
    line.answers[3] = 0, document(DELAY)
    found = made.run(tasks(3)[0]).run
    (request,) = line.asked
    assert found.control == (None if control is None else revision(control).commit)
    assert (request.control and request.control.revision) == (None if control is None else revision(control))
    assert [one for one in caplog.messages if "as a control" in one] == [
        f"{revision(number).short} cannot be built and is not used as a control" for number in broken
    ]


@pytest.mark.parametrize("broken", [(), (1,)])
def test_a_base_is_the_control_also_where_no_regressions_are_detected(building, line, broken):
    line.revisions[:] = [revision(number) for number in range(4)]
    made, _ = building(*broken, base=revision(1))
    line.answers[3] = 0, document(DELAY)
    made.run(tasks(3)[0])
    (request,) = line.asked
    assert request.control.revision == revision(2 if broken else 1)
    assert request.history == ()


@pytest.mark.parametrize("broken", [1, 2])
def test_a_suspect_whose_commits_cannot_be_built_is_not_measured(building, line, state, broken):
    line.revisions[:] = [revision(number) for number in range(4)]
    state.finish([Run("host", revision(0), RunStatus.MEASURED)])
    made, _ = building(broken)
    for number in (1, 2, 3):
        line.answers[number] = 0, document(slower(DELAY, 1.5))
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 1.5)
    (culprit,) = made.explain(Run("host", revision(3), RunStatus.REGRESSED, suspects=(suspect,))).culprits
    other = 3 - broken
    assert culprit.revision == revision(1 if broken == 2 else 2)
    assert culprit.note == (
        "" if broken == 2 else f"or one of {revision(1).short}, which could not be measured"
    )
    measured = [one.treatment.revision for one in line.asked if one.run_type == "verify"]
    assert measured == [revision(3), revision(other)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [({}, ()), ({"show_screen": True}, ("screen",)), ({"show_document": True}, ("document",))],
)
def test_what_the_harness_said_is_shown_if_that_was_asked_for(building, line, monkeypatch, shown, expected):
    texts = []
    monkeypatch.setattr(pipeline_module.streams, "show", texts.append)
    made, _ = building(**shown)
    line.answers[1] = 0, document(DELAY)
    made.run(tasks(1)[0])
    known = {"screen": "what it said", "document": document(DELAY).decode()}
    assert texts == [known[one] for one in expected]


def test_without_an_earlier_commit_that_was_judged_the_commit_itself_is_blamed(building, line, state):
    state.finish([Run("host", revision(0), RunStatus.SKIPPED), Run("gpu", revision(0), RunStatus.MEASURED)])
    made, _ = building()
    suspect = Suspect(DELAY.test, "squeezenet same on here", NET_DELAY, 1.5)
    run = Run("host", revision(1), RunStatus.REGRESSED, suspects=(suspect,))
    explained = made.explain(run)
    (culprit,) = explained.culprits
    assert explained.run == run
    assert (culprit.revision, culprit.good, culprit.note) == (
        revision(1),
        None,
        "no earlier commit was judged",
    )
    assert line.asked == []
