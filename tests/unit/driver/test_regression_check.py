"""Detect, verify, confirm: what leads to which runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.driver.regression_check import RegressionCheck
from benchmarking.driver.stages import Stage, next_stage
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.programs.command import Program
from benchmarking.records.tree import History
from benchmarking.results.model import NET_DELAY, Comparison, Interval, SequentialDecision, Verdict
from benchmarking.specs.run_info import Commit
from tests.support.sample_results import AB, DELAY, JUDGED, errors, having

ARM = Arm("new", 1, Program(Path("program")))
PLAN = RunPlan(Caffe2(), ARM, ARM, ("harness.py",), 1)


def judged(verdict, ratio=1.05):
    comparison = Comparison(12, ratio, Interval(ratio - 0.01, ratio + 0.01, 0.95))
    decision = SequentialDecision(verdict, f"{ratio}", 12, comparison, 0.02, 0.001, 0.999)
    return replace(JUDGED, types=(replace(JUDGED.types[0], decision=decision, comparison=comparison),))


def follow_up(check, first, *answers):
    """What is run, and with which types; ``answers`` are what these runs give."""
    left, asked, results = list(answers), [], []
    stage, first = Stage(), check.finished(first, PLAN)
    result = first
    while (stage := next_stage(stage, check.suspects(result))) is not None:
        asked.append((stage.run_type, stage.suspects))
        answer = left.pop(0)
        answer = having(answer, run_type=stage.run_type)
        result = check.finished(answer, PLAN.for_stage(stage), first)
        results.append(result)
        if stage.is_last:
            break
    return results, asked


@pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.REGRESSED])
def test_what_is_not_regressed_is_not_run_again(verdict):
    assert follow_up(RegressionCheck(), judged(verdict)) == ([], [])


def test_both_stages_have_to_agree():
    slow = judged(Verdict.REGRESSED)
    results, asked = follow_up(RegressionCheck(), slow, slow, slow)
    assert asked == [("verify", (NET_DELAY,)), ("regress", (NET_DELAY,))]
    confirmation = results[0].types[0].confirmation
    assert (confirmation.verdict, confirmation.first) == (Verdict.REGRESSED, slow.types[0].decision)
    results, asked = follow_up(RegressionCheck(), slow, judged(Verdict.UNCHANGED))
    assert asked == [("verify", (NET_DELAY,))]
    assert results[0].verdict is Verdict.INCONCLUSIVE
    assert results[0].outcome == "not confirmed"


@pytest.fixture
def history(tmp_path):
    """Of an earlier commit that was 5 % slower than the same control."""
    known = judged(Verdict.REGRESSED, 1.05)
    store = History(tmp_path)
    store.save(having(known, commit="earlier"))
    return RegressionCheck(store, (Commit(commit="earlier", commit_time=known.provenance.commit_time),))


def test_regressions_of_earlier_commits_are_not_reported_again(history):
    as_slow = judged(Verdict.REGRESSED, 1.052)
    assert follow_up(history, as_slow)[1] == []
    assert (history.marked(as_slow, PLAN).outcome, as_slow.outcome) == ("known", "suspicious")
    # Its interval is above the known 5 %, but its estimate by less than the smallest change that counts.
    assert history.marked(judged(Verdict.REGRESSED, 1.0602), PLAN).outcome == "known"
    assert history.marked(judged(Verdict.REGRESSED, 1.0610), PLAN).outcome == "suspicious"
    worse = judged(Verdict.REGRESSED, 1.12)
    assert history.marked(worse, PLAN).outcome == "suspicious"
    assert len(follow_up(history, worse, worse, worse)[1]) == 2


def test_a_regression_that_was_fixed_and_comes_back_is_reported(tmp_path):
    """Two commits were slow, and the next was as fast as the control: a slow commit after that is a new
    regression.
    """
    store, commits = History(tmp_path), []
    for commit, verdict, ratio in (
        ("fixed", Verdict.UNCHANGED, 1.0),
        ("undecided", Verdict.INCONCLUSIVE, 1.03),
        ("slow", Verdict.REGRESSED, 1.05),
        ("slower", Verdict.REGRESSED, 1.06),
    ):
        result = judged(verdict, ratio)
        store.save(having(result, commit=commit))
        commits.append(Commit(commit=commit, commit_time=result.provenance.commit_time))
    as_slow = judged(Verdict.REGRESSED, 1.052)
    for newest_first, outcome in (
        (commits, "suspicious"),
        ([commits[1], commits[0], *commits[2:]], "suspicious"),
        (commits[1:], "known"),
    ):
        check = RegressionCheck(store, tuple(newest_first))
        assert check.marked(as_slow, PLAN).outcome == outcome
    # One miss of a small regression that is still there: the intervals overlap.
    barely = judged(Verdict.REGRESSED, 1.015)
    assert RegressionCheck(store, tuple(commits)).marked(barely, PLAN).outcome == "known"


@pytest.mark.parametrize(
    ("verdict", "ratio", "outcome"),
    [
        (Verdict.IMPROVED, 0.9, "suspicious"),
        (Verdict.UNCHANGED, 1.0, "suspicious"),
        (Verdict.UNCHANGED, 1.045, "known"),
        (Verdict.REGRESSED, 1.0, "known"),
        (Verdict.INCONCLUSIVE, 1.0, "known"),
    ],
)
def test_a_regression_is_new_where_the_last_verdict_was_another(tmp_path, verdict, ratio, outcome):
    """And where it is clear that the last was faster."""
    store, commits = History(tmp_path), []
    for commit, past in (("newest", judged(verdict, ratio)), ("slow", judged(Verdict.REGRESSED, 1.2))):
        store.save(having(past, commit=commit))
        commits.append(Commit(commit=commit, commit_time=past.provenance.commit_time))
    check = RegressionCheck(store, tuple(commits))
    assert check.marked(judged(Verdict.REGRESSED, 1.05), PLAN).outcome == outcome


def test_runs_with_other_settings_say_nothing(history, caplog):
    caplog.set_level("INFO")
    slow = judged(Verdict.REGRESSED, 1.052)
    device = replace(slow.device, facts={**slow.device.facts, "cpu_model": "Another CPU"})
    other = replace(slow, device=device)
    assert len(follow_up(history, other, other, other)[1]) == 2
    assert "cpu_model Example CPU and Another CPU" in caplog.text


def test_a_comparison_that_failed_is_not_judged_by_the_history(tmp_path):
    """The pairs that there are show nothing, and the coarse rule over earlier commits is not asked instead."""
    store, commits = History(tmp_path), []
    for number in range(4):
        commits.append(Commit(commit=f"earlier-{number}", commit_time=number))
        store.save(having(AB, commit=commits[-1].commit, commit_time=number))
    net = AB.types[0]
    late = replace(net, diff_summary=replace(net.diff_summary, p50=1e6))
    failed = having(replace(AB, types=(late,)), commit="new", commit_time=9)
    assert RegressionCheck(store, tuple(commits), "p50_p90").suspects(failed) == (NET_DELAY,)
    assert RegressionCheck(store, tuple(commits)).suspects(failed) == ()


def test_a_named_detector_judges_by_the_history_alone(tmp_path):
    check = RegressionCheck(History(tmp_path), (), "p50_p90")
    assert follow_up(check, judged(Verdict.REGRESSED)) == ([], [])


def test_a_larger_error_than_the_controls_needs_no_history():
    wrong = errors("softmax", 0.5)
    right = replace(wrong, control_error=errors("softmax", 1e-7).error)
    result = having(AB, metric="error", types=(right,))
    assert [one[0] for one in follow_up(RegressionCheck(), result, result, result)[1]] == [
        "verify",
        "regress",
    ]
    same = replace(result, types=(replace(wrong, control_error=wrong.error),))
    assert follow_up(RegressionCheck(), same) == ([], [])


def test_without_control_and_history_nothing_is_known():
    assert follow_up(RegressionCheck(), DELAY) == ([], [])
