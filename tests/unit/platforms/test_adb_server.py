"""What goes through an adb server, against a stand-in for one: states, serial numbers, files, and bad servers."""

import os
import struct
import threading

import pytest

from benchmarking.errors import DeviceError, DeviceLostError, RunCancelledError
from benchmarking.platforms.android import adb, discovery, server, usb
from benchmarking.platforms.android.android import AndroidPlatform
from benchmarking.platforms.android.discovery import look_around, parse_devices
from benchmarking.platforms.android.server import ServerConnection
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.programs.process import Cancellation
from tests.support import adb_server
from tests.support.adb_server import Device


@pytest.fixture(autouse=True)
def no_usb(monkeypatch):
    monkeypatch.setattr(usb, "serials", lambda: None)


@pytest.fixture
def running(monkeypatch):
    """Starts a server that is found as adb's own is."""
    servers = []

    def start(*devices, **options):
        context = adb_server.running(*devices, **options)
        servers.append(context)
        one = context.__enter__()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(one.port))
        return one

    yield start
    for context in servers:
        context.__exit__(None, None, None)


@pytest.fixture
def phone(running):
    one = running(Device("PHONE"))
    return one, ServerConnection("PHONE", "127.0.0.1", one.port)


@pytest.mark.parametrize(
    ("state", "part"),
    [
        ("unauthorized", "allow USB debugging"),
        ("authorizing", "allow USB debugging"),
        ("offline", "adb reconnect"),
        ("connecting", "try again"),
        ("no permissions (missing udev rules? user is in the plugdev group); see [http://x]", "udev rules"),
        ("no permissions", "udev rules"),
        ("recovery", "adb reboot"),
        ("rescue", "adb reboot"),
        ("sideload", "adb reboot"),
        ("bootloader", "fastboot reboot"),
        ("host", "host mode"),
        ("detached", "adb attach"),
        ("something \x1b[31mnew", "reports its state as 'something ?[31mnew'"),
        ("x" * 5000, "reports its state as 'xxx"),
    ],
)
def test_every_state_is_named_with_what_to_do(running, state, part):
    running(Device("0A1B2C3D", state))
    seen = look_around([])
    assert not seen.connections
    assert part in seen.unusable["0A1B2C3D"]
    assert len(seen.unusable["0A1B2C3D"]) < 300


@pytest.mark.parametrize("serial", ["(no serial number)", "????????????"])
def test_a_device_without_a_serial_number_is_reported(running, serial):
    running(Device(serial))
    assert "reports no serial number" in look_around([]).unusable[serial]


@pytest.mark.parametrize(("serials", "source"), [([], "USB"), (None, "no USB (libusb cannot be used)")])
def test_where_it_looked_is_known(monkeypatch, serials, source):
    monkeypatch.setattr(discovery.usb, "serials", lambda: serials)
    assert look_around([]).sources[-1] == source


def discovered():
    found = AndroidPlatform.discover(PlatformOptions())
    for one in found.devices:
        one.close()
    return found


def props(serial, release="14"):
    return {"ro.serialno": serial, "ro.product.model": "sdk phone", "ro.build.version.release": release}


def test_emulators_with_one_serial_number_are_two_devices(running, caplog):
    running(
        Device("emulator-5554", properties=props("E1")), Device("emulator-5556", properties=props("E1", "13"))
    )
    found = discovered()
    assert not found.unusable
    assert [one.device.facts["android_version"] for one in found.devices] == ["14", "13"]
    assert [one.device.hash for one in found.devices] == ["E1-emulator-5554", "E1-emulator-5556"]
    assert len({one.device.name for one in found.devices}) == 2
    assert "2 devices report that they are E1 (emulator-5554, emulator-5556)" in caplog.text
    first, second = found.devices
    assert first.answers_to("emulator-5554")
    assert not first.answers_to("emulator-5556")
    assert first.answers_to("E1")
    assert second.answers_to("E1")


def test_boards_with_the_same_serial_number_are_distinguished_by_their_usb_port(running):
    running(
        Device("0123456789ABCDEF", place="usb:1-4", properties=props("0123456789ABCDEF")),
        Device("0123456789ABCDEF", place="usb:1-2.1", properties=props("0123456789ABCDEF")),
        Device("OTHER", place="usb:3-1", properties=props("OTHER")),
    )
    found = discovered()
    assert not found.unusable
    assert [one.device.hash for one in found.devices] == [
        *("0123456789ABCDEF-usb-1-4", "0123456789ABCDEF-usb-1-2.1", "OTHER"),
    ]


@pytest.mark.parametrize(("boots", "count"), [(("a", "a"), 1), (("a", "b"), 2)])
def test_another_boot_is_another_device_and_the_same_boot_another_way(running, boots, count):
    running(
        Device("SERIAL", properties=props("SERIAL"), boot_id=boots[0]),
        Device("192.168.1.7:5555", properties=props("SERIAL"), boot_id=boots[1]),
    )
    found = discovered()
    assert len({one.device.hash for one in found.devices}) == len(found.devices) == count
    assert any(one.answers_to("192.168.1.7:5555") for one in found.devices)


def test_a_longer_list_that_does_not_fit_is_not_used():
    devices = [("A", "device"), ("A", "device")]
    assert parse_devices("A\tdevice\nA\tdevice\n", lambda: "A device usb:1-1") == devices
    assert parse_devices("", lambda: "") == []
    assert parse_devices("no tab\n", lambda: "") == []


def test_scripts_and_their_streams(phone):
    shell = RemoteShell(phone[1])
    result = shell.run("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_a_script_that_is_too_long_for_a_request_is_refused_in_one_line(phone):
    with pytest.raises(DeviceError, match=r"a command of \d+ bytes cannot be passed on, only one of 65535"):
        RemoteShell(phone[1]).run(f": {'x' * 2**16}")
    assert RemoteShell(phone[1]).run(f"echo {'x' * 60_000}").stdout == "x" * 60_000 + "\n"


def test_an_old_shell_that_merges_the_streams(running):
    one = running(Device("PHONE"), knows_streams=False)
    shell = RemoteShell(ServerConnection("PHONE", "127.0.0.1", one.port))
    for _ in range(2):
        result = shell.run("echo out; echo err >&2; exit 7")
        assert (result.exit_code, sorted(result.stdout.split())) == (7, ["err", "out"])
    assert sum(service.startswith("shell,v2") for service in one.asked) == 1
    with pytest.raises(DeviceError, match="does not separate a program's streams"):
        shell.connection.start("cat", cancellation=None)


@pytest.mark.parametrize("size", [0, 1, 2**16, 3 * 2**16 + 7])
def test_files_go_there_and_back(phone, tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "there").write_bytes(content)
    phone[1].push(tmp_path / "there", f"{tmp_path}/on 'device'", cancellation=None)
    phone[1].pull(f"{tmp_path}/on 'device'", tmp_path / "back", cancellation=None)
    assert (tmp_path / "back").read_bytes() == content


def test_a_refusal_of_the_device_is_reported_in_its_words(phone, tmp_path):
    (tmp_path / "there").write_bytes(b"x")
    with pytest.raises(DeviceError, match="cannot read /nosuch: No such file") as caught:
        phone[1].pull("/nosuch", tmp_path / "back", cancellation=None)
    assert not isinstance(caught.value, DeviceLostError)
    with pytest.raises(DeviceError, match="cannot write /nosuch/file: No such file"):
        phone[1].push(tmp_path / "there", "/nosuch/file", cancellation=None)


def test_a_device_that_is_gone_is_lost(phone):
    phone[0].devices.clear()
    with pytest.raises(DeviceLostError, match="device 'PHONE' not found"):
        RemoteShell(phone[1]).run(":")


def test_a_network_address_is_connected_again(running):
    one = running(Device("10.0.0.1:5555"))
    ServerConnection("10.0.0.1:5555", "127.0.0.1", one.port).restart()
    assert one.asked == ["host:disconnect:10.0.0.1:5555", "host:connect:10.0.0.1:5555"]


def silent(connection):
    adb_server.read(connection, 1)


def dripping(head):
    def answer(connection):
        connection.sendall(head)
        while True:
            connection.sendall(b"0")
            if threading.Event().wait(0.05):
                return

    return answer


BAD = {
    "silence": (silent, "no answer within"),
    "no adb server": (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad"), "not an adb server"),
    "no length": (lambda connection: connection.sendall(b"FAILnine"), "not an adb server"),
    "a drip": (dripping(b"FAILffff"), "no answer within"),
    "the end": (lambda connection: connection.sendall(b"OK"), "closed the connection"),
    "colours": (lambda connection: adb_server.fail(connection, "\x1b[31mno"), r"\?\[31mno"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server_costs_a_bounded_time(phone, monkeypatch, name):
    monkeypatch.setattr(server, "CONNECT_LIMIT_S", 0.3)
    answer, part = BAD[name]
    phone[0].misbehave = {"host:": answer}
    with pytest.raises(DeviceLostError, match=part):
        RemoteShell(phone[1]).run(":", timeout_s=1)
    assert look_around([]).connections == []


BAD_FILES = {
    "silence": silent,
    "a drip": dripping(b"OKAYDATA\xff\xff\x00\x00"),
    "a huge block": lambda connection: connection.sendall(b"OKAYDATA" + struct.pack("<I", 2**31)),
    "nonsense": lambda connection: connection.sendall(b"OKAYHTTP\x00\x00\x00\x00"),
    "the end": lambda connection: connection.sendall(b"OKAYDATA\xff\x00\x00\x00only"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_service_costs_a_bounded_time(phone, monkeypatch, tmp_path, name):
    monkeypatch.setattr(adb.Patience.__init__, "__defaults__", (0.3, None, True, 1.0))
    phone[0].misbehave = {"sync:": BAD_FILES[name]}
    with pytest.raises(DeviceLostError, match="cannot read /x"):
        phone[1].pull("/x", tmp_path / "back", cancellation=None)


@pytest.mark.parametrize("service", ["sync:", "shell", "host:transport"])
def test_a_cancellation_ends_every_wait(phone, tmp_path, service):
    with Cancellation() as cancellation:

        def hang(connection):
            cancellation.set()
            silent(connection)

        phone[0].misbehave = {service: hang}
        with pytest.raises(RunCancelledError):
            use(phone[1], service, tmp_path, cancellation)


def use(connection, service, tmp_path, cancellation):
    if service == "sync:":
        connection.pull("/x", tmp_path / "back", cancellation=cancellation)
    else:
        connection.shell("sleep 60", timeout_s=60, cancellation=cancellation)
