"""Real Caffe2 as its build script makes it, and the zoo through both engines.

CAFFE2_PYTHON spares the build: it names an interpreter that has real Caffe2 already.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "specifications/frameworks/caffe2/wheel/build.sh"
SUITE = ROOT / "specifications/benchmarks/caffe2/synthetic.json"


def base_python():
    """An interpreter that the script would accept; an interpreter from a version manager on the PATH may not
    run.
    """
    candidates = [
        *(shutil.which(f"python3.{minor}") for minor in (9, 8)),
        *(path for minor in (9, 8) for path in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")),
    ]
    for one in filter(None, candidates):
        if subprocess.run([one, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return str(one)
    return None


def build(destination, **environment):
    return subprocess.run(
        [BUILD, ROOT, destination],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def caffe2_program(tmp_path_factory):
    directory = tmp_path_factory.mktemp("real caffe2's")
    destination = directory / "out" / "caffe2_benchmark"
    environment = {"XDG_CACHE_HOME": str(directory / "cache")}
    if "CAFFE2_PYTHON" not in os.environ:
        base = base_python()
        if base is None:
            pytest.skip("there is no Python 3.9 or 3.8 on this machine, for which torch 1.10.2 is")
        environment["CAFFE2_BASE_PYTHON"] = base
    try:
        done = build(destination, **environment)
        assert done.returncode == 0, done.stderr
        again = build(destination, **environment, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
        assert again.returncode == 0, again.stderr
        assert [path.name for path in destination.parent.iterdir()] == ["caffe2_benchmark"]
        yield destination
    finally:
        # Of 2 GB; pytest would keep that of the last three runs.
        shutil.rmtree(directory / "cache", ignore_errors=True)


@pytest.mark.timeout(900)
def test_real_caffe2_gives_the_golden_outputs_of_the_zoo(caffe2_program, tmp_path):
    """Each test of the metric error has a tolerance. That our own engine gives them too is a test beside the
    specifications.
    """
    shutil.copytree(ROOT / "specifications", tmp_path / "specifications")
    suite = tmp_path / "specifications" / SUITE.relative_to(ROOT / "specifications")
    benchmarks = json.loads(suite.read_text())["benchmarks"]
    for path in benchmarks:
        benchmark = json.loads((suite.parent / path).read_text())
        benchmark["tests"] = [one for one in benchmark["tests"] if one["metric"] == "error"]
        (suite.parent / path).write_text(json.dumps(benchmark))
    command = [sys.executable, ROOT / "harness.py", "--benchmark_file", suite, "--program", caffe2_program]
    command += ["--model_cache", tmp_path / "cache", "--json", "--log_level", "error"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads(done.stdout)["results"]
    assert len(results) >= len(benchmarks)
    assert {result["meta"]["program"]["engine"] for result in results} == {"native"}


@pytest.mark.timeout(900)  # it may be the first, for which the environment is made
def test_our_engine_on_its_old_torch(caffe2_program):
    """Which has neither graphs that oneDNN compiles nor a fast shuffle of channels."""
    net = ROOT / "specifications/models/caffe2/shufflenet"
    command = [
        python_of(caffe2_program),
        ROOT / "benchmarking/frameworks/caffe2/program",
        "--engine",
        "torch",
    ]
    command += ["--init_net", net / "synthetic_init_net.pb", "--net", net / "predict_net.pb", "--iter", "1"]
    command += ["--input", "gpu_0/data", "--input_dims", "1,3,224,224", "--input_type", "float"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "NET_DELAY" in done.stderr


@pytest.mark.timeout(900)
def test_the_documented_commands_run(caffe2_program, tmp_path):
    """In a directory that shows the repository, so that nothing is written into it."""
    for path in ROOT.iterdir():
        if path.name not in (".git", "build"):
            (tmp_path / path.name).symlink_to(path)
    text = (ROOT / "docs/caffe2.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:python|specifications/).* .*build/caffe2_benchmark.*$", text, re.MULTILINE)
    assert len(commands) == 3
    environment = os.environ | {
        name: str(tmp_path / "user") for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    }
    environment["CAFFE2_PYTHON"] = python_of(caffe2_program)
    for command in commands:
        program, *arguments = shlex.split(command)
        argv = [sys.executable if program == "python" else program, *arguments]
        if "--info" in arguments:  # whether it can be decided does not matter here
            argv += ["--max_seconds", "2"]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def python_of(program):
    launcher = program.read_bytes().split(b"\n")[1].decode()
    return shlex.split(launcher)[1]


@pytest.mark.parametrize("argument", [[], ["only one"]])
def test_the_build_script_says_how_it_is_called(argument):
    done = subprocess.run([BUILD, *argument], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "build.sh: usage: build.sh <repo_dir> <destination>\n"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "there is no Python 3.9 or 3.8 here; name one in CAFFE2_BASE_PYTHON"),
        (
            {"CAFFE2_BASE_PYTHON": sys.executable},
            f"CAFFE2_BASE_PYTHON: {sys.executable} is no Python 3.9 or 3.8 with venv",
        ),
        ({"CAFFE2_PYTHON": sys.executable}, f"CAFFE2_PYTHON: {sys.executable} cannot import Caffe2"),
    ],
    ids=["none", "too new", "without Caffe2"],
)
def test_the_build_script_without_a_python_that_has_it(environment, message, tmp_path):
    if not environment and any(shutil.which(f"python3.{minor}", path="/usr/bin:/bin") for minor in (8, 9)):
        pytest.skip("the system has such a Python")
    done = subprocess.run(
        [BUILD, ROOT, tmp_path / "program"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"build.sh: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_leaves_nothing(tmp_path):
    base = base_python()
    if base is None:
        pytest.skip("there is no Python 3.9 or 3.8 on this machine")
    done = build(
        tmp_path / "program",
        CAFFE2_PYTHON="",
        CAFFE2_BASE_PYTHON=base,
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("build.sh: pip could not install torch==1.10.2 ")
    assert not (tmp_path / "program").exists()
    assert list((tmp_path / "cache/ml-benchmark-platform/real-caffe2").iterdir()) == []
