import io
import json
from dataclasses import replace

import pytest

from benchmarking.errors import ExitStatus, NoDeviceError, ReporterError
from benchmarking.reporters.json_lines_reporter import JsonLinesReporter
from benchmarking.reporters.json_reporter import JsonReporter
from benchmarking.reporters.log_reporter import LogReporter
from benchmarking.reporters.reporter_base import ReporterBase, RunSummary
from benchmarking.reporters.reporters import ReporterGroup
from benchmarking.reporters.screen_reporter import ScreenReporter
from benchmarking.results.model import Verdict
from tests.support.sample_results import DELAY, FIRST, JUDGED, NASTY, RUNS, having


class Recorder(ReporterBase):
    name = "recorder"

    def __init__(self):
        self.results, self.saved, self.summaries = [], [], []

    def report(self, result):
        self.results.append(result)

    def save(self):
        self.saved.append(len(self.results))

    def finish(self, summary):
        self.summaries.append(summary)

    @property
    def destination(self):
        return "in memory"


class Failing(Recorder):
    name = "failing"

    def __init__(self, error, at_end=False):
        super().__init__()
        self.error, self.at_end = error, at_end

    def report(self, result):
        if not self.at_end:
            raise self.error

    def finish(self, summary):
        if self.at_end:
            raise self.error


def test_every_reporter_gets_everything_whatever_happens_to_the_others():
    first, last = Recorder(), Recorder()
    group = ReporterGroup([first, Failing(ReporterError("no route")), Failing(KeyError("bug")), last])
    group.report(DELAY)
    status = group.finish(ExitStatus.OK, 1.0, [])
    assert first.results == last.results == [DELAY]
    assert status is ExitStatus.INTERNAL_ERROR
    assert [problem.split(":")[0] for problem in last.summaries[0].problems] == [
        "the failing reporter failed",
        "the failing reporter has a bug",
    ]
    assert last.summaries[0].destinations == ("in memory",) * 4


def test_a_failed_reporter_changes_the_status_only_of_a_good_run():
    for status, expected in (
        (ExitStatus.OK, ExitStatus.REPORTER_FAILED),
        (ExitStatus.BENCHMARK_FAILED, ExitStatus.BENCHMARK_FAILED),
    ):
        group = ReporterGroup([Failing(ReporterError("x"), at_end=True), last := Recorder()])
        assert group.finish(status, 1.0, []) is expected
        assert last.summaries[0].exit_status is expected
        assert last.summaries[0].destinations == ("in memory",)  # its own


def test_a_test_on_several_backends_is_saved_once():
    group = ReporterGroup([recorder := Recorder()])
    group.report(DELAY, NASTY)
    group.report(DELAY)
    assert recorder.saved == [2, 3]


def test_what_fails_after_every_test_is_one_problem(caplog):
    group = ReporterGroup([Failing(ReporterError("no route")), last := Recorder()])
    for _ in range(3):
        group.report(DELAY)
    assert group.finish(ExitStatus.OK, 1.0) is ExitStatus.REPORTER_FAILED
    assert last.summaries[0].problems == ("the failing reporter failed: no route",)
    assert caplog.text.count("no route") == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ExitStatus.OK, ExitStatus.INTERNAL_ERROR),
        (ExitStatus.REGRESSION_CONFIRMED, ExitStatus.INTERNAL_ERROR),
        (ExitStatus.INTERRUPTED, ExitStatus.INTERRUPTED),
    ],
)
def test_a_bug_beside_the_tests_shows_its_traceback_and_in_the_status(status, expected, caplog):
    group = ReporterGroup([recorder := Recorder()])
    try:
        raise KeyError("bug")
    except KeyError as error:
        group.report_bug("the canary on one", error)
    assert group.finish(status, 1.0) is expected
    assert "Traceback" in caplog.text
    assert recorder.summaries[0].problems == ("a bug: the canary on one: KeyError('bug')",)


@pytest.mark.parametrize(
    ("error", "status", "part"),
    [
        (NoDeviceError("no device"), ExitStatus.DEVICE_FAILED, "no device"),
        (KeyError("x"), ExitStatus.INTERNAL_ERROR, "KeyError"),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED, "KeyboardInterrupt"),
    ],
)
def test_a_run_that_an_error_ends_is_finished_once(error, status, part):
    stream = io.StringIO()
    group = ReporterGroup([JsonReporter(stream), recorder := Recorder()])
    group.report(DELAY)
    group.abort(error, 1.0)
    group.abort(error, 1.0)
    document = json.loads(stream.getvalue())
    assert document["exit_status"] == status
    assert part in document["problems"][0]
    assert len(document["results"]) == 1
    assert [one.ended_by_error for one in recorder.summaries] == [True]


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_what_nobody_may_miss_is_logged(level, caplog):
    caplog.set_level(level, logger="benchmarking")
    for run in ("judged", "failed", "nasty"):
        group = ReporterGroup([LogReporter()])
        results, summary = RUNS[run]
        for one in results:
            group.report(one)
        group.finish(summary.exit_status, summary.duration_s, summary.problems)
    lines = [record.getMessage() for record in caplog.records]
    if level == "ERROR":
        assert [line.strip() for line in lines] == [
            "squeezenet delay delay-2 on Linux-x86_64-Example: bug: a bug of the harness: KeyError('x')",
            "Traceback ...",
            "KeyError: 'x'",
        ]
        return
    text = "\n".join(lines)
    assert all(character.isprintable() for line in lines for character in line)
    for shown in (
        "squeezenet delay delay-ab on Linux-x86_64-Example: regressed: +3.11 %",
        "delay-ab on Linux-x86_64-Example (verify): regressed: regressed in both stages",
        "ID_0_Conv_conv1: improved: -2.32 %",
        "(regress): NET_DELAY: the regression is confirmed",
        "delay-busy on Linux-x86_64-Example: inconclusive: +0.50 %",
        "1 regressed, 1 not confirmed, 1 inconclusive in 99.0 s; a regression was confirmed",
        "broken delay delay-0 on Linux-x86_64-Example: failed: the program ended with exit status 134",
        "line 40 of the program's log",
        "warning: the machine is busy",
        "problem: the remote reporter failed: timed out",
        "1 passed, 3 failed, 1 missing in 20.0 s; a device or the connection to it failed",
    ):
        assert shown in text
    assert "line 30 of the program's log" not in text  # the other reports have all of it


def test_the_json_document():
    stream = io.StringIO()
    reporter = JsonReporter(stream)
    for result in (DELAY, NASTY):
        reporter.report(result)
    assert stream.getvalue() == ""
    reporter.finish(RUNS["failed"][1])
    document = json.loads(stream.getvalue())
    assert document["exit_status"] == 4
    assert document["results"][0]["types"][0]["values"] == list(DELAY.types[0].values)
    assert document["results"][1]["failure"]["kind"] == "failed"
    name = NASTY.test.net.replace("\ud800", "?")  # half a character, which no JSON may hold
    assert document["results"][1]["meta"]["net_name"] == name


def test_the_log_gives_the_reason_of_the_verdict_that_it_names(caplog):
    """The third stage of a confirmed regression, whose own pairs show nothing."""
    judged = replace(FIRST, verdict=Verdict.UNCHANGED, reason="+0.10 % after 6 pairs")
    net = replace(JUDGED.types[0], decision=judged, regressed=True)
    LogReporter().report(having(JUDGED, run_type="regress", types=(net,)))
    assert [text.rpartition(") ")[2].partition(": ")[2] for text in caplog.messages] == [
        "unchanged: +0.10 % after 6 pairs",
        f"{net.type}: the regression is confirmed",
    ]


@pytest.mark.parametrize("ended_by_error", [False, True])
def test_the_error_that_ends_a_run_is_not_logged_twice(ended_by_error, caplog):
    reporter = LogReporter()
    reporter.report(DELAY)
    summary = RunSummary(ExitStatus.INTERNAL_ERROR, 1.0, problems=("x",), ended_by_error=ended_by_error)
    reporter.finish(summary)
    assert ("problem: x" in caplog.messages) != ended_by_error


@pytest.mark.parametrize("kind", [JsonReporter, JsonLinesReporter, ScreenReporter])
def test_a_stream_that_is_closed_is_a_failed_reporter_and_no_bug(kind):
    stream = io.StringIO()
    group = ReporterGroup([kind(stream), last := Recorder()])
    stream.close()
    group.report(DELAY)
    assert group.finish(ExitStatus.OK, 1.0) is ExitStatus.REPORTER_FAILED
    (problem,) = last.summaries[0].problems
    assert problem.startswith(f"the {kind.name} reporter failed: cannot write ")
    assert problem.endswith("closed file")
