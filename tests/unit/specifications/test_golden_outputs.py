"""The program gives the golden outputs: with its own engine and, where there is one, with real Caffe2."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks import tensor_file
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.frameworks.framework_base import Invocation
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks
from tests.support.forked_program import run_caffe2

PROGRAM = Path(__file__).parents[3] / "benchmarking/frameworks/caffe2/program"

SUITE = Path(__file__).parents[3] / "specifications/benchmarks/caffe2/synthetic.json"
CASES = [case for case in expand(read_benchmarks(SUITE), None) if case.metric == "error"]
ENGINES = [
    ("torch", "none", sys.executable),
    ("torch", "fuse", sys.executable),
    pytest.param(
        *("native", "none", os.environ.get("CAFFE2_PYTHON")),
        marks=pytest.mark.skipif(
            "CAFFE2_PYTHON" not in os.environ, reason="CAFFE2_PYTHON names no interpreter with real Caffe2"
        ),
    ),
]


@pytest.mark.parametrize(("engine", "optimize", "python"), ENGINES, ids=["torch", "fused", "native"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.name)
def test_outputs_are_the_golden_ones(case, engine, optimize, python, tmp_path):
    framework = Caffe2()
    command = framework.compose(
        Invocation(
            case=case,
            launcher=(python, str(PROGRAM), "--engine", engine, "--optimize", optimize),
            model_files={key: str(location.path) for key, location in case.model_files.items()},
            input_files={blob.name: str(blob.file.path) for blob in case.inputs},
            output_directory=str(tmp_path),
        )
    )
    if engine == "torch":
        done = run_caffe2(*command.argv[2:])
    else:
        done = subprocess.run(command.argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name, golden in case.golden_files.items():
        np.testing.assert_allclose(
            tensor_file.read(tmp_path / framework.output_file(name)),
            tensor_file.read(golden.path),
            rtol=case.tolerance.rtol,
            atol=case.tolerance.atol,
        )
