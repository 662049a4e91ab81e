"""The result of a test: who, what, where and how, from the plan, the specification and what was measured."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarking.driver import record
from benchmarking.driver.bench import Bench
from benchmarking.driver.conditions import Watched
from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.driver.record import Measured, describe_failure
from benchmarking.driver.sampler import ArmSamples
from benchmarking.errors import CaseError, DeviceError, DeviceLostError, ReporterError
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.platforms.platform_base import DeviceInfo
from benchmarking.programs.command import Program
from benchmarking.results import documents
from benchmarking.results.model import NET_DELAY, FailureKind
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks
from tests.support import golden
from tests.support.sample_results import SAMPLING, delays
from tests.support.workshop import Workshop

TREATMENT = Arm("new", 20, Program(Path("p")), position=2, branch="main", author="Ann", subject="faster")
PLAN = RunPlan(Caffe2(), TREATMENT, None, ("harness.py", "--x"), 7, run_uid="run", user_meta={"a": "b"})
CONTROL = replace(TREATMENT, commit="old", commit_time=10, position=1, subject="before")
WATCHED = Watched({"load": 1.0}, {"load": 2.0}, ("busy",))


@pytest.fixture
def case(tmp_path):
    path = Workshop(tmp_path).benchmark(group="vision")
    spec = json.loads(path.read_text())
    del spec["model"]["files"]["init"]["md5"]
    path.write_text(json.dumps(spec))
    return expand(read_benchmarks(path), None)[0]


@pytest.fixture
def made(case, monkeypatch):
    """A result as JSON, which names every field."""
    monkeypatch.setattr(record, "new_uid", lambda: "uid")
    monkeypatch.setattr(record, "__version__", "1")
    monkeypatch.setattr(record.time, "time", lambda: 99.9)
    cache = SimpleNamespace(hashes=lambda one: {"init": "md5 of init", "predict": "md5 of predict"})
    platform = SimpleNamespace(device=DeviceInfo("phone", "feed", {"cores": 4}))

    def made(measured, plan=PLAN, refusal=None):
        one = replace(case, refusal=refusal)
        return record.result(Bench(platform, plan, cache, None), one, measured, WATCHED, 1.5)

    return made


def arm(name):
    return ArmSamples(facts={"engine": name}, warnings=(f"{name} is odd",))


def test_without_a_control(made):
    measured = Measured((delays(NET_DELAY, 5.0),), None, "./p --net", arm("torch"), sampling=SAMPLING)
    result = made(measured)
    golden.check(json.dumps(documents.result_json(result), indent=1) + "\n", "results/recorded.json")
    assert result.workload.ab_pairs is None


def test_with_a_control_a_seed_and_pairs_are_recorded_and_warnings_name_their_arm(made):
    measured = Measured((delays(NET_DELAY, 5.0),), None, "./p", arm("torch"), arm("native"), SAMPLING)
    result = made(measured, replace(PLAN, control=CONTROL))
    golden.check(json.dumps(documents.result_json(result), indent=1) + "\n", "results/recorded_ab.json")
    assert made(Measured(), replace(PLAN, control=CONTROL)).workload.ab_pairs is None


def test_what_was_refused_has_no_hashes(made):
    result = made(Measured(failure=CaseError("no")), refusal="no")
    assert (result.workload.model_md5, result.failure.message) == ({}, "no")
    assert not any("md5" in one for one in result.warnings)


@pytest.mark.parametrize(("run_type", "marks"), [("benchmark", [False, False]), ("regress", [True, False])])
def test_a_run_that_confirms_marks_its_types(made, run_type, marks):
    plan = replace(PLAN, run_type=run_type, regressed_types=(NET_DELAY,))
    result = made(Measured((delays(NET_DELAY, 5.0), delays("Conv", 1.0))), plan)
    assert [one.regressed for one in result.types] == marks


def test_the_kinds_of_failures():
    lost = DeviceLostError("gone", "the end")
    lost.add_note("a note")
    assert described(lost) == (FailureKind.LOST, "DeviceLostError", "gone", "the end\na note")
    assert described(DeviceError("bad")) == (FailureKind.DEVICE, "DeviceError", "bad", "")
    assert described(CaseError("wrong", "why")) == (FailureKind.CASE, "CaseError", "wrong", "why")
    assert described(ReporterError("full")) == (FailureKind.CASE, "ReporterError", "full", "")
    kind, name, message, evidence = described(ZeroDivisionError("oops"))
    assert (kind, name) == (FailureKind.BUG, "ZeroDivisionError")
    assert message == "a bug of the harness: ZeroDivisionError('oops')"
    assert evidence.endswith("ZeroDivisionError: oops\n")


def described(error):
    failure = describe_failure(error)
    return failure.kind, failure.error, failure.message, failure.evidence
