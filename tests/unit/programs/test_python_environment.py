"""Which Python runs a program, and what it lacks."""

import re
import sys
from pathlib import Path

import pytest

from benchmarking.errors import UsageError
from benchmarking.programs.python_environment import examine


def test_an_environment_is_known_by_its_packages():
    first, again = (examine(sys.executable, ("json", "numpy.linalg"), "--python") for _ in range(2))
    assert first == again
    assert first.name == re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(sys.prefix).name)
    assert len(first.content) == 12


def test_what_it_lacks_is_one_line():
    with pytest.raises(
        UsageError, match=r"^--python: .* lacks nonesuch.part, other; install with: .* -m pip"
    ):
        examine(sys.executable, ("json", "nonesuch.part", "other"), "--python")


def test_another_program_is_not_a_python():
    with pytest.raises(UsageError, match="'/bin/echo' does not run as Python"):
        examine("/bin/echo", (), "--python")


@pytest.mark.parametrize("answer", ["[]", "3", '{"version": 3}', "null", '{"version": [3, 12]}'])
def test_what_answers_in_json_is_not_yet_a_python(tmp_path, answer):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    with pytest.raises(UsageError, match=r"^--python: .* does not run as Python"):
        examine(str(program), (), "--python")
