"""ONNX Runtime through the harness: golden outputs, A/B and several backends."""

import json
import sys

import numpy as np
import pytest

from tests.support import onnx_models
from tests.support.workshop import COMMIT, OLDER, ROOT

pytest.importorskip("onnxruntime")

LENET = ROOT / "specifications/models/onnx/lenet/lenet.json"


def chosen(*identifiers, **info):
    tests = [
        {"net": "lenet", "metric": "delay" if one.startswith("delay") else "error", "identifier": one}
        for one in identifiers
    ]
    return json.dumps({"treatment": COMMIT, "tests": tests, **info})


def run(workshop, *arguments, info):
    document, done = workshop.json("--framework", "onnxruntime", *arguments, "--info", info, benchmark=LENET)
    assert done.returncode == 0, done.stderr
    return document["results"]


def test_the_quick_start_gives_the_golden_outputs_and_times_operators(workshop):
    golden, delay = run(workshop, info=chosen("golden-0", "delay-5"))
    assert (golden["failure"], delay["failure"]) == (None, None)
    (error,) = (one["error"] for one in golden["types"])
    assert error["max_absolute"] < 1e-6
    program = delay["meta"]["program"]
    assert program["engine"] == "onnxruntime"
    assert program["python_executable"] == sys.executable
    operators = [one for one in delay["types"] if one["type"].startswith("ID_")]
    assert any("Gemm" in one["type"] for one in operators)
    assert all(len(one["values"]) == 50 for one in operators)


def test_ab_has_the_operators_that_are_reported_later(workshop):
    arguments = ("--ab_pairs", "1", "--canary", "off", "--ab_mode", "iteration")
    (result,) = run(workshop, *arguments, info=chosen("delay-6", control=OLDER))
    operators = [one for one in result["types"] if one["type"].startswith("ID_")]
    assert operators
    assert all(len(one["values"]) == len(one["control_values"]) > 0 for one in operators)
    assert result["meta"]["control_program"]["load_ns"] > 0


def test_backends_are_levels_of_optimization(workshop):
    results = run(workshop, "--backend", "default,disabled", "--blocks", "1", info=chosen("delay-5"))
    assert [one["meta"]["backend"] for one in results] == ["default", "disabled"]
    assert [one["meta"]["program"]["optimize"] for one in results] == ["default", "disabled"]


def test_weights_beside_the_model_are_found(workshop):
    """With names that the model cache changes: the file of the weights keeps its own."""
    (workshop.directory / "linear.onnx").write_bytes(
        onnx_models.with_weights_in("w.data").SerializeToString()
    )
    (workshop.directory / "w.data").write_bytes(np.full(6, 2, np.float32).tobytes())
    (workshop.directory / "x.txt").write_text("1 2 3")
    (workshop.directory / "y.txt").write_text("13 14")
    benchmark = workshop.benchmark(
        {
            "metric": "error",
            "iter": 1,
            "inputs": {"x": {"shapes": [[1, 3]]}},
            "input_files": {"x": "x.txt"},
            "output_files": {"y": "y.txt"},
            "tolerance": {"atol": 1e-6},
        },
        name="linear",
        format="onnx",
        files={"model": {"filename": "linear.onnx", "location": "linear.onnx"}},
    )
    document, done = workshop.json("--framework", "onnxruntime", benchmark=benchmark)
    assert done.returncode == 0, done.stderr
    assert document["results"][0]["types"][0]["error"]["max_absolute"] == 0
    (workshop.directory / "w.data").unlink()
    document, _ = workshop.json("--framework", "onnxruntime", benchmark=benchmark)
    assert "there is no file" in document["results"][0]["failure"]["message"]
