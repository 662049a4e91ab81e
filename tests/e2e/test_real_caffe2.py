"""Real Caffe2 as its build script makes it, and the zoo through both engines.

CAFFE2_PYTHON spares the build: it names an interpreter that has real Caffe2 already.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "specifications/frameworks/caffe2/wheel/build.sh"
SUITE = ROOT / "specifications/benchmarks/caffe2/synthetic.json"


def base_python():
    """An interpreter that the script would take; what a version manager puts on the PATH may not run."""
    candidates = [
        *(shutil.which(f"python3.{minor}") for minor in (9, 8)),
        *(path for minor in (9, 8) for path in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")),
    ]
    for one in filter(None, candidates):
        if subprocess.run([one, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return str(one)
    return None


@pytest.fixture(scope="module")
def caffe2_program(tmp_path_factory):
    directory = tmp_path_factory.mktemp("real caffe2's")
    destination = directory / "out" / "caffe2_benchmark"
    base = base_python()
    if base is None:
        pytest.skip("there is no Python 3.9 or 3.8 on this machine, for which torch 1.10.2 is")
    environment = os.environ | {"XDG_CACHE_HOME": str(directory / "cache"), "CAFFE2_BASE_PYTHON": base}
    if "CAFFE2_PYTHON" in os.environ:
        version = subprocess.run(
            [base, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        built = directory / f"cache/ml-benchmark-platform/real-caffe2/torch-1.10.2-python-{version}/bin"
        built.mkdir(parents=True)
        (built / "python").write_text(f"#!/bin/sh\nexec '{os.environ['CAFFE2_PYTHON']}' \"$@\"\n")
        (built / "python").chmod(0o755)
    done = subprocess.run(
        [BUILD, ROOT, destination], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in destination.parent.iterdir()] == ["caffe2_benchmark"]
    return destination


@pytest.mark.timeout(900)
def test_the_zoo_gives_real_caffe2s_outputs_with_both_engines(caffe2_program, tmp_path):
    """The golden outputs are real Caffe2's; each test of the metric error has a tolerance."""
    shutil.copytree(ROOT / "specifications", tmp_path / "specifications")
    suite = tmp_path / "specifications" / SUITE.relative_to(ROOT / "specifications")
    benchmarks = json.loads(suite.read_text())["benchmarks"]
    for path in benchmarks:
        benchmark = json.loads((suite.parent / path).read_text())
        benchmark["tests"] = [one for one in benchmark["tests"] if one["metric"] == "error"]
        (suite.parent / path).write_text(json.dumps(benchmark))
    for program, engine in ((caffe2_program, "native"), (None, "torch")):
        command = [sys.executable, ROOT / "harness.py", "--benchmark_file", suite]
        command += ["--model_cache", tmp_path / "cache", "--json", "--log_level", "error"]
        command += ["--program", program] if program else []
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        results = json.loads(done.stdout)["results"]
        assert len(results) >= len(benchmarks)
        assert {result["meta"]["program"]["engine"] for result in results} == {engine}


@pytest.mark.parametrize("argument", [[], ["only one"]])
def test_the_build_script_says_how_it_is_called(argument):
    done = subprocess.run([BUILD, *argument], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "build.sh: usage: build.sh <repo_dir> <destination>\n"


def test_the_build_script_without_a_python_that_has_it(tmp_path):
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "CAFFE2_BASE_PYTHON": sys.executable}
    for directory in ("/usr/bin", "/bin"):
        if any((Path(directory) / f"python3.{minor}").exists() for minor in (8, 9)):
            pytest.skip("the system has such a Python")
    done = subprocess.run(
        [BUILD, tmp_path, tmp_path / "program"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "there is no Python 3.9 or 3.8 here; name one in CAFFE2_BASE_PYTHON" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_scripts_are_free_of_the_usual_mistakes():
    scripts = [*ROOT.glob("specifications/frameworks/**/*.sh"), ROOT / ".ci/run"]
    checker = Path(sys.executable).with_name("shellcheck")
    subprocess.run([checker, *scripts], check=True)
