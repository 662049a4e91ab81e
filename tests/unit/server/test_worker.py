import threading

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from benchmarking.server.ingest import ingest
from benchmarking.server.store import open_store, sqlite_url
from benchmarking.server.tables import series
from benchmarking.server.triage import worker
from benchmarking.server.triage.worker import MOST_FAILURES, Searcher, Worker
from tests.support.histories import result


@pytest.fixture
def store(tmp_path):
    store = open_store(sqlite_url(tmp_path / "results.db"))
    ingest(store, [result(0, 100, net=net) for net in ("a", "b", "c")])
    yield store
    store.close()


def unsearched(store):
    with store.reading() as connection:
        return connection.execute(select(series.c.unsearched).order_by(series.c.id)).scalars().all()


def test_a_series_that_fails_does_not_hold_up_the_others(store, monkeypatch, caplog):
    tried, real = [], worker.search

    def search(store, number, now):
        tried.append(number)
        if number == 1:
            raise IntegrityError("INSERT", {}, Exception("not unique"))
        return real(store, number, now)

    monkeypatch.setattr(worker, "search", search)
    Searcher(store, lambda: None)(threading.Event())
    assert unsearched(store) == [1, 0, 0]
    assert tried.count(1) == MOST_FAILURES
    assert "series 1 could not be searched" in caplog.text


def test_while_the_database_is_away_nothing_is_given_up(store, monkeypatch):
    def search(store, number, now):
        raise OperationalError("SELECT", {}, Exception("away"))

    searcher = Searcher(store, lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "search", search)
        with pytest.raises(OperationalError):
            searcher(threading.Event())
    searcher(threading.Event())
    assert unsearched(store) == [0, 0, 0]


def test_a_worker_survives_a_failure_and_works_when_it_is_woken(monkeypatch, caplog):
    monkeypatch.setattr(worker, "DEBOUNCE_S", 0.0)
    called, done = [], threading.Event()

    def work(ending):
        called.append(1)
        if len(called) == 1:
            raise OperationalError("SELECT", {}, Exception("away"))
        if len(called) == 2:
            raise ValueError("a bug")
        done.set()

    with Worker("the test", work) as one:
        while not done.wait(0.01):
            one.wake()
    assert "the test waits, because the database failed" in caplog.text
    assert "a bug of the test" in caplog.text
