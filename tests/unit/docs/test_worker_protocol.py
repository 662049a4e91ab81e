"""docs/worker_protocol.md: its example speaks the protocol, and its answers can be read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.programs import worker_protocol
from benchmarking.programs.worker_protocol import IterationSample, Request, WorkerError, WorkerReady

TEXT = (Path(__file__).parents[3] / "docs/worker_protocol.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(EXAMPLE)
    return [sys.executable, str(path)]


def test_the_example_speaks_the_protocol(program):
    lines = "run\nrun operators\nwalk\nrun\nquit\nrun\n"
    done = subprocess.run(
        [*program, "--net", "x", "--warmup", "2", "--worker", "true"],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    ready, *answers = [worker_protocol.read(line) for line in done.stdout.splitlines()]
    assert isinstance(ready, WorkerReady)
    assert ready.facts == {"engine": "Python"}
    assert [type(one) for one in answers] == [IterationSample, IterationSample, WorkerError, IterationSample]
    assert list(answers[1].operators) == ["ID_0_Sum_numbers"]


def test_the_example_refuses_what_it_does_not_know(program):
    done = subprocess.run([*program, "--worker", "fork"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""


def test_each_answer_that_is_shown_can_be_read():
    shown = [text.replace(", ...", "") for text in re.findall(r"`(\{.*?\})`", TEXT)]
    assert len(shown) >= 6
    for text in shown:
        worker_protocol.read(text)


def test_each_line_is_named():
    assert {line for line in Request if f"`{line}`" not in TEXT} == set()
