"""``mlbench init``: what it finds and writes, which is then run."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

onnx = pytest.importorskip("onnx")

from benchmarking.cli import commands, project_scan  # noqa: E402
from tests.support import onnx_models  # noqa: E402

ROOT = Path(__file__).parents[3]
GOOGLE_BENCHMARK = """#!/bin/sh
# --benchmark_list_tests
echo '{"benchmarks": ['
separator=
for repetition in 0 1 2 3 4 5 6 7 8 9; do
  echo "$separator{\\"name\\": \\"sum\\", \\"run_type\\": \\"iteration\\", \\"real_time\\": 1.5, \\"time_unit\\": \\"us\\"}"
  separator=,
done
echo ']}'
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    directory = tmp_path / "a project"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def make_repository(project, remote="https://github.com/ada/engine"):
    for arguments in (["init", "--quiet"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", *arguments], cwd=project, check=True)


def make_model(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx_models.linear(**changes), path)


def make_program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GOOGLE_BENCHMARK)
    path.chmod(0o755)


def listed(shown):
    """What is shown, by title."""
    parts, title = {}, ""
    for line in shown.splitlines():
        if line.startswith("  "):
            parts[title].append(line[2:])
        else:
            title = line
            parts[title] = []
    return parts


def init(capsys, *arguments):
    assert commands.main(["init", *arguments]) == 0
    return listed(capsys.readouterr().out)


def test_models_become_a_suite_that_runs(project, capsys):
    make_model(project / "models/linear.onnx")
    make_model(project / "other/linear.onnx", name="other")
    make_repository(project)
    shown = init(capsys)
    assert shown["found"] == ["models/linear.onnx", "other/linear.onnx", "a git repository"]
    assert {*shown["written"]} == {
        *("mlbench/linear.json", "mlbench/linear_2.json", "mlbench/suite.json"),
        ".github/workflows/mlbench.yml",
    }
    (file,) = json.loads((project / "mlbench/linear.json").read_text())["model"]["formats"]["onnx"][
        "files"
    ].values()
    assert file["location"] == "../models/linear.onnx"
    assert file["md5"] == hashlib.md5((project / "models/linear.onnx").read_bytes()).hexdigest()
    assert shown["next"][0] == "mlbench run mlbench/suite.json --framework all"
    run = ["run", "mlbench/suite.json", "--framework", "onnxruntime", "--json"]
    assert commands.main(run) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["meta"]["net_name"] for one in document["results"]] == ["linear", "linear_2"]


def test_the_ci_job_of_a_model_runs(project, capsys):
    make_model(project / "linear.onnx")
    make_repository(project)
    init(capsys, "--owner", "ada")
    workflow = yaml.safe_load((project / ".github/workflows/mlbench.yml").read_text())
    (step,) = workflow["jobs"]["speed"]["steps"]
    assert step["uses"] == "ada/ml-benchmark-platform/ci/github@main"
    declared = yaml.safe_load((ROOT / "ci/github/action.yml").read_text(encoding="utf-8"))["inputs"]
    assert step["with"].keys() <= declared.keys()
    assert step["with"]["install"] == (
        "pip install 'ml-benchmark-platform[onnxruntime] @ git+https://github.com/ada/ml-benchmark-platform'"
    )
    program, *arguments = shlex.split(step["with"]["command"])
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("NET_DELAY") >= 50


def test_a_benchmark_program_becomes_a_test_that_runs(project, capsys):
    make_program(project / "build/sum_benchmark")
    (project / "CMakeLists.txt").touch()
    make_repository(project)
    shown = init(capsys)
    assert shown["found"] == ["build/sum_benchmark", "a git repository"]
    command = shlex.split(shown["next"][0])
    assert command[:3] == ["mlbench", "run", "mlbench/sum_benchmark.json"]
    assert commands.main([*command[1:], "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    (net,) = result["types"]
    assert net["values"] == [1.5] * 10
    (step,) = yaml.safe_load((project / ".github/workflows/mlbench.yml").read_text())["jobs"]["speed"][
        "steps"
    ]
    assert step["with"] == {
        "build": project_scan.BUILDS["CMakeLists.txt"],
        "command": "./build/sum_benchmark --benchmark_format=json",
    }


def test_pytest_benchmark_has_a_ci_job(project, capsys):
    (project / "pyproject.toml").write_text('[project]\ndependencies = ["pytest-benchmark>=4"]\n')
    make_repository(project, "https://gitlab.example.com/ada/engine")
    shown = init(capsys)
    assert shown["written"] == [".gitlab-ci.yml"]
    (include,) = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["include"]
    header, _ = yaml.safe_load_all((ROOT / include["file"]).read_text(encoding="utf-8"))
    assert include["inputs"].keys() <= header["spec"]["inputs"].keys()
    assert include["inputs"]["install"] == "pip install . pytest pytest-benchmark"


def test_what_exists_is_never_overwritten(project, capsys):
    make_model(project / "linear.onnx")
    make_repository(project)
    (project / "mlbench").mkdir()
    (project / "mlbench/linear.json").write_text("mine")
    (project / ".github/workflows").mkdir(parents=True)
    (project / ".github/workflows/mlbench.yml").symlink_to("nowhere")
    shown = init(capsys)
    assert shown["written"] == ["mlbench/suite.json"]
    assert shown["kept as they are"] == ["mlbench/linear.json", ".github/workflows/mlbench.yml"]
    assert (project / "mlbench/linear.json").read_text() == "mine"
    assert not (project / ".github/workflows/nowhere").exists()
    assert "written" not in init(capsys)


def test_a_suite_that_is_kept_does_not_name_a_model_that_is_new(project, capsys):
    make_model(project / "linear.onnx")
    init(capsys)
    make_model(project / "newer.onnx")
    shown = init(capsys)
    assert shown["written"] == ["mlbench/newer.json"]
    assert "# add newer.json to mlbench/suite.json, which was there before" in shown["next"]
    (project / "mlbench/suite.json").write_text('{"benchmarks": ["linear.json", "newer.json"]}')
    assert not [one for one in init(capsys)["next"] if one.startswith("# add")]


def test_a_dry_run_writes_nothing(project, capsys):
    make_model(project / "linear.onnx")
    assert commands.main(["init", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "would be written\n  mlbench/linear.json\n" in shown
    assert '"location": "../linear.onnx"' in shown
    assert [one.name for one in project.iterdir()] == ["linear.onnx"]


def test_without_a_repository_there_is_no_ci_file(project, capsys):
    make_model(project / "linear.onnx")
    shown = init(capsys)
    assert "no repository" in shown["found"]
    assert {*shown["written"]} == {"mlbench/linear.json", "mlbench/suite.json"}


def test_another_directory_is_entered_first(project, capsys, tmp_path, monkeypatch):
    make_model(project / "linear.onnx")
    monkeypatch.chdir(tmp_path)
    shown = init(capsys, str(project))
    assert shown["next"][0] == f"cd {shlex.quote(str(project))}"


def test_what_is_no_model_is_left_out_with_the_reason(project, capsys):
    make_model(project / "linear.onnx")
    (project / "broken.onnx").write_bytes(b"\x00garbage")
    (project / "settings.xml").write_text("<settings/>")
    (project / "graph.pb").write_bytes(b"x")
    shown = init(capsys)
    (left_out,) = shown["left out"]
    assert left_out.startswith("broken.onnx: ")
    assert "settings.xml" not in str(shown)
    assert "graph.pb" not in str(shown)


def test_nothing_to_benchmark_is_said_with_what_is_looked_for(project, capsys):
    (project / "broken.onnx").write_bytes(b"\x00garbage")
    assert commands.main(["init"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("mlbench init: nothing to benchmark was found in .: a model file, ")
    assert second.startswith("mlbench init: broken.onnx: ")
    assert commands.main(["init", "nonesuch"]) == 2
    assert "there is no directory 'nonesuch'" in capsys.readouterr().err
    assert commands.main(["init", "broken.onnx"]) == 2
    assert "'broken.onnx' is a file; give the directory with it" in capsys.readouterr().err


def test_the_search_is_bounded(project, monkeypatch):
    monkeypatch.setattr(project_scan, "MOST_FILES", 30)
    for number in range(25):
        make_program(project / f"a/program_{number:02}")
    make_program(project / "node_modules/program")
    make_program(project / "environment/bin/program")
    (project / "environment/pyvenv.cfg").touch()
    make_program(project / "1/2/3/4/5/deep")
    make_program(project / "1/2/3/4/5/6/too_deep")
    (project / "loop").symlink_to(project)
    (project / "pipe").mkdir()
    os.mkfifo(project / "pipe/fifo.onnx")
    found = project_scan.scan(project)
    assert [one.name for one in found.programs] == ["deep", *(f"program_{number:02}" for number in range(4))]
    assert found.models == ()
    assert found.left_out == ("programs after the first 5 of 26",)
    for number in range(10):
        (project / f"z{number}").touch()
    assert project_scan.scan(project).left_out[0] == "files after the first 30"


def test_on_gitlab_everything_comes_from_there(project, capsys):
    make_model(project / "linear.onnx")
    make_repository(project, "https://gitlab.com/ada/engine")
    init(capsys, "--owner", "ada")
    (include,) = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["include"]
    source = "git+https://gitlab.com/ada/ml-benchmark-platform"
    assert include["inputs"]["tool"] == source
    assert include["inputs"]["install"] == f"pip install 'ml-benchmark-platform[onnxruntime] @ {source}'"


@pytest.mark.parametrize(
    ("files", "install"),
    [
        (["requirements.txt"], "pip install -r requirements.txt pytest pytest-benchmark"),
        (["requirements-test.txt"], "pip install -r requirements-test.txt pytest pytest-benchmark"),
        (["tox.ini"], "pip install pytest pytest-benchmark"),
        (["setup.py"], "pip install . pytest pytest-benchmark"),
    ],
)
def test_only_requirements_that_are_there_are_installed(project, capsys, files, install):
    for name in files:
        (project / name).write_text("pytest-benchmark\n")
    make_repository(project)
    init(capsys)
    workflow = yaml.safe_load((project / ".github/workflows/mlbench.yml").read_text())
    assert workflow["jobs"]["speed"]["steps"][0]["with"]["install"] == install


def test_the_requirements_that_name_it_are_chosen(project):
    (project / "requirements-a.txt").write_text("numpy\n")
    (project / "requirements-b.txt").write_text("pytest-benchmark\n")
    assert project_scan.scan(project).requirements == "requirements-b.txt"
    assert project_scan.scan(project / "nonesuch").requirements == ""


def test_only_what_can_be_executed_is_a_program(project):
    make_program(project / "bench")
    make_program(project / "notes")
    (project / "notes").chmod(0o644)
    assert project_scan.scan(project).programs == (Path("bench"),)
