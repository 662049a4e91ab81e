"""What a device's shell answers, and what of it is shown: also if the connection breaks within a line."""

import pytest

from benchmarking.errors import DeviceError, DeviceLostError
from benchmarking.platforms import reference
from benchmarking.platforms.android import shell_protocol
from benchmarking.platforms.android.adb import LONGEST_REASON, error_text
from benchmarking.platforms.remote import program_run
from benchmarking.platforms.remote.connection import ShellOutput
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.results.plain_text import LONGEST_LAST_LINE

HOSTILE = "first line\n\x1b[2Jall is \rwell"
SHOWN = "well"


class Board:
    """Answers with the script's frame around this output, cut off after as many characters of stderr."""

    address = "board"

    def __init__(self, stdout="", stderr="", status=0, cut=None, merged=False):
        self.answer = stdout, stderr, status
        self.cut, self.merged = cut, merged

    def shell(self, script, *, timeout_s, cancellation):
        token = script.partition(";")[0].removeprefix("echo ")
        stdout, stderr, status = self.answer
        out, err = f"{token}\n{stdout}", f"{token}\n{stderr}\n{token} {status}\n"
        err = err if self.cut is None else err[: self.cut]
        return ShellOutput(f"{out}{err}", "") if self.merged else ShellOutput(out, err)


@pytest.mark.parametrize("merged", [False, True])
def test_an_end_that_is_not_whole_is_a_lost_connection(merged):
    length = len("0123456789abcdef\n\n0123456789abcdef 127\n")
    for cut in range(length):
        shell = RemoteShell(Board(status=127, cut=cut, merged=merged))
        with pytest.raises(DeviceLostError, match=r"^board: the connection ended before the command did"):
            shell.run("x")
        assert shell.is_lost
    shell = RemoteShell(Board(status=127, cut=length, merged=merged))
    assert (shell.run("x").exit_code, shell.is_lost) == (127, False)


def test_a_complaint_is_the_last_line_and_controls_no_terminal():
    with pytest.raises(DeviceError) as caught:
        RemoteShell(Board(stderr=HOSTILE, status=1)).check("x")
    assert str(caught.value) == f"board: {SHOWN}"
    assert "first line" in caught.value.evidence


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"), [("out", "", "out"), ("out", " \n", "out"), ("", "", "exit status 3")]
)
def test_a_complaint_may_be_on_either_stream(stdout, stderr, said):
    with pytest.raises(DeviceError, match=f"^board: {said}$"):
        RemoteShell(Board(stdout, stderr, status=3)).check("x")


def test_a_complaint_is_short():
    with pytest.raises(DeviceError) as caught:
        RemoteShell(Board(stderr="x" * 100_000, status=1)).check("x")
    assert str(caught.value) == f"board: {'x' * LONGEST_LAST_LINE}"


@pytest.mark.parametrize("cut", range(1, len("\nt 1 0 77\n")))
def test_the_end_of_a_program_that_is_not_whole_is_none(cut):
    assert program_run.read_end("said\nt 1 0 77\n"[:-cut], "t") is None


def test_the_end_of_a_program():
    end = program_run.read_end("said\nt 137 0 77\nlog\n", "t")
    assert (end.exit_code, end.stderr, end.device_log, end.pid) == (-9, "said", "log\n", 77)
    assert program_run.read_end("said\nt 143 1 77\n", "t").exit_code is None


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (1, 1), (128, 128), (129, -1), (255, -127), (256, 0), (265, -9)]
)
def test_signals_in_the_status_of_shells(status, code):
    assert program_run.read_end(f"\nt {status} 0 7\n", "t").exit_code == code


@pytest.mark.parametrize("answer", ["", " \n \n \n", "1.0 2.0\n1.0 2.0\n", "1 2\n1 2\nx y\n", "1 2 3\n" * 3])
def test_a_device_without_the_clock_of_the_reference_says_so(answer):
    with pytest.raises(DeviceError, match=r"^the reference computation needs /proc/uptime"):
        reference.read_seconds(answer)


def test_the_reference_is_the_fastest_round():
    assert reference.read_seconds("1.0 2.5\n3.0 4.25\n5.0 7.0\n") == 1.25


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("first\nsecond"), "first"),
        (OSError(b"\xff\x1b[2Jno space\nleft"), "\N{REPLACEMENT CHARACTER}?[2Jno space"),
        (OSError("  "), "OSError"),
        (OSError(b""), "OSError"),
        (OSError("x" * 10_000), "x" * LONGEST_REASON),
    ],
)
def test_the_reason_of_a_failure_is_one_short_line(error, text):
    assert error_text(error) == text


def test_only_standard_error_is_kept_as_such():
    packets = shell_protocol.Packets()
    kinds = [shell_protocol.STDIN, shell_protocol.STDOUT, shell_protocol.STDERR, shell_protocol.EXIT, 9]
    data = b"".join(shell_protocol.packet(kind, b"<%d>" % kind) for kind in kinds)
    assert b"".join(packets.feed(data[at : at + 3]) for at in range(0, len(data), 3)) == b"<1>"
    assert packets.stderr.text() == "<2>"
