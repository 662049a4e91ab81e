"""Real model files inside wheels: states, whole numbers, open dimensions, graphs inside of operators.

The wheels are below the directory that MODELS_IN_WHEELS names:

    pip download --no-deps -d DIRECTORY silero-vad magika rapidocr-onnxruntime
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarking.results import documents

ROOT = Path(__file__).parents[2]
DIRECTORY = os.environ.get("MODELS_IN_WHEELS", "")
WHEELS = sorted(Path(DIRECTORY).glob("*.whl")) if DIRECTORY else []
pytestmark = pytest.mark.skipif(not WHEELS, reason="MODELS_IN_WHEELS names no directory with wheels")


@pytest.fixture
def measured(tmp_path):
    """Runs one iteration in each of some blocks, and returns the results by framework."""

    def measured(member, *options, values=None):
        wheel = next(one for one in WHEELS if member in zipfile.ZipFile(one).namelist())
        path = Path(zipfile.ZipFile(wheel).extract(member, tmp_path))
        if values:
            specification = tmp_path / "saved.json"
            mlbench(path, *options, "--validate", "--save_spec", specification)
            value = json.loads(specification.read_text())
            for name, number in values.items():
                value["model"]["inputs"][name]["random"] = {"minimum": number, "maximum": number}
            specification.write_text(json.dumps(value))
            path, options = specification, ()
        chosen = ("--framework", "onnxruntime,openvino", "--blocks", "1", "--ab_mode", "process")
        done = mlbench(path, *options, *chosen, "--json")
        results = documents.read(documents.Document, done.stdout).results
        return {one.test.framework: one for one in results}

    return measured


def mlbench(*arguments):
    command = [sys.executable, "-m", "benchmarking", "run", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("member", "options"),
    [
        ("magika/models/standard_v3_3/model.onnx", ()),
        ("rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", ("--input", "x:1,3,48,192")),
        ("rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", ()),
        ("rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", ("--input", "x:1,3,48,320")),
    ],
)
def test_both_runtimes_give_the_same_answer(measured, member, options):
    for one in measured(member, *options).values():
        assert one.failure is None, one.failure


def test_a_model_with_a_state_and_a_number_that_it_depends_on(measured):
    """OpenVINO cannot convert it: the rank of a tensor depends on the number."""
    options = ("--input", "input:1,576;state:2,1,128")
    results = measured("silero_vad/data/silero_vad.onnx", *options, values={"sr": 16000})
    assert results["onnxruntime"].failure is None, results["onnxruntime"].failure
