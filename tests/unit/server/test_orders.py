"""Both databases answer in the same order: where something is unknown, and whatever their locale."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, insert, select, text, update

from benchmarking.results.model import Failure, FailureKind
from benchmarking.server import levels, tables
from benchmarking.server.app import make_app
from benchmarking.server.ingest import ingest
from benchmarking.server.store import open_store
from benchmarking.server.triage import records
from benchmarking.server.triage.life import Indicator, IndicatorKey, Regression, Source
from tests.support.histories import commit_of, result
from tests.support.sample_results import having, on_device


def client_of(store):
    return TestClient(make_app(store), base_url="http://localhost")


def test_what_is_unknown_comes_last(store):
    results = [having(result(n, 100 + n), branch="main") for n in range(3)]
    ingest(store, results)
    with store.writing() as connection:
        first = select(tables.commits.c.id).where(tables.commits.c.sha == commit_of(0)).scalar_subquery()
        for table, own in ((tables.commits, tables.commits.c.id), (tables.points, tables.points.c.commit_id)):
            connection.execute(update(table).where(own == first).values(position=None))
        # All at the same time: the positions alone tell which is the newest.
        connection.execute(update(tables.points).values(commit_time=1))
        order = connection.execute(levels._NEWEST, {"series": 1}).all()
        regression = {"project_id": 1, "first_bad_id": 1, "state": "new", "opened": 1, "updated": 1}
        connection.execute(insert(tables.regressions).values(regression))
        for ratio in (1.1, None, 1.3, 1.2):
            values = {"regression_id": 1, "series_id": 1, "source": "step", "type": f"{ratio}", "before": 1}
            values |= {"after": 2, "ratio": ratio, "found": 1}
            connection.execute(insert(tables.indicators).values(values))
    assert [one.position for one in order] == [2, 1, None]
    client = client_of(store)
    compared = client.get("/compare.json?a=main&b=branch:main").json()
    assert [compared[side]["key"] for side in ("base", "head")] == [commit_of(2)] * 2
    shown = client.get("/api/v1/regressions/1").json()["indicators"]
    assert [one["ratio"] for one in shown] == [1.3, 1.2, 1.1, None]


def test_a_search_does_not_look_at_the_case_of_a_hash(store):
    ingest(store, [having(result(1, 100), commit="Build-77")])
    hits = client_of(store).get("/search.json?q=build-7").json()["hits"]
    assert [one["kind"] for one in hits] == ["commit"]


def test_a_search_does_not_look_at_the_case_of_any_letter(store):
    ingest(
        store,
        [having(result(n, 100), subject=one) for n, one in enumerate(("Große Änderung", "100 % ΣΊΣΥΦΟΣ"))],
    )
    client = client_of(store)
    with store.reading() as connection:
        if connection.scalar(text("SELECT lower('Ä')")) == "Ä" and not store.is_sqlite:
            pytest.skip("the locale of the database knows the case of ASCII only")
    for query, subject in (("äNDER", "Große Änderung"), ("% σίσυ", "100 % ΣΊΣΥΦΟΣ")):
        hits = client.get("/search.json", params={"q": query}).json()["hits"]
        assert [one["title"] for one in hits] == [subject]
    assert client.get("/search.json", params={"q": "_äNDER"}).json()["hits"] == []


def found_by_beginning(store):
    names = ("abcdef", "abce0000", "abce1111", "ABCDEF99", "abczzzzz")
    ingest(store, [having(result(n, 100), commit=name, uid=f"u{n}") for n, name in enumerate(names)])
    client = client_of(store)
    answers = [client.get(f"/commit/{one}.json") for one in ("abcd", "abce", "abce1", "ABCD", "abc", "abc~")]
    return [one.json()["commit"]["sha"] if one.status_code == 200 else one.status_code for one in answers]


FOUND = ["abcdef", 404, "abce1111", "ABCDEF99", 404, 404]


def test_a_commit_is_found_by_the_beginning_of_its_hash(store):
    assert found_by_beginning(store) == FOUND


def test_a_commit_is_found_in_a_database_that_sorts_as_people_do(postgres):
    url = postgres.database()
    name = f"{url.rpartition('/')[2]}_icu"
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        icu = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
        try:
            connection.execute(text(f'CREATE DATABASE "{name}" {icu}'))
        except Exception as error:  # an old PostgreSQL, or one without ICU
            pytest.skip(str(error))
        assert connection.scalar(text("""SELECT 'abcdef' > 'abcd~' COLLATE "en-x-icu" """))
    engine.dispose()
    store = open_store(f"{url.rpartition('/')[0]}/{name}")
    assert found_by_beginning(store) == FOUND
    store.close()


def test_whether_there_are_more_regressions_is_known_at_the_last_page(store):
    ingest(store, [result(n, 100) for n in range(51)])
    client = client_of(store)

    def following():
        return client.get("/api/v1/regressions?show=all").json()

    for number in range(1, 52):
        with store.writing() as connection:
            values = {"project_id": 1, "first_bad_id": number, "state": "new", "opened": 1, "updated": 1}
            connection.execute(insert(tables.regressions).values(values))
        if number == 50:
            assert (len(following()["regressions"]), following()["before"]) == (50, None)
    assert (len(following()["regressions"]), following()["before"]) == (50, 2)
    table = client.get("/regressions.csv?show=all")
    assert table.headers["Link"] == '</regressions.csv?show=all&before=2>; rel="next"'
    rest = client.get(table.links["next"]["url"])
    assert (len(rest.text.splitlines()), "Link" in rest.headers) == (2, False)
    assert (
        'href="/regressions.csv?show=all&amp;before=2"' in client.get("/regressions?show=all&before=2").text
    )


def test_a_device_on_which_all_has_failed_is_shown(store):
    failed = having(
        result(1, 100), types=(), failure=Failure(FailureKind.CASE, "ProgramExitError", "exit status 1")
    )
    ingest(store, [failed])
    ingest(store, [on_device(having(failed, uid="u2"), "elsewhere", "f" * 12)], project="other")
    ingest(store, [on_device(having(result(2, 100), uid=f"v{n}"), "works", "e" * 12) for n in range(2)])
    shown = client_of(store).get("/devices.json").json()["devices"]
    assert [(one["name"], one["series"], one["failed"]) for one in shown] == [
        ("0123456789ab", 0, 1),
        ("works", 1, 0),
    ]
    hits = client_of(store).get("/search.json?q=0123456789AB").json()["hits"]
    assert [one["title"] for one in hits if one["kind"] == "device"] == ["0123456789ab"]
    assert client_of(store).get("/search.json?q=elsewhere").json()["hits"] == []


def test_the_last_good_commit_is_that_of_the_strongest_evidence(store):
    ingest(store, [result(n, 100) for n in range(4)])
    with store.writing() as connection:
        rows = {row.sha: row.id for row in connection.execute(select(tables.commits))}
        found = [
            Indicator(IndicatorKey(1, name), source, 1.0, after, last_good=rows[commit_of(good)])
            for name, source, after, good in (
                ("conv", Source.CREEP, 1.5, 0),
                ("relu", Source.BISECTION, 1.1, 2),
            )
        ]
        regression = Regression({one.key: one for one in found})
        records.add(connection, 1, rows[commit_of(3)], regression, records.change_of("server"))
    page = client_of(store).get("/regressions/1").text
    assert f"a={commit_of(2)}&amp;b={commit_of(3)}" in page
