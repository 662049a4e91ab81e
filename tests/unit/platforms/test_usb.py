"""Adb over USB, as far as it goes without a device: what libusb would answer is made up."""

from types import SimpleNamespace

import pytest

usb1 = pytest.importorskip("usb1")

from adb_shell.exceptions import UsbReadFailedError  # noqa: E402
from adb_shell.transport.usb_transport import UsbTransport  # noqa: E402

from benchmarking.platforms.android import usb  # noqa: E402
from benchmarking.platforms.android.adb import Patience  # noqa: E402


class Silent:
    @property
    def serial_number(self):
        raise usb1.USBErrorAccess


def test_the_serial_numbers_of_those_that_tell_theirs(monkeypatch):
    devices = [SimpleNamespace(serial_number="b"), Silent(), SimpleNamespace(serial_number="a")]
    monkeypatch.setattr(UsbTransport, "find_all_adb_devices", lambda: iter(devices))
    assert usb.serials() == ["a", "b"]


def test_usb_that_cannot_be_read_is_none(monkeypatch):
    def fail():
        raise usb1.USBErrorAccess

    monkeypatch.setattr(UsbTransport, "find_all_adb_devices", fail)
    assert usb.serials() is None


class Device:
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def connect(self, limit_s):
        self.calls.append(("connect", limit_s))

    def bulk_read(self, count, limit_s):
        self.calls.append(("read", count, limit_s))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def bulk_write(self, data, limit_s):
        self.calls.append(("write", data, limit_s))
        return len(data)

    def close(self):
        self.calls.append(("close",))


@pytest.fixture
def connected(monkeypatch):
    def connected(*answers, limit_s=60.0):
        device = Device(*answers)
        monkeypatch.setattr(UsbTransport, "find_adb", lambda serial: device if serial == "a" else None)
        transport = usb.transport("a")
        transport.connect(5.0)
        transport.patience = Patience(limit_s)
        return transport, device

    return connected


def timeout(received=b""):
    error = usb1.USBErrorTimeout()
    error.received = received
    return UsbReadFailedError("read", error)


def test_it_reads_in_steps_until_there_is_something(connected):
    transport, device = connected(timeout(), b"", b"data")
    assert transport.bulk_read(24, None) == b"data"
    assert device.calls == [("connect", 5.0), *[("read", 24, 0.5)] * 3]


def test_what_came_before_a_timeout_is_not_lost(connected):
    transport, _ = connected(timeout(b"part"))
    assert transport.bulk_read(24, None) == b"part"


def test_a_device_that_is_gone_is_no_timeout(connected):
    transport, _ = connected(UsbReadFailedError("read", usb1.USBErrorNoDevice()))
    with pytest.raises(UsbReadFailedError):
        transport.bulk_read(24, None)


def test_silence_is_given_up(connected):
    transport, device = connected(*[timeout()] * 9, limit_s=0.0)
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        transport.bulk_read(24, None)
    assert len(device.answers) == 8


def test_it_writes_within_its_patience_and_closes(connected):
    transport, device = connected(limit_s=7.0)
    assert transport.bulk_write(b"data", None) == 4
    transport.close()
    assert device.calls[1:] == [("write", b"data", 7.0), ("close",)]
    usb.transport("a").close()
