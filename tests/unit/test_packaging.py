"""pyproject.toml is the truth; requirements*.txt, the extras' names in messages and setup.py follow it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarking.packages import EXTRAS, missing_package

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]


def requirements(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


def of_extras(*names):
    return {requirement for name in names for requirement in OPTIONAL[name]}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "requirements.txt",
            {*PROJECT["dependencies"]} | of_extras("caffe2", "android", "gpu", "plot", "images", "hg"),
        ),
        ("requirements-dev.txt", of_extras("dev")),
        ("requirements-opengl.txt", of_extras("opengl")),
        ("requirements-onnxruntime.txt", of_extras("onnxruntime")),
        ("requirements-pytorch.txt", of_extras("pytorch")),
        ("requirements-openvino.txt", of_extras("openvino")),
        ("requirements-executorch.txt", of_extras("executorch")),
        ("requirements-litert.txt", of_extras("litert")),
        ("requirements-server.txt", of_extras("server")),
        ("requirements-mcp.txt", of_extras("mcp")),
        ("requirements-postgres.txt", of_extras("postgres")),
        ("requirements-lab.txt", of_extras("lab")),
    ],
)
def test_the_requirements_are_those_of_the_project(file, expected):
    assert requirements(file) == expected


def test_the_light_installation_has_no_framework_and_no_device():
    names = {re.split(r"[\[<>=]", one)[0] for one in PROJECT["dependencies"]}
    frameworks = {"torch", "onnxruntime", "openvino", "ai-edge-litert"}
    assert names.isdisjoint({*frameworks, "matplotlib", "adb-shell", "zeroconf", "nvidia-ml-py"})


def test_all_has_every_extra_but_that_of_developers():
    (names,) = re.findall(r"\[(.*)\]", OPTIONAL["all"][0])
    assert {*names.split(",")} == {*OPTIONAL} - {"all", "dev", "executorch"}  # which takes 1.5 GB


def test_a_missing_package_is_one_line_that_names_its_extra(tmp_path):
    assert {*EXTRAS.values()} == {*OPTIONAL} - {"all", "dev", "pytorch"}  # whose package is that of caffe2
    message = missing_package(ModuleNotFoundError(name="zeroconf.asyncio"), root=tmp_path)
    assert re.fullmatch(
        r"the package zeroconf is missing; install it with: \S+ -m pip install 'ml-benchmark-platform\[android\]'",
        message,
    )


def test_in_a_checkout_the_requirements_are_named():
    message = missing_package(ModuleNotFoundError(name="torch"))
    assert message.endswith(f" -m pip install -r {ROOT / 'requirements.txt'}")
    assert missing_package(ModuleNotFoundError(name="moderngl")).endswith("requirements-opengl.txt")


def test_a_missing_module_of_this_project_is_a_bug():
    assert missing_package(ModuleNotFoundError(name="benchmarking.nonesuch")) is None


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("torch", ("--validate",)),
        ("matplotlib", ("--plot", "x.svg", "--backend", "all", "--program", sys.executable)),
        ("pynvml", ("--platform", "gpu", "--program", sys.executable)),
    ],
)
def test_what_the_light_installation_lacks_is_reported_before_anything_runs(package, arguments, tmp_path):
    """A meta path finder that hides the extras simulates an installation without them."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {[*EXTRAS]}:\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    lenet = ROOT / "specifications/models/caffe2/lenet/lenet.json"
    done = subprocess.run(
        [sys.executable, ROOT / "harness.py", "--benchmark_file", lenet, *arguments],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"harness.py: the package {package} is missing; install ")
