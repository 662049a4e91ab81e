"""Which ways lead to the same device. Serial numbers and machine ids are often copied: emulators of one image
have the same, and so have cheap boards."""

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
    """No other way of this kind leads to the same device: a place on USB, an emulator's port."""


def devices_of(ways: Sequence[Way]) -> list[tuple[DeviceInfo, list[Way]]]:
    """The devices and the ways to each, the first way of each in front.

    Devices that say they are the same, and are not, get names and hashes with their addresses in them.
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
                "%d devices say that they are %s (%s): their results are told apart by their addresses",
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
    # Drawn at random whenever a kernel starts; where one tells none, the number is believed.
    boots = {way.device.facts.get("boot_id") for way in (one, other)}
    return len(boots - {None}) < 2


def _with_address(way: Way) -> DeviceInfo:
    suffix = re.sub(r"[^\w.@-]+", "-", way.address)
    device = way.device
    return replace(device, name=f"{device.name}-{suffix}", hash=f"{device.hash}-{suffix}")
