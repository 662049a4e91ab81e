"""A real server on loopback, on SQLite and on PostgreSQL."""

import gzip
import ipaddress
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from sqlalchemy import select, update

from benchmarking.errors import ExitStatus
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.server import accounts, payloads, tables
from benchmarking.server.accounts import Access, Auth, Scope, create_token
from benchmarking.server.bodies import LARGE_BODY, LARGEST_ANONYMOUS_BODY
from tests.support import sample_results as samples
from tests.support.results_server import serving
from tests.support.waiting import wait_until
from tests.unit.server.test_ingest import measured

HTML = {"Accept": "text/html"}
PROXY = Access(auth=Auth.PROXY, proxy_networks=(ipaddress.ip_network("127.0.0.0/8"),))


def document(*results) -> bytes:
    whole = Document(results, ExitStatus.OK, 1.0, (), ())
    return documents.dumps(documents.document_json(whole)).encode()


def post(address, body, path="/api/v1/results", token=None, **headers):
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return requests.post(address + path, data=body, headers=headers, timeout=60)


def bearer(store, scope=Scope.WRITE, lifetime_s=None):
    with store.writing() as connection:
        return create_token(connection, f"one who may {scope}", scope, lifetime_s)


def rows(store, table):
    with store.reading() as connection:
        return connection.execute(select(table)).all()


def test_a_document_is_added_once_and_shown(store):
    body = document(measured(1), measured(2), samples.having(samples.FAILED, uid="failed", run_uid="r"))
    with serving(store) as address:
        assert post(address, body).json() == {"accepted": 3, "known": 0}
        again = post(address, gzip.compress(body), **{"Content-Encoding": "gzip"})
        assert again.json() == {"accepted": 0, "known": 3}
        shown = requests.get(f"{address}/run/result-1", timeout=60)
        assert (shown.status_code, "squeezenet" in shown.text) == (200, True)
        assert requests.get(f"{address}/health", timeout=60).json()["status"] == "ok"
        metrics = requests.get(f"{address}/metrics", timeout=60)
    assert metrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert metrics.text.endswith("# EOF\n")
    assert 'mlbench_results_total{outcome="accepted"} 3\n' in metrics.text
    assert 'mlbench_stored{table="result"} 3\n' in metrics.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_writer_that_is_killed_in_the_middle_of_its_post_is_not_a_bug_of_the_server(store, caplog):
    head = b"POST /api/v1/results HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    with serving(store) as address:
        with socket.create_connection(address.removeprefix("http://").split(":")) as connection:
            connection.sendall(head)
        refused = 'mlbench_results_total{outcome="refused"} 1\n'
        wait_until(lambda: refused in requests.get(f"{address}/metrics", timeout=60).text)
    assert not caplog.text


HOSTILE = [
    (b"", {}, 422, "it is empty"),
    (b"[]", {}, 422, "not a document"),
    (b'{"results": [{}]}', {}, 422, "not a document"),
    (b"[" * 1025 + b"]" * 1025, {}, 422, "nested deeper"),
    (b"{" + b",".join(b'"%d":0' % one for one in range(250_000)) + b"}", {}, 413, "too many values"),
    (b"[" * 300_000, {}, 413, "too many values"),
    (
        b'{"results": [{"meta": {"device": {'
        + b",".join(b'"%d": []' % one for one in range(150_000))
        + b"}}}]}",
        {},
        422,
        "more than 2,500 members",
    ),
    (b'{"results": [' + b"1," * 1_500_000 + b"1]}", {}, 422, "not a document"),
    (b" " * (LARGEST_ANONYMOUS_BODY + 1) * 9, {}, 413, "larger than"),
    (gzip.compress(b" " * 2**28), {"Content-Encoding": "gzip"}, 413, "larger than"),
    (gzip.compress(b"{}")[:-9], {"Content-Encoding": "gzip"}, 400, "not gzip"),
    (b"no gzip", {"Content-Encoding": "gzip"}, 400, "not gzip"),
    (b"{}", {"Content-Encoding": "br"}, 415, "gzip"),
    (document(measured(1, position=2**64)), {}, 422, "out of bounds"),
    (document(measured(1)).replace(b"squeezenet", b"\\u0000"), {}, 422, "contains NUL"),
    (document(measured(1)).replace(b"squeezenet", b"\\ud800"), {}, 422, "half of a character"),
    (document(measured(1)).replace(b'"layout_version": 1', b'"layout_version": 9'), {}, 422, "newer version"),
]


def test_hostile_bodies_are_refused(store):
    with serving(store) as address:
        for body, headers, status, message in HOSTILE:
            answer = post(address, body, **headers)
            assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.text
        assert post(address, document(measured(7))).json()["accepted"] == 1
    assert len(rows(store, tables.results)) == 1


def test_large_bodies_are_parsed_one_after_the_other(store, monkeypatch):
    """Each needs up to 50 times its memory; small ones do not wait."""
    running = []
    at_once = set()
    small_is_done = threading.Event()
    parse = payloads.results_of_document

    def slow(body):
        if len(body) <= LARGE_BODY:
            return parse(body)
        running.append(body)
        at_once.add(len(running))
        assert small_is_done.wait(60)
        running.pop()
        return parse(b'{"results": []}')

    monkeypatch.setattr(payloads, "results_of_document", slow)
    with serving(store) as address, ThreadPoolExecutor(4) as pool:
        large = [pool.submit(post, address, b" " * (LARGE_BODY + 1)) for _ in range(3)]
        wait_until(lambda: running)
        assert post(address, document(measured(1))).json()["accepted"] == 1
        small_is_done.set()
        assert not any(one.result().ok for one in large)
    assert at_once == {1}


def test_other_bodies_are_small(store):
    with serving(store) as address:
        answer = post(
            address, b"x" * 2**17, "/login", **{"Content-Type": "application/x-www-form-urlencoded"}
        )
    assert answer.status_code == 413


class TestTokens:
    access = Access(auth=Auth.TOKEN)

    def test_scopes_include_those_before_them(self, store):
        expected = {Scope.READ: (200, 403), Scope.WRITE: (200, 200), Scope.ADMIN: (200, 200)}
        given = {scope: bearer(store, scope) for scope in expected}
        with serving(store, self.access) as address:
            for scope, token in given.items():
                headers = {"Authorization": f"Bearer {token}"}
                read = requests.get(f"{address}/matrix.json", headers=headers, timeout=60).status_code
                assert (read, post(address, document(measured(1)), token=token).status_code) == expected[
                    scope
                ]

    def test_logs_bring_their_token_in_the_body(self, store):
        tokens = {bearer(store, Scope.READ): 403, bearer(store, Scope.WRITE): 200, "wrong": 401, "": 401}
        with serving(store, self.access) as address:
            for token, status in tokens.items():
                body = json.dumps({"access_token": token, "logs": "[]"}).encode()
                assert post(address, body, "/api/v1/logs").status_code == status

    def test_without_a_valid_token_nothing_is_told(self, store):
        old, revoked = bearer(store, lifetime_s=-1), bearer(store)
        with store.writing() as connection:
            accounts.revoke_token(connection, revoked.split("_")[1])
        foreign = ["", "x", "mlb_a_b", old, revoked, revoked[:-1], "mlb_" + "x" * 500, "mlb_é_x"]
        with serving(store, self.access) as address:
            for token in foreign:
                headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
                answer = requests.get(f"{address}/matrix.json", headers=headers, timeout=60)
                assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert post(address, document(measured(1)), **headers).status_code == 401
            assert requests.get(f"{address}/health", timeout=60).status_code == 200
        assert rows(store, tables.results) == []

    def test_a_public_server_is_read_by_everybody_and_written_by_few(self, store):
        with serving(store, Access(auth=Auth.TOKEN, public=True)) as address:
            assert requests.get(f"{address}/matrix.json", timeout=60).status_code == 200
            assert post(address, document(measured(1))).status_code == 401

    def test_the_database_has_no_token(self, store):
        token = bearer(store, Scope.ADMIN)
        assert re.fullmatch(r"mlb_[0-9a-f]{10}_[A-Za-z0-9_-]{32}", token)
        secret = token.split("_", 2)[2]
        assert secret not in repr([rows(store, table) for table in tables.metadata.sorted_tables])
        (event,) = rows(store, tables.events)
        assert (event.kind, json.loads(event.detail)["scope"]) == ("token_created", "admin")

    def test_people_give_their_token_once(self, store):
        token = bearer(store, Scope.TRIAGE)
        with serving(store, self.access) as address, requests.Session() as browser:
            first = browser.get(f"{address}/matrix?columns=device", headers=HTML, timeout=60)
            assert first.url == f"{address}/login?then=matrix%3Fcolumns%3Ddevice"
            wrong = browser.post(f"{address}/login", {"token": "mlb_a_b"}, headers=HTML, timeout=60)
            assert (wrong.status_code, "unknown, revoked" in wrong.text) == (403, True)
            form = {"token": token, "then": "matrix?columns=device"}
            after = browser.post(f"{address}/login", form, headers=HTML, timeout=60)
            assert (after.status_code, after.url) == (200, f"{address}/matrix?columns=device")
            (cookie,) = browser.cookies
            assert cookie.has_nonstandard_attr("HttpOnly")
            assert cookie.get_nonstandard_attr("SameSite") == "strict"
            assert token.split("_", 2)[2] not in cookie.value
            with store.writing() as connection:
                connection.execute(update(tables.tokens).values(revoked=True))
            assert "/login" in browser.get(f"{address}/matrix", headers=HTML, timeout=60).url

    def test_a_session_outlives_the_server_and_ends_when_its_owner_says_so(self, store):
        form = {"token": bearer(store, Scope.READ)}
        with requests.Session() as browser:
            with serving(store, self.access) as address:
                browser.post(f"{address}/login", form, timeout=60).raise_for_status()
            with serving(store, Access(auth=Auth.TOKEN)) as address:
                page = browser.get(f"{address}/matrix", headers=HTML, timeout=60)
                assert (page.status_code, "/login" in page.url, "log out" in page.text) == (200, False, True)
                (cookie,) = browser.cookies
                assert cookie.value not in repr(rows(store, tables.sessions))
                assert browser.post(f"{address}/logout", headers=HTML, timeout=60).url.endswith(
                    "/login?then="
                )
                stolen = {"Cookie": f"{cookie.name}={cookie.value}"}
                assert requests.get(f"{address}/matrix.json", headers=stolen, timeout=60).status_code == 401

    def test_a_session_ends_after_two_weeks(self, store):
        form = {"token": bearer(store)}
        with serving(store, self.access) as address, requests.Session() as browser:
            browser.post(f"{address}/login", form, timeout=60).raise_for_status()
            with store.writing() as connection:
                connection.execute(update(tables.sessions).values(created=int(time.time()) - 15 * 86400))
            assert browser.get(f"{address}/matrix.json", timeout=60).status_code == 401
            browser.post(f"{address}/login", form, timeout=60).raise_for_status()
        assert len(rows(store, tables.sessions)) == 1

    @pytest.mark.parametrize(
        "target", ["//evil.example", "https://evil.example", "\\\\evil", "javascript:x", "/\t/e"]
    )
    def test_the_login_leads_to_no_other_site(self, store, target):
        form = {"token": bearer(store), "then": target}
        with serving(store, self.access) as address:
            answer = requests.post(f"{address}/login", form, allow_redirects=False, timeout=60)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")


class TestBrowsers:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
    )
    def test_other_sites_cannot_send_anything(self, store, headers):
        with serving(store) as address:
            assert post(address, document(measured(1)), **headers).status_code == 403
            own = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
            assert post(address, document(measured(1)), **own).status_code == 200

    def test_other_names_for_this_machine_are_not_answered(self, store):
        """A site can let its own name lead to 127.0.0.1."""
        with serving(store) as address:
            answer = requests.get(f"{address}/matrix.json", headers={"Host": "evil.example"}, timeout=60)
            assert answer.status_code == 421

    def test_an_error_is_a_page_for_people(self, store):
        with serving(store) as address:
            page = requests.get(f"{address}/run/nonesuch", headers=HTML, timeout=60)
            assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            assert requests.get(f"{address}/run/nonesuch", timeout=60).json()["detail"]


class TestProxy:
    def test_the_proxy_names_the_user(self, store):
        with serving(store, PROXY) as address:
            headers = {"X-Forwarded-User": "ann"}
            assert requests.get(f"{address}/matrix.json", headers=headers, timeout=60).status_code == 200
            assert requests.get(f"{address}/matrix.json", timeout=60).status_code == 401
        (user,) = rows(store, tables.users)
        assert (user.name, user.scope, user.last_seen <= time.time()) == ("ann", "triage", True)

    def test_nobody_else_does(self, store):
        elsewhere = Access(auth=Auth.PROXY, proxy_networks=(ipaddress.ip_network("10.0.0.7/32"),))
        with serving(store, elsewhere) as address:
            forged = {"X-Forwarded-User": "ann", "X-Forwarded-For": "10.0.0.7", "Forwarded": "for=10.0.0.7"}
            assert requests.get(f"{address}/matrix.json", headers=forged, timeout=60).status_code == 401
            token = bearer(store)
            assert post(address, document(measured(1)), token=token).status_code == 200
        assert rows(store, tables.users) == []
