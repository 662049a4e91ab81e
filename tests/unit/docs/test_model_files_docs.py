"""docs/model_files.md: its commands and messages are the program's."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarking.cli import harness, harness_arguments
from benchmarking.cli.options import MODEL_SUFFIXES
from benchmarking.frameworks.frameworks import framework_names, make_framework

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/model_files.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"```sh\n(.*?)\n```", TEXT, flags=re.DOTALL)]


def test_the_commands_are_right(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    first, second = COMMANDS
    assert harness.main([*first[2:], "--validate"], "mlbench run", takes_files=True) == 0
    assert "no faults; 1 benchmark with 1 test" in capsys.readouterr().out
    options = harness_arguments.parse(second[2:], "mlbench run", takes_files=True)
    assert [path.suffix for path in options.model_files] == [".onnx", ".tflite", ".pt2"]
    assert (options.threads, options.save_spec, options.framework) == (2, Path("model.json"), "all")
    assert f"ends after {options.max_seconds:g} seconds" in TEXT


def test_the_table_names_the_frameworks_of_each_suffix():
    rows = [line.split("|")[1::2] for line in TEXT.splitlines() if line.startswith("| `.")]
    shown = {
        suffix: set(re.findall(r"`(\w+)`", who))
        for suffixes, who in rows
        for suffix in re.findall(r"`(\.\w+)`", suffixes)
    }
    shown.pop(".bin")
    runners = {
        suffix: {name for name in framework_names() if model_format in make_framework(name).formats}
        for suffix, model_format in MODEL_SUFFIXES.items()
    }
    assert shown == {suffix: names for suffix, names in runners.items() if names}


def test_the_message_is_the_programs(tmp_path, caplog):
    onnx = pytest.importorskip("onnx")
    from benchmarking.cli import model_files
    from tests.support import onnx_models

    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    inputs = [onnx_models.tensor("x", ["batch", 3, "h", "h"])]
    onnx.save(onnx_models.model(nodes, inputs, [onnx_models.tensor("y", None)]), tmp_path / "net.onnx")
    caplog.set_level("INFO")
    model_files.benchmarks([tmp_path / "net.onnx"], shapes={})
    (message,) = re.findall(r"```text\n(.*?)\n```", TEXT, flags=re.DOTALL)
    assert message in caplog.text
