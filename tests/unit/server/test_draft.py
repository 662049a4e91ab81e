"""Regressions that go to each other's commits in one search, in the database."""

import json

import pytest
from sqlalchemy import func, select

from benchmarking.server import tables
from benchmarking.server.ingest import ingest
from benchmarking.server.triage import records
from benchmarking.server.triage.draft import Draft
from benchmarking.server.triage.findings import Located
from benchmarking.server.triage.life import Indicator, IndicatorKey, Regression, Source
from benchmarking.server.triage.records import Change
from tests.support.histories import commit_of, result

NOW = Change("server", 1_760_000_000)
FIRST, SECOND, THIRD = (IndicatorKey(1, name) for name in ("NET_DELAY", "conv", "relu"))


@pytest.fixture
def commits(store):
    """The rows of four commits."""
    ingest(store, [result(n, 100) for n in range(4)])
    with store.reading() as connection:
        table = tables.commits
        return [connection.scalar(select(table.c.id).where(table.c.sha == commit_of(n))) for n in range(4)]


def opened(store, *places):
    """A draft of a regression for each pair of a commit and the key of its indicator."""
    with store.writing() as connection:
        for commit, key in places:
            advice = Indicator(key, Source.STEP, 1.0, 1.1)
            records.add(connection, 1, commit, Regression({key: advice}), NOW)
    with store.reading() as connection:
        return Draft(records.with_commits_or_series(connection, 1, [], 1))


def saved(store, draft):
    """Maps each row to its commit and the types of its indicators."""
    with store.writing() as connection:
        draft.save(connection, 1, NOW)
    with store.reading() as connection:
        found = records.with_commits_or_series(connection, 1, [], 1)
        assert connection.scalar(select(func.count()).select_from(tables.commits)) == 4
    return {one.row: (one.commit, {key.type for key in one.regression.indicators}) for one in found}


def traced(draft, late, cause, *keys):
    draft.trace(late, cause, frozenset(keys))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_one_goes_where_the_next_was(store, commits, order):
    places = [(commits[n], (FIRST, SECOND, THIRD)[n]) for n in order]
    draft = opened(store, *places)
    for n in (2, 1, 0):
        traced(draft, commits[n], commits[n + 1], (FIRST, SECOND, THIRD)[n])
    expected = {row: (commits[n + 1], {places[row - 1][1].type}) for row, n in enumerate(order, 1)}
    assert saved(store, draft) == expected


def test_two_exchange_their_commits(store, commits):
    draft = opened(store, (commits[0], FIRST), (commits[1], SECOND))
    traced(draft, commits[0], commits[3], FIRST)
    traced(draft, commits[1], commits[0], SECOND)
    traced(draft, commits[3], commits[1], FIRST)
    assert saved(store, draft) == {1: (commits[1], {FIRST.type}), 2: (commits[0], {SECOND.type})}
    with store.reading() as connection:
        query = select(tables.events.c.detail).where(tables.events.c.kind == records.MOVED)
        changes = [json.loads(one)["changes"]["commit"] for one in connection.scalars(query)]
    assert sorted(changes) == [[commit_of(0), commit_of(1)], [commit_of(1), commit_of(0)]]


def test_one_goes_to_the_commit_of_what_became_part_of_another(store, commits):
    draft = opened(store, (commits[0], FIRST), (commits[1], SECOND), (commits[2], THIRD))
    traced(draft, commits[1], commits[2], SECOND)
    traced(draft, commits[0], commits[1], FIRST)
    expected = {1: (commits[1], {FIRST.type}), 3: (commits[2], {SECOND.type, THIRD.type})}
    assert saved(store, draft) == expected


def test_something_new_where_something_was_that_became_part_of_something_new(store, commits):
    draft = opened(store, (commits[0], FIRST))
    draft.add(Located(commits[2], Indicator(SECOND, Source.VERDICT, 1.0, 1.2)))
    traced(draft, commits[0], commits[2], FIRST)
    draft.add(Located(commits[0], Indicator(THIRD, Source.VERDICT, 1.0, 1.2)))
    found = saved(store, draft)
    assert sorted(found.values()) == [(commits[0], {THIRD.type}), (commits[2], {FIRST.type, SECOND.type})]


def test_part_of_what_became_part_of_another(store, commits):
    draft = opened(store, (commits[0], FIRST), (commits[1], SECOND), (commits[2], THIRD))
    traced(draft, commits[0], commits[1], FIRST)
    traced(draft, commits[1], commits[2], FIRST, SECOND)
    assert saved(store, draft) == {3: (commits[2], {FIRST.type, SECOND.type, THIRD.type})}
    with store.reading() as connection:
        assert [records.merged_into(connection, 1, row) for row in (1, 2)] == [3, 3]
