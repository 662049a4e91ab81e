"""One test on several frameworks through the harness, each with its own program and model format."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.workshop import ROOT, Workshop

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

QUICK_START = ROOT / "specifications/benchmarks/all/quickstart.json"
ARMS = ["caffe2/default", "onnxruntime/default", "onnxruntime/disabled"]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """Of a test of outputs and a test of delays."""
    directory = tmp_path_factory.mktemp("frameworks")
    workshop = Workshop(directory)
    named = ("--framework", "caffe2,onnxruntime", "--backend", "default,disabled", "--blocks", "1")
    reports = ("--local_reporter", "saved", "--screen_reporter", "--reference_backend", "onnxruntime")
    document, done = workshop.json(*named, *reports, benchmark=QUICK_START)
    assert done.returncode == 0, done.stderr
    return document, done, directory / "saved"


def test_each_backend_of_each_framework_is_an_arm(document):
    results = document[0]["results"]
    assert [one["meta"]["cell"]["arm"] for one in results] == ARMS * 2
    keys = [(one["meta"]["framework"], one["meta"]["backend"]) for one in results]
    assert keys == [tuple(arm.split("/")) for arm in ARMS] * 2
    engines = [one["meta"]["program"]["program"] for one in results]
    assert engines == ["caffe2_benchmark", *["onnxruntime_benchmark"] * 2] * 2
    assert all(one["meta"]["cell"]["reference"] == "onnxruntime/default" for one in results)


def test_they_take_turns_on_the_same_inputs_and_answer_the_same(document):
    golden, delays = document[0]["results"][:3], document[0]["results"][3:]
    assert all(one["meta"]["cell"]["answer_of"] == "golden" for one in golden)
    assert all(one["types"][0]["error"]["max_absolute"] < 1e-5 for one in golden)
    for one in delays:
        cell = one["meta"]["cell"]
        assert one["meta"]["sampling"]["level"] == "iteration"
        if cell["arm"] != cell["reference"]:
            assert cell["errors"]["softmaxout"]["max_absolute"] < 1e-5
            assert cell["comparison"]["ratio"] > 0


def test_the_table_has_what_each_took_to_start_and_computed_in(document):
    (table,) = document[0]["backends"]
    (row,) = [one["backends"] for one in table["tests"] if one["metric"] == "delay"]
    assert list(row) == ARMS
    for entry in row.values():
        assert entry["load_us"] > 0
        assert entry["first_us"] > 0
        assert entry["peak_bytes"] > 10_000_000
        assert entry["p90"] >= entry["p50"]
    assert row["caffe2/default"]["precision"] == "f32"
    assert "not available: caffe2/disabled" not in document[1].stderr  # another framework has it


def test_each_arm_is_saved_for_itself(document):
    saved = [path.relative_to(document[2]).parts for path in document[2].rglob("NET_DELAY.txt")]
    assert {(parts[1], parts[4]) for parts in saved} == {
        ("caffe2", "delay-on-default"),
        ("onnxruntime", "delay-on-default"),
        ("onnxruntime", "delay-on-disabled"),
    }


def test_a_model_file_needs_no_specification(tmp_path):
    """From the command to the table; what was run is saved, and is as good as any specification."""
    model = ROOT / "specifications/models/zoo/small_squeezenet/small_squeezenet.onnx"
    command = [sys.executable, "-m", "benchmarking", "run", model, "--framework", "onnxruntime,caffe2"]
    command += ["--blocks", "1", "--json", "--save_spec", "saved.json", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "input data: 1x3x224x224, where the file leaves open: batch (" in done.stderr
    document = json.loads(done.stdout)
    (result,) = document["results"]
    assert result["failure"] is None
    assert result["warnings"] == []
    assert len(result["types"]) > 60
    (table,) = document["backends"]
    assert [one["name"] for one in table["unavailable"]] == ["caffe2"]
    validated = [*command[:4], "saved.json", "--framework", "onnxruntime", "--validate"]
    again = subprocess.run(
        validated, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert "no faults; 1 benchmark with 1 test" in again.stdout
