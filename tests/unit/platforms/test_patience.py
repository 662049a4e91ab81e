"""How long adb waits for a device, with a clock that the test turns; and what its errors say."""

import socket
import time

import pytest

from benchmarking.errors import RunCancelledError
from benchmarking.platforms.android.adb import Patience, error_text
from benchmarking.programs.process import Cancellation


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


def test_progress_extends_the_limit_but_not_beyond_the_total(clock):
    patience = Patience(10, total_s=25)
    for now in (1010.0, 1020.0):
        clock.now = now
        patience.check_time(renew=True)
    clock.now = 1025.0
    patience.check_time(renew=False)
    clock.now = 1025.1
    with pytest.raises(TimeoutError, match="it took longer than 25 s"):
        patience.check_time(renew=True)


def test_without_progress_the_limit_is_the_end(clock):
    patience = Patience(10)
    clock.now = 1010.0
    patience.check_time(renew=False)
    clock.now = 1010.1
    with pytest.raises(TimeoutError, match="no answer within 10 s"):
        patience.check_time(renew=False)


def test_without_renewal_what_has_arrived_when_the_time_is_over_is_read_once(clock):
    patience = Patience(10, renews=False, total_s=5)
    clock.now = 1010.0
    patience.check_time(renew=True)
    clock.now = 1010.1
    patience.check_time(renew=True)
    with pytest.raises(TimeoutError, match="no answer within 10 s"):
        patience.check_time(renew=True)


def test_it_waits_for_what_can_be_read_or_written_or_for_a_cancellation():
    ours, theirs = socket.socketpair()
    with ours, theirs, Cancellation() as cancellation:
        patience = Patience(60, cancellation)
        patience.wait_for(ours, to_write=True)
        theirs.send(b"x")
        patience.wait_for(ours)
        with pytest.raises(TimeoutError):
            Patience(0.0, cancellation).wait_for(theirs)
        cancellation.set()
        with pytest.raises(RunCancelledError):
            patience.wait_for(theirs)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("no such device\nat all"), "no such device"),
        (OSError(), "OSError"),
        (ValueError(b"disk \xff full\nmore", "other"), "disk \ufffd full"),
        (ValueError("text", b"bytes"), "('text', b'bytes')"),
        (ValueError(b""), "ValueError"),
    ],
)
def test_the_first_line_of_an_error_says_it(error, text):
    assert error_text(error) == text
