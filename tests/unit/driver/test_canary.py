"""A canary that cannot be made costs itself, not the run; a verified alarm voids the run's verdicts."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarking.driver import canary as canary_module
from benchmarking.driver.bench import Bench
from benchmarking.driver.canary import run_canary
from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.programs.command import Program
from benchmarking.results.model import Verdict
from tests.support.sample_results import FAILED, JUDGED


def test_a_control_that_cannot_be_copied_is_reported_and_voids_nothing(tmp_path):
    arm = Arm("old", 1, Program(tmp_path / "gone"))
    plan = RunPlan(Caffe2(), arm, arm, ("harness.py",), 1)
    platform = SimpleNamespace(device=SimpleNamespace(name="here"))
    canary = run_canary(Bench(platform, plan, None, None), [SimpleNamespace(metric="delay", refusal=None)])
    assert canary.text.startswith(f"the canary could not be run: cannot copy {Path(tmp_path / 'gone')}: ")
    result = canary.applied_to(JUDGED)
    assert result.types == JUDGED.types
    assert result.sampling.canary == canary.text


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Runs a canary whose stages come to these verdicts, or fail; returns it and the stages that ran."""

    def judge(*stages):
        ran, left = [], list(stages)

        class Driver:
            def __init__(self, bench):
                ran.append((bench.plan.run_type, tuple(bench.plan.regressed_types)))

            def run(self, case):
                verdict = left.pop(0)
                if verdict is None:
                    return FAILED
                net = JUDGED.types[0]
                net = replace(net, decision=replace(net.decision, verdict=verdict))
                return replace(JUDGED, types=(net, *JUDGED.types[1:]))

        monkeypatch.setattr(canary_module, "BenchmarkDriver", Driver)
        (tmp_path / "program").touch()
        arm = Arm("old", 1, Program(tmp_path / "program"))
        plan = RunPlan(Caffe2(), arm, arm, ("harness.py",), 1)
        platform = SimpleNamespace(device=SimpleNamespace(name="here"))
        bench = Bench(platform, plan, None, None)
        cases = [("error", None), ("delay", "too large"), ("delay", None)]
        return run_canary(bench, [SimpleNamespace(metric=one, refusal=why) for one, why in cases]), ran

    return judge


FIRST, SECOND = ("benchmark", ()), ("verify", ("NET_DELAY",))


@pytest.mark.parametrize(
    ("verdicts", "stages", "verdict"),
    [
        ((Verdict.UNCHANGED,), [FIRST], Verdict.UNCHANGED),
        ((Verdict.INCONCLUSIVE,), [FIRST], Verdict.INCONCLUSIVE),
        ((Verdict.REGRESSED, Verdict.REGRESSED), [FIRST, SECOND], Verdict.REGRESSED),
        ((Verdict.IMPROVED, Verdict.IMPROVED), [FIRST, SECOND], Verdict.IMPROVED),
        ((Verdict.REGRESSED, Verdict.UNCHANGED), [FIRST, SECOND], Verdict.INCONCLUSIVE),
    ],
)
def test_an_alarm_is_verified_shown_as_an_error_and_voids_the_verdicts(
    judge, caplog, verdicts, stages, verdict
):
    caplog.set_level(logging.INFO)
    canary, ran = judge(*verdicts)
    assert (canary.verdict.verdict, ran) == (verdict, stages)
    is_alarm = verdict in (Verdict.REGRESSED, Verdict.IMPROVED)
    assert [one.levelname for one in caplog.records] == ["ERROR" if is_alarm else "INFO"]
    judged = {one.decision.verdict for one in canary.applied_to(JUDGED).types if one.decision}
    assert (judged == {Verdict.INCONCLUSIVE}) == is_alarm


ALARM = f"; it was to verify an alarm: regressed, {JUDGED.types[0].decision.reason}"


@pytest.mark.parametrize(("verdicts", "alarm"), [((None,), ""), ((Verdict.REGRESSED, None), ALARM)])
def test_a_canary_that_fails_voids_nothing(judge, caplog, verdicts, alarm):
    canary, _ = judge(*verdicts)
    assert canary.verdict is None
    assert canary.text == f"the canary could not be run: {FAILED.failure.message}{alarm}"
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert canary.applied_to(JUDGED).types == JUDGED.types
