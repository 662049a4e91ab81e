"""A database without space, on a small file system of its own, and a database that is killed: nothing is lost."""

import errno
import random
import signal
from dataclasses import replace

import pytest
import requests

from benchmarking.errors import ReporterError
from benchmarking.programs.process import Cancellation
from benchmarking.reporters import remote_reporter
from benchmarking.reporters.remote_reporter import RemoteReporter
from benchmarking.results.model import NET_DELAY
from benchmarking.server.accounts import Access, Auth, Scope, create_token
from benchmarking.server.store import open_store, sqlite_url
from tests.support import sample_results as samples
from tests.support.results_server import serving
from tests.support.sample_results import having
from tests.support.small_disk import database_on, small_disk
from tests.unit.server.test_app import document

SIZE_BYTES = 24 * 2**20
TOKENS = Access(auth=Auth.TOKEN)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_on_disk(request, tmp_path):
    """A store, and the directory of the file system that it is on."""
    if request.param == "sqlite":
        disk = tmp_path / "disk"
        with small_disk(disk, SIZE_BYTES):
            opened = open_store(sqlite_url(disk / "results.db"))
            yield opened, disk
            opened.close()
        return
    server = request.getfixturevalue("postgres")
    disk = server.directory / "disk"
    with small_disk(disk, SIZE_BYTES, server.user), database_on(server, disk) as url:
        opened = open_store(url.replace("postgresql:", "postgresql+psycopg:"))
        yield opened, disk
        opened.close()


def fill(disk):
    """Leaves no byte of space; removing the file gives it back."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as stream:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


def large(uid):
    """With samples that need space of their own."""
    generator = random.Random(uid)
    values = [round(generator.uniform(500, 2000), 3) for _ in range(20_000)]
    whole = replace(samples.delays(NET_DELAY, 1000.0), values=tuple(values))
    return having(samples.PASSED, uid=uid, run_uid=f"run-{uid}", types=(whole,))


@pytest.fixture
def reporter_for(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_reporter, "FIRST_WAIT_S", 0.01)
    with Cancellation() as cancellation:
        yield lambda address, token=None: RemoteReporter(
            f"{address}/api/v1/results|perf",
            access_token=token,
            allow_http=False,
            spool_directory=tmp_path / "spool",
            cancellation=cancellation,
        )


def test_on_a_full_disk_pages_are_shown_and_results_come_later(store_on_disk, tmp_path, reporter_for):
    store, disk = store_on_disk
    with store.writing() as connection:
        token = create_token(connection, "ci", Scope.WRITE)
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    with serving(store, TOKENS) as address:
        reporter = reporter_for(address, token)
        reporter.report(large("before"))
        filler = fill(disk)
        with pytest.raises(ReporterError, match=r"kept in .* 503"):
            reporter.report(large("meanwhile"))
        page = requests.post(
            f"{address}/api/v1/results", document(large("page")), headers=headers, timeout=60
        )
        assert (page.status_code, "The disk of the database is full" in page.text) == (503, True)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        # PostgreSQL sometimes writes a file of its own before it takes another connection, and refuses it then.
        allowed = {200} if (disk / "results.db").exists() else {200, 503}
        for path in ("/", "/matrix", "/run/before", "/health"):
            assert requests.get(address + path, headers=headers, timeout=60).status_code in allowed, path
        filler.unlink()
        reporter.report(large("after"))
    uids = ("before", "meanwhile", "after")
    assert [len(store.result(one).net.values) for one in uids] == [20_000] * 3
    assert list((tmp_path / "spool").glob("*/*.json")) == []


def test_a_database_that_is_killed_is_a_clear_answer_and_nothing_is_lost(postgres, reporter_for, tmp_path):
    opened = open_store(postgres.database())
    with serving(opened) as address:
        reporter = reporter_for(address)
        reporter.report(large("before"))
        postgres.stop(signal.SIGQUIT)
        try:
            with pytest.raises(ReporterError, match=r"kept in .* 503"):
                reporter.report(large("meanwhile"))
            page = requests.get(f"{address}/", headers={"Accept": "text/html"}, timeout=60)
        finally:
            postgres.start()
        assert (page.status_code, "does not answer" in page.text) == (503, True)
        assert "Retry-After" in page.headers
        reporter.report(large("after"))
    assert all(opened.result(one) for one in ("before", "meanwhile", "after"))
    assert list((tmp_path / "spool").glob("*/*.json")) == []
    opened.close()
