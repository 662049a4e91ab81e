import sqlite3

import pytest

from benchmarking.continuous.overview import overview_lines
from benchmarking.continuous.state import (
    Culprit,
    Pending,
    Position,
    Run,
    RunStatus,
    State,
    Suspect,
    benchmarks_in,
)
from benchmarking.errors import StorageError
from benchmarking.repos.repo_base import Revision

ONE = Revision("1" * 40, 1772442000, 'Zoë "Z" O\'Neill <z@example.org>', "it's; DROP TABLE runs -- [red]{x}")
TWO = Revision("2" * 40, 1772445600, "Ann <ann@example.org>", "")
SUSPECT = Suspect("net delay on host", "NET_DELAY", 2.0)


@pytest.fixture
def state(tmp_path):
    with State(tmp_path / "state.sqlite3", "a.json") as one:
        yield one


def test_what_is_written_is_read_again(state, tmp_path):
    run = Run("host", ONE, RunStatus.REGRESSED, "1 test", TWO.commit, 1.5, 2.5, 1000.0, (SUSPECT,))
    state.set_pending([Pending("host", ONE), Pending("gpu", ONE, "no device")])
    state.set_position("master", Position(ONE.commit, is_done=False))
    state.finish([run])
    with State(tmp_path / "state.sqlite3", "a.json") as other:
        assert other.runs([ONE.commit, TWO.commit]) == {(ONE.commit, "host"): run}
        assert other.position("master") == Position(ONE.commit, is_done=False)
        assert other.position("other") is None
        assert [one.platform for one in other.overview(5).pending] == ["gpu"]
        assert other.unexplained() == [run]
    with State(tmp_path / "state.sqlite3", "b.json") as other:
        assert other.runs([ONE.commit]) == {}
    assert benchmarks_in(tmp_path / "state.sqlite3") == ["a.json"]


def test_a_regression_is_explained_when_every_suspect_is(state):
    second = Suspect("net delay on host", "conv", None)
    run = Run("host", TWO, RunStatus.REGRESSED, suspects=(SUSPECT, second))
    state.finish([run])
    state.add_culprits([Culprit("host", TWO.commit, SUSPECT, ONE.commit, TWO)])
    assert state.unexplained() == [run]
    state.add_culprits([Culprit("host", TWO.commit, second, None, ONE, "a note", 5.0)])
    assert state.unexplained() == []
    assert {one.suspect for one in state.culprits()} == {SUSPECT, second}


def test_attempts_are_counted_until_it_is_finished(state):
    assert [state.count_attempt("host", ONE.commit) for _ in range(3)] == [1, 2, 3]
    assert state.count_attempt("gpu", ONE.commit) == 1
    state.finish([Run("host", ONE, RunStatus.FAILED)])
    assert state.count_attempt("host", ONE.commit) == 1


def test_a_build_failure_belongs_to_its_script(state):
    state.fail_build("host", ONE.commit, "aaa", "no")
    assert state.build_failure("host", ONE.commit, "aaa") == "no"
    assert state.build_failure("host", ONE.commit, "bbb") is None
    state.forget_build_failure("host", ONE.commit)
    assert state.build_failure("host", ONE.commit, "aaa") is None


def test_many_commits_at_once(state):
    runs = [Run("host", Revision(f"{number:040x}", 0, "a", "s"), RunStatus.SKIPPED) for number in range(1234)]
    state.finish(runs)
    assert len(state.runs([run.revision.commit for run in runs])) == 1234


def test_what_is_no_database(tmp_path):
    path = tmp_path / "state.sqlite3"
    path.write_text("something else entirely, and long enough to be looked at" * 50)
    with pytest.raises(StorageError, match="not a database"):
        State(path, "a")
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageError, match="another version"):
        State(path, "a")


def test_the_overview_shows_names_as_they_are(state):
    state.finish([Run("host", ONE, RunStatus.FAILED, finished_at=1772442000.0)])
    state.set_pending([Pending("gpu", TWO, "no device\nmore")])
    text = "\n".join(overview_lines(state.overview(5)))
    assert "it's; DROP TABLE runs -- [red]{x}" in text
    assert "no device" in text
    assert "(no subject)" in text
    assert "more" not in text
