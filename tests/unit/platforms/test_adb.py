"""The direct connection to the real adbd: defects of adb-shell that are patched."""

import subprocess
import threading
import time

import pytest

from benchmarking.errors import DeviceError, DeviceLostError, RunCancelledError
from benchmarking.platforms.android import direct, discovery, mdns
from benchmarking.platforms.android.adb import Patience
from benchmarking.platforms.android.android import AndroidPlatform
from benchmarking.platforms.android.direct import DirectConnection
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.programs.process import Cancellation
from tests.device_lab.authorization import AuthorizingDevice


@pytest.fixture(scope="module")
def phone(lab):
    return lab.android("phone")


@pytest.fixture
def connection(phone):
    one = DirectConnection("phone", lambda: direct.tcp_transport(phone.address, 5555), [])
    yield one
    one.close()


@pytest.fixture
def shell(connection):
    return RemoteShell(connection)


@pytest.fixture
def key(tmp_path, monkeypatch):
    """The line of the user's public key."""
    from adb_shell.auth.keygen import keygen

    (tmp_path / ".android").mkdir()
    keygen(str(tmp_path / ".android/adbkey"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return (tmp_path / ".android/adbkey.pub").read_text()


def test_streams_and_exit_status_come_apart(shell):
    result = shell.run("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_a_device_without_the_newer_shell_protocol(shell, connection):
    connection._separate_streams = False
    result = shell.run("echo out; echo err >&2; exit 7")
    assert result.exit_code == 7
    assert sorted(result.stdout.split()) == ["err", "out"]


def test_a_refused_service_is_reported_at_once(connection):
    started = time.monotonic()
    with pytest.raises(DeviceLostError, match="no service"), connection.failures("x"):
        connection.open("nosuch:service", Patience(30))
    assert time.monotonic() - started < 5


def test_a_closed_connection_is_reported_at_once(shell, phone):
    timer = threading.Timer(0.5, phone.kill, ["adbd"])
    timer.start()
    started = time.monotonic()
    with pytest.raises(DeviceLostError):
        shell.run("sleep 30")
    assert time.monotonic() - started < 5
    while True:  # it is started again, as on a phone
        try:
            assert shell.check("echo here") == "here\n"
            break
        except DeviceLostError:
            assert time.monotonic() - started < 20


def test_a_silent_command_is_given_up_and_can_be_cancelled(shell):
    with pytest.raises(DeviceLostError, match="no answer within 1 s"):
        shell.run("sleep 30", timeout_s=1)
    with Cancellation() as cancellation:
        threading.Timer(0.3, cancellation.set).start()
        with pytest.raises(RunCancelledError):
            shell.run("sleep 30", cancellation=cancellation)
    assert shell.check("echo here") == "here\n"


def test_many_megabytes_go_there_and_back(shell, connection, tmp_path):
    content = bytes(range(256)) * 100_000
    (tmp_path / "there").write_bytes(content)
    connection.push(tmp_path / "there", "/data/local/tmp/file", cancellation=None)
    connection.pull("/data/local/tmp/file", tmp_path / "back", cancellation=None)
    assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(DeviceError, match="No such file"):
        connection.pull("/data/local/tmp/nosuch", tmp_path / "nothing", cancellation=None)
    with pytest.raises(DeviceError, match="cannot write /nosuch"):
        connection.push(tmp_path / "there", "/nosuch\0/file", cancellation=None)


def discovered(address):
    found = AndroidPlatform.discover(PlatformOptions(devices=(address,)))
    for one in found.devices:
        one.close()
    return found


def test_a_known_key_is_let_in_without_asking(phone, key):
    with AuthorizingDevice((phone.address, 5555), [key], "reject") as device:
        assert discovered(device.address).devices
        assert device.asked == 0


def test_a_new_key_is_let_in_when_a_person_accepts_it(phone, key):
    with AuthorizingDevice((phone.address, 5555), [], "accept") as device:
        assert discovered(device.address).devices
        assert device.asked == 1


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_the_message_to_an_unauthorised_machine_has_a_remedy(phone, key, answer, monkeypatch):
    monkeypatch.setattr(direct, "AUTHORIZATION_LIMIT_S", 1.0)
    with AuthorizingDevice((phone.address, 5555), [], answer) as device:
        reason = discovered(device.address).unusable[device.address]
    assert "not authorised; allow USB debugging on the device's screen" in reason


def test_the_message_to_a_machine_without_a_key_has_a_remedy(phone, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with AuthorizingDevice((phone.address, 5555), [], "accept") as device:
        reason = discovered(device.address).unusable[device.address]
    assert "try: adb keygen ~/.android/adbkey" in reason


def test_a_device_that_is_found_twice_is_one(lab, phone):
    with AuthorizingDevice((phone.address, 5555), [], "accept") as device:
        addresses = (f"{phone.address}:5555", "10.77.0.250:5555")
        found = AndroidPlatform.discover(PlatformOptions(devices=addresses))
    assert [one.device.hash for one in found.devices] == [phone.serial]
    assert list(found.unusable) == ["10.77.0.250:5555"]
    assert "cannot connect" in found.unusable["10.77.0.250:5555"]
    assert device.asked == 0
    for text in (phone.serial, phone.model, f"{phone.address}:5555", "Lab-amd64-LABPHONE"):
        assert found.devices[0].answers_to(text)


def heard(search):
    """What a search found: on a busy machine datagrams get lost, or come late."""
    return next((found for found in (search() for _ in range(3)) if found), {})


def test_devices_that_announce_themselves_are_reported(lab):
    import socket

    from zeroconf import ServiceInfo, Zeroconf

    subprocess.run(["ip", "-n", lab.namespace, "route", "add", "default", "dev", "bridge"], check=True)
    info = ServiceInfo(
        "_adb._tcp.local.",
        "adb-LAB1._adb._tcp.local.",
        addresses=[socket.inet_aton("10.77.0.77")],
        port=5555,
        server="lab1.local.",
    )
    announcer = Zeroconf()
    try:
        announcer.register_service(info)
        assert heard(mdns.announced) == {"10.77.0.77:5555": "adb-LAB1"}
        unusable = heard(lambda: discovery.look_around([], search_network=True).unusable)
        assert "name it: --devices 10.77.0.77:5555" in unusable["10.77.0.77:5555"]
        assert not discovery.look_around([]).unusable
    finally:
        announcer.close()
        subprocess.run(["ip", "-n", lab.namespace, "route", "del", "default"], check=True)
