import multiprocessing
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text, update

from benchmarking.errors import StorageError, UsageError
from benchmarking.server import migrate, tables
from benchmarking.server.store import open_store, sqlite_url


def test_the_schema_is_that_of_the_tables(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_second_start_changes_nothing(database_url):
    with_rows = open_store(database_url)
    with with_rows.writing() as connection:
        connection.execute(tables.projects.insert().values(name="one"))
    with_rows.close()
    again = open_store(database_url)
    with again.reading() as connection:
        assert connection.scalars(select(tables.projects.c.name)).all() == ["one"]
    again.close()


def test_two_may_start_at_once(database_url):
    errors = []

    def start():
        try:
            open_store(database_url).close()
        except Exception as error:
            errors.append(error)

    starts = [threading.Thread(target=start) for _ in range(4)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    assert errors == []


def test_a_newer_schema_is_refused(database_url):
    opened = open_store(database_url)
    with opened.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(StorageError, match="newer version of this program"):
        open_store(database_url)


def test_a_reader_sees_one_state_and_does_not_wait(store):
    with store.writing() as connection:
        connection.execute(tables.projects.insert().values(name="one"))
    with store.writing() as writer:
        writer.execute(update(tables.projects).values(name="two"))
        with store.reading() as reader:
            assert reader.scalar(select(tables.projects.c.name)) == "one"


def test_a_file_of_sqlite_is_private(tmp_path):
    path = tmp_path / "new" / "results.db"
    opened = open_store(sqlite_url(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with opened.reading() as connection:
        pragmas = [connection.scalar(text(f"PRAGMA {one}")) for one in ("journal_mode", "foreign_keys")]
    assert pragmas == ["wal", 1]
    opened.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("results.db", "not a URL"),
        ("mysql://host/x", "is SQLite or PostgreSQL, not mysql"),
        ("sqlite://", "is a file"),
        ("sqlite:///:memory:", "is a file"),
    ],
)
def test_other_databases_are_refused(url, message):
    with pytest.raises(UsageError, match=message):
        open_store(url)


def test_a_database_that_cannot_be_used_is_one_line_without_the_password(tmp_path):
    url = "postgresql://ann:secret@127.0.0.1:1/results"
    with pytest.raises(StorageError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("no database" * 1000)
    with pytest.raises(StorageError, match="file is not a database"):
        open_store(sqlite_url(tmp_path / "file"))


def _write(url, started):
    opened = open_store(url)
    with opened.writing() as connection:
        connection.execute(tables.projects.insert().values(name="lost"))
        started.set()
        threading.Event().wait(60)


def test_a_writer_that_is_killed_leaves_nothing_behind(database_url):
    open_store(database_url).close()
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    writer = context.Process(target=_write, args=(database_url, started))
    writer.start()
    assert started.wait(60)
    writer.kill()
    writer.join()
    opened = open_store(database_url)
    with opened.writing() as connection:
        assert connection.execute(select(tables.projects)).all() == []
    opened.close()


def test_a_copy_is_whole_while_others_write(tmp_path):
    opened = open_store(sqlite_url(tmp_path / "results.db"))
    with opened.writing() as connection:
        connection.execute(tables.projects.insert().values(name="one"))
    with opened.writing() as connection:
        connection.execute(tables.projects.insert().values(name="not yet"))
        migrate.copy_sqlite(tmp_path / "results.db", tmp_path / "copy.db")
    opened.close()
    assert {one.name for one in Path(tmp_path).glob("*copy*")} == {"copy.db"}
    copy = open_store(sqlite_url(tmp_path / "copy.db"))
    with copy.reading() as connection:
        assert connection.scalars(select(tables.projects.c.name)).all() == ["one"]
        assert "point" in inspect(connection).get_table_names()
    copy.close()
