"""On SQLite and on PostgreSQL."""

import json
import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from benchmarking.errors import UsageError
from benchmarking.records.tree import History as Tree
from benchmarking.server import tables
from benchmarking.server.foreign import Context
from benchmarking.server.importing import Imported, import_file, import_tree
from benchmarking.server.ingest import ingest
from benchmarking.server.store import open_store, sqlite_url
from tests.support import sample_results as samples
from tests.support.made_up_results import History
from tests.support.sample_results import having
from tests.unit.server.test_payloads import body, message

OLD_TREE = Path(__file__).parents[2] / "data/results/version_1/tree"


def never():
    return False


def stored(store):
    with store.reading() as connection:
        return connection.execute(select(tables.results)).all()


def test_a_second_import_adds_nothing_and_reads_nothing(store, tmp_path):
    tree = Tree(tmp_path)
    results = list(History(nets=2, backends=("default",), commits=3, operators=2, failed=0.2))
    for one in results:
        tree.save(one) if one.failure is None else tree.save_failure(one)
    assert {one.failure is None for one in results} == {True, False}
    assert import_tree(store, tmp_path, never) == Imported(accepted=len(results))
    assert import_tree(store, tmp_path, never) == Imported(skipped=len(results))
    for one in results:
        kept = store.result(one.provenance.uid)
        assert (kept.test, kept.net, kept.failure) == (one.test, one.net, one.failure)
    assert len(stored(store)) == len(results)


def test_what_was_sent_before_is_known(store, tmp_path):
    results = list(History(nets=2, backends=("default",), commits=2, operators=0, failed=0))
    ingest(store, results[:3])
    for one in results:
        Tree(tmp_path).save(one)
    assert import_tree(store, tmp_path, never) == Imported(accepted=len(results) - 3, known=3)


def test_what_goes_away_meanwhile_is_left_out(tmp_path, monkeypatch, caplog):
    from benchmarking.server import importing

    (tmp_path / "tree").mkdir()
    results = list(History(nets=1, devices=1, backends=("default",), commits=3, operators=0, failed=0))
    saved = [Tree(tmp_path / "tree").save(one) for one in results]
    found = list(importing.run_directories(tmp_path / "tree"))
    shutil.rmtree(saved[1])
    monkeypatch.setattr(importing, "run_directories", lambda root: iter(found))
    store = open_store(sqlite_url(tmp_path / "results.db"))
    assert import_tree(store, tmp_path / "tree", never) == Imported(accepted=2, damaged=1)
    store.close()
    assert caplog.messages[0].startswith(f"{saved[1]} is left out: ")


def test_a_directory_that_cannot_be_read_is_left_out(tmp_path, monkeypatch, caplog):
    from benchmarking.server import importing

    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.txt").touch()
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(importing.os, "scandir", closed)
    assert [one.name for one in importing.run_directories(tmp_path)] == ["a", "c"]
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'b'} is left out: ")
    with pytest.raises(PermissionError):
        list(importing.run_directories(tmp_path / "b"))


def test_a_tree_of_an_older_version_is_known_by_its_bytes(store, tmp_path):
    for name in ("one", "copy"):
        shutil.copytree(OLD_TREE, tmp_path / name)
    assert import_tree(store, tmp_path / "one", never) == Imported(accepted=5)
    assert import_tree(store, tmp_path / "copy", never) == Imported(known=5)


def test_an_import_can_be_interrupted(store, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarking.server.importing.BATCH", 2)
    for one in History(nets=2, backends=("default",), commits=3, operators=0, failed=0):
        Tree(tmp_path).save(one)
    calls = iter([False, False, True])
    assert import_tree(store, tmp_path, lambda: next(calls)) == Imported(accepted=4)
    assert import_tree(store, tmp_path, never) == Imported(accepted=8, skipped=4)


def test_a_damaged_run_is_left_out_and_looked_at_again(store, tmp_path, caplog):
    for number in range(3):
        Tree(tmp_path).save(having(samples.DELAY, uid=f"uid-{number}", run_uid="run"))
    broken, foreign_file = sorted(tmp_path.rglob("meta.txt"))[1], tmp_path / "notes.txt"
    whole = broken.read_text()
    broken.write_text(whole[:100])
    foreign_file.write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    assert import_tree(store, tmp_path, never) == Imported(accepted=2, damaged=1)
    assert f"{broken.parent} is left out" in caplog.text
    broken.write_text(whole)
    assert import_tree(store, tmp_path, never) == Imported(accepted=1, skipped=2)


def test_files_are_told_apart_by_their_content(store, tmp_path):
    from tests.unit.server.test_app import document

    contents = {
        "run.json": document(
            having(samples.DELAY, uid="a", run_uid="r"), having(samples.AB, uid="b", run_uid="r")
        ),
        "post.json": body(message()),
        "logs.json": json.dumps(message()).encode(),
        "hyperfine.json": b'{"results": [{"command": "true", "times": [0.1, 0.2]}]}',
    }
    found = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found.append(import_file(store, tmp_path / name, Context()))
    assert found == [Imported(2), Imported(1), Imported(0, 1), Imported(1)]
    assert import_file(store, tmp_path / "hyperfine.json", Context()) == Imported(0, 1)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"{}", b'{"logs": 1}', b'{"layout_version": 1, "exit_status": 0}']
)
def test_a_file_of_no_known_form_is_one_line_with_its_name(store, tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"file\.json: ") as caught:
        import_file(store, path, Context())
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="No such file"):
        import_file(store, tmp_path / "none", Context())


def test_what_a_document_says_itself_is_not_said_again(tmp_path):
    (tmp_path / "post.json").write_bytes(body(message()))
    store = open_store(sqlite_url(tmp_path / "results.db"))
    for context in (Context(device="elsewhere"), Context(commit="a1", commit_time=1)):
        with pytest.raises(UsageError, match="say commit and device themselves"):
            import_file(store, tmp_path / "post.json", context)
    assert import_file(store, tmp_path / "post.json", Context()) == Imported(accepted=1)
    store.close()


def test_a_directory_that_cannot_be_read(tmp_path):
    store = open_store(sqlite_url(tmp_path / "results.db"))
    with pytest.raises(UsageError, match="missing: No such file or directory"):
        import_tree(store, tmp_path / "missing", never)
    store.close()
