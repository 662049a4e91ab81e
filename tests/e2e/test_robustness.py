"""The counts of docs/robustness.md, a few of each, and that they notice what they are for."""

import argparse
import subprocess
import sys
import time

import pytest

from benchmarks import robustness
from tests.support.workshop import ROOT


def test_a_few_of_each_end_as_they_should():
    names = "specifications,outputs,histories,signals,servers"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/robustness.py", "--count", "4", "--only", names, "--seed", "7"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()[2:]
    assert [row.split(" | ")[1:3] for row in rows] == [["4", "0"]] * 5


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        (RuntimeError("boom"), "RuntimeError: boom"),
        (robustness.FaultError("left over"), "left over"),
        (robustness.HangError("longer than 30 s"), "longer than 30 s"),
    ],
)
def test_what_goes_wrong_is_counted_and_can_be_repeated(capsys, what, shown):
    class Wrong(robustness.Trial):
        name = "wrong"
        what = "nothing"

        def attempt(self, draw):
            raise error

    error = what
    row, faults = robustness.tried(Wrong, argparse.Namespace(count=3, seconds=60, seed=1))
    assert (row.split(" | ")[1:4], faults) == (["3", "3", "3 FAULT"], 3)
    told = capsys.readouterr().err
    assert "fault in '1 wrong 2'" in told
    assert shown in told


def test_a_line_that_could_drive_a_terminal_is_noticed():
    robustness.require_harmless("a\nb\n")
    with pytest.raises(robustness.FaultError, match="drive a terminal"):
        robustness.require_harmless("a\n\x1b[31mb")


def test_a_hang_is_noticed():
    with pytest.raises(robustness.HangError), robustness.within(0.05):
        time.sleep(60)
