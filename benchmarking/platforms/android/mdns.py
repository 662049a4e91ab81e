"""Android devices that announce adb on the local network. The only user of ``zeroconf``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from benchmarking.results.plain_text import plain

SERVICES = ("_adb._tcp.local.", "_adb-tls-connect._tcp.local.")
LISTEN_S = 2.5
"""Datagrams get lost: this is long enough for an answer to the second query, a second after the first."""
DETAILS_LIMIT_MS = 1500
"""For all that was announced together: whoever announces much and answers nothing holds up nobody."""
ASKED_AT_ONCE = 32


def announced() -> Mapping[str, str]:
    """Maps ``host:port`` to the name that the device announces; empty if there is no network."""
    from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

    class Listener(ServiceListener):
        def __init__(self) -> None:
            self.seen: dict[tuple[str, str], None] = {}

        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.seen[type_, name] = None

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.seen.pop((type_, name), None)

        def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.add_service(zc, type_, name)

    try:
        network = Zeroconf()
    except OSError:
        return {}
    try:
        listener = Listener()
        ServiceBrowser(network, list(SERVICES), listener)
        time.sleep(LISTEN_S)
        seen = list(listener.seen)
        deadline = time.monotonic() + DETAILS_LIMIT_MS / 1000

        def details(announcement: tuple[str, str]) -> ServiceInfo | None:
            left_ms = max(0, int((deadline - time.monotonic()) * 1000))
            return network.get_service_info(*announcement, timeout=left_ms)

        with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="mdns") as executor:
            answers = [*executor.map(details, seen)]
        found = {}
        for (service, name), info in zip(seen, answers, strict=True):
            if info is None:
                continue
            for address in info.parsed_addresses():
                host = f"[{address}]" if ":" in address else address
                found[f"{host}:{info.port}"] = plain(name.removesuffix(f".{service}"))
        return found
    finally:
        network.close()
