"""Finds out which connections lead to the same device. Serial numbers and machine ids are often duplicates:
emulators of the same image have the same numbers, and so do some cheap boards.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarking.platforms.platform_base import DeviceInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    address: str
    device: DeviceInfo
    is_own: bool = False
    """Identifies the device because no other connection of this kind leads to it: a USB port, an emulator's
    port.
    """


def devices_of(ways: Sequence[Way]) -> list[tuple[DeviceInfo, list[Way]]]:
    """The devices and the connections to each, in order of preference.

    Different devices that report the same identity get names and hashes that contain their addresses.
    """
    groups: list[list[Way]] = []
    for way in ways:
        known = next((group for group in groups if all(_is_same(way, other) for other in group)), None)
        if known is None:
            groups.append([way])
        else:
            known.append(way)
    shared = Counter(group[0].device.hash for group in groups)
    for digest, count in shared.items():
        if count > 1:
            addresses = ", ".join(group[0].address for group in groups if group[0].device.hash == digest)
            logger.warning(
                "%d devices report that they are %s (%s): their addresses are added to their results",
                *(count, digest, addresses),
            )
    return [
        (_with_address(group[0]) if shared[group[0].device.hash] > 1 else group[0].device, group)
        for group in groups
    ]


def _is_same(one: Way, other: Way) -> bool:
    if one.device.hash != other.device.hash:
        return False
    if one.is_own and other.is_own:
        return one.address == other.address
    # A random number, drawn at each start of a kernel; if a kernel does not report one, the serial number is
    # trusted.
    boots = {way.device.facts.get("boot_id") for way in (one, other)}
    return len(boots - {None}) < 2


def _with_address(way: Way) -> DeviceInfo:
    suffix = re.sub(r"[^\w.@-]+", "-", way.address)
    device = way.device
    return replace(device, name=f"{device.name}-{suffix}", hash=f"{device.hash}-{suffix}")
