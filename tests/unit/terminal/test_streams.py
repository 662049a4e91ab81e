import io
import logging
import os
import sys

import pytest
from rich.console import ColorSystem

from benchmarking.errors import StorageError, UsageError
from benchmarking.terminal import streams
from benchmarking.terminal.console import PlainConsole, borderless_table, rendered

HOSTILE = "a\x1b]0;owned\x07\x1b[31mb\x9b2J\u202ec\u2066d\u200be\u2028f\x85g\rh\ud800"
HARMLESS = "a?]0;owned??[31mb?2J?c?d?e?f?g?h?"


def stream_of(path, encoding="utf-8"):
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(path, "w")), encoding=encoding)


def test_a_log_keeps_line_breaks_and_nothing_else():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "first %s\n  second", (HOSTILE,), None)
    assert streams.PlainFormatter("%(message)s").format(record) == f"first {HARMLESS}\n  second"


def test_a_traceback_is_harmless_too():
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "a bug", (), sys.exc_info())
    text = streams.PlainFormatter("%(message)s").format(record)
    assert text.splitlines()[-1] == f"ValueError: {HARMLESS}"


def test_output_and_messages_have_no_control_characters(capsys):
    streams.show(f"{HOSTILE}\n")
    streams.show_message(HOSTILE)
    assert capsys.readouterr() == (f"{HARMLESS}\n", f"{HARMLESS}\n")


def test_only_our_own_styles_reach_a_console():
    """Rich itself leaves out the bell and the carriage return."""
    harmless = HARMLESS.replace("owned??", "owned?").replace("g?h", "gh")
    stream = io.StringIO()
    console = PlainConsole(stream, 80)
    console.print(f"[red]{HOSTILE}", style="green")
    assert stream.getvalue() == f"[red]{harmless}\n"
    coloured = PlainConsole(stream, 80)
    coloured._color_system = ColorSystem.STANDARD
    coloured.print(HOSTILE, style="green")
    assert stream.getvalue().endswith(f"\x1b[32m{harmless}\x1b[0m\n")


def test_a_console_whose_disk_is_full_is_one_line():
    """Rich writes an empty text at the end of what it renders, which /dev/full refuses if it is not buffered."""
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    with full, pytest.raises(StorageError, match=r"^cannot write to stdout: No space left on device$"):
        rendered(PlainConsole(full, 80), "x")


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", b"5 ?C gro?e ?"), ("latin-1", b"5 \xb0C gr\xf6\xdfe ?")]
)
def test_an_encoding_that_lacks_a_character_gets_a_similar_one(tmp_path, monkeypatch, encoding, expected):
    with stream_of(tmp_path / "out", encoding) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        streams.prepare_streams()
        streams.show("5 °C größe 模\n")
        streams.show_message("5 °C größe 模")
    assert (tmp_path / "out").read_bytes() == expected + b"\n" + expected + b"\n"


def test_a_closed_pipe_is_not_a_failure(monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    streams.show("nobody reads it")
    streams.show_message("nor this")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_full_disk_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream_of("/dev/full"))
    with pytest.raises(StorageError, match="cannot write to stdout: No space left"):
        streams.show("text")
    monkeypatch.undo()


def test_a_closed_stdout_is_the_users_mistake(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UsageError, match="stdout is closed"):
        streams.show("text")


def test_a_console_shows_what_it_is_given():
    stream = io.StringIO()
    console = PlainConsole(stream, width=60)
    console.print("[bold]a[/bold] :smile: 12.5 ms /path 'text'")
    assert stream.getvalue() == "[bold]a[/bold] :smile: 12.5 ms /path 'text'\n"
    table = borderless_table(gap=3)
    for name in ("one", "two"):
        table.add_column(name)
    table.add_row("a", "b")
    console.print(table)
    assert stream.getvalue().splitlines()[1:] == ["one   two", "a     b  "]
