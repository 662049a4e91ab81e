import logging
import os
import shutil
import sqlite3
from dataclasses import replace

import pytest

from benchmarking.errors import StorageError
from benchmarking.records import index
from benchmarking.records.tree import History
from benchmarking.results.model import NET_DELAY
from tests.support.sample_results import AB, DELAY, ERROR, JUDGED, VERIFIED, having


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


def saved(history, number=0, **changes):
    values = {"commit": f"{number:040x}", "commit_time": 1_700_000_000 + number, "run_uid": f"run{number}"}
    return history.save(having(DELAY, **values | changes))


def settle(root):
    """As if all of it had been written an hour ago."""
    for directory, _, _ in os.walk(root):
        os.utime(directory, ns=(10**18, 10**18))


def commits(root):
    with index.opened(root) as opened:
        return sorted(int(name, 16) for name in opened.commits())


def read_runs(root, monkeypatch):
    """The runs that are read when the index is opened."""
    read = []
    load = index.tree.load
    monkeypatch.setattr(index.tree, "load", lambda path: read.append(path.parent.name) or load(path))
    assert commits(root)
    monkeypatch.undo()
    return sorted(int(name, 16) for name in read)


def test_what_is_in_it(history, tmp_path):
    saved(history, 1, branch="main", position=7, tainted=("hot",))
    with index.opened(tmp_path) as opened:
        ((number, (key, unit)),) = opened.series().items()
        (run,) = opened.of_commit(f"{1:040x}")
        assert opened.run_uids() == {"run1"}
        assert opened.branches() == {"main"}
        assert [run] == opened.of_run("run1") == opened.of_branch("main") == opened.of_series(number, 9)
    assert (key.test, key.type, key.platform, unit) == (DELAY.test, NET_DELAY, DELAY.device.name, "us")
    assert (run.value, run.position, run.branch, run.tainted) == (DELAY.types[0].summary.p50, 7, "main", True)


def test_an_a_b_run_and_its_verification(history, tmp_path):
    for result in (JUDGED, VERIFIED):
        history.save(replace(result, test=AB.test))
    with index.opened(tmp_path) as opened:
        first, second = opened.of_commit(AB.provenance.commit)
    comparison = JUDGED.types[0].comparison
    assert (first.ratio, first.ratio_low, first.ratio_confidence) == (
        *(comparison.ratio, comparison.ratio_interval.low),
        comparison.ratio_interval.confidence,
    )
    assert (first.verdict, first.is_verification) == ("regressed", False)
    assert (second.verdict, second.is_verification) == ("regressed", True)
    assert first.control_commit == AB.provenance.control_commit


def test_only_what_has_changed_is_read_again(history, tmp_path, monkeypatch):
    for number in (1, 2, 3):
        saved(history, number)
    settle(tmp_path)
    assert read_runs(tmp_path, monkeypatch) == [1, 2, 3]
    assert read_runs(tmp_path, monkeypatch) == []
    saved(history, 4)
    saved(history, 2)
    assert read_runs(tmp_path, monkeypatch) == [2, 2, 4]


def test_what_was_written_just_now_is_read_again(history, tmp_path, monkeypatch):
    saved(history, 1)
    assert read_runs(tmp_path, monkeypatch) == [1]
    assert read_runs(tmp_path, monkeypatch) == [1]


@pytest.mark.parametrize("depth", [0, 1, 4, 7, 8])
def test_directories_that_are_gone(history, tmp_path, depth):
    directory = saved(history, 1)
    saved(history, 2, name="other", commit_time=0)
    settle(tmp_path)
    assert commits(tmp_path) == [1, 2]
    shutil.rmtree(tmp_path.joinpath(*directory.relative_to(tmp_path).parts[: depth + 1]))
    assert commits(tmp_path) == [2]


def test_a_damaged_run_is_reported_every_time(history, tmp_path, caplog):
    saved(history, 1)
    (saved(history, 2) / "meta.txt").write_text("{")
    settle(tmp_path)
    for _ in range(2):
        caplog.clear()
        assert commits(tmp_path) == [1]
        assert "is damaged and is left out" in caplog.text


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_a_damaged_index_is_built_again(history, tmp_path, content):
    saved(history, 1)
    (tmp_path / index.NAME).write_bytes(content)
    assert commits(tmp_path) == [1]


def test_an_index_of_another_layout_is_built_again(history, tmp_path):
    saved(history, 1)
    connection = sqlite3.connect(tmp_path / index.NAME)
    connection.executescript("CREATE TABLE series (x); PRAGMA user_version = 99")
    connection.close()
    assert commits(tmp_path) == [1]


def test_a_table_that_is_missing_is_reported(history, tmp_path):
    saved(history, 1)
    connection = sqlite3.connect(tmp_path / index.NAME)
    connection.executescript(f"PRAGMA user_version = {index.LAYOUT}")
    connection.close()
    with pytest.raises(StorageError, match="remove it, and try again"):
        commits(tmp_path)


def test_where_no_index_can_be_kept_everything_is_read(history, tmp_path, caplog):
    saved(history, 1)
    (tmp_path / index.NAME).mkdir()
    assert commits(tmp_path) == [1]
    assert "cannot be used, so all results are read" in caplog.text


def test_an_interrupted_first_reading_is_continued(history, tmp_path, monkeypatch):
    for number in (1, 2, 3):
        saved(history, number, commit_time=number * 86_400)
    settle(tmp_path)
    load = index.tree.load

    def interrupted(path):
        if int(path.parent.name, 16) == 3:
            raise KeyboardInterrupt
        return load(path)

    monkeypatch.setattr(index, "RUNS_PER_TRANSACTION", 1)
    monkeypatch.setattr(index.tree, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commits(tmp_path)
    monkeypatch.undo()
    assert read_runs(tmp_path, monkeypatch) == [3]
    assert commits(tmp_path) == [1, 2, 3]


def test_progress_is_announced(history, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(index, "RUNS_PER_TRANSACTION", 1)
    saved(history, 1)
    commits(tmp_path)
    assert "1 so far" in caplog.text


def test_the_good_runs_newest_last(history, tmp_path):
    for number, more in enumerate([{}, {"tainted": ("hot",)}, {"run_type": "verify"}, {}]):
        saved(history, number, **more)
    history.save(ERROR)
    with index.opened(tmp_path) as opened:
        numbers = {key.type: number for number, (key, _) in opened.series().items()}
        runs = opened.untainted(numbers[NET_DELAY], 9)
        assert opened.untainted(numbers[NET_DELAY], 1) == runs[1:]
    assert [int(one.commit, 16) for one in runs] == [0, 3]


def test_a_directory_that_is_removed_while_it_is_read(history, tmp_path, monkeypatch):
    saved(history, 1)
    gone = saved(history, 2).parent
    children = index.tree.children

    def listed(directory, depth):
        found = children(directory, depth)
        if gone in found:
            shutil.rmtree(gone)
        return found

    monkeypatch.setattr(index.tree, "children", listed)
    assert commits(tmp_path) == [1]
