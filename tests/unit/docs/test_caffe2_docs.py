"""docs/caffe2.md says what the program does: its flags, its commands, its table."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import Caffe2Settings
from benchmarking.programs import worker_protocol
from benchmarking.programs.worker_protocol import IterationSample, WorkerReady

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/caffe2.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python benchmarking/frameworks/caffe2/program")
]


def run(command):
    argv = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_each_flag_has_its_row_with_its_default():
    rows = [line.split("|")[1:3] for line in TEXT.splitlines() if line.startswith("| `--")]
    documented = {}
    for names, defaults in rows:
        flags = re.findall(r"`--(\w+)`", names)
        values = [value.strip("` ") for value in defaults.split(",")]
        values = values if len(values) == len(flags) else values * len(flags)
        documented |= dict(zip(flags, values, strict=True))
    expected = {
        flag.name: ""
        if flag.default == "" or flag.name in ("help", "version", "summary", "list_backends")
        else str(flag.default).lower()
        for flag in fields(Caffe2Settings)
    }
    assert documented == expected


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_each_command_of_the_program_runs(command):
    run(command)


def test_the_worker_answers_each_line():
    (command,) = re.findall(r"^printf .* --worker true$", TEXT, flags=re.MULTILINE)
    lines, program = command.split(" | ")
    argv = [sys.executable, *shlex.split(program)[1:]]
    given = shlex.split(lines)[1].encode().decode("unicode_escape")
    done = subprocess.run(argv, cwd=ROOT, input=given, capture_output=True, text=True, check=True)
    answers = [worker_protocol.read(line) for line in done.stdout.splitlines()]
    assert [type(one) for one in answers] == [WorkerReady, IterationSample, IterationSample]


def test_the_table_is_what_is_printed():
    (command,) = [one for one in COMMANDS if one.endswith("--summary")]
    (table,) = re.findall(r"```text\n(operator .*?)```", TEXT, flags=re.DOTALL)
    assert run(command).stdout == table
