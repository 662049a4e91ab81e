"""A canary that cannot be made costs itself, not the run."""

from pathlib import Path
from types import SimpleNamespace

from benchmarking.driver.bench import Bench
from benchmarking.driver.canary import run_canary
from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.programs.command import Program
from tests.support.sample_results import JUDGED


def test_a_control_that_cannot_be_copied_is_told_and_voids_nothing(tmp_path):
    arm = Arm("old", 1, Program(tmp_path / "gone"))
    plan = RunPlan(Caffe2(), arm, arm, ("harness.py",), 1)
    platform = SimpleNamespace(device=SimpleNamespace(name="here"))
    canary = run_canary(Bench(platform, plan, None, None), [SimpleNamespace(metric="delay", refusal=None)])
    assert canary.text.startswith(f"the canary could not be run: cannot copy {Path(tmp_path / 'gone')}: ")
    result = canary.applied_to(JUDGED)
    assert result.types == JUDGED.types
    assert result.sampling.canary == canary.text
