"""One net in every format: the script that creates it, and its documentation."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks import tensor_file
from benchmarking.frameworks.frameworks import FRAMEWORKS
from benchmarking.frameworks.own_program import OwnProgramFramework
from benchmarking.results import documents
from benchmarking.results.model import Outcome
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks

ROOT = Path(__file__).parents[2]
(EVERY_FRAMEWORK,), (MAKE, RUN) = (
    [shlex.split(line)[1:] for line in block.splitlines()]
    for block in re.findall(
        r"```sh\n(.*?)\n```", (ROOT / "docs/models.md").read_text(encoding="utf-8"), re.DOTALL
    )
)
INSTALLED = [
    name
    for name, kind in FRAMEWORKS.items()
    if issubclass(kind, OwnProgramFramework) and all(map(find_spec, kind.program_modules))
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    command = [sys.executable, *MAKE, "--format", "tflite"]
    command[command.index("/tmp/models")] = directory
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "tflite is left out: --litert_python names no Python"
    return directory


def test_the_formats_of_a_net_are_in_its_specification(made):
    golden, delay = expand(read_benchmarks(made / "lenet.json"), None)
    assert set(golden.formats) == set(delay.formats) == {"pytorch", "caffe2"}
    (location,) = golden.formats["pytorch"].values()
    assert location.path == made / "lenet.pt2"


def test_the_golden_output_is_what_caffe2_computes(made):
    expected = tensor_file.read(made / "lenet_output.txt")
    assert expected.shape == (10,)
    assert expected.sum() == pytest.approx(1)
    command = [sys.executable, *RUN]
    command[command.index("/tmp/models/lenet.json")] = made / "lenet.json"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_what_is_committed_has_golden_outputs_of_its_own_weights():
    path = ROOT / "specifications/models/zoo/small_squeezenet/small_squeezenet_output.txt"
    assert np.ptp(tensor_file.read(path)) > 0.01, "every class is as likely: nothing can be seen to be wrong"


@pytest.mark.timeout(600)
def test_every_framework_that_is_installed_gives_the_golden_output():
    command = [sys.executable, *EVERY_FRAMEWORK, "--blocks", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = documents.read(documents.Document, done.stdout).results
    ran = {(one.test.framework, one.test.metric) for one in results if one.status is Outcome.PASSED}
    assert ran == {(name, metric) for name in INSTALLED for metric in ("delay", "error")}
