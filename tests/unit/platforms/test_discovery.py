"""Where Android devices are looked for, without one."""

import logging
import time

import pytest

from benchmarking.platforms.android import direct, discovery, mdns, usb


@pytest.fixture(autouse=True)
def _nothing_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(usb, "serials", list)
    monkeypatch.setattr(discovery, "_listens", lambda *_: False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ADB_VENDOR_KEYS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("port", ["65536", "99999", "123456789012345678901234"])
def test_a_port_that_does_not_exist_is_not_taken_for_another(port):
    address = f"10.0.0.1:{port}"
    seen = discovery.look_around([address])
    assert seen.connections == []
    assert seen.unusable == {address: f"{address}: its port is above 65535"}


@pytest.mark.parametrize("port", ["0", "5555", "65535"])
def test_a_port_that_exists_is_tried(port):
    seen = discovery.look_around([f"10.0.0.1:{port}"])
    assert [one.address for one in seen.connections] == [f"10.0.0.1:{port}"]
    assert not seen.unusable


@pytest.mark.parametrize(
    ("text", "port"), [("", 5037), ("x", 5037), ("5038", 5038), ("65536", 5037), ("9" * 5000, 5037)]
)
def test_the_port_of_the_server(monkeypatch, text, port):
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", text)
    assert discovery._server_address() == ("127.0.0.1", port)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"no key",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    ],
)
def test_a_key_that_cannot_be_read_is_named_and_left_out(monkeypatch, tmp_path, caplog, content):
    (tmp_path / "own").write_bytes(content)
    (tmp_path / "own.pub").write_text("public")
    monkeypatch.setenv("ADB_VENDOR_KEYS", str(tmp_path / "own"))
    with caplog.at_level(logging.WARNING):
        assert direct.private_keys() == []
    (message,) = caplog.messages
    assert message.startswith(f"the key {tmp_path}/own cannot be used: ")
    assert "\n" not in message


def test_keys_that_do_not_exist_are_no_news(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("ADB_VENDOR_KEYS", str(tmp_path / "nonesuch"))
    assert direct.private_keys() == []
    assert not caplog.messages


def test_names_that_strangers_announce_control_no_terminal(monkeypatch):
    class Network:
        def get_service_info(self, service, name, timeout):
            return self

        def parsed_addresses(self):
            return ["10.0.0.9", "fe80::1"]

        port = 5555

        def close(self):
            pass

    def browse(network, services, listener):
        listener.add_service(network, services[0], f"adb-1\x1b[2J\nhost ready.{services[0]}")

    monkeypatch.setattr("zeroconf.Zeroconf", Network)
    monkeypatch.setattr("zeroconf.ServiceBrowser", browse)
    monkeypatch.setattr(mdns, "LISTEN_S", 0)
    name = "adb-1?[2J?host ready"
    assert mdns.announced() == {"10.0.0.9:5555": name, "[fe80::1]:5555": name}


def test_silent_announcements_hold_nobody_up(monkeypatch):
    """All wait at the same time, and within one limit."""
    limits_ms = []

    class Network:
        def get_service_info(self, service, name, timeout):
            limits_ms.append(timeout)
            time.sleep(timeout / 1000)
            return

        def close(self):
            pass

    def browse(network, services, listener):
        for number in range(200):
            listener.add_service(network, services[0], f"silent{number}.{services[0]}")

    monkeypatch.setattr("zeroconf.Zeroconf", Network)
    monkeypatch.setattr("zeroconf.ServiceBrowser", browse)
    monkeypatch.setattr(mdns, "LISTEN_S", 0)
    monkeypatch.setattr(mdns, "DETAILS_LIMIT_MS", 100)
    assert mdns.announced() == {}
    assert len(limits_ms) == 200
    assert sum(limits_ms) <= 100 * mdns.ASKED_AT_ONCE
