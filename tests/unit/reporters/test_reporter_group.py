import io
import json

from benchmarking.errors import ExitStatus, ReporterError
from benchmarking.reporters.json_reporter import JsonReporter
from benchmarking.reporters.reporter_base import ReporterBase
from benchmarking.reporters.reporters import ReporterGroup
from tests.support.sample_results import DELAY, NASTY, RUNS


class Recorder(ReporterBase):
    name = "recorder"

    def __init__(self):
        self.results, self.summaries = [], []

    def report(self, result):
        self.results.append(result)

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
    assert document["results"][1]["meta"]["net_name"] == NASTY.meta.net_name
