"""mlbench compare --base REQUIREMENTS --head REQUIREMENTS: real environments with a real runtime."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.results import documents
from benchmarking.results.model import Verdict
from tests.support.wheels import write_wheel
from tests.support.workshop import ROOT

LENET = ROOT / "specifications/models/onnx/lenet/lenet.onnx"
OLDER, NEWER = "onnxruntime==1.24.1", "onnxruntime==1.26.0"
QUICK = ["--canary", "off", "--ab_pairs", "8", "--json"]
WITHOUT_OPTIMIZATION = """import onnxruntime
create = onnxruntime.InferenceSession.__init__
def create_without(self, path_or_bytes, sess_options=None, *arguments, **more):
    sess_options = sess_options or onnxruntime.SessionOptions()
    sess_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    create(self, path_or_bytes, sess_options, *arguments, **more)
onnxruntime.InferenceSession.__init__ = create_without
"""


@pytest.fixture(scope="module")
def compare(tmp_path_factory):
    """The command, with directories of its own that keep the environments of this module."""
    directory = tmp_path_factory.mktemp("user")
    kinds = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    own = {kind: str(directory / kind) for kind in kinds} | {"PYTHONPATH": str(ROOT)}

    def run(*arguments, **environment):
        command = [sys.executable, "-m", "benchmarking", "compare", *map(str, arguments)]
        everything = os.environ | own | environment
        return subprocess.run(
            command, cwd=directory, env=everything, capture_output=True, text=True, check=False
        )

    run.directory = directory
    return run


@pytest.fixture(scope="module")
def index():
    """Skips where no packages can be had."""
    ask = [sys.executable, "-m", "pip", "index", "versions", "onnxruntime"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no package index can be reached: {done.stderr.strip()[-200:]}")


def test_an_older_runtime_without_its_graph_optimizer_is_slower(compare, index):
    wheel = write_wheel(compare.directory, "sitecustomize", "1.0", WITHOUT_OPTIMIZATION)
    done = compare("--base", NEWER, "--head", f"{OLDER} ./{wheel.name}", LENET, *QUICK)
    assert done.returncode == 5, done.stderr
    results = documents.read(documents.Document, done.stdout).results
    first = results[0]
    assert first.verdict is Verdict.REGRESSED
    assert first.sampling.level == "iteration"
    assert first.program.facts["onnxruntime"] != first.program.control_facts["onnxruntime"]
    assert first.provenance.commit.startswith("onnxruntime-1.24.1-")
    assert first.provenance.control_commit.startswith("onnxruntime-1.26.0-")
    assert done.stderr.count("making an environment") == 2

    done = compare("--base", NEWER, "--head", NEWER, LENET, *QUICK)
    assert done.returncode == 0, done.stderr
    (same,) = documents.read(documents.Document, done.stdout).results
    assert same.verdict in (Verdict.UNCHANGED, Verdict.INCONCLUSIVE)  # the machine may be busy
    assert "making an environment" not in done.stderr


def test_what_cannot_be_resolved_is_one_line(compare, index):
    done = compare("--base", "onnxruntime==0.0.1", "--head", NEWER, LENET)
    assert done.returncode == 7
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mlbench compare: no environment with onnxruntime==0.0.1: ")
    assert "onnxruntime" in last.removeprefix("mlbench compare: no environment with onnxruntime==0.0.1: ")


def test_environments_that_are_there(compare):
    pytest.importorskip("onnxruntime")
    link = compare.directory / "environment"
    link.symlink_to(Path(sys.executable).parents[1])
    few = ["--ab_pairs", "2", "--canary", "off", "--json"]
    done = compare("--base", sys.executable, "--head", link, LENET, *few)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["meta"]["framework"] == "onnxruntime"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "x==1", LENET], "two environments need --base, --head and the model or the specification"),
        (["--base", "x==1", "--head", "x==2", LENET], "none of the frameworks with x as its runtime runs 'len"),
        (["--base", "openvino", "--head", "torch", "m.pte"], "none of the frameworks with openvino, torch as"),
        (["--base", "envs/x/bin/python", "--head", "y", LENET], "--base: there is no Python 'envs/x/bin/python"),
        (["--base", "''", "--head", "y", LENET], "--base: '' is neither a requirement, as in onnxruntime=="),
        (["--base", " ", "--head", "y", LENET], "--base: there is no requirement"),
        (["--base", "./x.whl numpy", "--head", "y", LENET], "--base: 'x.whl' is not a wheel: "),
        (["--base", "onnxruntime --pre", "--head", "y", LENET], "--base: '--pre' is neither a requirement, as"),
        (["--base", "onnxruntime", "--head", "x.whl", LENET], "--head: 'x.whl' is not a wheel: "),
        (
            ["--base", "onnxruntime", "--head", "onnxruntime", LENET, "--python", "nonesuch-x"],
            "--python: there is no program 'nonesuch-x'",
        ),
        (
            ["--base", "onnxruntime", "--head", "onnxruntime", LENET, "--python", shutil.which("true")],
            "--python: '/",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_first(compare, arguments, message):
    done = compare(*arguments)
    assert done.stderr.startswith(f"mlbench compare: {message}")
    assert done.returncode == 2
