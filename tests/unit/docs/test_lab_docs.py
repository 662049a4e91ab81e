"""docs/lab.md: its commands are those of the program."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarking.cli import repo_driver_arguments
from benchmarking.cli.lab import SUMMARIES, command_parser
from benchmarking.dispatch.targets import Target

PAGE = (Path(__file__).parents[3] / "docs/lab.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)[2:]
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("mlbench lab")
]


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_the_commands_are_accepted(argv):
    values = command_parser(argv[0], "mlbench lab").parse(argv[1:])
    Target.of(getattr(values, "on", "") or "")


def test_the_loops_example_is_accepted():
    (command,) = re.findall(r"^python (repo_driver\.py .*)", PAGE, flags=re.MULTILINE)
    options, _ = repo_driver_arguments.parse(shlex.split(command)[1:])
    assert (options.lab, options.on, options.platforms) == ("", "label=kitchen", ("host", "android"))


def test_every_command_is_described():
    for name in SUMMARIES:
        assert f"lab {name}" in PAGE


@pytest.mark.parametrize("text", ["cores>=8", "memory>=8GB", "android_version>=14"])
def test_the_conditions_are_conditions(text):
    assert f"`{text}`" in PAGE
    Target.of(text)
