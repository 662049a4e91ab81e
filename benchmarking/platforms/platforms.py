"""The table of platforms, and the selection of devices."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarking.errors import NoDeviceError, UsageError
from benchmarking.registry import Registry

if TYPE_CHECKING:
    from benchmarking.platforms.platform_base import Discovery, PlatformBase, PlatformOptions

logger = logging.getLogger(__name__)

PLATFORMS: Registry[PlatformBase] = Registry(
    {
        "host": "benchmarking.platforms.host.host:HostPlatform",
        "gpu": "benchmarking.platforms.gpu.gpu:GpuPlatform",
        "android": "benchmarking.platforms.android.android:AndroidPlatform",
        "linux": "benchmarking.platforms.linux.linux:LinuxPlatform",
    }
)


def platform_names() -> tuple[str, ...]:
    return tuple(PLATFORMS)


def find_platform(text: str, option: str = "--platform") -> type[PlatformBase]:
    """``host/mkl`` is the platform ``host``: the part after the slash names the variant that was built.

    ``option``: the option with which the user named it.

    Raises:
        UsageError: there is no such platform.
    """
    wanted = text.split("/")[0].lower()
    if wanted in PLATFORMS:
        return PLATFORMS[wanted]
    names = {name: one for one in PLATFORMS.values() for name in (one.name, *one.aliases)}
    if wanted in names:
        return names[wanted]
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(PLATFORMS)}"
    raise UsageError(f"{option}: there is no platform {text!r}; {hint}")


def select(
    platform: str, devices: Sequence[str], excluded: Sequence[str], options: PlatformOptions
) -> Discovery:
    """The devices to run on: all devices of the platform, or those that ``devices`` names, without the
    excluded devices.

    ``unusable`` lists the devices among them that have to be reported as missing.

    Raises:
        UsageError: there is no such platform.
        NoDeviceError: none is left.
    """
    found = find_platform(platform).discover(replace(options, devices=tuple(devices)))
    wanted = tuple(
        one
        for one in found.devices
        if (not devices or any(one.answers_to(text) for text in devices))
        and not any(one.answers_to(text) for text in excluded)
    )
    for one in found.devices:
        if one not in wanted:
            one.close()
    unusable = {
        address: reason
        for address, reason in found.unusable.items()
        if (not devices or address in devices) and address not in excluded
    }
    known = ", ".join(f"{one.device.name} ({one.device.hash})" for one in found.devices) or "none"
    for text in devices:
        is_known = text in unusable or any(one.answers_to(text) for one in found.devices)
        if not is_known and text not in excluded:
            unusable[text] = f"{text!r} was not found; available: {known}"
    for text in excluded:
        if text not in found.unusable and not any(one.answers_to(text) for one in found.devices):
            logger.warning("--excluded_devices: %r was not found; available: %s", text, known)
    if not wanted:
        reasons = "; ".join(unusable.values()) or f"--excluded_devices leaves no device; available: {known}"
        raise NoDeviceError(f"no device of platform {platform} can be used: {reasons}")
    return replace(found, devices=wanted, unusable=unusable)
