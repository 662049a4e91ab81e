"""The remote reporter and the results server of this project, over a real connection."""

import json

import pytest

from benchmarking.errors import ReporterError
from benchmarking.programs.process import Cancellation
from benchmarking.reporters import remote_reporter
from benchmarking.reporters.remote_reporter import RemoteReporter
from benchmarking.server.accounts import Access, Auth, Scope, create_token
from benchmarking.server.store import open_store, sqlite_url
from tests.support import sample_results as samples
from tests.support.results_server import serving
from tests.support.sample_results import having

RESULTS = [
    having(one, uid=f"uid-{number}", run_uid="run")
    for number, one in enumerate((samples.DELAY, samples.AB, samples.ERROR, samples.FAILED))
]
TOKENS = Access(auth=Auth.TOKEN)


@pytest.fixture
def store(tmp_path):
    opened = open_store(sqlite_url(tmp_path / "results.db"))
    yield opened
    opened.close()


@pytest.fixture
def reporter_for(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_reporter, "FIRST_WAIT_S", 0.01)
    with Cancellation() as cancellation:
        yield lambda address, token=None, path="api/v1/results": RemoteReporter(
            f"{address}/{path}|perf",
            access_token=token,
            allow_http=False,
            spool_directory=tmp_path / "spool",
            cancellation=cancellation,
        )


def token_of(store, scope=Scope.WRITE):
    with store.writing() as connection:
        return create_token(connection, "ci", scope)


def test_documents_arrive_whole_with_failed_tests(store, reporter_for):
    with serving(store, TOKENS) as address:
        reporter = reporter_for(address, token_of(store))
        for one in RESULTS:
            reporter.report(one)
        assert reporter.destination == f"results sent to {address}/api/v1/results"
    for one in RESULTS:
        kept = store.result(one.provenance.uid)
        assert (kept.test, kept.provenance, kept.failure, kept.net) == (
            one.test,
            one.provenance,
            one.failure,
            one.net,
        )


def test_the_form_of_the_contract_arrives_as_well(store, reporter_for):
    with serving(store, TOKENS) as address:
        reporter = reporter_for(address, token_of(store), "api/v1/logs")
        for one in RESULTS:
            reporter.report(one)
    assert store.result("uid-3") is None  # the contract has no place for it
    for one in RESULTS[:3]:
        kept = store.result(one.provenance.uid)
        assert (kept.test, kept.provenance) == (one.test, one.provenance)
        assert [own.values for own in kept.types] == [own.values for own in one.types]


@pytest.mark.parametrize("path", ["api/v1/results", "api/v1/logs"])
def test_what_was_not_sent_is_kept_and_sent_later(store, reporter_for, tmp_path, path):
    from benchmarking.server.running import listen

    with listen("127.0.0.1", 0) as free:
        away = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ReporterError, match="kept in"):
        reporter_for(away, "secret", path).report(RESULTS[0])
    (kept,) = (tmp_path / "spool").glob("*/*.json")
    assert "secret" not in kept.read_text()
    with serving(store) as address:
        reporter = reporter_for(address, None, path)
        kept.rename(reporter._spool / kept.name) if reporter._spool.is_dir() else kept.parent.rename(
            reporter._spool
        )
        reporter.report(RESULTS[1])
    assert {store.result(uid).provenance.uid for uid in ("uid-0", "uid-1")} == {"uid-0", "uid-1"}
    assert list((tmp_path / "spool").glob("*/*.json")) == []


def test_without_a_token_nothing_is_lost(store, reporter_for, tmp_path):
    with serving(store, TOKENS) as address:
        with pytest.raises(ReporterError, match="401"):
            reporter_for(address, "mlb_wrong_token").report(RESULTS[0])
        with pytest.raises(ReporterError, match="403"):
            reporter_for(address, token_of(store, Scope.READ)).report(RESULTS[1])
        reporter_for(address, token_of(store)).report(RESULTS[2])
    assert [store.result(f"uid-{number}") is not None for number in range(3)] == [True, True, True]


def test_a_result_that_the_server_refuses_is_set_aside(store, reporter_for, tmp_path):
    with serving(store) as address:
        reporter = reporter_for(address)
        reporter.report(RESULTS[0])
        with pytest.raises(ReporterError, match=r"422.*longer than 500"):
            reporter.report(having(RESULTS[1], net="x" * 501))
        reporter.report(RESULTS[2])
    (aside,) = (tmp_path / "spool").glob("*/set_aside/*.json")
    assert json.loads(aside.read_text())["results"][0]["meta"]["net_name"] == "x" * 501
