"""What signals do to a run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
