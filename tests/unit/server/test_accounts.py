"""Who is admitted to what, in the process of the test: times, names and addresses at their limits."""

import hashlib
import json
import shutil
import threading
from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from benchmarking.errors import UsageError
from benchmarking.server import accounts, retention, tables
from benchmarking.server.accounts import NOBODY, Access, Account, Auth, Scope
from benchmarking.server.app import make_app
from benchmarking.server.store import open_store, sqlite_url

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "results.db"
    open_store(sqlite_url(path)).close()
    return path


@pytest.fixture
def store(empty, tmp_path):
    shutil.copy(empty, tmp_path / "results.db")
    one = open_store(sqlite_url(tmp_path / "results.db"))
    yield one
    one.close()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    one = SimpleNamespace(now=float(NOW))
    monkeypatch.setattr(accounts, "time", SimpleNamespace(time=lambda: one.now))
    return one


def rows(store, table):
    with store.reading() as connection:
        return connection.execute(select(table)).all()


def token_of(store, scope=Scope.WRITE, **more):
    with store.writing() as connection:
        return accounts.create_token(connection, "ann", scope, **more)


def test_each_scope_includes_those_before_it():
    order = (Scope.READ, Scope.WRITE, Scope.TRIAGE, Scope.ADMIN)
    for place, one in enumerate(order):
        assert [one.includes(other) for other in order] == [number <= place for number in range(4)]


# --- tokens -------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_token(store):
    token = token_of(store, lifetime_s=10, project="mine", actor="eve")
    _, prefix, secret = token.split("_", 2)
    assert (len(prefix), len(secret)) == (10, 32)
    (row,) = rows(store, tables.tokens)
    assert (row.prefix, row.sha256, row.name, row.scope, row.created, row.expires, row.revoked) == (
        *(prefix, hashlib.sha256(token.encode()).hexdigest(), "ann", "write", NOW, NOW + 10, False),
    )
    (event,) = rows(store, tables.events)
    assert (event.time, event.actor, event.kind, json.loads(event.detail)) == (
        *(NOW, "eve", "token_created", {"name": "ann", "scope": "write", "prefix": prefix}),
    )
    assert accounts.account_of_token(store, token) == Account("ann", Scope.WRITE, project="mine")
    with pytest.raises(UsageError, match="a project is named with"):
        token_of(store, project="a b")


def test_a_token_ends(store, clock):
    token = token_of(store, lifetime_s=10)
    forever = token_of(store)
    clock.now = NOW + 9.9
    assert accounts.account_of_token(store, token) is not None
    clock.now = NOW + 10
    assert accounts.account_of_token(store, token) is None
    clock.now = NOW * 2
    assert accounts.account_of_token(store, forever) == Account("ann", Scope.WRITE)
    with store.writing() as connection:
        accounts.revoke_token(connection, forever.split("_")[1])
    assert accounts.account_of_token(store, forever) is None
    with store.writing() as connection, pytest.raises(UsageError, match="there is no token x; mlbench serve"):
        accounts.revoke_token(connection, "x")
    *_, event = rows(store, tables.events)
    assert (event.actor, event.kind, json.loads(event.detail)) == (
        *("command line", "token_revoked", {"prefix": forever.split("_")[1]}),
    )


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: f"{t}x", lambda t: "x" * 201, lambda t: "a_b"]
)
def test_another_token_is_none(store, change):
    assert accounts.account_of_token(store, change(token_of(store))) is None


def test_when_a_token_was_used_is_known_to_the_hour(store, clock):
    token = token_of(store)
    used = []
    for clock.now in (NOW, NOW + 3600, NOW + 3601):
        accounts.account_of_token(store, token)
        used.append(rows(store, tables.tokens)[0].last_used)
    assert used == [NOW, NOW, NOW + 3601]


# --- requests -----------------------------------------------------------------------------------------------


@pytest.fixture
def client(store):
    """Of an application with this access."""

    def client(access=None, host="testclient", **options):
        app = make_app(store, access or Access())
        return TestClient(app, base_url="http://localhost", client=(host, 1), **options)

    return client


def status(client, path="/matrix.json", method="GET", **headers):
    answer = client.request(method, path, headers=headers, follow_redirects=False)
    return answer.status_code


@pytest.mark.parametrize(
    ("scope", "method", "path", "expected"),
    [
        (None, "GET", "/matrix.json", 401),
        (None, "GET", "/health", 200),
        (None, "GET", "/login", 200),
        (None, "POST", "/api/v1/logs", 422),
        (Scope.READ, "GET", "/matrix.json", 200),
        (Scope.READ, "HEAD", "/health", 405),
        (Scope.READ, "POST", "/api/v1/results", 403),
        (Scope.WRITE, "POST", "/api/v1/results", 422),
        (Scope.WRITE, "POST", "/p/other/api/v1/results", 422),
        (Scope.WRITE, "POST", "/regressions/1", 403),
        (Scope.TRIAGE, "POST", "/api/v1/regressions/1", 422),
    ],
)
def test_what_a_scope_is_needed_for(store, client, scope, method, path, expected):
    headers = {"Authorization": f"bEARER  {token_of(store, scope)} "} if scope else {}
    assert status(client(Access(auth=Auth.TOKEN)), path, method, **headers) == expected


def test_a_token_of_a_project_is_for_it_alone(store, client):
    headers = {"Authorization": f"Bearer {token_of(store, project='mine')}"}
    one = client(Access(auth=Auth.TOKEN))
    assert status(one, "/p/mine/matrix.json", **headers) == 200
    assert status(one, "/matrix.json", **headers) == status(one, "/p/other/matrix.json", **headers) == 403


@pytest.mark.parametrize(
    ("header", "address", "expected"),
    [
        ("ann", "10.0.0.7", 200),
        ("a" * 200, "10.0.0.7", 200),
        ("a" * 201, "10.0.0.7", 401),
        ("", "10.0.0.7", 401),
        ("  ", "10.0.0.7", 401),
        ("ann", "10.0.0.8", 401),
        ("ann", "no address", 401),
    ],
)
def test_whom_a_proxy_names(store, client, header, address, expected):
    access = Access(auth=Auth.PROXY, proxy_header="X-User", proxy_networks=(ip_network("10.0.0.7/32"),))
    assert status(client(access, address), **{"X-User": header}) == expected
    assert [one.name for one in rows(store, tables.users)] == [header.strip()] * (expected == 200)


def test_a_user_keeps_the_scope_of_the_database(store, client, clock):
    access = Access(auth=Auth.PROXY, proxy_networks=(ip_network("10.0.0.0/8"),), proxy_scope=Scope.READ)
    one = client(access, "10.0.0.7")
    seen = []
    for clock.now in (NOW, NOW + 3600, NOW + 3601):
        assert status(one, **{"X-Forwarded-User": " ann "}) == 200
        (user,) = rows(store, tables.users)
        seen.append((user.scope, user.last_seen))
    assert seen == [("read", NOW), ("read", NOW), ("read", NOW + 3601)]
    (event,) = rows(store, tables.events)
    assert (event.actor, event.kind, json.loads(event.detail)) == (
        *("proxy", "user_added", {"name": "ann", "scope": "read"}),
    )
    assert status(one, "/api/v1/results", "POST", **{"X-Forwarded-User": "ann"}) == 403
    with store.writing() as connection:
        connection.execute(update(tables.users).values(scope="admin"))
    assert status(one, "/api/v1/results", "POST", **{"X-Forwarded-User": "ann"}) == 422


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 422),
        ({"Origin": "http://localhost"}, 422),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "none"}, 422),
        ({"Sec-Fetch-Site": "same-origin"}, 422),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_from_which_site_a_browser_may_send(store, client, headers, expected):
    assert status(client(), "/api/v1/results", "POST", **headers) == expected
    # A token in a header does not come from a browser by itself.
    by_token = headers | {"Authorization": f"Bearer {token_of(store)}"}
    assert status(client(Access(auth=Auth.TOKEN)), "/api/v1/results", "POST", **by_token) == 422
    assert status(client(), **headers) == 200


@pytest.mark.parametrize(
    ("name", "expected"), [("localhost", 200), ("127.0.0.1", 200), ("evil.example", 421)]
)
def test_by_which_names_it_answers_without_accounts(client, name, expected):
    assert status(client(), Host=name) == expected
    assert status(client(Access(auth=Auth.TOKEN, public=True)), Host=name) == 200


# --- browsers -----------------------------------------------------------------------------------------------


def test_a_session_ends_after_two_weeks_and_with_its_token(store, clock):
    token = token_of(store, Scope.TRIAGE)
    session = accounts.begin_session(store, token)
    expected = Account("ann", Scope.TRIAGE, is_ambient=True, has_session=True)
    clock.now = NOW + 14 * 86400
    assert accounts._account_of_session(store, session) == expected
    clock.now += 1
    assert accounts._account_of_session(store, session) is None
    assert accounts._account_of_session(store, "another") is None
    clock.now = NOW + 14 * 86400
    second = accounts.begin_session(store, token)
    assert len(rows(store, tables.sessions)) == 2
    clock.now += 1
    third = accounts.begin_session(store, token)
    assert len(rows(store, tables.sessions)) == 2
    accounts.end_session(store, second)
    assert accounts._account_of_session(store, second) is None
    assert accounts._account_of_session(store, third) == expected
    with store.writing() as connection:
        connection.execute(update(tables.tokens).values(revoked=True))
    assert accounts._account_of_session(store, third) is None


def request_of(account, access=None, session=""):
    access = access or Access(key=b"key")
    state = SimpleNamespace(account=account)
    app = SimpleNamespace(state=SimpleNamespace(access=access))
    return SimpleNamespace(state=state, app=app, cookies={accounts.COOKIE: session} if session else {})


def test_a_form_is_of_one_account_in_one_session():
    ann, bob = Account("ann", Scope.TRIAGE), Account("bob", Scope.ADMIN)
    by_token = Access(auth=Auth.TOKEN, key=b"key")
    requests = [
        request_of(ann),
        request_of(bob),
        request_of(ann, Access(key=b"other")),
        request_of(ann, by_token, "one"),
        request_of(ann, by_token, "two"),
    ]
    shown = [accounts.form_token(one) for one in requests]
    assert len({*shown}) == len(shown)
    assert {len(one) for one in shown} == {64}
    assert accounts.form_token(request_of(ann, session="ignored")) == shown[0]
    for one, token in zip(requests, shown, strict=True):
        assert accounts.check_form(one, token) is one.state.account
        for other in (*({*shown} - {token}), "", "\ud800"):
            with pytest.raises(HTTPException) as refused:
                accounts.check_form(one, other)
            assert (refused.value.status_code, refused.value.detail) == (
                *(403, "This form is from another session; load the page again."),
            )


@pytest.mark.parametrize("account", [NOBODY, Account("ann", Scope.WRITE)])
def test_who_may_decide_nothing_has_no_form(account):
    assert accounts.form_token(request_of(account)) == ""
    with pytest.raises(HTTPException):
        accounts.check_form(request_of(account), "")


def test_what_a_route_requires():
    writer = request_of(Account("ann", Scope.WRITE))
    assert accounts.require(writer, Scope.WRITE) is writer.state.account
    with pytest.raises(HTTPException) as refused:
        accounts.require(writer, Scope.TRIAGE)
    assert (refused.value.status_code, refused.value.detail) == (403, "This needs the scope triage.")


# --- samples of old results ---------------------------------------------------------------------------------


def test_old_samples_are_forgotten_every_hour(monkeypatch, caplog):
    answers = [0, 3, ValueError("odd"), 0]
    asked, waits = [], []

    def forget(*arguments):
        asked.append(arguments)
        answer = answers[len(asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Ending(threading.Event):
        def wait(self, seconds):
            waits.append(seconds)
            return len(waits) == len(answers)

    monkeypatch.setattr(retention, "forget_samples", forget)
    monkeypatch.setattr(retention, "time", SimpleNamespace(time=lambda: 7.0))
    with caplog.at_level("INFO"):
        retention.keep_forgetting("store", 30, Ending())
    assert (asked, waits) == ([("store", 30, 7.0)] * 4, [3600.0] * 4)
    assert caplog.messages == [
        "removed the samples of 3 results that are older than 30 days",
        "the samples of old results could not be removed",
    ]
