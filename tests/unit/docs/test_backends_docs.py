"""docs/backends.md: what it shows is what is read and printed."""

import re
from pathlib import Path

from benchmarking.frameworks.caffe2 import observer_log
from benchmarking.results import Kernel

TEXT = (Path(__file__).parents[3] / "docs/backends.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_lines_of_a_program_are_read():
    (lines,) = [block for block in blocks("text") if "Caffe2Observer" in block]
    log = observer_log.parse(lines)
    assert log.kernels == {"ID_0_Conv_conv1": Kernel("jit:avx512_core", own=False)}
    assert log.facts["backend_summary"].startswith("nnpack: 18 of 26")
    assert log.damaged_lines == ()
