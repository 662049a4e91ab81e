"""What a runtime prints, out of the way of answers."""

import os
import tempfile
from pathlib import Path

import pytest

from benchmarking.frameworks.kit import printed
from benchmarking.frameworks.kit.errors import ModelError

DESCRIPTORS = Path("/proc/self/fd")


def test_what_is_printed_below_python_is_captured_and_the_streams_are_as_before(capfd):
    with printed.captured(printed.STDOUT, printed.STDERR) as text:
        os.write(1, b"one ")
        os.write(2, b"two")
        text.seek(0)
        assert text.read() == b"one two"
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")


def test_without_a_place_for_it_there_is_one_line_and_nothing_is_left_open(monkeypatch):
    def no_place(**_):
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_place)
    before = sorted(DESCRIPTORS.iterdir())
    with pytest.raises(ModelError, match="set TMPDIR"), printed.captured(printed.STDOUT):
        pass
    assert sorted(DESCRIPTORS.iterdir()) == before
