"""Tests on several backends as a user starts them, with a program whose behaviour on each backend is
configured.
"""

import json
import random
import signal
import subprocess
import time
from collections import Counter

import pytest

from benchmarking.statistics import summaries
from tests.support.waiting import LIMIT_S
from tests.support.workshop import COMMIT, OLDER, ROOT, option, records

KERNELS = {"ID_0_Conv_c": ["nnpack:winograd", True], "ID_1_Relu_r": ["relu", False]}
BACKENDS = {
    "default": "",
    "nnpack": "",
    "onednn": "",
    "cuda": "no CUDA here: buy a GPU",
    "eigen": "no Caffe2",
}
ON = {
    "nnpack": {
        "delay_us": 200.0,
        "outputs": {"out": [1.0, 2.0, -4.001]},
        "facts": {"backend_summary": "nnpack: 1 of 2 operators, 1 fell back", "operators": 2},
        "kernels": KERNELS,
    },
    "onednn": {"delay_us": 50.0},
}


@pytest.fixture
def compare(workshop):
    """Runs the harness on a program with backends; gives its document and its process."""
    record = workshop.directory / "record"

    def run(*arguments, on=(), environment=None, **behaviour):
        on = {name: {**ON.get(name, {}), **dict(on).get(name, {})} for name in {*ON, *dict(on)}}
        told = {"backends": BACKENDS, "outputs": {"out": [1.0, 2.0, -4.0]}, "record": str(record)}
        program = workshop.program(**{**told, "on": on, **behaviour})
        return workshop.json("--program", program, *arguments, environment=environment)

    workshop.benchmark(outputs={"out": {}})
    return run


def by_backend(document):
    return {one["meta"]["backend"]: one for one in document["results"]}


def ran(workshop):
    """The backends in the order in which they were run, without the question whether they are workers."""
    started = records(workshop.directory / "record")
    return [option(one, "backend") for one in started if "--worker" not in one["argv"]]


def test_all_backends_of_a_device_are_compared_with_the_reference(compare, workshop):
    document, done = compare("--backend", "all")
    assert done.returncode == 0, done.stderr
    results = by_backend(document)
    assert list(results) == ["default", "nnpack", "onednn"]
    for name, ratio in (("nnpack", 2.0), ("onednn", 0.5)):
        cell = results[name]["meta"]["cell"]
        assert (cell["reference"], cell["blocks"], cell["wrong"]) == ("default", 6, False)
        assert cell["comparison"]["ratio"] == pytest.approx(ratio, rel=0.02)
        assert cell["comparison"]["ratio_interval"]["confidence"] > 0.95
        net, other = (results[one]["types"][0] for one in (name, "default"))
        again = summaries.compare(net["values"], net["pairs"], other["values"], other["pairs"])
        assert cell["comparison"]["ratio"] == again.ratio
        sampling = results[name]["meta"]["sampling"]
        assert (sampling["level"], sampling["pairs"], results[name]["meta"]["ab_pairs"]) == (
            "process",
            6,
            None,
        )
        assert "does not speak the worker protocol" in sampling["level_reason"]
    assert results["default"]["meta"]["cell"]["comparison"] is None
    error = results["nnpack"]["meta"]["cell"]["errors"]["out"]
    assert error["max_absolute"] == pytest.approx(0.001)
    assert error["max_relative"] == pytest.approx(0.00025)
    assert results["nnpack"]["meta"]["kernels"]["ID_1_Relu_r"] == {"name": "relu", "own": False}
    (table,) = document["backends"]
    assert {one["name"]: one["reason"] for one in table["unavailable"]} == {
        "cuda": "no CUDA here: buy a GPU",
        "eigen": "no Caffe2",
    }
    assert "not available: cuda: no CUDA here: buy a GPU" in done.stderr
    assert table["mean_ratios"]["nnpack"] == pytest.approx(2.0, rel=0.02)
    assert table["tests"][0]["backends"]["nnpack"]["own_operators"] == 1
    assert {"cuda", "eigen"}.isdisjoint(ran(workshop))


def test_backends_take_turns_in_random_order_that_a_seed_repeats(compare, workshop):
    document, _ = compare("--backend", "default,nnpack,onednn", "--blocks", "8", "--seed", "5")
    order = ran(workshop)
    assert Counter(order) == {"default": 8, "nnpack": 8, "onednn": 8}
    blocks = [tuple(order[start : start + 3]) for start in range(0, 24, 3)]
    assert all(len(set(block)) == 3 for block in blocks)
    assert len(set(blocks)) > 1
    for one in document["results"]:
        assert (one["types"][0]["pairs"], one["meta"]["random_seed"]) == (
            [block for block in range(8) for _ in range(3)],
            5,
        )
    compare("--backend", "default,nnpack,onednn", "--blocks", "8", "--seed", "5")
    assert ran(workshop) == order * 2


def test_a_wrong_kernel_is_caught_and_its_number_shown_as_wrong(compare, workshop):
    """Fast, and it computes something else."""
    wrong = {"onednn": {"outputs": {"out": [1.0, 2.0, -3.9]}}}
    document, done = compare("--backend", "all", "--markdown", workshop.directory / "m.md", on=wrong)
    assert done.returncode == 3
    result = by_backend(document)["onednn"]
    assert result["meta"]["cell"]["wrong"] is True
    assert result["meta"]["cell"]["comparison"] is None
    assert (
        "1 of 3 values of 'out' are more than 0.004 off the backend default's" in result["failure"]["message"]
    )
    assert "-3.9 instead of -4" in result["failure"]["message"]
    assert result["types"][0]["summary"]["p50"] == 51.0
    entry = document["backends"][0]["tests"][0]["backends"]["onednn"]
    assert (entry["state"], entry["p50"], entry["ratio"]) == ("wrong", 51.0, None)
    assert "**wrong**<br>51.0 us" in (workshop.directory / "m.md").read_text()
    assert by_backend(document)["nnpack"]["failure"] is None
    document, done = compare("--backend", "all", "--backend_tolerance", "0.05", on=wrong)
    assert done.returncode == 0
    assert by_backend(document)["onednn"]["meta"]["cell"]["errors"]["out"]["max_absolute"] == pytest.approx(
        0.1
    )


def test_what_computes_in_less_is_marked_and_right_within_its_precision(compare, workshop):
    coarse = {"outputs": {"out": [1.0, 2.0, -3.9]}, "facts": {"precision": "bf16"}}
    markdown = workshop.directory / "m.md"
    argv = ("--backend", "default,nnpack,onednn", "--markdown", markdown)
    document, done = compare(*argv, on={"onednn": coarse}, facts={"precision": "f32"})
    assert done.returncode == 0, done.stderr
    cells = {name: one["meta"]["cell"] for name, one in by_backend(document).items()}
    assert {name: one["less_precise_than"] for name, one in cells.items()} == {
        "default": "",
        "nnpack": "",
        "onednn": "f32",
    }
    assert cells["onednn"]["comparison"]["ratio"] < 1
    assert "**bf16, not f32**" in markdown.read_text()


def test_a_backend_that_answers_in_another_shape_or_not_at_all_fails_alone(compare):
    document, done = compare(
        *("--backend", "default,nnpack,onednn"),
        on={"nnpack": {"outputs": {"out": [1.0]}}, "onednn": {"outputs": {"out": []}}},
    )
    assert done.returncode == 3
    results = by_backend(document)
    assert results["default"]["failure"] is None
    assert results["nnpack"]["failure"]["message"] == (
        "the output 'out' has 1 values, but the backend default's has 3"
    )
    assert "out.txt" in results["onednn"]["failure"]["message"]


def test_outputs_are_compared_with_golden_outputs_if_there_are_any(compare, workshop):
    (workshop.directory / "golden.txt").write_text("1\n2\n-4\n")
    test = {"metric": "error", "output_files": {"out": "golden.txt"}}
    workshop.benchmark(test, {**test, "identifier": "strict", "tolerance": {"atol": 1e-9}})
    document, done = compare("--backend", "default,nnpack")
    assert done.returncode == 3
    cells = {
        (one["meta"]["identifier"], one["meta"]["backend"]): one["meta"]["cell"]
        for one in document["results"]
    }
    assert {name: one["wrong"] for name, one in cells.items()} == {
        ("0", "default"): False,
        ("0", "nnpack"): False,
        ("strict", "default"): False,
        ("strict", "nnpack"): True,
    }
    assert all(one["answer_of"] == "golden" for one in cells.values())
    assert cells["0", "nnpack"]["errors"]["out"]["max_absolute"] == pytest.approx(0.001)
    assert Counter(ran(workshop)) == {"default": 2, "nnpack": 2}
    document, done = compare("--backend", "default,nnpack", on={"nnpack": {"outputs": {"out": [1, 2, -3.5]}}})
    assert [one["meta"]["cell"]["wrong"] for one in document["results"]] == [False, True, False, True]
    assert "off the golden output" in document["results"][1]["failure"]["message"]


def test_a_backend_that_was_named_and_is_missing_fails_its_tests(compare, workshop):
    document, done = compare("--backend", "nnpack,cuda", "--reference_backend", "nnpack")
    assert done.returncode == 3
    results = by_backend(document)
    assert (
        results["cuda"]["failure"]["message"] == "the backend cuda is not available: no CUDA here: buy a GPU"
    )
    assert results["nnpack"]["failure"] is None
    assert "cuda" not in ran(workshop)


def test_a_backend_that_fails_costs_neither_the_others_nor_their_blocks(compare, workshop):
    document, done = compare("--backend", "all", on={"nnpack": {"error": "nothing ran on nnpack"}})
    assert done.returncode == 3
    results = by_backend(document)
    assert results["nnpack"]["failure"]["message"].endswith("exit status 1: nothing ran on nnpack")
    assert results["onednn"]["meta"]["cell"]["comparison"]["pairs"] == 6
    assert Counter(ran(workshop)) == {"default": 6, "nnpack": 1, "onednn": 6}


def test_the_next_backend_takes_the_place_of_a_reference_that_fails(compare):
    document, done = compare("--backend", "all", on={"default": {"crash": True}})
    assert done.returncode == 3
    cells = {name: one["meta"]["cell"] for name, one in by_backend(document).items()}
    assert {one["reference"] for one in cells.values()} == {"nnpack"}
    assert cells["onednn"]["comparison"] is not None
    assert cells["default"]["comparison"] is None


def test_without_the_reference_that_was_named_there_are_numbers_but_no_ratios(compare):
    document, done = compare(
        "--backend", "all", "--reference_backend", "default", on={"default": {"crash": True}}
    )
    assert done.returncode == 3
    cell = by_backend(document)["onednn"]["meta"]["cell"]
    assert cell["comparison"] is None
    assert cell["not_compared"] == "the reference default failed"
    assert by_backend(document)["onednn"]["failure"] is None


def test_the_reference_can_be_chosen(compare):
    document, _ = compare("--backend", "default,onednn", "--reference_backend", "onednn")
    assert by_backend(document)["default"]["meta"]["cell"]["comparison"]["ratio"] == pytest.approx(
        2, rel=0.02
    )
    document, done = compare("--backend", "all", "--reference_backend", "cuda")
    assert done.returncode == 3
    assert "no CUDA here" in by_backend(document)["cuda"]["failure"]["message"]
    assert by_backend(document)["default"]["meta"]["cell"]["comparison"] is None


def test_unknown_outputs_are_reported_and_are_not_a_failure(compare, workshop):
    workshop.benchmark()
    document, done = compare("--backend", "default,onednn")
    assert done.returncode == 0
    cell = by_backend(document)["onednn"]["meta"]["cell"]
    assert "name them in its specification" in cell["not_compared"]
    assert (cell["errors"], cell["comparison"]["pairs"]) == ({}, 6)


def test_a_program_that_lists_no_backends_runs_on_named_ones(compare, workshop):
    program = workshop.program(outputs={"out": [1.0, 2.0, -4.0]}, on=ON)
    document, done = workshop.json("--program", program, "--backend", "default,nnpack", "--blocks", "2")
    assert done.returncode == 0
    assert list(by_backend(document)) == ["default", "nnpack"]
    document, done = workshop.json("--program", program, "--backend", "all")
    assert done.returncode == 3
    (result,) = document["results"]
    assert "--backend all: the program does not list its backends" in result["failure"]["message"]
    assert "name them, as in --backend default,nnpack" in result["failure"]["message"]


def test_a_device_with_no_backend_at_all_says_why(compare):
    document, done = compare("--backend", "all", backends={"cuda": "no CUDA"})
    assert done.returncode == 3
    assert "none on this device: cuda: no CUDA" in document["results"][0]["failure"]["message"]


def test_results_lie_apart_and_the_screen_has_the_table(compare, workshop):
    compare("--backend", "all", "--local_reporter", workshop.results)
    tests = next(workshop.results.glob("*/caffe2/tiny/delay"))
    assert sorted(one.name for one in tests.iterdir()) == [
        f"0-on-{name}" for name in ("default", "nnpack", "onednn")
    ]
    for name in ("default", "nnpack", "onednn"):
        (meta,) = (tests / f"0-on-{name}").rglob("meta.txt")
        told = json.loads(meta.read_text())
        assert (told["backend"], told["identifier"]) == (name, "0")
    program = workshop.directory / "program.py"
    done = workshop.run("--program", program, "--backend", "all", "--screen_reporter", "--plot", "m.svg")
    assert "backends on " in done.stdout
    assert "nnpack: 1 of 2 operators, 1 fell back" in done.stdout
    assert "not available here" in done.stdout
    assert "heat map in " in done.stdout
    assert "6 blocks of whole processes (process-level: " in done.stdout
    for shown in (done.stdout, (workshop.directory / "m.svg").read_text()):
        assert "1.99x" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "a,"], "--backend 'a,': a name is empty"),
        (["--backend", ""], "--backend '': a name is empty"),
        (["--backend", "a,a"], "give each backend once"),
        (["--backend", "a,all"], "all cannot be combined"),
        (["--backend", "a,b", "--reference_backend", "c"], "--reference_backend c is not among"),
        (["--backend", "a", "--reference_backend", "a"], "--reference_backend needs several"),
        (["--plot", "m.svg"], "--plot needs several backends"),
        (["--backend", "a", "--blocks", "3"], "--blocks needs several backends"),
        (["--backend_tolerance", "0.1"], "--backend_tolerance needs several backends"),
        (["--backend", "a,b", "--plot", "m.pdf"], ".svg or .png"),
        (["--backend", "a,b", "--plot", "missing/m.svg"], "--plot: cannot write"),
        (["--backend", "a,b", "--run_type", "verify"], "verify is on one backend"),
        (
            ["--backend", "a,b", "--backend_tolerance", "-1"],
            "--backend_tolerance: -1 is not a number above 0",
        ),
        (["--backend", "all", "--info", json.dumps({"treatment": COMMIT, "control": OLDER})], "the control"),
    ],
)
def test_contradictory_options_are_reported_before_anything_runs(compare, workshop, arguments, message):
    done = workshop.run("--program", workshop.program(), *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_all_of_a_program_with_one_backend_are_that_one(compare):
    document, done = compare("--backend", "all", backends={"mkl": "", "cuda": "no CUDA here"})
    assert done.returncode == 0, done.stderr
    (result,) = document["results"]
    cell = result["meta"]["cell"]
    assert (result["meta"]["backend"], cell["reference"]) == ("mkl", "mkl")
    assert cell["unavailable"] == {"cuda": "no CUDA here"}
    assert cell["comparison"] is None


def test_a_single_named_backend_is_not_a_comparison(compare, workshop):
    document, done = compare("--backend", "mkl")
    assert done.returncode == 0, done.stderr
    (result,) = document["results"]
    assert (result["meta"]["backend"], result["meta"]["cell"]) == ("mkl", None)
    assert ran(workshop) == ["mkl"]


def test_an_interrupted_run_leaves_nothing_behind(compare, workshop):
    workshop.benchmark({"identifier": "first"}, {"identifier": "second"})
    started = workshop.directory / "started"
    program = workshop.program(backends={"default": "", "nnpack": ""}, started_file=str(started), hang=True)
    command = workshop.command("--program", program, "--json", "--backend", "all", "--blocks", "2")
    process = subprocess.Popen(
        command, cwd=workshop.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + LIMIT_S
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert json.loads(output)["results"] == []
    assert not list((workshop.directory / "temporary").iterdir())


def test_what_disturbs_a_machine_disturbs_all_backends(compare, workshop):
    """The delay of each block is another one, by far more than what the backends differ by."""
    drift = {"drifts": random.Random(3).sample(range(1, 40), k=8)}
    document, _ = compare(
        *("--backend", "default,onednn", "--blocks", "8", "--ab_mode", "process"),
        on={"default": {"delay_us": 1000.0, **drift}, "onednn": {"delay_us": 1100.0, **drift}},
    )
    comparison = by_backend(document)["onednn"]["meta"]["cell"]["comparison"]
    assert comparison["ratio"] == pytest.approx(1.1, rel=0.01)
    interval = comparison["ratio_interval"]
    assert interval["high"] - interval["low"] < 0.01


def test_our_own_program_answers_alike_on_every_backend_of_this_machine(workshop):
    """Its outputs are the net's external ones; each backend has computed something itself."""
    models = ROOT / "specifications/models/caffe2"
    spec = json.loads((models / "lenet/lenet.json").read_text())
    for file in spec["model"]["files"].values():
        file["location"] = f"//lenet/{file['location']}"
    data = {"data": {"shapes": [[1, 1, 28, 28]], "type": "float"}}
    commands = {"caffe2": {"engine": "torch", "backend_options": "tf32"}}
    spec["tests"] = [
        {"identifier": "d", "metric": "delay", "iter": 3, "inputs": data, "commands": commands},
        {
            "identifier": "g",
            "metric": "error",
            "iter": 1,
            "inputs": data,
            "commands": commands,
            "input_files": {"data": "//lenet/golden/digit_0_input.txt"},
            "output_files": {"softmax": "//lenet/golden/digit_0_output.txt"},
        },
    ]
    benchmark = workshop.directory / "lenet.json"
    benchmark.write_text(json.dumps(spec))
    document, done = workshop.json(
        *("--backend", "all", "--blocks", "1", "--root_model_dir", models, "--screen_reporter"),
        benchmark=benchmark,
    )
    assert done.returncode == 0, done.stderr
    assert {one["meta"]["sampling"]["level"] for one in document["results"] if one["meta"]["sampling"]} == {
        "iteration"
    }
    (table,) = document["backends"]
    assert table["reference"] == "default"
    assert {"default", "nnpack"} <= set(table["backends"])
    unavailable = {one["name"]: one["reason"] for one in table["unavailable"]}
    assert "cuda" in table["backends"] or "cuda" in unavailable
    assert "eigen" not in unavailable  # it is one of the other engine
    assert not any("Caffe2" in reason for reason in unavailable.values())
    unused = {
        name: one["meta"]["program"].get("unused_backend_options")
        for name, one in by_backend(document).items()
    }
    assert unused.pop("cuda", None) is None
    assert set(unused.values()) == {"tf32"}  # not a failure
    assert "without effect here, because nnpack has no such option: tf32" in done.stderr
    delay, golden = (one["backends"] for one in table["tests"])
    for name in table["backends"]:
        assert 0 < delay[name]["own_operators"] <= delay[name]["operators"] == 8
        assert golden[name]["answer_of"] == "golden"
        assert 0 < golden[name]["max_absolute_error"] < 1e-5
        if name != "default":
            assert (delay[name]["answer_of"], delay[name]["ratio"] > 0) == ("default", True)
            assert delay[name]["max_absolute_error"] < 1e-4
