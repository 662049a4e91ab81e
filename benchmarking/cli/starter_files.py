"""The files that ``mlbench init`` writes: a suite, its benchmarks, and a CI job."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli.project_scan import Project
from benchmarking.errors import UsageError

if TYPE_CHECKING:
    from benchmarking.specs.reader import LoadedBenchmark

DIRECTORY = Path("mlbench")
SUITE = DIRECTORY / "suite.json"
TOOL = "ml-benchmark-platform"
GITHUB_FILE, GITLAB_FILE = Path(".github/workflows/mlbench.yml"), Path(".gitlab-ci.yml")
REPETITIONS = 10


@dataclass
class Starter:
    """Files by their path, relative to the project's directory, and what to do next."""

    files: dict[Path, str] = field(default_factory=dict)
    skipped: dict[Path, str] = field(default_factory=dict)
    """Why a model was not taken."""
    commands: list[str] = field(default_factory=list)
    """To be pasted, in the project's directory."""

    def free_file(self, name: str) -> Path:
        """Of a benchmark."""
        file = DIRECTORY / f"{name}.json"
        return self.free_file(f"{name}_2") if file in self.files or file == SUITE else file


def starter(project: Project, owner: str) -> Starter:
    """``owner``: where CI gets this tool from."""
    made = Starter()
    jobs = _programs(project, made)
    if project.has_pytest_benchmark:
        jobs.append(_pytest_benchmark(project))
    jobs += _models(project, made, owner)
    if jobs and project.repository == "git":
        path, text = _ci_file(project, jobs[0], owner)
        made.files[path] = text
    return made


# --- models -------------------------------------------------------------------------------------------------


def _models(project: Project, made: Starter, owner: str) -> list[dict[str, str]]:
    """Adds the suite; returns the inputs of a CI job for the first model."""
    names: list[str] = []
    first: LoadedBenchmark | None = None
    for group in _groups(project.models):
        benchmark = _loaded(project, group, made)
        if benchmark is not None:
            file = made.free_file(group[0].stem)
            made.files[file] = _json(_specification(project, benchmark, file.stem))
            names.append(file.name)
            first = first or benchmark
    if first is None:
        return []
    made.files[SUITE] = _json({"benchmarks": names})
    made.commands.append(f"mlbench run {SUITE} --framework all")
    return [_model_job(project, first, owner)]


def _groups(models: Sequence[Path]) -> list[list[Path]]:
    """The files of each model: those beside each other with the same name."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in models:
        stem = path.stem.replace("predict", "init") if path.suffix == ".pb" else path.stem
        groups.setdefault((path.parent, stem), []).append(path)
    return list(groups.values())


def _loaded(project: Project, group: Sequence[Path], made: Starter) -> LoadedBenchmark | None:
    from benchmarking.cli import model_files

    try:
        (loaded,) = model_files.benchmarks([project.directory / one for one in group], shapes={})
    except UsageError as error:
        made.skipped[group[0]] = str(error)
        return None
    return loaded


def _specification(project: Project, benchmark: LoadedBenchmark, name: str) -> dict[str, Any]:
    """With relative locations, and a name that no other has."""
    value = benchmark.spec.model_dump(mode="json", exclude_defaults=True)
    start = (project.directory / DIRECTORY).resolve()
    for one in value["model"]["formats"].values():
        for file in one["files"].values():
            file["location"] = Path(os.path.relpath(file["location"], start)).as_posix()
    value["model"]["name"] = name
    return value


def _model_job(project: Project, benchmark: LoadedBenchmark, owner: str) -> dict[str, str]:
    """The model of base and that of head, by the program of the first framework that runs it."""
    from benchmarking.frameworks.framework_base import Invocation
    from benchmarking.frameworks.frameworks import framework_names, make_framework
    from benchmarking.frameworks.own_program import OwnProgramFramework
    from benchmarking.specs.expand import expand

    (case,) = expand((benchmark,), None)
    own = [one for one in map(make_framework, framework_names()) if isinstance(one, OwnProgramFramework)]
    framework = next(one for one in own if {*one.formats} & {*(case.formats or [case.model.format])})
    case = case.in_first_format_of(framework.formats)
    files = {
        key: os.path.relpath(str(location), project.directory.resolve())
        for key, location in case.model_files.items()
    }
    launcher = ("python", "-m", framework.program_package)
    command = framework.compose(Invocation(case, launcher, files, {}))
    return {
        "install": f"pip install '{TOOL}[{framework.name}] @ {_source(project, owner)}'",
        "command": shlex.join(command.argv),
    }


# --- programs -----------------------------------------------------------------------------------------------


def _programs(project: Project, made: Starter) -> list[dict[str, str]]:
    jobs = []
    for path in project.programs:
        file = made.free_file(path.name)
        location = Path(os.path.relpath(path, DIRECTORY)).as_posix()
        # Without a hash: it changes with every build.
        files = {"program": {"filename": path.name, "location": location}}
        arguments = "--benchmark_format=json --benchmark_repetitions={iter}"
        options = {"command": f"{{program}} {arguments}", "format": "google_benchmark"}
        model = {"name": file.stem, "format": "program", "files": files, "inputs": {}}
        test = {
            "identifier": "delay",
            "metric": "delay",
            "iter": REPETITIONS,
            "commands": {"generic": options},
        }
        made.files[file] = _json({"model": model, "tests": [test]})
        made.commands.append(f"mlbench run {file} --framework generic --program {shlex.quote(str(path))}")
        command = shlex.join([f"./{path.as_posix()}", "--benchmark_format=json"])
        jobs.append({"build": project.build, "command": command})
    return jobs


def _pytest_benchmark(project: Project) -> dict[str, str]:
    requirements = f" -r {shlex.quote(project.requirements)}" if project.requirements else ""
    package = " ." if project.is_python_package else requirements
    return {
        "install": f"pip install{package} pytest pytest-benchmark",
        "command": "python -m pytest --quiet --benchmark-only --benchmark-json=/dev/stdout",
    }


# --- CI -----------------------------------------------------------------------------------------------------


def _ci_file(project: Project, job: dict[str, str], owner: str) -> tuple[Path, str]:
    """What JSON calls a string is one in YAML."""
    inputs = {name: json.dumps(text) for name, text in job.items() if text}
    if project.hosting == "gitlab":
        inputs["tool"] = json.dumps(_source(project, owner))
        lines = [f"      {name}: {text}" for name, text in inputs.items()]
        head = ["include:", f"  - project: {owner}/{TOOL}", "    file: ci/gitlab/compare.yml", "    inputs:"]
        return GITLAB_FILE, "\n".join([*head, *lines, ""])
    lines = [f"          {name}: {text}" for name, text in inputs.items()]
    head = [
        "on: pull_request",
        "permissions: { contents: read, pull-requests: write }",
        "jobs:",
        "  speed:",
        "    runs-on: ubuntu-latest",
        "    steps:",
        f"      - uses: {owner}/{TOOL}/ci/github@main",
        "        with:",
    ]
    return GITHUB_FILE, "\n".join([*head, *lines, ""])


def _source(project: Project, owner: str) -> str:
    """Of this tool, for pip: where the project is, the owner has a copy."""
    return f"git+https://{project.hosting}.com/{owner}/{TOOL}"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
