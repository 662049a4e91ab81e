"""What the loop does next: which commit, after which wait, and what it ends with. Time passes only where it waits."""

import itertools
import logging

import pytest

from benchmarking.continuous import loop as loop_module
from benchmarking.continuous.loop import Loop, LoopOptions, Mode
from benchmarking.continuous.pipeline import Explained, Finished
from benchmarking.continuous.state import Culprit, Position, Run, RunStatus, State, Suspect
from benchmarking.errors import (
    DeviceError,
    ExitStatus,
    HarnessError,
    HarnessRefusedError,
    RemoteError,
    RunCancelledError,
    StorageError,
    UnknownCommitError,
    UsageError,
)
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import TestKey

SUSPECT = Suspect(TestKey("net", "delay", "first", "caffe2", None, "hash"), "label", "NET_DELAY", 2.0)
LONG_S = 100_000.0
BEGIN_S = 7.0
"""A machine that was just started: earlier than any wait is long."""


class Branch:
    """A repository with one branch, ``master``; commit 3 is ``333...``."""

    def __init__(self, count):
        self.commits = []
        self.failures = []
        """Of the next fetches."""
        self.grow(count)

    def grow(self, count=1):
        for _ in range(count):
            number = len(self.commits)
            self.commits.append(Revision(str(number) * 40, 1772442000 + number, "Ann", f"commit {number}"))

    def fetch(self, branch):
        assert branch == "master"
        if self.failures and (failure := self.failures.pop(0)):
            raise failure

    def resolve(self, name):
        if name == "master":
            return self.commits[-1]
        for one in self.commits:
            if one.commit.startswith(name):
                return one
        raise UnknownCommitError(f"there is no commit {name}")

    def is_ancestor(self, older, newer):
        return self.commits.index(self.resolve(older)) <= self.commits.index(self.resolve(newer))

    def commits_after(self, after, until, *, merged_commits=False):
        first, last = (self.commits.index(self.resolve(one)) for one in (after, until))
        return self.commits[first + 1 : last + 1]


class Clock(Cancellation):
    """A cancellation whose waits pass at once, and the clock that they move; it is set at ``end``."""

    def __init__(self, end):
        super().__init__()
        self.now, self.end = BEGIN_S, BEGIN_S + end

    @property
    def is_set(self):
        return super().wait(0)

    def wait(self, timeout_s):
        self.now += max(timeout_s, 0.01)
        if self.now >= self.end:
            self.set()
        return self.is_set

    def monotonic(self):
        return self.now

    def time(self):
        return 1772442000.0 + self.now


class Bench:
    """The environment of the loop, except for a branch. It is also the pipeline: ``outcomes`` sets the
    outcome of a commit.
    """

    def __init__(self, directory, monkeypatch):
        self.state = State(directory / "state.sqlite3", "b.json")
        self.branch = Branch(5)
        self.monkeypatch = monkeypatch
        self.outcomes = {}
        """Maps the number of a commit, or its number and platform, to a status, an error, or the outcomes of
        the next runs.
        """
        self.explanations = []
        """Of the next regressions: the commit that is to blame, an explanation, or an error."""
        self.passed_over = []
        """Whether each explanation passes over what ends the harness."""
        self.measured = []
        """``"3 host"``, in order."""
        self.starts = []
        """Seconds since the beginning, of each."""
        self.told = []
        """Events."""
        self.known = None

    def run(self, task, ahead):
        number = self.branch.commits.index(task.revision)
        self.measured.append(f"{number} {task.platform}")
        self.starts.append(self.clock.now - BEGIN_S)
        self.clock.now += 0.01
        outcome = self.outcomes.get((number, task.platform), self.outcomes.get(number, RunStatus.MEASURED))
        if isinstance(outcome, list):
            outcome = outcome.pop(0) if len(outcome) > 1 else outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Finished):
            return outcome
        suspects = (SUSPECT,) if outcome is RunStatus.REGRESSED else ()
        return Finished(
            Run(task.platform, task.revision, outcome, finished_at=self.clock.time(), suspects=suspects)
        )

    def explain(self, run, *, passes_over=False):
        self.passed_over.append(passes_over)
        found = self.explanations.pop(0) if self.explanations else run.revision
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Explained):
            return found
        return Explained(run, [Culprit(run.platform, run.revision.commit, SUSPECT, None, found)])

    def notify(self, event):
        self.told.append(f"{event['event']} {event.get('what') or event['platform']}")

    def loop(self, *, mode=Mode.ONCE, platforms=("host",), seconds=LONG_S, **options):
        self.clock = Clock(seconds)
        self.monkeypatch.setattr(loop_module, "time", self.clock)
        chosen = LoopOptions(mode, platforms, "master", **options)
        return Loop(chosen, self.branch, self, self.state, self, self.clock, self.known)

    def __call__(self, **options):
        """Runs a loop; returns how it ends."""
        return self.loop(**options).run()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    with bench.state:
        yield bench


# --- which commits ------------------------------------------------------------------------------------------


def test_from_the_first_commit_on_each_is_measured_once_on_each_platform(bench):
    bench(start="2", platforms=("host", "gpu"))
    assert bench.measured == ["2 host", "2 gpu", "3 host", "3 gpu", "4 host", "4 gpu"]
    bench.branch.grow()
    bench(platforms=("host", "gpu"))
    assert bench.measured[6:] == ["5 host", "5 gpu"]
    assert bench.state.position("master") == Position("5" * 40, is_done=True)
    assert bench.state.overview(5).pending == []


def test_without_a_first_commit_it_is_the_newest(bench):
    bench()
    assert bench.measured == ["4 host"]


def test_a_first_commit_behind_what_is_done_changes_nothing(bench):
    bench(start="3")
    bench(start="1")
    assert bench.measured == ["3 host", "4 host"]


def test_a_first_commit_of_another_branch_is_refused(bench):
    bench.branch.is_ancestor = lambda older, newer: False
    with pytest.raises(UnknownCommitError, match="333333333333 is not on the branch master"):
        bench(start="3")


def test_a_position_that_the_repository_has_lost_is_ignored(bench, caplog):
    bench.state.set_position("master", Position("f" * 40, is_done=True))
    bench()
    assert bench.measured == ["4 host"]
    assert "no longer has" in caplog.text


def test_of_more_than_max_pending_the_newest_are_measured_newest_first(bench):
    bench(start="0", max_pending=2)
    assert bench.measured == ["4 host", "3 host"]
    assert {one.status for one in bench.state.runs(["0" * 40, "1" * 40, "2" * 40]).values()} == {
        RunStatus.SKIPPED
    }


def test_with_a_step_the_newest_waits_only_while_the_loop_goes_on(bench, caplog):
    caplog.set_level(logging.INFO)
    bench(mode=Mode.CONTINUOUS, start="0", step=3, seconds=500)
    assert bench.measured == ["0 host", "3 host"]
    assert caplog.text.count("1 commit is newer than the last step of 3") == 1
    bench(step=3)
    assert bench.measured[2:] == ["4 host"]


def test_a_single_commit_is_measured_whatever_was_done(bench, tmp_path):
    for _ in range(2):
        bench(mode=Mode.SINGLE, start="1", platforms=("host", "gpu"))
    assert bench.measured == ["1 host", "1 gpu"] * 2
    assert bench.state.position("master") is None


@pytest.mark.parametrize("failing", ["host", "gpu"])
def test_the_commit_file_of_a_single_commit_moves_when_every_platform_is_done(bench, tmp_path, failing):
    file = tmp_path / "new/commit"
    options = {"mode": Mode.SINGLE, "platforms": ("host", "gpu"), "start": "1", "commit_file": file}
    bench.outcomes[1, failing] = DeviceError("gone")
    bench(**options)
    assert not file.exists()
    bench.outcomes.clear()
    bench(**options)
    assert file.read_text() == "1" * 40 + "\n"
    bench(**options | {"start": None})
    assert bench.measured[4:] == ["2 host", "2 gpu"]


def test_the_commit_file_says_what_is_done(bench, tmp_path):
    file = tmp_path / "commit"
    file.write_text("222\n")
    bench(commit_file=file)
    assert bench.measured == ["3 host", "4 host"]
    assert file.read_text() == "4" * 40 + "\n"


@pytest.mark.parametrize("content", [b"fff", b"\xff", b"1" * 20_000])
def test_a_commit_file_that_says_nothing_is_not_used(bench, tmp_path, caplog, content):
    (tmp_path / "commit").write_bytes(content)
    bench(commit_file=tmp_path / "commit")
    assert bench.measured == ["4 host"]
    assert "is not valid and is not used" in caplog.text


def test_a_commit_file_that_cannot_be_written_is_an_error(bench, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="--commit_file"):
        bench(commit_file=tmp_path / "file/commit")


def test_what_failed_is_tried_again_where_that_is_wanted(bench):
    bench.outcomes = {2: RunStatus.FAILED, 3: RunStatus.BUILD_FAILED}
    assert bench(start="1", platforms=("host", "gpu")) is ExitStatus.BUILD_FAILED
    bench.outcomes, bench.measured = {}, []
    assert bench(retries_failed=True) is ExitStatus.OK
    assert bench.measured == ["2 host", "3 host"]
    bench(retries_failed=True)
    assert len(bench.measured) == 2


def test_a_single_commit_that_failed_is_tried_again_once(bench):
    bench.outcomes = {2: RunStatus.FAILED, 3: RunStatus.FAILED}
    bench(start="2")
    bench.measured = []
    bench(mode=Mode.SINGLE, start="2", retries_failed=True)
    assert bench.measured == ["2 host", "3 host"]


# --- how it ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "options", "expected"),
    [
        ([RunStatus.MEASURED, RunStatus.KNOWN, RunStatus.INCONCLUSIVE], {}, ExitStatus.OK),
        ([RunStatus.REGRESSED], {}, ExitStatus.REGRESSION_CONFIRMED),
        ([RunStatus.REGRESSED], {"fail_on": "never"}, ExitStatus.OK),
        ([RunStatus.INCONCLUSIVE], {"fail_on": "inconclusive"}, ExitStatus.INCONCLUSIVE),
        ([RunStatus.MEASURED], {"fail_on": "inconclusive"}, ExitStatus.OK),
        ([RunStatus.REGRESSED], {"fail_on": "inconclusive"}, ExitStatus.REGRESSION_CONFIRMED),
        ([RunStatus.FAILED], {"fail_on": "never"}, ExitStatus.BENCHMARK_FAILED),
        ([RunStatus.BUILD_FAILED], {}, ExitStatus.BUILD_FAILED),
        ([RunStatus.FAILED, RunStatus.BUILD_FAILED], {}, ExitStatus.BUILD_FAILED),
        ([RunStatus.FAILED, RunStatus.REGRESSED], {}, ExitStatus.REGRESSION_CONFIRMED),
        ([DeviceError("gone")], {}, ExitStatus.DEVICE_FAILED),
        ([RunStatus.REGRESSED, DeviceError("gone")], {}, ExitStatus.REGRESSION_CONFIRMED),
        ([RunStatus.REGRESSED], {"mode": Mode.CONTINUOUS, "seconds": 100}, ExitStatus.INTERRUPTED),
    ],
)
def test_it_ends_with_the_gravest_of_what_was_found(bench, statuses, options, expected):
    bench.outcomes = dict(enumerate(statuses))
    assert bench(start="0", **options) is expected


def test_what_went_wrong_beside_a_commit_counts(bench):
    run = Run("host", bench.branch.commits[4], RunStatus.MEASURED)
    bench.outcomes[4] = Finished(run, ExitStatus.REPORTER_FAILED)
    assert bench() is ExitStatus.REPORTER_FAILED


# --- stopping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "measured"), [("0", 1), (" 0\n", 1), ("1", 3), ("00", 3), ("", 3)])
def test_the_status_file_stops_it_between_two_commits(bench, tmp_path, word, measured):
    file = tmp_path / "status"
    pipeline_run = bench.run

    def run_and_write(task, ahead):
        file.write_text(word)
        return pipeline_run(task, ahead)

    bench.run = run_and_write
    assert bench(start="2", status_file=file) is ExitStatus.OK
    assert len(bench.measured) == measured


def test_a_status_file_that_cannot_be_read_is_reported_once(bench, tmp_path, caplog):
    (tmp_path / "status").mkdir()
    bench(start="2", status_file=tmp_path / "status")
    assert len(bench.measured) == 3
    assert caplog.text.count("cannot be read") == 1


# --- when ---------------------------------------------------------------------------------------------------


def test_between_the_starts_of_two_commits_there_is_the_interval(bench):
    bench(
        mode=Mode.CONTINUOUS,
        start="2",
        platforms=("host", "gpu"),
        interval_s=100.0,
        status_file=None,
        seconds=500,
    )
    assert bench.measured == ["2 host", "2 gpu", "3 host", "3 gpu", "4 host", "4 gpu"]
    assert bench.starts == pytest.approx([0, 0, 100, 100, 200, 200], abs=0.1)


@pytest.mark.parametrize(("interval_s", "looks"), [(0.0, 10), (20.0, 20), (1000.0, 60)])
def test_new_commits_are_looked_for_as_often_as_they_may_be_measured_within_limits(bench, interval_s, looks):
    fetches = []
    bench.branch.fetch = lambda branch: fetches.append(bench.clock.now)
    bench(mode=Mode.CONTINUOUS, interval_s=interval_s, seconds=600)
    between = [later - earlier for earlier, later in itertools.pairwise(fetches)]
    assert between == pytest.approx([looks] * len(between), abs=0.1)
    assert len(between) > 5


def test_a_platform_that_fails_is_tried_again_ever_later_and_holds_up_no_other(bench):
    gone = DeviceError("gone")
    bench.outcomes[4, "host"] = [*[gone] * 4, RunStatus.MEASURED]
    bench(mode=Mode.CONTINUOUS, start="3", platforms=("host", "gpu"), seconds=2000)
    assert bench.measured == ["3 host", "3 gpu", "4 host", "4 gpu", *["4 host"] * 4]
    waits = [later - earlier for earlier, later in itertools.pairwise(bench.starts[3:])]
    assert waits == pytest.approx([30, 60, 120, 240], abs=0.1)
    assert bench.told == ["infrastructure_failure host", "works_again host"]


def test_the_longest_wait_for_a_platform_is_an_hour(bench):
    bench.outcomes[4] = DeviceError("gone")
    bench(mode=Mode.CONTINUOUS, seconds=24 * 3600)
    waits = [later - earlier for earlier, later in itertools.pairwise(bench.starts)]
    assert waits[6:9] == pytest.approx([1920, 3600, 3600], abs=0.1)
    assert bench.told == ["infrastructure_failure host"]


def test_without_time_to_wait_a_platform_that_fails_is_left(bench):
    bench.outcomes[3, "gpu"] = DeviceError("gone")
    assert bench(start="3", platforms=("host", "gpu")) is ExitStatus.DEVICE_FAILED
    assert bench.measured == ["3 host", "3 gpu", "4 host"]
    assert [(one.platform, one.waits_for) for one in bench.state.overview(5).pending] == [
        ("gpu", "gone"),
        ("gpu", "gone"),
    ]
    bench.outcomes.clear()
    bench(platforms=("host", "gpu"))
    assert bench.measured[3:] == ["3 gpu", "4 gpu"]


def test_what_fails_in_every_run_is_reported_once_and_again_when_it_works(bench):
    bench.outcomes[4] = DeviceError("gone")
    bench.branch.failures = [RemoteError("the remote is away")] * 2
    for _ in range(2):
        bench()
    assert bench.told == ["infrastructure_failure remote", "infrastructure_failure host"]
    bench.outcomes.clear()
    for _ in range(2):
        bench()
    assert bench.told[2:] == ["works_again remote", "works_again host"]


def test_a_remote_that_is_away_is_reported_once_and_again_when_it_is_back(bench, caplog):
    caplog.set_level(logging.INFO)
    away = RemoteError("the remote is away")
    bench.branch.failures = [away, away, None, away]
    bench(mode=Mode.CONTINUOUS, seconds=55)
    assert bench.measured == ["4 host"]
    assert bench.told == ["infrastructure_failure remote", "works_again remote"] * 2
    assert caplog.text.count("continuing with the commits fetched before") == 2
    assert caplog.text.count("can be reached again") == 2


def test_a_remote_that_is_away_is_in_the_exit_status(bench):
    bench.branch.failures = [RemoteError("the remote is away")]
    assert bench() is ExitStatus.DEVICE_FAILED


# --- failures of the harness and the disk -------------------------------------------------------------------


def test_a_commit_that_ends_the_harness_three_times_has_failed(bench):
    bench.outcomes[3] = HarnessError("a bug")
    bench(mode=Mode.CONTINUOUS, start="3", seconds=2000)
    assert bench.measured == ["3 host", "3 host", "3 host", "4 host"]
    (run,) = bench.state.runs(["3" * 40]).values()
    assert (run.status, run.detail) == (RunStatus.FAILED, "a bug")


def test_a_harness_that_refuses_its_options_is_not_the_commits_fault(bench):
    bench.outcomes[4] = HarnessRefusedError("no such option")
    bench(mode=Mode.CONTINUOUS, seconds=2000)
    assert len(bench.measured) > 3
    assert bench.state.runs(["4" * 40]) == {}


def test_what_was_measured_waits_for_room_on_the_disk(bench, monkeypatch):
    finish, failures = bench.state.finish, [StorageError("full"), StorageError("full")]

    def finish_later(runs):
        if failures:
            raise failures.pop()
        finish(runs)

    monkeypatch.setattr(bench.state, "finish", finish_later)
    bench(mode=Mode.CONTINUOUS, seconds=1000)
    assert bench.measured == ["4 host"]
    assert len(bench.state.runs(["4" * 40])) == 1
    assert bench.told == ["infrastructure_failure everything", "works_again everything"]
    failures = [StorageError("full")]
    bench.branch.grow()
    with pytest.raises(StorageError):
        bench()


# --- regressions --------------------------------------------------------------------------------------------


def test_a_regression_is_explained_before_the_next_commit(bench):
    bench.outcomes[3] = RunStatus.REGRESSED
    bench.explanations = [bench.branch.commits[1]]
    bench(start="3")
    assert bench.told == ["regression host"]
    assert [one.revision.subject for one in bench.state.culprits()] == ["commit 1"]
    assert bench.measured == ["3 host", "4 host"]


def test_a_regression_that_turns_out_to_be_known_is_withdrawn(bench, caplog):
    bench.outcomes = {3: RunStatus.REGRESSED}
    known = Run("host", bench.branch.commits[3], RunStatus.KNOWN, "1 test\na: not slower than 2")
    bench.explanations = [Explained(known)]
    assert bench(start="3") is ExitStatus.OK
    assert bench.told == []
    assert (bench.state.culprits(), bench.state.unexplained()) == ([], [])
    run = bench.state.runs([bench.branch.commits[3].commit])[bench.branch.commits[3].commit, "host"]
    assert run.status is RunStatus.KNOWN
    assert (
        f"{bench.branch.commits[3].short} on host: the regression was known\n    a: not slower than 2"
        in caplog.text
    )


def test_a_regression_of_a_platform_that_is_not_asked_for_waits(bench):
    bench.outcomes[3, "gpu"] = RunStatus.REGRESSED
    bench.explanations = [DeviceError("gone"), UsageError("--frameworks_dir: there is no build.sh")]
    bench(start="3", platforms=("host", "gpu"))
    assert bench.told == ["infrastructure_failure gpu"]
    bench.branch.grow()
    assert bench(platforms=("host",)) is ExitStatus.OK
    assert bench.measured[-1] == "5 host"
    bench.explanations = []
    bench(platforms=("host", "gpu"))
    assert [one.platform for one in bench.state.culprits()] == ["gpu"]


def test_a_regression_that_ends_the_harness_again_and_again_holds_up_no_commit(bench, caplog):
    bench.outcomes[3] = RunStatus.REGRESSED
    crash, gone = HarnessError("a bug"), DeviceError("gone")
    bench.explanations = [crash, gone, crash, gone, bench.branch.commits[2]]
    bench(mode=Mode.CONTINUOUS, start="3", seconds=4000)
    assert bench.passed_over == [False, False, False, True, True]
    assert bench.measured == ["3 host", "4 host"]
    (culprit,) = bench.state.culprits()
    assert culprit.revision == bench.branch.commits[2]
    assert bench.told[1:] == ["regression host", "works_again host"]
    assert bench.state.count_attempt("host", "3" * 40) == 1


@pytest.mark.parametrize("error", [HarnessRefusedError("no such option"), DeviceError("gone")])
def test_a_search_that_fails_for_another_reason_is_not_given_up(bench, error):
    bench.outcomes[4] = RunStatus.REGRESSED
    bench.explanations = [error] * 10
    bench(mode=Mode.CONTINUOUS, seconds=5000)
    assert len(bench.explanations) < 7
    assert not any(bench.passed_over)
    assert bench.state.culprits() == []


def test_what_nobody_was_told_because_the_loop_was_ended_is_told_by_the_next(bench, monkeypatch):
    """It was ended while the command of --notify ran."""
    bench.outcomes = {3: RunStatus.FAILED, 4: RunStatus.REGRESSED}
    told = []

    def be_ended(event):
        told.append(event["event"])
        bench.clock.set()
        raise RunCancelledError("cancelled while notify was running")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(bench, "notify", be_ended)
            assert bench(start="3") is ExitStatus.INTERRUPTED
        bench.outcomes[3] = RunStatus.MEASURED
    assert told == ["test_failure", "regression"]
    bench(start="3")
    assert bench.told == ["regression host"]


def test_an_explanation_that_fails_is_tried_again_while_others_go_on(bench):
    bench.outcomes[3, "host"] = RunStatus.REGRESSED
    bench.explanations = [DeviceError("gone"), bench.branch.commits[3]]
    bench(mode=Mode.CONTINUOUS, start="3", platforms=("host", "gpu"), seconds=300)
    assert bench.measured == ["3 host", "3 gpu", "4 gpu", "4 host"]
    assert bench.told == ["infrastructure_failure host", "regression host", "works_again host"]


def test_a_platform_on_which_a_search_failed_works_again_with_the_search(bench):
    bench.outcomes[4] = RunStatus.REGRESSED
    bench.explanations = [DeviceError("gone"), bench.branch.commits[4]]
    bench(mode=Mode.CONTINUOUS, seconds=300)
    assert bench.measured == ["4 host"]
    assert bench.told == ["infrastructure_failure host", "regression host", "works_again host"]


def test_what_begins_to_fail_and_works_again_is_an_event(bench):
    bench.outcomes = {2: RunStatus.FAILED, 3: RunStatus.FAILED}
    bench(start="1")
    assert bench.told == ["test_failure host", "works_again test"]


class Silenced:
    """Stands for the results server; the real one is asked in ``test_known_regressions.py``."""

    def __init__(self, commits):
        self.commits = commits

    def silenced(self, commits):
        return self.commits & commits


def test_a_regression_that_people_have_explained_is_recorded_but_not_reported_again(bench):
    bench.outcomes = {3: RunStatus.REGRESSED, 4: RunStatus.REGRESSED}
    bench.known = Silenced({"3" * 40})
    assert bench(start="3") is ExitStatus.REGRESSION_CONFIRMED
    assert bench.told == ["regression host"]
    assert [one.revision.commit[0] for one in bench.state.culprits()] == ["3", "4"]
