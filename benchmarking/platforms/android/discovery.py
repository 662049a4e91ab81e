"""Finds the Android devices that can be reached, and how: named addresses, a running adb server, USB."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarking.bounds import whole_number
from benchmarking.platforms.android import direct, mdns, server, usb
from benchmarking.platforms.android.adb import AdbConnection, ServerError
from benchmarking.platforms.android.direct import DirectConnection
from benchmarking.platforms.android.server import ServerConnection
from benchmarking.results.plain_text import plain

_NETWORK_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(?P<port>\d+)")
_LARGEST_PORT = 65535
"""The system would take what is larger for another port."""
_SERVER_STATES = {
    "unauthorized": "this machine is not authorised; allow USB debugging on the device's screen",
    "authorizing": "it is asking its owner for permission; allow USB debugging on its screen, then try again",
    "offline": "the adb server says that it is offline; plug it in again, or run: adb reconnect",
    "connecting": "the adb server is still connecting to it; try again in a few seconds",
    "no permissions": "the adb server may not open the USB device: udev rules for it are missing, or you are "
    "not in their group (plugdev); install them (android-sdk-platform-tools-common), plug it in again, then"
    " run: "
    "adb kill-server",
    "recovery": "it is in recovery mode; to start Android, run: adb reboot",
    "rescue": "it is in rescue mode; to start Android, run: adb reboot",
    "sideload": "it is in sideload mode; to start Android, run: adb reboot",
    "bootloader": "it is in the bootloader; to start Android, run: fastboot reboot",
    "host": "it is in USB host mode; switch it to device mode in its USB settings",
    "detached": "it is detached from the adb server; to attach it again, run: adb attach",
}
_NO_SERIAL_NUMBER = re.compile(r"\(no serial number\)|\?+")


@dataclass(frozen=True)
class Sightings:
    connections: Sequence[AdbConnection] = ()
    """Several connections may lead to the same device; the first is the best."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[str] = ()
    """The places that were searched, for the message when nothing is found."""


def is_network_address(text: str) -> bool:
    return _NETWORK_ADDRESS.fullmatch(text) is not None


def look_around(named: Sequence[str], *, search_network: bool = False) -> Sightings:
    """``named``: the values of --devices; only network addresses among them are tried here.

    With ``search_network``, devices that announce themselves are also reported: as unusable until they are
    named.
    """
    connections: list[AdbConnection] = []
    unusable: dict[str, str] = {}
    keys = direct.private_keys()
    for text in dict.fromkeys(named):
        if match := _NETWORK_ADDRESS.fullmatch(text):
            host, port = match["host"].strip("[]"), _port(match["port"])
            if port is None:
                unusable[text] = f"{text}: its port is above {_LARGEST_PORT}"
                continue
            connections.append(DirectConnection(text, _tcp(host, port), keys))
    sources = [f"{len(connections)} addresses in --devices"]
    address = _server_address()
    if _listens(*address):
        sources.append(f"the adb server on port {address[1]}")
        for serial, state in _server_devices(*address):
            reason = _why_not(serial, state)
            if reason is None:
                connections.append(ServerConnection(serial, *address))
            else:
                unusable[serial] = f"{serial}: {reason}"
    else:
        sources.append(f"no adb server on port {address[1]}")
    on_usb = usb.serials()
    sources.append("USB" if on_usb is not None else "no USB (libusb cannot be used)")
    seen = {one.address for one in connections} | set(unusable)
    connections += [
        DirectConnection(serial, _usb(serial), keys) for serial in on_usb or () if serial not in seen
    ]
    if search_network:
        known = {one.address for one in connections} | set(unusable)
        for announced, name in mdns.announced().items():
            if announced not in known:
                unusable[announced] = (
                    f"{name} announces itself at {announced}; to use it, name it: --devices {announced}"
                )
    return Sightings(connections, unusable, sources)


def _port(text: str) -> int | None:
    number = whole_number(text)
    return number if number is not None and 0 <= number <= _LARGEST_PORT else None


def _tcp(host: str, port: int) -> Callable[[], object]:
    return lambda: direct.tcp_transport(host, port)


def _usb(serial: str) -> Callable[[], object]:
    return lambda: usb.transport(serial)


def _server_address() -> tuple[str, int]:
    """The address, found as adb's own client does."""
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or os.environ.get("ANDROID_ADB_SERVER_HOST")
    port = _port(os.environ.get("ANDROID_ADB_SERVER_PORT", ""))
    return host or "127.0.0.1", server.DEFAULT_PORT if port is None else port


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=0.5):
        return True
    return False


def _server_devices(host: str, port: int) -> list[tuple[str, str]]:
    """The names, by which the server also knows the devices, and their states."""
    with suppress(ServerError, OSError):
        return parse_devices(
            server.question(host, port, "host:devices"), lambda: server.question(host, port, "host:devices-l")
        )
    return []


def parse_devices(text: str, ask_more: Callable[[], str]) -> list[tuple[str, str]]:
    """``text``: lines of a serial number, a tab and a state. Boards that share a serial number are named by
    their USB port (``usb:1-4``), which only the longer list contains.
    """
    lines = [line.partition("\t") for line in text.splitlines() if "\t" in line]
    devices = [(plain(serial.strip()), plain(state.strip())) for serial, _, state in lines]
    if len({serial for serial, _ in devices}) == len(devices):
        return devices
    places = [
        match[0] if (match := re.search(r"usb:[\w.-]+", line)) else None for line in ask_more().splitlines()
    ]
    if len(places) != len(devices):
        return devices
    serials = Counter(serial for serial, _ in devices)
    return [
        (place if place and serials[serial] > 1 else serial, state)
        for (serial, state), place in zip(devices, places, strict=True)
    ]


def _why_not(serial: str, state: str) -> str | None:
    if state == "device":
        if _NO_SERIAL_NUMBER.fullmatch(serial):
            return "it reports no serial number, which adb needs; connect it over the network"
        return None
    known = next((advice for name, advice in _SERVER_STATES.items() if state.startswith(name)), None)
    return (
        known
        or f"the adb server reports its state as {state[:100]!r}; plug it in again, or run: adb kill-server"
    )
