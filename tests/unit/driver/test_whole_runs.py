"""Whole runs in this process, of a program that does as it is told: what the document says of them."""

import json

import pytest

from benchmarking.cli import harness
from tests.support.workshop import COMMIT, OLDER, Workshop, error_test

BACKENDS = {"default": "", "nnpack": "", "onednn": "", "cuda": "no CUDA here"}
ANSWER = {"out": [1.0, 2.0, -4.0]}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    for kind in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden.txt").write_text("1\n2\n-4\n")

    def run(*argv):
        status = harness.main(["--benchmark_file", "tiny.json", "--json", "--seed=1", *map(str, argv)])
        return status, json.loads(capsys.readouterr().out)["results"]

    run.workshop = Workshop(tmp_path)
    return run


def test_outputs_are_compared_with_golden_ones_and_with_the_controls(run):
    run.workshop.benchmark(error_test())
    treatment = run.workshop.program("treatment", outputs={"out": [1.0, 2.25, -4.0]})
    control = run.workshop.program("control", outputs={"out": [1.0, 2.0, -4.5]})
    info = {"treatment": COMMIT | {"program": str(treatment)}, "control": OLDER | {"program": str(control)}}
    status, (result,) = run("--info", json.dumps(info))
    (softmax,) = result["types"]
    assert (status, result["failure"], result["meta"]["sampling"]) == (0, None, None)
    assert (softmax["error"]["max_absolute"], softmax["error"]["count"]) == (0.25, 3)
    assert softmax["control_error"]["max_absolute"] == 0.5
    assert result["meta"]["random_seed"] == 1


@pytest.mark.parametrize(
    ("tolerance", "status"), [({"atol": 0.5}, 0), ({"atol": 0.4}, 3), ({"rtol": 0.25}, 0)]
)
def test_a_tolerance_is_checked_after_the_errors_are_known(run, tolerance, status):
    run.workshop.benchmark(error_test(tolerance))
    program = run.workshop.program(outputs={"out": [1.0, 2.5, -4.0]})
    found, (result,) = run("--program", program)
    assert found == status
    assert result["types"][0]["error"]["max_absolute"] == 0.5
    assert (result["failure"] or {}).get("error") == (None if status == 0 else "ToleranceError")


def test_a_control_without_the_output_is_named(run):
    run.workshop.benchmark(error_test())
    treatment = run.workshop.program("treatment", outputs=ANSWER)
    control = run.workshop.program("control", outputs={})
    info = {"treatment": COMMIT | {"program": str(treatment)}, "control": OLDER | {"program": str(control)}}
    status, (result,) = run("--info", json.dumps(info))
    assert status == 3
    assert result["failure"]["message"].startswith("control: ")
    assert result["types"][0]["error"]["max_absolute"] == 0


def test_delays_of_whole_processes_are_compared_in_pairs(run):
    run.workshop.benchmark()
    treatment = run.workshop.program("treatment", delay_us=200.0)
    control = run.workshop.program("control", delay_us=100.0)
    info = {"treatment": COMMIT | {"program": str(treatment)}, "control": OLDER | {"program": str(control)}}
    _, (result,) = run("--info", json.dumps(info), "--ab_pairs=3", "--canary=off")
    sampling = result["meta"]["sampling"]
    assert (sampling["level"], sampling["pairs"], sampling["clock"]) == ("process", 3, "wall")
    assert "does not speak the worker protocol" in sampling["level_reason"]
    assert result["types"][0]["comparison"]["ratio"] == pytest.approx(2.0, rel=0.1)
    assert result["meta"]["ab_pairs"] == 3
    status, (refused,) = run("--info", json.dumps(info), "--ab_mode=iteration", "--canary=off")
    assert (status, refused["failure"]["error"]) == (3, "NoWorkersError")
    _, (by_process,) = run("--info", json.dumps(info), "--ab_mode=process", "--ab_pairs=2", "--canary=off")
    assert by_process["meta"]["sampling"]["level_reason"] == "--ab_mode process"


def cells(results):
    return {one["meta"]["backend"]: (one["meta"]["cell"], one["failure"]) for one in results}


def test_backends_are_compared_with_the_reference(run):
    run.workshop.benchmark(outputs={"out": {}})
    on = {
        "nnpack": {"delay_us": 200.0, "outputs": {"out": [1.0, 2.0, -4.001]}},
        "onednn": {"delay_us": 50.0, "outputs": {"out": [1.0, 2.0, 4.0]}},
    }
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER, delay_us=100.0, on=on)
    status, results = run("--program", program, "--backend=all", "--blocks=3")
    found = cells(results)
    assert status == 3
    assert list(found) == ["default", "nnpack", "onednn"]
    reference, _ = found["default"]
    assert (reference["reference"], reference["blocks"], reference["comparison"]) == ("default", 3, None)
    nnpack, failure = found["nnpack"]
    assert (failure, nnpack["wrong"], nnpack["answer_of"]) == (None, False, "default")
    assert nnpack["comparison"]["ratio"] == pytest.approx(2.0, rel=0.1)
    assert nnpack["errors"]["out"]["max_absolute"] == pytest.approx(0.001)
    wrong, failure = found["onednn"]
    assert (wrong["wrong"], failure["error"]) == (True, "ToleranceError")
    assert "'out'" in failure["message"]
    assert "the backend default's" in failure["message"]
    assert reference["unavailable"] == {"cuda": "no CUDA here"}


def test_backends_are_compared_with_golden_outputs(run):
    run.workshop.benchmark(error_test({"atol": 0.1}), outputs={"out": {}})
    on = {"nnpack": {"outputs": {"out": [1.0, 2.05, -4.0]}}, "onednn": {"outputs": {"out": [1.0, 2.5, -4.0]}}}
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER, on=on)
    status, results = run("--program", program, "--backend=all")
    found = cells(results)
    assert status == 3
    assert {name: cell["answer_of"] for name, (cell, _) in found.items()} == dict.fromkeys(found, "golden")
    assert {name: cell["errors"]["out"]["max_absolute"] for name, (cell, _) in found.items()} == {
        "default": 0,
        "nnpack": pytest.approx(0.05),
        "onednn": pytest.approx(0.5),
    }
    assert [name for name, (_, failure) in found.items() if failure] == ["onednn"]


def test_a_backend_that_ends_is_a_failure_of_its_own(run):
    run.workshop.benchmark(outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER, on={"nnpack": {"exit_code": 3}})
    status, results = run("--program", program, "--backend=default,nnpack", "--blocks=3")
    found = cells(results)
    assert status == 3
    assert found["default"][1] is None
    assert found["nnpack"][1]["error"] == "ProgramExitError"
