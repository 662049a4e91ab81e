"""On SQLite and on PostgreSQL."""

import math
import random
import threading
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from benchmarking.results import documents
from benchmarking.results.model import NET_DELAY, Comparison, Interval, Result, Verdict
from benchmarking.server import tables
from benchmarking.server.admission import RefusedError
from benchmarking.server.ingest import Ingested, ingest
from tests.support import sample_results as samples
from tests.support.sample_results import having

NOW = 1_772_000_000


def measured(number: int, value: float = 1000.0, **changes) -> Result:
    """A run of the commit with this number, in whose order the times are."""
    return having(
        samples.PASSED,
        **{
            "uid": f"result-{number}",
            "run_uid": f"run-{number}",
            "commit": f"{number:040x}",
            "commit_time": NOW + 3600 * number,
            "position": number,
            "time": NOW + 3600 * number + 60,
            "types": (samples.delays(NET_DELAY, value), *samples.OPERATORS),
            **changes,
        },
    )


def rows(store, table):
    with store.reading() as connection:
        return connection.execute(select(table)).all()


def row(store, table):
    (only,) = rows(store, table)
    return only


EVERY_KIND = [
    having(one, uid=f"uid-{number}", run_uid="run")
    for number, one in enumerate(
        [
            *(samples.DELAY, samples.COSTED, samples.FELL_BACK, samples.TAINTED, samples.AB, samples.JUDGED),
            *(samples.VERIFIED, samples.REGRESSED, samples.ERROR, samples.FAILED, samples.DEVICE_LOST),
            *samples.on_backends("delay-all", 1.0),
        ]
    )
]


def test_every_kind_of_result_is_added_once(store):
    assert (ingest(store, EVERY_KIND).accepted, ingest(store, EVERY_KIND)) == (
        len(EVERY_KIND),
        Ingested(0, len(EVERY_KIND)),
    )
    assert len(rows(store, tables.results)) == len(EVERY_KIND)
    assert len(rows(store, tables.runs)) == 1
    for one in EVERY_KIND:
        kept = store.result(one.provenance.uid)
        assert replace(kept, types=()) == replace(one, types=())
        assert [own.values for own in kept.types] == [own.values for own in one.types]
        assert kept.net == one.net
    assert store.result("nonesuch") is None


def test_a_result_of_an_older_version_is_known_by_its_content(store):
    old = having(samples.DELAY, uid="", run_uid="")
    assert [ingest(store, [one]).accepted for one in (old, old, replace(old, duration_s=9.0))] == [1, 0, 1]


def test_numbers_that_are_not_finite_have_no_point(store):
    ingest(store, [measured(1, types=(samples.errors("softmax", math.nan),), metric="error")])
    assert rows(store, tables.points) == []
    assert math.isnan(store.result("result-1").types[0].error.max_absolute)


def test_the_order_of_the_commits_is_their_position(store):
    rebased = measured(2, 2000.0, commit_time=NOW - 9999)
    ingest(store, [measured(1), rebased])
    assert row(store, tables.series).last_value == rebased.net.summary.p50


def test_a_late_import_does_not_overwrite_the_newest_value(store):
    for number in (2, 3, 1):
        ingest(store, [measured(number, 1000.0 * number)])
    series = row(store, tables.series)
    assert (series.points, series.last_value) == (3, measured(3, 3000.0).net.summary.p50)
    assert (series.last_commit_time, series.last_position) == (NOW + 3 * 3600, 3)
    assert len(rows(store, tables.points)) == 3


def test_a_tainted_value_does_not_take_the_place_of_another(store):
    ingest(store, [measured(1, tainted=("busy",)), measured(2), measured(3, 7.0, tainted=("hot", "busy"))])
    series = row(store, tables.series)
    assert (series.last_position, series.last_tainted) == (2, False)
    assert {one.tainted for one in rows(store, tables.results)} == {"busy", "", "hot\nbusy"}


@pytest.mark.parametrize("commit", ["interactive", "squeezenet.onnx-0123456789ab"])
def test_a_run_without_a_commit_has_a_value_and_no_history(store, commit):
    ingest(store, [measured(1, commit=commit, position=None), measured(2, 2000.0, commit=commit)])
    assert (
        rows(store, tables.points)
        == rows(store, tables.commits)
        == rows(store, tables.commit_summaries)
        == []
    )
    series = row(store, tables.series)
    assert series.last_value == measured(2, 2000.0).net.summary.p50
    ingest(store, [measured(1, 3000.0, uid="with-commit")])
    assert row(store, tables.series).last_commit_id is not None
    ingest(store, [measured(4, 4000.0, commit=commit)])
    assert row(store, tables.series).last_value == measured(1, 3000.0).net.summary.p50


def test_what_is_known_of_a_commit_grows(store):
    ingest(store, [measured(1, position=None)])
    ingest(store, [measured(1, uid="later", branch="main", author="Ann", subject="faster pooling")])
    commit = row(store, tables.commits)
    assert (commit.position, commit.branch, commit.author, commit.subject) == (
        *(1, "main", "Ann", "faster pooling"),
    )
    assert {one.position for one in rows(store, tables.points)} == {1}


def test_a_position_that_becomes_known_later_is_that_of_the_newest_value(store):
    ingest(store, [measured(1, position=None)])
    ingest(store, [measured(1, uid="later", run_type="verify", types=())])
    assert row(store, tables.series).last_position == 1
    # Its time is later, because the clock of its author was wrong.
    ingest(store, [measured(0, 7.0, commit_time=NOW + 10**6)])
    assert row(store, tables.series).last_position == 1


def test_a_result_without_a_position_has_that_of_its_commit(store):
    ingest(store, [measured(1), measured(2)])
    ingest(store, [measured(1, 7.0, uid="by-hand", position=None, commit_time=NOW + 10**6)])
    assert sorted(one.position for one in rows(store, tables.points)) == [1, 1, 2]
    assert row(store, tables.series).last_position == 2


def test_the_summary_of_a_commit_is_that_of_its_latest_runs(store):
    def compared(ratio: float, **more) -> Result:
        interval = Interval(ratio - 0.01, ratio + 0.01, 0.95)
        one = samples.compared(
            samples.delays(NET_DELAY, 1000.0 * ratio), 1000.0, Comparison(9, ratio, interval)
        )
        judged = samples.decided(one, Verdict.REGRESSED if ratio > 1 else Verdict.IMPROVED, "by much")
        return measured(1, **{"types": (judged,), **more})

    first, again = compared(1.5), compared(0.5, uid="again", time=NOW + 7200)
    ingest(store, [first])
    summary = row(store, tables.commit_summaries)
    assert (summary.measured, summary.regressed, summary.improved, summary.ratios) == (1, 1, 0, 1)
    assert math.exp(summary.log_ratio_sum) == pytest.approx(1.5)
    ingest(store, [again, having(samples.FAILED, uid="failed", run_uid="r", commit=f"{1:040x}")])
    summary = row(store, tables.commit_summaries)
    assert (summary.measured, summary.regressed, summary.improved, summary.failed) == (1, 0, 1, 1)
    assert math.exp(summary.log_ratio_sum) == pytest.approx(0.5)
    assert math.exp(summary.log_level_sum) == pytest.approx(1 / 3)
    verified = compared(1.2, uid="verified", run_type="verify", time=NOW + 9999)
    ingest(store, [verified])
    summary = row(store, tables.commit_summaries)
    assert (summary.measured, summary.regressed, summary.improved) == (1, 1, 0)
    series = row(store, tables.series)
    assert (series.points, series.last_verdict) == (2, "regressed")


def test_the_sums_do_not_depend_on_the_order(store):
    """Nor on how many results are in one call."""
    generator = random.Random(1)
    runs = [
        measured(number % 4, generator.uniform(900, 1100), uid=f"{number}", time=NOW + number)
        for number in range(20)
    ]
    latest = [
        max((one for one in runs if one.provenance.position == n), key=lambda o: o.provenance.time)
        for n in range(4)
    ]
    generator.shuffle(runs)
    for start in range(0, 20, 7):
        ingest(store, runs[start : start + 7])
    commits = {one.id: one.position for one in rows(store, tables.commits)}
    reference = row(store, tables.series).reference
    for summary in rows(store, tables.commit_summaries):
        expected = latest[commits[summary.commit_id]].net.summary.p50 / reference
        assert summary.measured == summary.levels == 1
        assert summary.log_level_sum == pytest.approx(math.log(expected))


def test_level_and_scatter_are_those_of_the_newest_runs(store):
    generator = random.Random(1)
    values = [1000.0 * (1 + 0.01 * generator.gauss()) for _ in range(40)]
    ingest(store, [measured(number, value) for number, value in enumerate(values)])
    series = row(store, tables.series)
    assert series.level == pytest.approx(samples.delays("x", 1000.0).summary.p50, rel=0.01)
    assert 0.007 < series.scatter < 0.03


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uid": "../../etc"}, "is no id of a result"),
        ({"run_uid": "x" * 65}, "is no id of a result"),
        ({"net": "a\0b"}, "contains NUL"),
        ({"net": "\ud800"}, "half of a character"),
        ({"commit": "x" * 501}, "longer than 500 characters"),
        ({"subject": "\0"}, "contains NUL"),
        ({"position": 2**63}, "a time or a position is out of bounds"),
        ({"time": 2**50}, "a time or a position is out of bounds"),
        ({"facts": {"cores": 2**63}}, "more than 63 bits"),
        ({"user": {"about": "x" * 100_001}}, "longer than 100,000 characters"),
        ({"types": (samples.delays(NET_DELAY, 1.0, count=100_001),)}, "at most 100,000 items"),
        ({"types": (samples.OPERATORS[0],) * 2001}, "at most 2,000 types"),
    ],
)
def test_what_one_of_the_databases_cannot_hold_is_refused(store, changes, message):
    if "facts" in changes:
        bad = replace(measured(1), device=replace(samples.PASSED.device, facts=changes["facts"]))
    else:
        bad = measured(1, **changes)
    with pytest.raises(RefusedError, match=message):
        ingest(store, [measured(2), bad])
    assert rows(store, tables.results) == []


def test_evidence_of_a_failure_may_contain_anything(store):
    nasty = having(samples.NASTY, uid="nasty", run_uid="run", commit="a1", net="n", identifier="i", types=())
    given = documents.read(Result, documents.dumps(documents.result_json(nasty)))
    named = replace(given, device=replace(given.device, name="d", tainted=()))
    named = having(named, framework="f", backend="b")
    ingest(store, [named])
    assert store.result("nasty").failure == named.failure


def test_nothing_is_stored_of_a_call_that_fails(store):
    def fail(connection, ingested):
        assert connection.scalar(select(func.count()).select_from(tables.results)) == 2
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        ingest(store, [measured(1), measured(2)], then=fail)
    assert rows(store, tables.results) == rows(store, tables.projects) == []


def test_writers_do_not_disturb_each_other(store):
    """Each sends the same series; nothing is lost or counted twice."""
    results = [[measured(100 * writer + number) for number in range(6)] for writer in range(6)]
    errors = []

    def write(own):
        try:
            for one in own:
                ingest(store, [one])
                ingest(store, [one])
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(own,)) for own in results]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert errors == []
    assert (row(store, tables.series).points, len(rows(store, tables.results))) == (36, 36)
