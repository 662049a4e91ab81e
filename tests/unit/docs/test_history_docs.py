"""The output in docs/history.md is what is printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.cli.history import main

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/history.md").read_text(encoding="utf-8")


def test_the_example_prints_what_is_shown(tmp_path):
    (commands,) = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for name in ("benchmarking", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in commands.splitlines():
        argv = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    _, shown = re.findall(r"```text\n(.*?)```", TEXT, flags=re.DOTALL)
    assert done.stdout == shown


def test_every_option_has_its_row(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    options = set(re.findall(r"--[a-z_]+", capsys.readouterr().out)) - {"--help", "--version"}
    assert options == set(re.findall(r"^\| `(--[a-z_]+)` \|", TEXT, flags=re.MULTILINE))
