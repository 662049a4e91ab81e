"""The platforms that there are, and the choice of devices among them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from benchmarking.errors import NoDeviceError, UsageError
from benchmarking.platforms.gpu.gpu import GpuPlatform
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import PlatformBase, PlatformOptions

PLATFORMS: dict[str, type[PlatformBase]] = {
    HostPlatform.name: HostPlatform,
    GpuPlatform.name: GpuPlatform,
}


def platform_names() -> tuple[str, ...]:
    return tuple(PLATFORMS)


def find_platform(text: str) -> type[PlatformBase]:
    """``host/mkl`` is the platform ``host``: what follows names the variant that was built.

    Raises:
        UsageError: there is no such platform.
    """
    wanted = text.split("/")[0].lower()
    names = {name: one for one in PLATFORMS.values() for name in (one.name, *one.aliases)}
    if wanted in names:
        return names[wanted]
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PLATFORMS)}"
    raise UsageError(f"--platform: there is no platform {text!r}; {hint}")


def select(
    platform: str, devices: Sequence[str], excluded: Sequence[str], options: PlatformOptions
) -> tuple[PlatformBase, ...]:
    """The devices to run on: all of the platform, or those that ``devices`` names, but never an excluded one.

    Raises:
        UsageError: there is no such platform.
        NoDeviceError: a named device is not there, or none is left.
    """
    found = find_platform(platform).discover(options)
    known = ", ".join(f"{one.device.name} ({one.device.hash})" for one in found)
    absent = [text for text in devices if not any(one.answers_to(text) for one in found)]
    if absent:
        raise NoDeviceError(f"--devices: {', '.join(absent)} cannot be found; there are: {known}")
    chosen = tuple(
        one
        for one in found
        if (not devices or any(one.answers_to(text) for text in devices))
        and not any(one.answers_to(text) for text in excluded)
    )
    if not chosen:
        raise NoDeviceError(f"--excluded_devices leaves no device of platform {platform}; there are: {known}")
    return chosen
