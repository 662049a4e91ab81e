"""Numbers at the edge of what is a number: no page fails because of a result that the server took."""

import math
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from benchmarking.results.model import NET_DELAY, Comparison, Interval, SequentialDecision, Verdict
from benchmarking.server import packing
from benchmarking.server.app import make_app
from benchmarking.server.ingest import ingest
from benchmarking.server.pages.run import run_view
from benchmarking.server.store import open_store, sqlite_url
from benchmarking.statistics import summaries
from tests.support.histories import commit_of, result
from tests.support.sample_results import delays, having


@pytest.fixture
def store(tmp_path):
    one = open_store(sqlite_url(tmp_path / "results.db"))
    yield one
    one.close()


def client_of(store):
    return TestClient(make_app(store), base_url="http://localhost", raise_server_exceptions=False)


def of_values(position, *values):
    one = result(position, 100)
    return having(
        one, types=(replace(one.net, values=values, summary=summaries.summarize(values), pairs=()),)
    )


def status_of_pages(client, one):
    cells = [cell for row in client.get("/matrix.json").json()["rows"] for cell in row["cells"]]
    series = [f"{path}/{cell['key']}" for cell in cells for path in ("/series", "/embed/series")]
    others = ("/", "/matrix", f"/run/{one.provenance.uid}", f"/commit/{one.provenance.commit}")
    return {client.get(path).status_code for path in (*others, *series)}, len(cells)


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ((5e-324,), 1),
        ((1e-300, 1e-300, 1e99), 1),
        ((0.0, 0.0), 1),
        ((9e99,), 1),
        ((1e100,), 0),
        ((-1.7e308,), 0),
    ],
)
def test_pages_of_large_and_small_values(store, values, cells):
    one = of_values(3, *values)
    ingest(store, [one, *(of_values(place, one) for place, one in enumerate(values))])
    statuses, shown = status_of_pages(client_of(store), one)
    assert (statuses, shown) == ({200}, max(cells, any(abs(one) < 1e100 for one in values)))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_the_histogram_leaves_out_what_is_no_number(odd):
    one = result(1, 100)
    view = run_view(having(one, types=(replace(one.net, values=(odd, 1.0, 2.0, odd)),)))
    assert view.histogram_ends == (1.0, 2.0)
    assert sum(bar.up > 0 for bar in view.histogram) == 2
    assert run_view(having(one, types=(replace(one.net, values=(odd,)),))).histogram_ends is None


def test_the_histogram_of_values_that_are_far_apart():
    one = result(1, 100)
    values = (0.0,) * 200 + (1e-300, 1e308)
    view = run_view(having(one, types=(replace(one.net, values=values),)))
    assert [bar.up > 0 for bar in view.histogram] == [True] + [False] * 59


@pytest.mark.parametrize("ratio", [-1.0, 0.0, 1e100, math.inf, math.nan])
def test_a_ratio_without_a_logarithm_is_none(store, ratio):
    comparison = Comparison(10, ratio, Interval(0.0, 2.0, 0.95))
    one = result(1, 110, control=0)
    decision = SequentialDecision(Verdict.INCONCLUSIVE, "", 10, comparison, 0.01, 0.0002, 0.99)
    judged = replace(one.net, comparison=comparison, decision=decision)
    ingest(store, [result(0, 100), having(one, types=(judged,))])
    client = client_of(store)
    for pair in ((0, 1), (1, 0)):
        a, b = map(commit_of, pair)
        (row,) = client.get(f"/compare.json?a={a}&b={b}").json()["rows"]
        assert row["ratio"] == pytest.approx(1.1 if pair == (0, 1) else 1 / 1.1)
        assert client.get(f"/compare?a={a}&b={b}").status_code == 200


def test_samples_stay_with_their_types_in_any_order():
    """Other programs send a net behind its operators."""
    types = delays("Conv", 10), delays(NET_DELAY, 100), delays("Relu", 1)
    given = having(result(1, 100), types=types)
    found = packing.unpack(packing.pack(given)).types
    assert [one.type for one in found] == [NET_DELAY, "Conv", "Relu"]
    assert {one.type: one.values for one in found} == {one.type: one.values for one in types}


def test_the_samples_of_every_output_of_an_error_test_stay_with_it():
    types = delays("b", 10), delays("a", 100)
    given = having(result(1, 100), types=types)
    given = replace(given, test=replace(given.test, metric="error"))
    assert [(one.type, one.values) for one in packing.unpack(packing.pack(given)).types] == [
        (one.type, one.values) for one in types
    ]
