import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

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
    find_key,
)
from benchmarking.errors import StorageError
from benchmarking.repos.repo_base import Revision
from benchmarking.results.model import TestKey

ONE = Revision("1" * 40, 1772442000, 'Zoë "Z" O\'Neill <z@example.org>', "it's; DROP TABLE runs -- [red]{x}")
TWO = Revision("2" * 40, 1772445600, "Ann <ann@example.org>", "")
KEY = TestKey("net", "delay", "first test", "caffe2", None, "hash")
SUSPECT = Suspect(KEY, "net first test on host", "NET_DELAY", 2.0)


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
    second = Suspect(replace(KEY, metric="error"), SUSPECT.label, SUSPECT.type, None)
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


def test_two_tests_with_one_label_are_kept_apart(state):
    delay, error = KEY, replace(KEY, metric="error")
    state.add_probe("host", ONE.commit, TWO.commit, {delay: {"NET_DELAY": 1.5}, error: {"softmax": math.inf}})
    found = state.probe("host", ONE.commit, TWO.commit)
    assert found == {delay: {"NET_DELAY": 1.5}, error: {"softmax": math.inf}}


# --- older and damaged files --------------------------------------------------------------------------------

VERSION_1 = Path(__file__).parents[2] / "data/state_version_1.sql"


@pytest.fixture
def old(tmp_path):
    """What version 1 wrote after a regression that was explained and one that was not yet."""
    path = tmp_path / "state.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())
    return path


def test_an_old_state_is_brought_up_to_date(old):
    with State(old, "a.json") as state:
        assert [one.revision.subject for one in state.unexplained()] == ["third"]
        (culprit,) = state.culprits()
        assert culprit.suspect.label == "net first test on host"
        assert culprit.suspect.ratio == 2.0
        assert state.probe("host", ONE.commit, TWO.commit) is None
        (suspect,) = state.unexplained()[0].suspects
    with State(old, "a.json") as state:  # a second time there is nothing to do
        state.add_culprits([Culprit("host", "3" * 40, suspect, ONE.commit, ONE)])
        assert state.unexplained() == []
        assert state.position("master") == Position("3" * 40, is_done=True)


def test_a_test_that_is_known_by_its_label_alone_is_found_where_only_one_fits(old):
    with State(old, "a.json") as state:
        (suspect,) = state.unexplained()[0].suspects
    other, error = replace(KEY, identifier="second test"), replace(KEY, metric="error")
    assert find_key(suspect.key, [other, KEY]) == KEY
    assert find_key(suspect.key, [KEY, error]) not in (KEY, error)
    assert find_key(error, [KEY, error]) == error


def test_what_is_only_shown_is_not_written_to(old):
    before = old.read_bytes()
    with State(old, "a.json", read_only=True) as state:
        assert len(state.overview(5).regressed) == 2
    assert benchmarks_in(old) == ["a.json"]
    assert old.read_bytes() == before


def damaged(path, how):
    with State(path, "a.json") as state:
        state.finish([Run("host", ONE, RunStatus.REGRESSED, suspects=(SUSPECT,))])
        state.add_culprits([Culprit("host", TWO.commit, SUSPECT, ONE.commit, TWO)])
        state.set_pending([Pending("host", TWO)])
    if how == "emptied":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif how == "a directory":
        path.unlink()
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(how)


@pytest.mark.parametrize(
    "how",
    [
        "emptied",
        "cut",
        "zeros",
        "a directory",
        "PRAGMA user_version=0",
        "DROP TABLE runs",
        "UPDATE runs SET status='nonsense'",
        "UPDATE runs SET commit_time=NULL",
        "UPDATE runs SET finished_at='soon'",
        "UPDATE runs SET suspects='[1]'",
        "UPDATE runs SET suspects='" + "[" * 100_000 + "'",
        "UPDATE runs SET subject=x'ff'",
        "UPDATE runs SET subject=CAST(x'ff' AS TEXT)",
        "UPDATE culprits SET test='{}'",
        "UPDATE culprits SET test='net delay on host'",
        "UPDATE pending SET waits_for=NULL",
    ],
    ids=lambda how: how[:40],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_damage_is_a_storage_error(tmp_path, how, read_only):
    """An emptied file is also not mistaken for a new one, and the remaining data are not overwritten."""
    path = tmp_path / "state.sqlite3"
    damaged(path, how)
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(StorageError) as error, State(path, "a.json", read_only=read_only) as state:
        state.overview(5)
    assert str(path) in str(error.value)
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("moment", [0, 253402300800, 99999999999999, 1e300])
def test_every_time_can_be_shown(state, moment):
    state.finish([Run("host", ONE, RunStatus.FAILED, finished_at=float(moment))])
    assert list(overview_lines(state.overview(5)))


def test_files_that_are_not_databases(tmp_path):
    path = tmp_path / "state.sqlite3"
    path.write_text("something else entirely, and long enough to be looked at" * 50)
    with pytest.raises(StorageError, match="not a database; restore it from a backup"):
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


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "setconfig"), reason="Python 3.12 can switch it off")
def test_the_overview_needs_no_misspelt_sql(tmp_path):
    """Some builds of SQLite take "a word" for a name only."""
    with State(tmp_path / "state.sqlite3", "b.json") as state:
        state._connection.setconfig(sqlite3.SQLITE_DBCONFIG_DQS_DML, False)
        assert state.overview(5).recent == []
