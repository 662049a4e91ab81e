"""What signals and errors do to a run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking.cli.argument_types import Parser
from benchmarking.cli.running import cancelled_by_signals, guarded, run_command
from benchmarking.errors import DeviceError, ExitStatus, UsageError
from benchmarking.programs.process import Cancellation

ROOT = Path(__file__).parents[3]
RUN = """
import os, sys
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.programs.process import Cancellation
with Cancellation() as cancellation, cancelled_by_signals(cancellation):
    for number in sys.argv[1:]:
        os.kill(os.getpid(), int(number))
    print(cancellation.is_set)
"""


@pytest.mark.parametrize(
    ("numbers", "status", "output"),
    [
        ([], 0, "False\n"),
        ([signal.SIGTERM], 0, "True\n"),
        ([signal.SIGINT] * 2, 130, ""),
        ([signal.SIGHUP, signal.SIGTERM], 130, ""),
        ([signal.SIGINT, signal.SIGHUP, signal.SIGHUP], 0, "True\n"),
    ],
)
def test_the_first_signal_cancels_and_the_second_ends_the_process_but_not_if_a_terminal_is_closed(
    numbers, status, output
):
    command = [sys.executable, "-c", RUN, *(str(int(one)) for one in numbers)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, output), done.stderr


WAITING = """
import os, signal, threading, time
from benchmarking.cli.running import cancelled_by_signals
from benchmarking.programs.process import Cancellation
with Cancellation() as cancellation, cancelled_by_signals(cancellation):
    def work():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        print(cancellation.wait(20), cancellation.is_set)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as one that arrives before the main thread waits
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
"""


def test_a_signal_cancels_also_while_the_main_thread_waits_and_cannot_handle_it():
    command = [sys.executable, "-c", WAITING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("one\ntwo"), ExitStatus.BAD_USAGE, "name: one\nname: two\n"),
        (DeviceError("gone"), ExitStatus.DEVICE_FAILED, "name: gone\n"),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED, ""),
        (
            ModuleNotFoundError("No module named 'onnx'", name="onnx"),
            ExitStatus.BAD_USAGE,
            "name: the package onnx is missing; ",
        ),
        (ValueError("odd"), ExitStatus.INTERNAL_ERROR, "name: a bug of this program:\nTraceback"),
    ],
)
def test_an_error_is_a_line_and_a_status(capsys, error, status, said):
    assert guarded("name", raising(error)) == status
    shown = capsys.readouterr()
    assert (shown.out, shown.err[: len(said)]) == ("", said)
    if isinstance(error, ValueError):
        assert shown.err.endswith("ValueError: odd\n")
    elif "\n" in said:
        assert shown.err == said


def test_a_module_of_ours_that_is_missing_is_a_bug():
    with pytest.raises(ModuleNotFoundError):
        guarded("name", raising(ModuleNotFoundError("No module", name="benchmarking.nonesuch")))


def test_without_a_current_directory_nothing_is_begun(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    begun = []
    assert guarded("name", lambda: begun.append(1) or ExitStatus.OK) == ExitStatus.BAD_USAGE
    message = "the current directory does not exist any more; start again from another directory"
    assert (capsys.readouterr().err, begun) == (f"name: {message}\n", [])


def test_a_command_is_parsed_and_performed():
    parser = Parser("mlbench thing", description="It does.", epilog="")
    parser.add_argument("word")
    given = []
    assert run_command(parser, ["x"], lambda one: given.append(one.word) or ExitStatus.OK) == ExitStatus.OK
    assert given == ["x"]


def test_signals_are_handled_as_before_in_the_end():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(one) for one in numbers]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        assert all(signal.getsignal(one) is not old for one, old in zip(numbers, before, strict=True))
        signal.raise_signal(signal.SIGHUP)
        assert cancellation.is_set
    assert [signal.getsignal(one) for one in numbers] == before
    assert signal.set_wakeup_fd(wakeup) == wakeup
