"""Each framework through the harness: golden outputs, A/B, several backends, and the page about it."""

import json
import re
import sys
from importlib.util import find_spec

import pytest

from tests.support.workshop import COMMIT, OLDER, ROOT

MODELS = ROOT / "specifications/models"
SPECIFICATIONS = {
    "onnxruntime": MODELS / "onnx/lenet/lenet.json",
    "openvino": MODELS / "onnx/lenet/lenet.json",
    "litert": MODELS / "tflite/lenet/lenet.json",
    "pytorch": MODELS / "pytorch/lenet/lenet.json",
}
OPERATORS = {
    "onnxruntime": "Gemm",
    "openvino": "FullyConnected_fc3$",
    "litert": "FULLY_CONNECTED_fc3$",
    "pytorch": "Linear_fc3",
}
"""A pattern of the name of an operator in the results."""
BACKENDS = {
    "onnxruntime": ("default", "disabled"),
    "openvino": ("f32", "bf16"),
    "litert": ("xnnpack", "builtin"),
    "pytorch": ("eager", "channels_last"),
}
NAME_OF_BACKEND = {"onnxruntime": "optimize", "pytorch": "way"}
"""The fact in which a program names the backend itself."""
ALWAYS_THERE = ("onnxruntime", "litert", "pytorch")
"""The frameworks of which every machine has both backends."""
MODULES = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
    "pytorch": "torch",
}


@pytest.fixture(params=sorted(SPECIFICATIONS))
def framework(request):
    if find_spec(MODULES[request.param]) is None:
        pytest.skip(f"{MODULES[request.param]} is not installed")
    return request.param


def run(workshop, framework, *arguments, tests, statuses=(0,), **info):
    chosen = [
        {"net": "lenet", "metric": "delay" if one.startswith("delay") else "error", "identifier": one}
        for one in tests
    ]
    text = json.dumps({"treatment": COMMIT, "tests": chosen, **info})
    document, done = workshop.json(
        "--framework", framework, *arguments, "--info", text, benchmark=SPECIFICATIONS[framework]
    )
    assert done.returncode in statuses, done.stderr
    return document["results"]


def test_the_quick_start_gives_the_golden_outputs_and_times_operators(workshop, framework):
    golden, delay = run(workshop, framework, tests=("golden-0", "delay-5"))
    assert (golden["failure"], delay["failure"]) == (None, None)
    (error,) = (one["error"] for one in golden["types"])
    assert error["max_absolute"] < 1e-6
    program = delay["meta"]["program"]
    assert (program["engine"], program["precision"]) == (framework, "f32")
    assert program["python_executable"] == sys.executable
    operators = [one for one in delay["types"] if one["type"].startswith("ID_")]
    assert any(re.search(OPERATORS[framework], one["type"]) for one in operators)
    assert all(len(one["values"]) == 50 for one in operators)


def test_ab_has_the_operators(workshop, framework):
    arguments = ("--ab_pairs", "1", "--canary", "off", "--ab_mode", "iteration")
    (result,) = run(workshop, framework, *arguments, tests=("delay-6",), control=OLDER)
    operators = [one for one in result["types"] if one["type"].startswith("ID_")]
    assert operators
    assert all(len(one["values"]) == len(one["control_values"]) > 0 for one in operators)
    assert result["meta"]["control_program"]["load_ns"] > 0


def test_backends_are_compared(workshop, framework):
    backends = BACKENDS[framework]
    arguments = ("--backend", ",".join(backends), "--blocks", "1")
    statuses = (0,) if framework in ALWAYS_THERE else (0, 3)
    results = run(workshop, framework, *arguments, tests=("delay-5",), statuses=statuses)
    assert [one["meta"]["backend"] for one in results] == list(backends)
    assert not results[0]["failure"]
    if results[1]["failure"]:
        assert framework not in ALWAYS_THERE
        assert results[1]["failure"]["message"].startswith(f"the backend {backends[1]} is not available")
    if fact := NAME_OF_BACKEND.get(framework):
        assert [one["meta"]["program"][fact] for one in results] == list(backends)


@pytest.mark.parametrize("framework", ["litert", "openvino", "pytorch"])
def test_the_page_shows_the_quick_start(framework):
    page = (ROOT / f"docs/{framework}.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    assert f"-r requirements-{framework}.txt" in commands
    suite = re.search(rf"--framework {framework} --benchmark_file (\S+)", commands)[1]
    (model,) = json.loads((ROOT / suite).read_text())["benchmarks"]
    assert (ROOT / suite).parent.joinpath(model).resolve() == SPECIFICATIONS[framework]
