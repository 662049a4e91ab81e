"""docs/backends.md: its examples are accepted, and its output is what is printed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarking.cli import harness
from benchmarking.driver.settings import BLOCKS
from benchmarking.frameworks import program_output
from benchmarking.results.model import Kernel
from benchmarking.results.precision import TOLERANCES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/backends.md").read_text(encoding="utf-8")
GOLDEN = "specifications/models/caffe2/squeezenet/golden/synthetic_output.txt"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_lines_of_a_program_are_read():
    (lines,) = [block for block in blocks("text") if "Caffe2Observer" in block]
    log = program_output.parse(lines)
    assert log.kernels == {"ID_0_Conv_conv1": Kernel("jit:avx512_core", own=False)}
    assert log.facts["backend_summary"].startswith("nnpack: 18 of 26")
    assert log.damaged_count == 0


def test_the_tables_are_what_the_screen_shows():
    files = ("screen_backends.txt", "screen_frameworks_120.txt")
    golden = [(ROOT / "tests/data/reporters" / name).read_text(encoding="utf-8") for name in files]
    shown = [block for block in blocks("text") if "geometric mean" in block or "on backend" in block]
    assert len(shown) == 3
    for block in shown:
        assert any(block.strip() in text for text in golden)


def test_the_command_that_compares_frameworks_is_right(monkeypatch, capsys):
    """What it measures is compared in tests/e2e/test_frameworks.py."""
    command = shlex.split(blocks("sh")[1])
    monkeypatch.chdir(ROOT)
    assert harness.main([*command[2:], "--validate"]) == 0
    assert "no faults; 1 benchmark with 2 tests" in capsys.readouterr().out


def test_the_command_runs(tmp_path, monkeypatch):
    """On a program that has backends at once."""
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    program = tmp_path / "program.py"
    program.write_text((ROOT / "tests/support/observer_program.py").read_text())
    answers = {"softmaxout": (ROOT / GOLDEN).read_text().split()}
    told = {"backends": {"default": "", "nnpack": "", "eigen": "no Caffe2"}, "outputs": answers}
    program.with_suffix(".json").write_text(json.dumps(told))
    command = blocks("sh")[0]
    (tmp_path / "specifications").symlink_to(ROOT / "specifications")
    argv = [sys.executable, str(ROOT / "harness.py"), *shlex.split(command)[2:], "--program", str(program)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nnpack" in (tmp_path / "backends.md").read_text()
    assert (tmp_path / "backends.svg").exists()
    assert "  eigen  no Caffe2" in done.stdout


def test_the_defaults():
    assert BLOCKS == 6
    assert "With 6 blocks, the default," in TEXT
    told = [line.split("|")[1:3] for line in TEXT.splitlines() if re.match(r"\| `\w+` \| [0-9.]+ \|", line)]
    assert {name.strip(" `"): float(value) for name, value in told} == TOLERANCES
