"""Two commits are compared alike on the server and in a local tree (``mlbench compare``)."""

import random
from dataclasses import replace
from itertools import combinations

import pytest

from benchmarking.records import index
from benchmarking.records.saved_comparison import compare_versions, newest
from benchmarking.records.tree import History
from benchmarking.results.model import Comparison, Confirmation, Interval, Verdict
from benchmarking.server.ingest import ingest
from benchmarking.server.pages.compare import compared
from benchmarking.server.pages.reading import reader_of
from benchmarking.statistics import summaries
from tests.support.sample_results import DELAY, decided, having

DAY_S = 86_400
COMMITS = 30


def commit(number):
    return f"{number:040x}"


def time_of(number):
    return 1_700_000_000 + number * DAY_S


def results(source, *, week, tainted, skipped, repeated, compares):
    """A run of each commit, relative to a control that stays for a week."""
    level, control = 1.0, None
    for number in range(COMMITS):
        if source.random() < 0.1:
            level *= source.uniform(0.9, 1.15)
        if source.random() < skipped:
            continue
        if number and compares:
            if week:
                control = (number - 1) // week * week
            elif control is None or number % 10 == 0:
                control = source.randrange(number)
        for repetition in range(1 + (source.random() < repeated)):
            yield from runs(source, number, control, level, repetition, source.random() < tainted)


def runs(source, number, control, level, repetition, is_tainted):
    busy = source.uniform(1, 1.3)
    value = 1000 * level * busy * source.gauss(1, 0.003)
    summary = summaries.summarize([value])
    net = replace(DELAY.types[0], values=(), pairs=(), summary=summary)
    origin = {
        "commit": commit(number),
        "commit_time": time_of(number),
        "position": number,
        "time": time_of(number) + 100 * repetition,
        "uid": f"{number:016x}{repetition:016x}",
        "run_uid": f"{number:016x}{repetition:016x}",
        "tainted": ("busy",) * is_tainted,
    }
    if control is None:
        yield having(DELAY, **origin, types=(net,))
        return
    ratio = source.choice((0.98, 1.0, 1.0, 1.0, 1.04)) * source.gauss(1, 0.003)
    verdict = Verdict.REGRESSED if ratio > 1.02 else source.choice((Verdict.UNCHANGED, Verdict.INCONCLUSIVE))
    origin |= {
        "control_commit": commit(control),
        "control_commit_time": time_of(control),
        "control_position": control,
    }
    comparison = Comparison(8, ratio, Interval(ratio / 1.01, ratio * 1.01, 0.95))
    judged = decided(replace(net, comparison=comparison), verdict, "because")
    yield having(DELAY, **origin, types=(judged,))
    if verdict is Verdict.REGRESSED:
        second = source.choice((Verdict.REGRESSED, Verdict.INCONCLUSIVE))
        both = Confirmation(second, "both", judged.decision, judged.decision)
        later = {
            **origin,
            "time": origin["time"] + 10,
            "uid": f"{1:08x}{origin['uid'][8:]}",
            "run_type": "verify",
        }
        yield having(DELAY, **later, types=(replace(judged, confirmation=both),))
        if second is Verdict.REGRESSED:
            last = {
                **later,
                "time": later["time"] + 10,
                "uid": f"{2:08x}{origin['uid'][8:]}",
                "run_type": "regress",
            }
            yield having(DELAY, **last, types=(replace(judged, regressed=True),))


HISTORIES = {
    "a control for a week": {"week": 7},
    "a control that is never measured itself": {"week": 7, "skipped": 0.4},
    "each against the one before": {"week": 1},
    "without controls": {"compares": False},
    "any older control": {"week": 0},
    "few": {"week": 20, "skipped": 0.8},
    "busy": {"week": 5, "tainted": 0.4, "repeated": 0.5},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_they_agree(store, tmp_path, history, seed):
    settings = {"week": 7, "tainted": 0.1, "skipped": 0.1, "repeated": 0.2, "compares": True} | history
    given = [*results(random.Random(seed), **settings)]
    (tmp_path / "tree").mkdir()
    tree = History(tmp_path / "tree")
    for one in given:
        tree.save(one)
    source = random.Random(seed)
    source.shuffle(given)
    for start in range(0, len(given), 9):
        ingest(store, given[start : start + 9])
    measured = sorted({one.provenance.commit for one in given})
    pairs = source.sample([*combinations(measured, 2)], min(60, len(measured) * (len(measured) - 1) // 2))
    with index.opened(tmp_path / "tree") as opened, store.reading() as connection:
        for base, head in pairs:
            sides = [(one, newest(opened.of_commit(one))) for one in (base, head)]
            (local,) = compare_versions(opened, *sides).rows
            (remote,) = compared(reader_of(connection), base, head).view().rows
            own, other = local.judgement, remote
            assert (own.finding, own.evidence, own.reason) == (other.finding, other.evidence, other.reason)
            assert own.ratio == pytest.approx(other.ratio)
            limits = (own.interval.low, own.interval.high) if own.interval else (None, None)
            assert limits == pytest.approx((other.low, other.high))
            assert local.tainted == (other.base_tainted or other.head_tainted)
            assert (other.base_ratio is not None) == (local.unit == "ratio")
