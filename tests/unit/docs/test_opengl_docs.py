"""docs/opengl.md: its commands run, and it names what there is."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.opengl import OpenGL

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/opengl.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python ")
]
WHY_NOT = OpenGL.why_unavailable()
needs_opengl = pytest.mark.skipif(bool(WHY_NOT), reason=f"opengl: {WHY_NOT}")


@needs_opengl
@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_each_command_runs(command, tmp_path):
    argv = [sys.executable, *shlex.split(command)[1:]]
    if "harness.py" in command:
        argv += ["--local_reporter", str(tmp_path), "--model_cache", str(tmp_path / "cache")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


@needs_opengl
def test_each_fact_that_it_names_is_reported():
    facts = OpenGL(threads=1).facts()
    named = set(re.findall(r"`(gl_\w+|opengl_clock)`", TEXT))
    assert named == {*facts, "gl_threads"}


def test_each_operator_with_a_shader_is_named():
    pytest.importorskip("moderngl")
    from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends.opengl.operators import (
        KERNELS,
    )

    spelled_out = {
        *("Conv", "Conv2D", "Conv+", "ConvTranspose", "MaxPool", "MaxPool2D", "AveragePool", "AveragePool2D"),
        *("FC", "FCTransposed", "DepthConcat", "Copy", "StopGradient", "Alias", "FlattenToVec"),
        *("PackedInt8BGRANHWCToNCHWCStylizerPreprocess", "BRGNCHWCToPackedInt8BGRAStylizerDeprocess"),
    }
    assert all(re.search(rf"\b{name}\b", TEXT) for name in KERNELS.keys() - spelled_out)
