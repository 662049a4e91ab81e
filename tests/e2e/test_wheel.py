"""The built wheel, installed into a fresh environment and used from another directory."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.repositories import GitRemote

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
AB = {
    "treatment": {"commit": "new", "commit_time": 1767225600},
    "control": {"commit": "old", "commit_time": 1767139200},
}
LENET = "specifications/models/caffe2/lenet/lenet.json"
LENET_TESTS = [
    {"net": "lenet", "metric": "error", "identifier": "golden-0"},
    {"net": "lenet", "metric": "delay", "identifier": "delay-5"},
]


class Installation:
    """Sees the packages that are installed here, but of this project the wheel alone."""

    def __init__(self, directory: Path) -> None:
        source, self.elsewhere, self.user = (directory / one for one in ("source", "elsewhere", "user"))
        self.elsewhere.mkdir()
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "tests"))
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        offline = ("--no-deps", "--no-index")
        subprocess.run(
            [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", directory, source], check=True
        )
        (self.wheel,) = directory.glob("*.whl")
        environment = directory / "environment"
        venv.create(environment, symlinks=True)
        self.programs = environment / "bin"
        (site_packages,) = environment.glob("lib/python*/site-packages")
        (site_packages / "here.pth").write_text(sysconfig.get_path("purelib"))
        python = ("--python", self.programs / "python")
        subprocess.run([*pip, *python, "install", *offline, self.wheel], check=True)
        shutil.rmtree(source)  # nothing of it may be needed

    def run(
        self, *argv: str | Path, limit_s: float = 120.0, first: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``first``: a directory whose modules take the place of installed ones."""
        program, *arguments = argv
        variables = {f"XDG_{kind}_HOME": str(self.user / kind) for kind in ("CACHE", "DATA", "STATE")}
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        # A package of the same name in the current directory is not ours.
        (self.elsewhere / "benchmarking").mkdir(exist_ok=True)
        return subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.elsewhere,
            env={**os.environ, **variables, "PATH": path, "PYTHONPATH": str(first or "")},
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def harness(self, *arguments: str) -> dict:
        done = self.run("harness.py", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("wheel"))


def test_what_the_readme_names_is_there(installed):
    named = set(re.findall(r"(?:specifications|examples)/[\w./-]*\w\.json", README))
    assert len(named) >= 4
    for file in sorted(named):
        done = installed.run("harness.py", "--benchmark_file", file, "--validate")
        assert done.returncode == 0, done.stderr


def test_the_quick_start(installed):
    (line,) = re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE)
    _, _, arguments = line.rpartition("harness.py ")
    # Of its models one, which shows that the specifications are there: ``test_readme.py`` runs all of them.
    info = json.dumps({"treatment": AB["treatment"], "tests": LENET_TESTS})
    document = installed.harness(*shlex.split(arguments), "--info", info)
    assert [one["meta"]["net_name"] for one in document["results"]] == ["lenet", "lenet"]
    assert not any(one["failure"] for one in document["results"])


def test_onnx_runtime_without_torch(installed, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    quick_start = "specifications/benchmarks/onnxruntime/quickstart.json"
    command = ("mlbench", "run", quick_start, "--framework", "onnxruntime", "--json")
    done = installed.run(*command, first=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not any(one["failure"] for one in json.loads(done.stdout)["results"])
    without = installed.run("mlbench", "run", LENET, first=tmp_path)
    assert without.returncode == 3, "torch was there all the time"


def test_a_comparison(installed):
    options = ("--max_seconds", "20", "--ab_pairs", "2", "--canary", "off")
    info = json.dumps({**AB, "tests": LENET_TESTS})
    error, delay = installed.harness("--benchmark_file", LENET, "--info", info, *options)["results"]
    assert error["failure"] is None
    assert delay["types"][0]["decision"]["pairs"] == 2


@pytest.mark.parametrize("module", ["benchmarking.devices", "benchmarking.history"])
def test_the_modules(installed, module):
    done = installed.run("python", "-P", "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert f"python -m {module}" in done.stdout


@pytest.mark.parametrize("program", ["harness.py", "repo_driver.py"])
def test_the_programs_as_modules(installed, program):
    """What does nothing must not end with 0."""
    module = f"benchmarking.cli.{program.removesuffix('.py')}"
    done = installed.run("python", "-P", "-m", module, "--version")
    assert done.stdout.startswith(f"{program} ")


def test_the_one_door(installed):
    done = installed.run("mlbench", "run", LENET, "--validate")
    assert done.stdout.endswith(f"/{LENET}: no faults; 1 benchmark with 7 tests\n"), done.stderr
    assert installed.run("python", "-P", "-m", "benchmarking", "--version").stdout.startswith("mlbench ")


@pytest.mark.skipif(shutil.which("cc") is None, reason="the demo needs a C compiler")
@pytest.mark.skipif(shutil.which("git") is None, reason="the demo needs git")
def test_the_demo_of_the_loop(installed):
    made = installed.run(
        "python", "-P", "-m", "benchmarking.examples.regression_demo.make_repository", "demo"
    )
    assert made.returncode == 0, made.stderr
    program, *arguments = shlex.split(made.stdout.split("\n\n")[1])
    before, behind = "7dbae049436e", "123ade909b45"
    subprocess.run(["git", "branch", "short", behind], cwd=installed.elsewhere / "demo", check=True)

    done = installed.run(program, *arguments, "--branch", "short", "--commit", before, limit_s=280)

    assert done.returncode == 5, done.stderr
    assert f"{behind} made host slower: Write the matrix product as textbooks do" in done.stderr
    status = installed.run(program, "--exec_dir", "demo-work", "--status")
    assert "REGRESSED" in status.stdout


def test_the_build_scripts_are_found_without_being_named(installed):
    """And this repository is not Caffe2's, so that its commit cannot be built."""
    directory = installed.elsewhere / "other"
    remote = GitRemote(directory)
    remote.commit({"README": "x"})
    work = ("--repo_dir", directory, "--exec_dir", "work")
    done = installed.run("repo_driver.py", *work, "--build_timeout", "20", "--benchmark_file", LENET)
    assert done.returncode == 7, done.stderr
    assert "site-packages/benchmarking/specifications/frameworks/caffe2/" in done.stderr
