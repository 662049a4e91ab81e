"""Runs a composite action as GitHub's runner does: its steps in order, each with its environment, in bash."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml


@dataclass
class Ended:
    exit_status: int = 0
    log: str = ""
    summary: str = ""
    outputs: dict = field(default_factory=dict)


class Runner:
    """``checkouts``: for each path in the workspace what ``actions/checkout`` puts there: takes the directory."""

    def __init__(self, workspace: Path, github: dict, environment: dict, check_out):
        self.workspace, self.github, self.environment, self.check_out = (
            *(workspace, github, environment, check_out),
        )
        self.temporary = workspace.parent / "runner"
        self.temporary.mkdir(parents=True)
        workspace.mkdir()

    def run(self, action: Path, **given) -> Ended:
        definition = yaml.safe_load(action.read_text(encoding="utf-8"))
        declared = definition["inputs"]
        assert given.keys() <= declared.keys()
        assert all(name in given for name, one in declared.items() if one.get("required"))
        values = {"github": self.github, "inputs": {}, "steps": {}}
        values["inputs"] = {
            name: given.get(name, self._evaluated(one.get("default", ""), values))
            for name, one in declared.items()
        }
        ended = Ended()
        for number, step in enumerate(definition["runs"]["steps"]):
            if ended.exit_status or ("if" in step and not self._holds(step["if"], values)):
                continue
            if "uses" in step:
                assert step["uses"].startswith("actions/checkout@")
                options = {name: self._evaluated(one, values) for name, one in step["with"].items()}
                self.check_out(self.workspace / options["path"], options.get("ref", ""))
                continue
            values["steps"][step.get("id", number)] = {
                "outputs": self._step(action, number, step, values, ended)
            }
        ended.outputs = {
            name: self._evaluated(one["value"], values) for name, one in definition.get("outputs", {}).items()
        }
        return ended

    def _step(self, action, number, step, values, ended):
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "what others wrote would become a part of the script"
        script = self.temporary / f"{number}.sh"
        script.write_text(step["run"])
        output, summary = (self.temporary / f"{number}.{name}" for name in ("output", "summary"))
        for file in (output, summary):
            file.touch()
        own = {name: self._evaluated(text, values) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME")},
                **self.environment,
                "GITHUB_ACTION_PATH": str(action.parent),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "RUNNER_TEMP": str(self.temporary),
                **own,
            },
            cwd=self.workspace,
            capture_output=True,
            text=True,
            check=False,
        )
        ended.exit_status = done.returncode
        ended.log += done.stdout + done.stderr
        ended.summary += summary.read_text()
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    def _holds(self, condition, values):
        left, operator, right = re.fullmatch(r"(\S+) (==|!=) '(.*)'", condition).groups()
        return (self._look_up(left, values) == right) == (operator == "==")

    def _evaluated(self, text, values):
        return re.sub(r"\$\{\{ *(\S+) *\}\}", lambda found: self._look_up(found[1], values), str(text))

    def _look_up(self, name, values):
        for part in name.split("."):
            values = values.get(part, {})
        return values or ""
