"""Every page, table and feed of the server as a whole, of results that are always the same."""

import json
import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from benchmarking.results.model import NET_DELAY
from benchmarking.server.app import make_app
from benchmarking.server.ingest import ingest
from benchmarking.server.store import open_store, sqlite_url
from benchmarking.server.tables import metadata
from benchmarking.server.triage import records
from benchmarking.server.triage.decisions import decide, decision
from benchmarking.server.triage.records import Change
from benchmarking.server.triage.search import search, stale
from tests.support import golden
from tests.support import sample_results as samples
from tests.support.histories import START, commit_of, levels, result
from tests.support.made_up_results import History, sha
from tests.support.sample_results import having

NOW = START + 60 * 3600
MADE_UP = History(
    nets=2, backends=("default", "mkl"), devices=1, commits=14, operators=2, samples=4, steps=0.2, seed=4
)
OTHERS = [
    samples.COSTED,
    samples.FELL_BACK,
    samples.TAINTED,
    samples.JUDGED,
    samples.REGRESSED,
    samples.ERROR,
    samples.FAILED,
    samples.DEVICE_LOST,
]
A, B = sha(12), sha(13)
ADDRESSES = {
    "overview": "/",
    "matrix": "/matrix",
    "matrix_of_devices": "/matrix?columns=device&model=squeezenet",
    "matrix_of_backends": "/matrix?columns=backend&against=mkl&device=1&framework=caffe2",
    "compare": f"/compare?a={A}&b={B}",
    "compare_by_change": f"/compare?a={sha(4)}&b={B}&sort=change&device=1",
    "compare_backends": "/compare?a=backend:default&b=backend:mkl&sort=model",
    "commit": f"/commit/{B}",
    "regressed_commit": f"/commit/{commit_of(20)}",
    "regressions": "/regressions?show=all",
    "regression": "/regressions/1",
    "acknowledged": "/regressions/2",
    "devices": "/devices",
    "search": "/search?q=net",
    "reference": "/reference",
    "nothing": "/run/nonesuch",
    **{f"run_{place}": f"/run/other-{place}" for place, _ in enumerate(OTHERS)},
    "series": "/series/{made_up}",
    "series_with_others": "/series/{made_up}?overlay={other}&scale=relative&from=3&to=12",
    "series_with_change": "/series/{changed}",
    "embedded_series": "/embed/series/{changed}?from=5",
}
FOR_PROGRAMS = {
    "overview.json": "/overview.json",
    "overview.csv": "/overview.csv",
    "matrix.json": "/matrix.json?columns=backend&against=mkl&device=1",
    "matrix.csv": "/matrix.csv?columns=device",
    "compare.json": f"/compare.json?a={A}&b={B}",
    "compare.csv": f"/compare.csv?a={sha(4)}&b={B}&sort=model",
    "commit.json": f"/commit/{commit_of(10)}.json",
    "commit.csv": f"/commit/{B}.csv",
    "series.json": "/series/{changed}.json?overlay={made_up}&to=15",
    "series.csv": "/series/{changed}.csv",
    "run.json": "/run/other-4.json",
    "run.csv": "/run/other-1.csv",
    "regressions.json": "/regressions.json?show=all",
    "regressions.csv": "/regressions.csv",
    "regressions.atom": "/regressions.atom",
    "regression.json": "/api/v1/regressions/2",
    "badge.svg": "/badge.svg",
    "devices.json": "/devices.json",
    "devices.csv": "/devices.csv",
    "search.json": "/search.json?q=bo",
    "webhooks.json": "/api/v1/webhooks",
}


def results():
    yield from MADE_UP
    for position, value in enumerate(levels(1000, 1100, runs=10)):
        # of two devices; of the second, the bisection confirmed it
        yield result(position, value, operators={"ID_0_Conv": value / 2})
        yield result(position, value * 2, device="beefbeefbeef", tainted=position == 3)
    settings = {"run_type": "regress", "control": 9, "ratio": 1.1, "regressed": [NET_DELAY]}
    yield result(10, 2200, device="beefbeefbeef", **settings)
    yield result(20, 1300, control=19, ratio=1.18, regressed=[NET_DELAY])
    for place, one in enumerate(OTHERS):
        yield having(
            one,
            uid=f"other-{place}",
            run_uid="others",
            commit=commit_of(30 + place // 2),
            commit_time=START + 1000 * place,
            branch="side",
        )


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    store = open_store(sqlite_url(tmp_path_factory.mktemp("whole") / "results.db"))
    ingest(store, list(results()))
    with store.reading() as connection:
        found = stale(connection, 1000)
    for one in found:
        search(store, one, NOW)
    change = Change("Ana", NOW)
    decide(store, 1, 1, decision("annotate", note="seen", link="https://example.org/1"), change)
    decide(store, 1, 2, decision("acknowledge", owner="Bo"), change)
    with store.writing() as connection:
        records.add_webhook(connection, "https://example.org/secret", ("opened",), change)
    client = TestClient(make_app(store), base_url="http://localhost")
    rows = client.get("/matrix.json?columns=device").json()["rows"]
    keys = {(row["model"], cell["column"]): cell["key"] for row in rows for cell in row["cells"] if cell}
    client.keys = {
        "made_up": keys["squeezenet", "Board-0"],
        "other": keys["resnet50", "Board-0"],
        "changed": keys["squeezenet", "beefbeefbeef"],
    }
    yield client
    store.close()


def shown(client, address):
    """What is the same in every process."""
    answer = client.get(address.format(**client.keys), headers={"Accept": "text/html"})
    text = re.sub(r"\?v=[0-9a-f]{12}", "?v=DIGEST", answer.text)
    text = re.sub(r'(name="token" value=")[^"]*', r"\1TOKEN", text)
    lines = [line.strip() for line in text.splitlines()]
    return f"{answer.status_code} {answer.headers['content-type']}\n" + "\n".join(filter(None, lines)) + "\n"


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_page(client, name):
    golden.check(shown(client, ADDRESSES[name]), f"server/{name}.html")


@pytest.mark.parametrize("name", FOR_PROGRAMS)
def test_what_programs_read(client, name):
    golden.check(shown(client, FOR_PROGRAMS[name]), f"server/{name}")


def test_the_interface(client):
    """With the bounds of all that can be asked."""
    found = client.app.openapi()
    own = {name: one for name, one in found["components"]["schemas"].items() if "ValidationError" not in name}
    interface = {"paths": found["paths"], "schemas": own}  # without what a version of the library adds
    golden.check(json.dumps(interface, indent=1, sort_keys=True) + "\n", "server/openapi.json")


def test_the_database(client):
    """Every row, except of what is packed."""
    lines = []
    with client.app.state.store.reading() as connection:
        for table in metadata.sorted_tables:
            found = connection.execute(select(table)).mappings().all()
            lines += [table.name, *sorted("  " + ", ".join(map(cell, one.items())) for one in found)]
    golden.check("\n".join(lines) + "\n", "server/database.txt")


def cell(item):
    name, value = item
    if isinstance(value, bytes):
        value = "..."
    return f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={str(value)[:80]}"
