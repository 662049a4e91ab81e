"""Several projects on one server are kept apart, through a real server on loopback."""

import pytest
import requests
from fastapi.testclient import TestClient

from benchmarking.continuous.known_regressions import KnownRegressions
from benchmarking.programs.process import Cancellation
from benchmarking.reporters.remote_reporter import RemoteReporter
from benchmarking.server.accounts import Access, Auth, Scope, create_token
from benchmarking.server.app import make_app
from benchmarking.server.ingest import Ingested, ingest
from benchmarking.server.store import open_store, sqlite_url
from tests.support.histories import result
from tests.support.made_up_results import History
from tests.support.results_server import serving
from tests.support.sample_results import having, on_device
from tests.unit.server.test_app import HTML, document

TOKENS = Access(auth=Auth.TOKEN)
HERE, THERE = (list(History(nets=1, backends=("default",), devices=1, commits=3, seed=one)) for one in (1, 2))


@pytest.fixture
def empty_store(tmp_path):
    one = open_store(sqlite_url(tmp_path / "results.db"))
    yield one
    one.close()


def client_of(store, access=None):
    return TestClient(make_app(store, access), base_url="http://localhost")


def get(address, path, **headers):
    return requests.get(address + path, headers=headers, timeout=60)


def test_each_project_shows_its_own_results_and_links_to_itself(store):
    with serving(store) as address:
        for path, given in (("", HERE), ("/p/other.net", THERE)):
            sent = requests.post(f"{address}{path}/api/v1/results", document(*given), timeout=60)
            assert sent.json() == {"accepted": 3, "known": 0}
        own, other = HERE[-1].provenance.uid, THERE[-1].provenance.uid
        assert [get(address, f"/run/{one}.json").status_code for one in (own, other)] == [200, 404]
        assert [get(address, f"/p/other.net/run/{one}").status_code for one in (own, other)] == [404, 200]
        pages = [get(address, f"{path}/", **HTML).text for path in ("", "/p/other.net")]
        assert all('href="/p/other.net/"' in one and "Projects" in one for one in pages)
        assert 'href="/p/other.net/matrix"' in pages[1]
        assert 'href="/p/other.net/matrix"' not in pages[0]
        assert [get(address, f"{path}/matrix.csv").text.count("\n") for path in ("", "/p/other.net")] == [
            2,
            2,
        ]
        style = pages[1].partition('rel="stylesheet" href="')[2].partition('"')[0]
        assert (style[:21], get(address, style).status_code) == ("/p/other.net/static/v", 200)
        empty = get(address, "/p/none/", **HTML)
        assert (empty.status_code, "No results yet" in empty.text) == (200, True)
        for path in ("/p/", "/p/-x/", "/p/x y/", f"/p/{'x' * 101}/"):
            assert get(address, path).status_code == 404


def test_a_token_for_one_project_is_none_for_the_others(store):
    with store.writing() as connection:
        token = create_token(connection, "ci", Scope.WRITE, project="other")
    with serving(store, TOKENS) as address:
        headers = {"Authorization": f"Bearer {token}"}
        status = [get(address, f"{path}/matrix.json", **headers).status_code for path in ("", "/p/other")]
        assert status == [403, 200]
        for path, expected in (("", 403), ("/p/third", 403), ("/p/other", 200)):
            sent = requests.post(
                f"{address}{path}/api/v1/results", document(*HERE), headers=headers, timeout=60
            )
            assert sent.status_code == expected
        with requests.Session() as browser:
            after = browser.post(f"{address}/login", {"token": token}, headers=HTML, timeout=60)
            assert (after.status_code, after.url) == (200, f"{address}/p/other/")


def test_a_token_for_one_project_sends_no_logs_to_another(empty_store):
    with empty_store.writing() as connection:
        token = create_token(connection, "ci", Scope.WRITE, project="other")
    client = client_of(empty_store, TOKENS)
    body, headers = {"logs": "[]"}, {"Authorization": f"Bearer {token}"}
    for path, expected in (("", 403), ("/p/third", 403), ("/p/other", 200)):
        address = f"{path}/api/v1/logs"
        assert client.post(address, json=body, headers=headers).status_code == expected
        assert client.post(address, json={**body, "access_token": token}).status_code == expected


def test_a_result_belongs_to_the_project_that_had_it_first(empty_store):
    assert ingest(empty_store, HERE).accepted == 3
    assert ingest(empty_store, HERE, project="other") == Ingested(0, 3)
    assert client_of(empty_store).get("/p/other/matrix.json").json()["rows"] == []


def test_pages_of_a_project_name_nothing_of_another(empty_store):
    """Not even if both were sent results of the same call of the harness."""
    other = [
        having(on_device(one, name, "f" * 12), run_uid=HERE[-1].provenance.run_uid, net="secret")
        for one, name in zip(THERE, ("secret", "secret", HERE[0].device.name), strict=True)
    ]
    ingest(empty_store, HERE)
    ingest(empty_store, other, project="other")
    client = client_of(empty_store)
    own = client.get(f"/run/{HERE[-1].provenance.uid}.json").json()
    assert own["siblings"] == []
    for name in ("device:secret", "device:2", "2"):
        assert client.get("/compare.json", params={"a": name, "b": "device:1"}).status_code == 404
    # The devices have the same name: each project knows its own.
    for project in ("", "/p/other"):
        found = client.get(f"{project}/compare.json", params={"a": "device:Board-0", "b": "device:Board-0"})
        assert len(found.json()["rows"]) == 1


def test_the_harness_and_the_loop_reach_a_project(store, tmp_path):
    with serving(store) as address, Cancellation() as cancellation:
        target = f"{address}/p/other/api/v1/results"
        RemoteReporter(
            f"{target}|perf",
            access_token=None,
            allow_http=False,
            spool_directory=tmp_path,
            cancellation=cancellation,
        ).report(result(3, 110))
        assert len(get(address, "/p/other/matrix.json").json()["rows"]) == 1
        assert get(address, "/matrix.json").json()["rows"] == []
        assert KnownRegressions(target, None, cancellation).silenced(["a" * 40]) == set()


@pytest.mark.parametrize("path", ["/bench/p/other/matrix", "/p/other/matrix"])
def test_a_project_behind_a_proxy_with_a_path_of_its_own(store, path):
    client = TestClient(make_app(store, root_path="/bench"), base_url="http://localhost")
    page = client.get(path)
    assert (page.status_code, 'href="/bench/p/other/compare"' in page.text) == (200, True)
