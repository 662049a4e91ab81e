import multiprocessing
import shutil
import sqlite3
import stat
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import MetaData, func, insert, inspect, select, text, update

from benchmarking.errors import StorageError, UsageError
from benchmarking.server import accounts, migrate, retention, tables
from benchmarking.server.ingest import ingest
from benchmarking.server.retention import back_up, forget_samples
from benchmarking.server.store import open_store, sqlite_url
from tests.support.made_up_results import FIRST_COMMIT, History, sha


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


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """A version of this program with another revision of the schema; ``upgrade`` is its body."""

    def make(upgrade):
        scripts = tmp_path / "scripts"
        shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        (scripts / "versions" / "next.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\nrevision = '9'\ndown_revision = '0003'\n"
            f"def upgrade():\n    {upgrade}\n"
        )
        monkeypatch.setattr(migrate, "SCRIPTS", scripts)

    return make


def filled(url):
    opened = open_store(url)
    with opened.writing() as connection:
        connection.execute(tables.projects.insert().values(name="one"))
    opened.close()


def test_a_database_of_the_former_schema_is_migrated_after_a_copy(database_url, next_version, tmp_path):
    filled(database_url)
    next_version("op.add_column('project', sa.Column('colour', sa.Text(), server_default='blue'))")
    for _ in range(2):
        opened = open_store(database_url)
        with opened.reading() as connection:
            assert connection.execute(text("SELECT name, colour FROM project")).all() == [("one", "blue")]
        opened.close()
    copies = list(tmp_path.glob("results.db.before_0003_ended"))
    assert len(copies) == (database_url.startswith("sqlite"))
    for copy in copies:
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT * FROM project").fetchall() == [(1, "one", 0)]


@pytest.fixture
def first_version(tmp_path, monkeypatch):
    """A version of this program with only the first schema, as long as the block lasts."""

    @contextmanager
    def make():
        scripts = tmp_path / "first"
        shutil.copytree(
            migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__", "second.py", "third.py")
        )
        with monkeypatch.context() as patched:
            patched.setattr(migrate, "SCRIPTS", scripts)
            yield

    return make


def against_the_first(result):
    origin = result.provenance
    if origin.control_commit is None:
        return result
    control = {"control_commit": sha(0), "control_commit_time": FIRST_COMMIT, "control_position": 0}
    return replace(result, provenance=replace(origin, **control))


def copied(source, target):
    """The rows of a database, in the columns that the other has."""
    with source.reading() as reading, target.writing() as writing:
        known = MetaData()
        known.reflect(writing)
        for table in tables.metadata.sorted_tables:
            if table.name in known.tables:
                columns = [one.name for one in known.tables[table.name].columns]
                rows = [
                    {name: row[name] for name in columns} for row in reading.execute(select(table)).mappings()
                ]
                if rows:
                    writing.execute(known.tables[table.name].insert(), rows)


def test_results_of_the_first_schema_are_there_after_the_migration(database_url, first_version, tmp_path):
    given = [*map(against_the_first, History(nets=1, commits=12, operators=2))]
    today = open_store(sqlite_url(tmp_path / "today.db"))
    ingest(today, given)
    # So that no row refers to a later one.
    with today.writing() as connection:
        last = connection.execute(select(tables.series.c.id, tables.series.c.last_result_id)).all()
        connection.execute(update(tables.series).values(last_result_id=None))
    with first_version():
        opened = open_store(database_url)
        copied(today, opened)
        with opened.writing() as connection:
            known = MetaData()
            known.reflect(connection, only=["series"])
            assert "ratio_scatter" not in known.tables["series"].columns
            for row, result in last:
                connection.execute(
                    text("UPDATE series SET last_result_id = :result WHERE id = :id"),
                    {"id": row, "result": result},
                )
            assert "session" not in inspect(connection).get_table_names()
        opened.close()
    opened = open_store(database_url)
    assert all(opened.result(one.provenance.uid) for one in given)
    series = tables.series.c
    query = select(series.key, series.scatter_runs, series.ratio_scatter).order_by(series.key)
    found = []
    for one in (opened, today):
        with one.reading() as connection:
            found.append(connection.execute(query).all())
    assert found[0] == found[1]
    assert None not in found[0][0]
    assert ingest(opened, given).known == len(given)
    with opened.writing() as connection:
        token = accounts.create_token(connection, "ann", accounts.Scope.READ)
    assert accounts.begin_session(opened, token)
    opened.close()
    today.close()
    for copy in tmp_path.glob("results.db.before_0001_ended"):
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT count(*) FROM result").fetchall() == [(len(given),)]


def test_a_migration_that_fails_changes_nothing(database_url, next_version, monkeypatch):
    filled(database_url)
    with monkeypatch.context():
        next_version(
            "op.execute(\"UPDATE project SET name = 'two'\"); op.execute('SELECT nonsense FROM nowhere')"
        )
        with pytest.raises(StorageError, match=r"nowhere"):
            open_store(database_url)
    monkeypatch.setattr(migrate, "SCRIPTS", Path(migrate.__file__).parent / "migrations")
    opened = open_store(database_url)
    with opened.reading() as connection:
        assert connection.scalars(select(tables.projects.c.name)).all() == ["one"]
    opened.close()


def test_a_copy_for_which_there_is_no_space_is_one_line(tmp_path, monkeypatch):
    class Full(sqlite3.Connection):
        """SQLite says so in the middle of the copy."""

        def backup(self, *_, **__):
            raise sqlite3.OperationalError("database or disk is full")

    connect = sqlite3.connect
    # Coverage opens databases as well, with options of its own.
    monkeypatch.setattr(
        migrate.sqlite3, "connect", lambda path, **options: connect(path, **{"factory": Full, **options})
    )
    (tmp_path / "results.db").touch()
    with pytest.raises(
        StorageError, match=r"^cannot copy the database to .*copy\.db: database or disk is full$"
    ):
        migrate.copy_sqlite(tmp_path / "results.db", tmp_path / "copy.db")
    with pytest.raises(StorageError, match=r"^cannot copy the database to .*: No such file or directory$"):
        migrate.copy_sqlite(tmp_path / "results.db", tmp_path / "none" / "copy.db")
    assert [one.name for one in tmp_path.iterdir()] == ["results.db"]


def test_a_backup_is_a_database_of_one_moment(store, tmp_path):
    ingest(store, list(History(nets=1, commits=3, operators=2)))
    back_up(store, tmp_path / "backup.db")
    with pytest.raises(StorageError, match="exists"):
        back_up(store, tmp_path / "backup.db")
    copy = open_store(sqlite_url(tmp_path / "backup.db"))
    for table in tables.metadata.sorted_tables:
        key = list(table.primary_key.columns)
        with store.reading() as one, copy.reading() as other:
            assert (
                one.execute(select(table).order_by(*key)).all()
                == other.execute(select(table).order_by(*key)).all()
            )
    assert ingest(copy, list(History(nets=1, commits=4, operators=2))).accepted == 4
    copy.close()
    assert {path.name for path in tmp_path.glob(".*")} == set()


def test_samples_are_forgotten_and_summaries_kept(store, monkeypatch):
    monkeypatch.setattr(retention, "_BATCH", 1)
    results = list(History(nets=1, devices=1, backends=("default",), commits=3, failed=0))
    ingest(store, results)
    newest = results[-1].provenance.time
    assert forget_samples(store, 1, newest + 86400) == 2
    assert forget_samples(store, 1, newest + 86400) == 0
    old, new = (store.result(one.provenance.uid) for one in (results[0], results[-1]))
    assert (old.net.values, new.net.values) == ((), results[-1].net.values)
    assert old.net.summary == results[0].net.summary


def test_who_reads_sees_one_state(store):
    count = select(func.count()).select_from(tables.projects)
    with store.reading() as connection:
        before = connection.scalar(count)
        with store.writing() as writing:
            writing.execute(insert(tables.projects), {"name": "meanwhile"})
        assert connection.scalar(count) == before
    with store.reading() as connection:
        assert connection.scalar(count) == before + 1
