"""The life of regressions in the database: from results, through decisions, to the audit."""

import json
import random
import re
import threading
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from benchmarking.results.model import NET_DELAY
from benchmarking.server.app import make_app
from benchmarking.server.ingest import ingest
from benchmarking.server.pages.reading import Reader
from benchmarking.server.pages.series import SeriesQuery, series_view
from benchmarking.server.tables import changes, events, series
from benchmarking.server.triage import records
from benchmarking.server.triage.decisions import decide, decision
from benchmarking.server.triage.life import State
from benchmarking.server.triage.reading import RegressionQuery, regression, regressions
from benchmarking.server.triage.records import Change
from benchmarking.server.triage.search import search, stale
from tests.support.histories import DAY_S, START, levels, result

NOW = 1_760_000_000


class Server:
    """Takes results, and searches."""

    def __init__(self, store):
        self.store = store

    def take(self, results, is_searched=True):
        ingest(self.store, results if isinstance(results, list) else [results])
        return self.search() if is_searched else False

    def search(self, now=NOW):
        with self.store.reading() as connection:
            found = stale(connection, 1000)
        return sum(search(self.store, one, now) for one in found) > 0

    def shown(self, show="all"):
        with self.store.reading() as connection:
            return regressions(Reader(connection, 1), RegressionQuery(show))

    def page(self, number):
        with self.store.reading() as connection:
            return regression(Reader(connection, 1), number)

    def states(self):
        """Maps the position of the commit to the state and the number of series."""
        return {int(one.commit.sha, 16): (one.state, one.series) for one in self.shown()}

    def decide(self, number, name, actor="Ana", **values):
        return decide(self.store, 1, number, decision(name, **values), Change(actor, NOW))

    def kinds(self):
        with self.store.reading() as connection:
            return list(connection.execute(select(events.c.kind).order_by(events.c.id)).scalars())


@pytest.fixture
def server(store):
    return Server(store)


def history(*delays_us, runs=12, seed=5, **settings):
    return [result(n, one, **settings) for n, one in enumerate(levels(*delays_us, runs=runs, seed=seed))]


def verdict(position, delay_us, control, types=(NET_DELAY,), ratio=1.1, **settings):
    return result(
        position, delay_us, run_type="regress", control=control, ratio=ratio, regressed=types, **settings
    )


def test_a_step_is_a_new_regression(server):
    assert server.take(history(100, 110))
    assert server.states() == {12: ("new", 1)}
    (one,) = server.shown("open")
    assert (one.evidence, one.owner) == ("step", "")
    assert one.worst == pytest.approx(1.1, rel=0.01)
    (indicator,) = server.page(one.id).indicators
    assert int(indicator.last_good.sha, 16) == 11


def test_an_improvement_is_a_change_and_no_regression(server):
    assert server.take(history(110, 100))
    assert server.states() == {}
    with server.store.reading() as connection:
        assert len(connection.execute(select(changes)).all()) == 1


def test_a_second_search_changes_nothing(server):
    server.take(history(100, 110))
    before = server.kinds()
    with server.store.writing() as connection:
        connection.execute(update(series).values(unsearched=1))
    assert not server.search()
    assert server.kinds() == before


def test_a_point_that_arrives_during_a_search_is_searched_next(server, monkeypatch):
    from benchmarking.server.triage import findings

    server.take(history(100, runs=3), is_searched=False)
    real = findings.changes

    def slow(one):
        monkeypatch.setattr(findings, "changes", real)
        server.take(verdict(2, 110, 0), is_searched=False)
        return real(one)

    monkeypatch.setattr(findings, "changes", slow)
    server.search()
    assert server.states() == {}
    server.search()
    assert server.states() == {2: ("confirmed", 1)}


def test_one_regression_for_the_series_of_a_commit(server):
    server.take(history(100, 110))
    server.take(history(200, 260, net="resnet", seed=7))
    server.take(history(50, 54, net="mobilenet", device="fedcba", seed=9))
    assert server.states() == {12: ("new", 3)}
    assert server.kinds() == ["opened", "found", "found"]


def test_tainted_runs_say_nothing(server):
    good, bad = history(100, 110)[:12], history(100, 110)[12:]
    server.take([*good, *(replace(one, device=replace(one.device, tainted=("busy",))) for one in bad)])
    assert server.states() == {}


def test_a_verdict_is_confirmed_at_once(server):
    server.take([*history(100, runs=3), result(3, 110), verdict(3, 110, 0)])
    assert server.states() == {3: ("confirmed", 1)}
    (indicator,) = server.page(1).indicators
    assert (indicator.source, indicator.ratio) == ("verdict", 1.1)
    assert indicator.run


def test_a_verdict_makes_advice_sure_and_moves_it_to_its_commit(server):
    server.take(history(100, 110))
    server.decide(1, "acknowledge", owner="Ana")
    server.take(verdict(13, 110, 11))
    assert server.states() == {13: ("acknowledged", 1)}
    assert server.page(1).regression.evidence == "verdict"
    assert "moved" in server.kinds()


def test_a_step_in_the_range_of_a_verdict_is_the_same_regression(server):
    server.take([*history(100, 110), verdict(18, 110, 2)])
    assert server.states() == {18: ("confirmed", 1)}


def test_the_loop_traces_a_regression_to_its_cause(server):
    server.take([result(n, 100) for n in range(4)])
    server.take([result(9, 110), verdict(9, 110, 0, time=NOW)])
    server.decide(1, "acknowledge", owner="Ana")
    server.take(verdict(6, 110, 3, time=NOW + 60))
    assert server.states() == {6: ("acknowledged", 1)}
    assert server.page(1).regression.evidence == "bisection"


def test_two_causes_of_one_verdict_share_its_owner(server):
    for net in ("squeezenet", "resnet"):
        server.take([*(result(n, 100, net=net) for n in range(4)), result(9, 110, net=net)])
        server.take(verdict(9, 110, 0, time=NOW, net=net))
    assert server.states() == {9: ("confirmed", 2)}
    server.decide(1, "acknowledge", owner="Ana")
    server.take(verdict(6, 110, 3, time=NOW + 60))
    assert server.states() == {9: ("acknowledged", 1), 6: ("acknowledged", 1)}
    server.take(verdict(6, 110, 3, time=NOW + 90, net="resnet"))
    assert server.states() == {6: ("acknowledged", 2)}
    (left,) = server.shown()
    with server.store.reading() as connection:
        assert records.merged_into(connection, 1, 1) == left.id
        assert records.merged_into(connection, 2, 1) is None
    assert {event.kind for event in server.page(left.id).events} >= {"opened", "acknowledged", "merged"}


def test_fixed_when_all_are_back_and_opened_by_another_series(server):
    for net in ("squeezenet", "resnet"):
        server.take([result(0, 100, net=net), result(1, 110, net=net), verdict(1, 110, 0, net=net)])
    server.decide(1, "acknowledge", owner="Ana")
    server.take([result(n, 100) for n in (2, 3, 4)])
    assert server.states() == {1: ("acknowledged", 2)}
    assert server.shown()[0].back == 1
    server.take([result(n, 100, net="resnet") for n in (2, 3, 4)])
    assert server.states() == {1: ("fixed", 2)}
    (one,) = server.shown()
    assert (one.reason, one.closed) == ("the newest values are as before it", NOW)
    server.take([result(0, 100, net="mobilenet"), result(1, 120, net="mobilenet")])
    server.take(verdict(1, 120, 0, net="mobilenet"))
    assert server.states() == {1: ("acknowledged", 3)}
    assert server.shown()[0].closed is None
    assert server.kinds() == ["opened", "found", "acknowledged", "fixed", "reopened"]


def test_an_operator_is_back_by_its_own_times(server):
    slow, fast = {"MatMul": 60.0}, {"MatMul": 40.0}
    server.take([result(0, 100, operators=fast), result(1, 101, operators=slow)])
    server.take(verdict(1, 101, 0, ["MatMul"], ratio=1.5, operators=slow))
    assert server.states() == {1: ("confirmed", 1)}
    assert [one.type for one in server.page(1).indicators] == ["MatMul"]
    server.take([result(n, 100, operators=slow) for n in (2, 3, 4)])
    assert server.states() == {1: ("confirmed", 1)}
    server.take([result(n, 100, operators=fast) for n in (5, 6, 7)])
    assert server.states() == {1: ("fixed", 1)}


@pytest.mark.parametrize("state", ["expected", "ignored"])
def test_what_is_expected_or_ignored_remains_so(server, state):
    server.take([*history(100, runs=3), result(3, 110), verdict(3, 110, 0)])
    server.decide(1, state, reason="exact sums")
    server.take([result(0, 100, net="resnet"), result(3, 110, net="resnet")])
    server.take(verdict(3, 110, 0, net="resnet"))
    server.take([result(n, 100) for n in (4, 5, 6)])
    assert server.states() == {3: (state, 2)}


def test_what_a_person_opens_again_remains_open_until_something_changes(server):
    server.take([result(0, 100), result(1, 110), verdict(1, 110, 0), *(result(n, 100) for n in (2, 3, 4))])
    assert server.states() == {1: ("fixed", 1)}
    server.decide(1, "reopen")
    server.take(result(5, 100))
    assert server.states() == {1: ("confirmed", 1)}
    server.take([result(n, 110) for n in (6, 7, 8)])
    server.take([result(n, 100) for n in (9, 10, 11)])
    assert server.states() == {1: ("fixed", 1)}


@pytest.mark.parametrize(("days", "is_news"), [(0, True), (2, False)])
def test_who_imports_old_results_is_not_notified(server, days, is_news):
    server.take([result(0, 100), result(1, 110), verdict(1, 110, 0)], is_searched=False)
    server.search(now=START + days * DAY_S + 7200)
    with server.store.reading() as connection:
        details = connection.execute(select(events.c.detail)).scalars().all()
    assert [json.loads(one)["is_news"] for one in details] == [is_news]


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_arrival_does_not_matter(server, seed):
    """With a search after each few results, as they come in."""
    results = [
        *history(100, 110),
        *history(200, 230, net="resnet", seed=8),
        verdict(12, 110, 10, time=NOW),
        verdict(20, 110, 2, time=NOW - 60),
    ]
    random.Random(seed).shuffle(results)
    for start in range(0, len(results), 11):
        server.take(results[start : start + 11])
    assert server.states() == {12: ("confirmed", 2)}
    sources = {(one.name.model, one.source) for one in server.page(server.shown()[0].id).indicators}
    assert sources == {("squeezenet", "bisection"), ("resnet", "step")}


def test_a_decision_about_nothing(server):
    assert server.decide(7, "confirm") is None


def test_eight_people_at_once(server):
    """Each decision is in the audit, the regression is what the last of them made of it."""
    server.take([*history(100, runs=3), result(3, 110), verdict(3, 110, 0)])
    problems = []

    def person(number):
        try:
            for turn in range(5):
                name = f"person {number}, {turn}"
                server.decide(1, "acknowledge", owner=name, actor=name)
                server.decide(1, "annotate", note=name, actor=name)
                server.decide(1, "ignored", reason=name, actor=name)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=person, args=[number]) for number in range(8)]
    for one in threads:
        one.start()
    server.take([result(n, 105, net="resnet") for n in range(10)])
    for one in threads:
        one.join()
    assert problems == []
    page = server.page(1)
    decided = [one for one in page.events if one.actor.startswith("person")]
    assert len(decided) == 8 * 5 * 3
    for name, field in (("owner", "owner"), ("note", "note"), ("reason", "reason")):
        last = next(one for one in page.events if name in one.changes)
        assert getattr(page.regression, field) == last.changes[name][1]
    assert page.regression.state is State.IGNORED or page.regression.owner


@pytest.mark.parametrize("has_control", [False, True])
def test_levels_relative_to_a_control_are_not_shown_in_the_unit_of_the_series(store, has_control):
    """A step from 1.00 to 1.10 of the control was shown as one from 1.00 us to 1.10 us."""
    delays_us = list(levels(100.0, 110.0, runs=12))
    ratios = levels(1.0, 1.1, runs=12) if has_control else [None] * len(delays_us)
    control = 0 if has_control else None
    both = enumerate(zip(delays_us, ratios, strict=True))
    Server(store).take([result(n, one, control=control, ratio=ratio) for n, (one, ratio) in both])
    with store.reading() as connection:
        key = connection.execute(select(series.c.key)).scalar()
        (change,) = series_view(Reader(connection, 1), SeriesQuery(key)).changes
    client = TestClient(make_app(store), base_url="http://localhost")
    assert change.is_of_ratios is has_control
    assert change.before == pytest.approx(1.0 if has_control else 100.0, rel=0.02)
    page = client.get(f"/series/{key}").text
    assert ("relative to the first control" in page) is has_control
    (shown,) = re.findall(
        r'<td class="number">([0-9.]+ ?(?:µs)?)<td class="number">[0-9.]+ ?(?:µs)?</tr>', page
    )
    assert shown.endswith("µs") is not has_control


def test_what_belongs_to_a_commit_is_at_one_place_also_without_positions(store):
    """Changes were drawn at the left edge, and the lines of two series beside each other."""

    def unplaced(one):
        return replace(one, provenance=replace(one.provenance, position=None))

    whole = [unplaced(one) for one in history(100, 110)]
    late = [unplaced(one) for one in history(100, 100, net="lenet")][6:]
    Server(store).take([*whole, *late])
    with store.reading() as connection:
        keys = dict(tuple(row) for row in connection.execute(select(series.c.net, series.c.key)))
        view = series_view(Reader(connection, 1), SeriesQuery(keys["squeezenet"], (keys["lenet"],)))
    (change,), (overlay,) = view.changes, view.overlays
    places = {one.commit.sha: one.commit.position for one in view.line.points}
    assert list(places.values()) == list(range(24))
    assert change.first_bad.position == places[change.first_bad.sha] == 12
    assert {one.commit.sha: one.commit.position for one in overlay.points}.items() <= places.items()
