"""The program gives the golden outputs with its own engine; real Caffe2: ``tests/e2e/test_real_caffe2.py``."""

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


@pytest.mark.parametrize("optimize", ["none", "fuse"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.name)
def test_outputs_are_the_golden_ones(case, optimize, tmp_path):
    framework = Caffe2()
    command = framework.compose(
        Invocation(
            case=case,
            launcher=(sys.executable, str(PROGRAM), "--engine", "torch", "--optimize", optimize),
            model_files={key: str(location.path) for key, location in case.model_files.items()},
            input_files={blob.name: str(blob.file.path) for blob in case.inputs},
            output_directory=str(tmp_path),
        )
    )
    done = run_caffe2(*command.argv[2:])
    assert done.returncode == 0, done.stderr
    for name, golden in case.golden_files.items():
        np.testing.assert_allclose(
            tensor_file.read(tmp_path / framework.output_file(name)),
            tensor_file.read(golden.path),
            rtol=case.tolerance.rtol,
            atol=case.tolerance.atol,
        )
