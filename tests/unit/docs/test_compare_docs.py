"""The output in docs/compare.md is what is printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECTION = (ROOT / "docs/compare.md").read_text(encoding="utf-8").partition("## Saved runs")[2]


def test_the_example_prints_what_is_shown(tmp_path):
    (commands,) = re.findall(r"```sh\n(.*?)```", SECTION, flags=re.DOTALL)
    for name in ("benchmarking", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in commands.splitlines():
        argv = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    (shown,) = re.findall(r"```text\n(.*?)```", SECTION, flags=re.DOTALL)
    assert done.stdout == shown
