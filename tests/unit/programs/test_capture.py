"""What is kept of a long stream: whole lines of its beginning and of its end."""

import pytest

from benchmarking.programs import capture
from benchmarking.programs.capture import Capture


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(capture, "HEAD_LIMIT_BYTES", 10)
    monkeypatch.setattr(capture, "TAIL_LIMIT_BYTES", 10)


def captured(*pieces):
    one = Capture()
    for piece in pieces:
        one.add(piece)
    return one.text(), one.omitted_bytes


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_lines_at_the_cuts_are_left_out_whole(limits, size):
    text = b"".join(b"%03d\n" % number for number in range(250))
    shown, omitted = captured(*(text[at : at + size] for at in range(0, len(text), size)))
    lines = shown.split("\n")
    assert lines[:2] == ["000", "001"]
    assert lines[-2:] == ["249", ""]
    assert lines[2:-1] == [f"{number:03}" for number in range(int(lines[2]), 250)]
    # Between one and two times the limit, less the line at the cut.
    assert 10 - 3 <= len(shown) - 8 <= 20
    assert omitted >= len(text) - 10 - 20


@pytest.mark.parametrize("length", [9, 10, 11, 30])
def test_what_fits_is_kept_as_it_is(limits, length):
    text = "abcdefghijklmnopqrstuvwxyz01234"[:length]
    assert captured(text.encode()) == (text, 0)
    assert captured(*(one.encode() for one in text)) == (text, 0)


def test_what_is_between_two_kept_lines_is_counted(limits):
    assert captured(b"a\nbcdefghi" + b"j" * 10 + b"k\nmnopqrstuv") == ("a\nmnopqrstuv", 20)


def test_a_line_that_was_cut_is_left_out_however_long_it_is(limits):
    """The rest of a number is another number."""
    assert captured(b"1" * 100) == ("", 100)
    assert captured(b"a\n" + b"1" * 100) == ("a\n", 100)
    assert captured(b"1" * 100 + b"\nb") == ("b", 101)
