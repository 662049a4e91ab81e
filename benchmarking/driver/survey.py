"""Every device that this machine can reach, or the reason why it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.driver.health import Health, HealthCheck
from benchmarking.errors import DeviceError, NoDeviceError
from benchmarking.files.user import user_directory
from benchmarking.packages import missing_package
from benchmarking.platforms.platform_base import PlatformBase, PlatformOptions
from benchmarking.platforms.platforms import find_platform
from benchmarking.results.model import Fact


@dataclass(frozen=True)
class FoundDevice:
    platform: str
    device: str = ""
    hash: str = ""
    state: str = "ready"
    """``ready``, ``in use``, ``bad``, ``unusable``; ``none``: this machine has no device of the platform."""
    reason: str = ""
    health: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    conditions: Mapping[str, Fact] = field(default_factory=dict)


def survey(platform: str, options: PlatformOptions, *, check: bool) -> list[FoundDevice]:
    """Every device of a platform, or one entry that says why there is none.

    Args:
        check: also runs a short reference computation on each, and compares it with the device's history.
    """
    try:
        found = find_platform(platform).discover(options)
    except NoDeviceError as error:
        return [FoundDevice(platform, state="none", reason=str(error).removeprefix(f"platform {platform}: "))]
    except ModuleNotFoundError as error:
        reason = missing_package(error)
        if reason is None:
            raise
        return [FoundDevice(platform, state="none", reason=reason)]
    locks = DeviceLocks.of_user("fail")
    with ExitStack() as stack:
        for one in found.devices:
            stack.callback(one.close)
        usable = [_looked_at(platform, one, locks, check=check) for one in found.devices]
    return usable + [
        FoundDevice(platform, address, state="unusable", reason=reason.removeprefix(f"{address}: "))
        for address, reason in found.unusable.items()
    ]


def _looked_at(platform: str, device: PlatformBase, locks: DeviceLocks, *, check: bool) -> FoundDevice:
    info = device.device
    looked_at = FoundDevice(platform, info.name, info.hash, facts=info.facts)
    holder = locks.holder(device)
    if holder is not None:
        return replace(looked_at, state="in use", reason=f"by {holder}")
    try:
        looked_at = replace(looked_at, conditions=device.conditions())
        if check:
            diagnosis = HealthCheck(user_directory("state") / "health").diagnose(device)
            state = "bad" if diagnosis.health is Health.BAD else "ready"
            looked_at = replace(looked_at, state=state, health=str(diagnosis))
    except DeviceError as error:
        return replace(looked_at, state="unusable", reason=str(error))
    return looked_at
