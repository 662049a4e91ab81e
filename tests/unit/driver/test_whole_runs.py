"""Whole runs in this process, of a program that does as it is told: what the document says of them."""

import json

import pytest

from benchmarking.cli import harness
from benchmarking.driver import arms
from benchmarking.driver.backend_matrix import LOOKS
from benchmarking.errors import CaseError, RunCancelledError
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


def errors_of(results):
    return {name: failure and failure["error"] for name, (_, failure) in cells(results).items()}


def test_the_level_of_the_comparison_of_backends(run):
    run.workshop.benchmark(outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER)
    backends = ("--program", program, "--backend=default,nnpack", "--blocks=1")
    _, results = run(*backends)
    assert "does not speak the worker protocol" in results[0]["meta"]["sampling"]["level_reason"]
    _, results = run(*backends, "--ab_mode=process")
    assert {one["meta"]["sampling"]["level_reason"] for one in results} == {"--ab_mode process"}
    status, results = run(*backends, "--ab_mode=iteration")
    assert (status, errors_of(results)) == (3, {"default": "NoWorkersError", "nnpack": "NoWorkersError"})


def test_a_file_that_is_missing_fails_every_backend_and_runs_nothing(run):
    run.workshop.benchmark(error_test(), outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS, record=str(run.workshop.directory / "runs"))
    (run.workshop.directory / "golden.txt").unlink()
    status, results = run("--program", program, "--backend=default,nnpack")
    assert (status, errors_of(results)) == (3, {"default": "ModelError", "nnpack": "ModelError"})
    assert not (run.workshop.directory / "runs").exists()


def test_cores_that_the_device_lacks_fail_every_backend(run):
    run.workshop.benchmark({"platform_args": {"taskset": "f" * 64}}, outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER)
    status, results = run("--program", program, "--backend=default,nnpack", "--blocks=1")
    assert (status, errors_of(results)) == (3, {"default": "CaseError", "nnpack": "CaseError"})


@pytest.mark.parametrize(("chosen", "expected"), [("default,nnpack", 0), ("cuda,default", 3)])
def test_commands_around_a_comparison_of_backends_run_once(run, chosen, expected):
    """With the files of the model, also if the first of the backends is missing."""
    log = run.workshop.directory / "log"
    run.workshop.benchmark(
        {
            "preprocess": {"commands": [f"cat {{files.predict}} >> {log}"]},
            "postprocess": {"commands": [f"echo after >> {log}"]},
        },
        outputs={"out": {}},
    )
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER)
    status, _ = run(
        "--program",
        program,
        f"--backend={chosen}",
        "--blocks=1",
        "--ab_mode=process",
        "--allow_commands",
    )
    assert (status, log.read_text()) == (expected, "predictafter\n")


@pytest.mark.parametrize(
    ("outputs", "of_reference", "why"),
    [
        ({}, ANSWER, "the outputs of the model are unknown: name them in its specification"),
        ({"outputs": {"out": {}}}, {"out": ["x"]}, "the reference default has no outputs: "),
    ],
)
def test_why_answers_are_not_compared(run, outputs, of_reference, why):
    run.workshop.benchmark(**outputs)
    on = {"nnpack": {"outputs": ANSWER}}
    program = run.workshop.program(backends=BACKENDS, outputs=of_reference, on=on)
    status, results = run("--program", program, "--backend=default,nnpack", "--blocks=1", "--ab_mode=process")
    nnpack, failure = cells(results)["nnpack"]
    assert (status, failure) == (0, None)
    assert nnpack["not_compared"].startswith(why)
    assert (nnpack["answer_of"], nnpack["errors"]) == ("", {})


def test_a_reference_that_fails_is_replaced_unless_it_was_asked_for(run):
    run.workshop.benchmark(outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER, on={"default": {"exit_code": 3}})
    backends = ("--program", program, "--backend=default,nnpack,onednn", "--blocks=1", "--ab_mode=process")
    _, results = run(*backends)
    found = {name: cell for name, (cell, _) in cells(results).items()}
    assert {one["reference"] for one in found.values()} == {"nnpack"}
    assert (found["onednn"]["answer_of"], found["onednn"]["not_compared"]) == ("nnpack", "")
    _, results = run(*backends, "--reference_backend=default")
    found = {name: cell for name, (cell, _) in cells(results).items()}
    assert {one["reference"] for one in found.values()} == {"default"}
    assert found["onednn"]["not_compared"] == "the reference default failed"
    assert found["onednn"]["comparison"] is None


def test_an_answer_of_another_size_is_an_error_of_its_backend(run):
    run.workshop.benchmark(outputs={"out": {}})
    on = {"nnpack": {"outputs": {"out": [1.0, 2.0]}}}
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER, on=on)
    _, results = run("--program", program, "--backend=default,nnpack", "--blocks=1", "--ab_mode=process")
    cell, failure = cells(results)["nnpack"]
    assert failure["message"] == "the output 'out' has 2 values, but the backend default's has 3"
    assert not cell["wrong"]


@pytest.mark.parametrize(
    ("tolerance", "options", "off", "precise", "fails"),
    [
        (None, (), 0.003, "f32", False),  # a thousandth of the largest value, 4
        (None, (), 0.005, "f32", True),
        (None, (), 0.1, "bf16", False),
        (None, ("--backend_tolerance=0.01",), 0.03, "f32", False),
        (None, ("--backend_tolerance=0.001",), 0.1, "bf16", True),
        ({"atol": 0.001}, (), 0.1, "bf16", False),  # that of the test is for the usual precision
        ({"atol": 0.001}, (), 0.003, "f32", True),
        ({"atol": 0.5}, (), 0.4, "f32", False),
    ],
)
def test_how_far_backends_may_be_off_golden_outputs(run, tolerance, options, off, precise, fails):
    run.workshop.benchmark(error_test(tolerance), outputs={"out": {}})
    on = {"nnpack": {"outputs": {"out": [1.0, 2.0, off - 4.0]}, "facts": {"precision": precise}}}
    usual = {"precision": "f32"}
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER, facts=usual, on=on)
    status, results = run("--program", program, "--backend=default,nnpack", *options)
    assert errors_of(results) == {"default": None, "nnpack": "ToleranceError" if fails else None}
    cell, _ = cells(results)["nnpack"]
    assert (status, cell["wrong"]) == ((3, True) if fails else (0, False))
    assert cell["less_precise_than"] == ("f32" if precise == "bf16" else "")
    assert cell["errors"]["out"]["max_absolute"] == pytest.approx(off)


def test_outputs_that_are_no_golden_outputs_are_errors_of_their_backend(run):
    run.workshop.benchmark(error_test(), outputs={"out": {}})
    program = run.workshop.program(
        backends=BACKENDS, outputs=ANSWER, on={"nnpack": {"outputs": {"out": ["x"]}}}
    )
    status, results = run("--program", program, "--backend=default,nnpack")
    assert (status, errors_of(results)) == (3, {"default": None, "nnpack": "ProgramOutputError"})


@pytest.fixture
def failing(monkeypatch):
    """Makes the files of every test fail with this error, as a bug or a device would."""

    def failing(error):
        def fail(bench, case):
            raise error

        monkeypatch.setattr(arms, "local_files", fail)

    return failing


def test_a_bug_is_an_error_of_all_backends(run, failing):
    run.workshop.benchmark(outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS)
    failing(ZeroDivisionError("a bug"))
    status, results = run("--program", program, "--backend=default,nnpack")
    assert (status, errors_of(results)) == (
        1,
        {"default": "ZeroDivisionError", "nnpack": "ZeroDivisionError"},
    )


def test_a_cancelled_comparison_of_backends_has_no_result(run, failing):
    run.workshop.benchmark(outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS)
    failing(RunCancelledError("cancelled"))
    _, results = run("--program", program, "--backend=default,nnpack")
    assert results == []


def test_single_iterations_of_backends_are_compared_until_it_is_clear(run):
    run.workshop.benchmark()
    program = run.workshop.worker_program("worker", noise=[0.0001, 0.0001])
    status, results = run("--program", program, "--backend=default,nnpack")
    assert status == 0
    for one in results:
        assert one["meta"]["sampling"]["level"] == "iteration"
        assert one["meta"]["cell"]["blocks"] == LOOKS[0]
    _, results = run("--program", program, "--backend=default,nnpack", "--blocks=2")
    assert [one["meta"]["cell"]["blocks"] for one in results] == [2, 2]


def test_a_backend_that_cannot_be_set_up_does_not_stop_the_others(run, monkeypatch):
    run.workshop.benchmark(outputs={"out": {}})
    program = run.workshop.program(backends=BACKENDS, outputs=ANSWER)
    make_ready = arms.make_ready

    def fail_for_one(bench, *rest):
        if bench.plan.backend == "nnpack":
            raise CaseError("its library is missing")
        return make_ready(bench, *rest)

    monkeypatch.setattr(arms, "make_ready", fail_for_one)
    status, results = run("--program", program, "--backend=nnpack,default,onednn", "--blocks=1")
    assert (status, errors_of(results)) == (3, {"nnpack": "CaseError", "default": None, "onednn": None})
