import random
from dataclasses import replace

import pytest

from benchmarking.records import evidence, index
from benchmarking.records.comparison import Evidence, Finding
from benchmarking.records.saved_comparison import RATIO, compare_series, compare_versions, newest
from benchmarking.records.tree import History
from benchmarking.results.model import BackendCell, Comparison, Confirmation, Interval, Verdict
from benchmarking.statistics import summaries
from tests.support.sample_results import DELAY, ERROR, decided, having, on_device

DAY_S = 86_400


@pytest.fixture
def history(tmp_path):
    return History(tmp_path)


def commit(number):
    return f"{number:040x}"


def run(number, value_us, **changes):
    """The result of a commit."""
    net = replace(DELAY.types[0], values=(), pairs=(), summary=summaries.summarize([value_us]))
    values = {
        "commit": commit(number),
        "commit_time": 1_700_000_000 + number * DAY_S,
        "time": 1_700_000_000 + number * DAY_S,
        "types": (net,),
    }
    return having(DELAY, **values | changes)


def against(number, control, ratio, verdict=Verdict.UNCHANGED, **changes):
    """The result of an A/B run."""
    result = run(number, 1000 * ratio, control_commit=commit(control), control_commit_time=0, **changes)
    comparison = Comparison(8, ratio, Interval(ratio / 1.01, ratio * 1.01, 0.96))
    return replace(
        result, types=(decided(replace(result.types[0], comparison=comparison), verdict, "because"),)
    )


def confirmed(result, verdict):
    (net,) = result.types
    both = Confirmation(verdict, "both", net.decision, net.decision)
    return having(replace(result, types=(replace(net, confirmation=both),)), run_type="verify")


def saved_series(history, count=20, **changes):
    """Commits whose delays scatter by 0.5 %."""
    generator = random.Random(1)
    for number in range(count):
        history.save(run(number, 1000 * generator.gauss(1, 0.005), **changes))


def compared(history, base=100, head=101):
    with index.opened(history.root) as opened:
        sides = [(str(one), newest(opened.of_commit(commit(one)))) for one in (base, head)]
        return compare_versions(opened, *sides)


def judged(history, base=100, head=101):
    (row,) = compared(history, base, head).rows
    return row.judgement


def by(history, attribute, base, head):
    with index.opened(history.root) as opened:
        sides = [
            (
                name,
                [number for number, (key, _) in opened.series().items() if name in key.described().values()],
            )
            for name in (base, head)
        ]
        return compare_series(opened, *sides, attribute)


# --- two versions -------------------------------------------------------------------------------------------


def test_by_the_scatter_of_the_series(history):
    saved_series(history)
    for number, value_us in ((100, 1000), (101, 1100)):
        history.save(run(number, value_us))
    judgement = judged(history)
    assert (judgement.finding, judgement.evidence) == (Finding.SLOWER, Evidence.SCATTER)
    assert judgement.ratio == pytest.approx(1.1)
    assert judged(history, 101, 100).finding is Finding.FASTER
    assert judged(history, 0, 100).finding is Finding.NO_DIFFERENCE


def test_without_enough_runs_nothing_can_be_told(history):
    for number in (100, 101):
        history.save(run(number, number))
    assert judged(history).finding is Finding.UNKNOWN


def test_tainted_runs_do_not_count_where_there_are_others(history):
    saved_series(history)
    history.save(run(100, 1000))
    history.save(run(101, 1500, tainted=("hot",)))
    (row,) = compared(history).rows
    assert (row.judgement.finding, row.tainted) == (Finding.SLOWER, True)
    history.save(run(101, 1000))
    (row,) = compared(history).rows
    assert (row.judgement.finding, row.tainted) == (Finding.NO_DIFFERENCE, False)


def test_runs_of_a_single_commit_also_show_a_scatter(history):
    generator = random.Random(1)
    for _ in range(12):
        history.save(run(100, 1000 * generator.gauss(1, 0.005)))
    history.save(run(101, 1200))
    assert judged(history).finding is Finding.SLOWER


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [(Verdict.REGRESSED, Finding.SLOWER), (Verdict.INCONCLUSIVE, Finding.UNKNOWN)],
)
def test_the_a_b_run_of_the_two_counts_most(history, verdict, finding):
    saved_series(history)
    history.save(run(100, 1000))
    history.save(against(101, 100, 1.02, verdict))
    for base, head, found in ((100, 101, finding), (101, 100, {Finding.SLOWER: Finding.FASTER}.get(finding))):
        judgement = judged(history, base, head)
        assert judgement.evidence is Evidence.AB
        assert judgement.finding is (found or finding)
    assert judged(history).ratio == pytest.approx(1.02)
    assert compared(history).has_regression == (verdict is Verdict.REGRESSED)
    assert not compared(history, 101, 100).has_regression


def test_programs_with_different_settings_were_not_compared(history):
    saved_series(history)
    history.save(run(100, 1000))
    history.save(against(101, 100, 1.5, Verdict.NOT_COMPARABLE))
    assert judged(history).evidence is Evidence.SCATTER


def test_the_verification_decides_and_gives_the_estimate(history):
    history.save(run(100, 1000))
    suspected = against(101, 100, 1.04, Verdict.REGRESSED)
    history.save(suspected)
    history.save(confirmed(against(101, 100, 1.02, Verdict.REGRESSED), Verdict.INCONCLUSIVE))
    judgement = judged(history)
    assert (judgement.finding, judgement.ratio) == (Finding.UNKNOWN, pytest.approx(1.02))
    regress = against(101, 100, 1.03, Verdict.REGRESSED, run_type="regress")
    history.save(replace(regress, types=(replace(regress.types[0], regressed=True),)))
    assert judged(history).finding is Finding.SLOWER


def test_a_b_runs_against_others_are_compared_by_their_ratios(history):
    """The machine became half as fast in between, which changes no ratio."""
    generator = random.Random(1)
    history.save(run(0, 1000))
    for number in range(1, 20):
        result = against(number, 0, generator.gauss(1, 0.002))
        slow = replace(result.types[0], summary=summaries.summarize([generator.uniform(1000, 2000)]))
        history.save(replace(result, types=(slow,)))
    for number, ratio in ((100, 1.0), (101, 1.03)):
        history.save(against(number, 0, ratio))
    (row,) = compared(history).rows
    assert (row.judgement.finding, row.unit) == (Finding.SLOWER, RATIO)
    assert (row.base, row.head) == (1.0, pytest.approx(1.03))
    assert row.judgement.evidence is Evidence.SCATTER
    assert not compared(history).has_regression


def test_ratios_to_another_backend_are_no_ratios_to_a_control(history):
    """Both backends became slower with the commit 101, so the ratio of the one to the other stays."""
    generator = random.Random(1)
    beside = Comparison(6, 0.5, Interval(0.49, 0.51, 0.95))
    for number in (*range(20), 100, 101):
        value_us = 1000 * generator.gauss(1, 0.002) * (1.2 if number == 101 else 1.0)
        history.save(run(number, value_us, backend="mkl", cell=BackendCell("default", 6, beside)))
    (row,) = compared(history).rows
    assert (row.judgement.finding, row.unit) == (Finding.SLOWER, "us")


def test_each_change_of_the_control_widens_the_interval(history):
    generator = random.Random(1)
    for number in range(1, 40):
        history.save(against(number, (number - 1) // 10 * 10, generator.gauss(1, 0.002)))
    near, far = judged(history, 35, 39), judged(history, 5, 39)
    assert near.evidence is far.evidence is Evidence.SCATTER
    width = [one.interval.high / one.interval.low for one in (near, far)]
    assert width[1] > width[0]


def test_what_only_one_side_has_is_counted(history):
    history.save(run(100, 1000))
    history.save(run(101, 1000))
    history.save(run(100, 1000, net="old"))
    for net in ("new", "newer"):
        history.save(run(101, 1000, net=net))
    found = compared(history)
    assert (len(found.rows), found.only_base, found.only_head) == (1, 1, 2)


def test_accuracy_is_not_compared(history):
    for number in (100, 101):
        history.save(having(ERROR, commit=commit(number)))
    assert compared(history).rows == ()


def test_the_geometric_mean_is_that_of_the_ratios(history):
    for net, head_us in (("one", 4000), ("other", 1000)):
        history.save(run(100, 1000, net=net))
        history.save(run(101, head_us, net=net))
    assert compared(history).geometric_mean == pytest.approx(2)
    assert compared(history, 5, 6).geometric_mean is None


# --- devices, backends, frameworks --------------------------------------------------------------------------


def test_two_devices_at_the_newest_commit_of_both(history):
    other = on_device(DELAY, "other device", "feedbeef")
    for number in range(12):
        history.save(run(number, 1000 + number % 3))
        history.save(replace(run(number, 2000 + number % 4), test=other.test, device=other.device))
    history.save(run(99, 5000))
    found = by(history, "device", DELAY.device.name, "other device")
    (row,) = found.rows
    assert (row.base, row.head) == (1002, 2003)
    assert (row.judgement.finding, row.judgement.evidence) == (Finding.SLOWER, Evidence.SCATTER)
    assert (found.has_regression, found.only_base, found.only_head) == (False, 0, 0)


def test_backends_that_ran_side_by_side(history):
    interval = Interval(0.48, 0.52, 0.95)
    cells = {
        "default": BackendCell("default", 6),
        "mkl": BackendCell("default", 6, Comparison(6, 0.5, interval)),
        "nnpack": BackendCell("default", 6, Comparison(6, 1.001, Interval(0.995, 1.005, 0.95))),
    }
    for backend, cell in cells.items():
        program = replace(DELAY.program, facts={"backend": backend, "threads": 1})
        history.save(run(1, 1000, backend=backend, cell=cell, run_uid="one", program=program))
    found = {
        head: by(history, "backend", base, head).rows[0].judgement
        for base, head in (("default", "mkl"), ("default", "nnpack"), ("mkl", "default"))
    }
    assert {one.evidence for one in found.values()} == {Evidence.AB}
    assert found["mkl"].finding is Finding.FASTER
    assert found["nnpack"].finding is Finding.NO_DIFFERENCE
    assert (found["default"].finding, found["default"].ratio) == (Finding.SLOWER, 2)
    assert by(history, "backend", "nnpack", "mkl").rows[0].judgement.evidence is Evidence.NONE


def test_without_a_common_commit_a_test_is_left_out(history):
    history.save(run(1, 1000, framework="caffe2"))
    history.save(run(2, 1000, framework="onnxruntime"))
    found = by(history, "framework", "caffe2", "onnxruntime")
    assert (found.rows, found.only_base, found.only_head) == ((), 1, 1)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "verdict"),
    [
        (1.0, 0.98, 1.02, Verdict.UNCHANGED),
        (1.0, 0.96, 1.02, Verdict.INCONCLUSIVE),
        (1.0, 0.98, 1.03, Verdict.INCONCLUSIVE),
        (1.0, 1 / 1.03, 1.02, Verdict.INCONCLUSIVE),
        (1.0099, 1.001, 1.02, Verdict.UNCHANGED),
        (1.01, 1.001, 1.02, Verdict.REGRESSED),
        (0.99, 0.98, 0.999, Verdict.IMPROVED),
        (1.2, 1.1, 1.3, Verdict.REGRESSED),
        (1.2, 1.0, 1.3, Verdict.INCONCLUSIVE),
        (0.8, 0.7, 1.0, Verdict.INCONCLUSIVE),
        (0.8, 0.7, 0.9, Verdict.IMPROVED),
    ],
)
def test_the_verdict_of_a_ratio_and_its_interval(ratio, low, high, verdict):
    assert evidence._verdict_of(ratio, Interval(low, high, 0.95)) is verdict
