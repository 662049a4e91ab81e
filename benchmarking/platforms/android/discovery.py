"""Which Android devices can be reached, and how: addresses that were named, a running adb server, USB."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarking.platforms.android import direct, mdns, server, usb
from benchmarking.platforms.android.adb import AdbConnection
from benchmarking.platforms.android.direct import DirectConnection
from benchmarking.platforms.android.server import ServerConnection

_NETWORK_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(?P<port>\d+)")
_SERVER_STATES = {
    "unauthorized": "this machine is not authorised; allow USB debugging on the device's screen",
    "offline": "the adb server says that it is offline; plug it in anew, or: adb reconnect",
    "no permissions": "the adb server may not open the USB device; see adb's udev rules",
    "recovery": "it is in recovery mode; reboot it",
    "sideload": "it is in sideload mode; reboot it",
    "bootloader": "it is in the bootloader; reboot it",
}


@dataclass(frozen=True)
class Sightings:
    connections: Sequence[AdbConnection] = ()
    """More than one may lead to the same device; the first is the best."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[str] = ()
    """Where was looked, for a message when there is nothing."""


def is_network_address(text: str) -> bool:
    return _NETWORK_ADDRESS.fullmatch(text) is not None


def look_around(named: Sequence[str], *, search_network: bool = False) -> Sightings:
    """``named``: what --devices says; only network addresses among it are looked at here.

    With ``search_network``, devices that announce themselves are told too: as unusable until they are named.
    """
    connections: list[AdbConnection] = []
    unusable: dict[str, str] = {}
    keys = direct.private_keys()
    for text in named:
        if match := _NETWORK_ADDRESS.fullmatch(text):
            host, port = match["host"].strip("[]"), int(match["port"])
            connections.append(DirectConnection(text, _tcp(host, port), keys))
    sources = [f"{len(connections)} addresses in --devices"]
    address = _server_address()
    if _listens(*address):
        sources.append(f"the adb server on port {address[1]}")
        for serial, state in _server_devices(*address):
            if state == "device":
                connections.append(ServerConnection(serial, *address))
            else:
                unusable[serial] = (
                    f"{serial}: {_SERVER_STATES.get(state, f'the adb server calls it {state}')}"
                )
    else:
        sources.append(f"no adb server on port {address[1]}")
    on_usb = usb.serials()
    sources.append("USB" if on_usb is not None else "no USB here (libusb cannot be used)")
    seen = {one.address for one in connections} | set(unusable)
    connections += [
        DirectConnection(serial, _usb(serial), keys) for serial in on_usb or () if serial not in seen
    ]
    if search_network:
        known = {one.address for one in connections} | set(unusable)
        for announced, name in mdns.announced().items():
            if announced not in known:
                unusable[announced] = (
                    f"{name} announces itself at {announced}; name it: --devices {announced}"
                )
    return Sightings(connections, unusable, sources)


def _tcp(host: str, port: int) -> Callable[[], object]:
    return lambda: direct.tcp_transport(host, port)


def _usb(serial: str) -> Callable[[], object]:
    return lambda: usb.transport(serial)


def _server_address() -> tuple[str, int]:
    """As adb's own client finds it."""
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or os.environ.get("ANDROID_ADB_SERVER_HOST")
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "")
    return host or "127.0.0.1", int(port) if port.isdecimal() else server.DEFAULT_PORT


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=0.5):
        return True
    return False


def _server_devices(host: str, port: int) -> list[tuple[str, str]]:
    from adbutils import AdbClient
    from adbutils.errors import AdbError

    with suppress(AdbError, OSError):
        return [(one.serial, one.state) for one in AdbClient(host, port, socket_timeout=5).list()]
    return []
