"""Android devices over adb."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from benchmarking.bounds import number, whole_number
from benchmarking.errors import DeviceError, NoDeviceError
from benchmarking.platforms.android import discovery
from benchmarking.platforms.android.adb import AdbConnection
from benchmarking.platforms.platform_base import DeviceInfo, Discovery, PlatformOptions
from benchmarking.platforms.remote import system
from benchmarking.platforms.remote.identity import Way, devices_of
from benchmarking.platforms.remote.remote_platform import DIRECTORY_NAME, RemotePlatform
from benchmarking.platforms.remote.shell import RemoteShell
from benchmarking.results.model import Fact

PROPERTIES = {
    "serial": "ro.serialno",
    "model": "ro.product.model",
    "manufacturer": "ro.product.manufacturer",
    "abi": "ro.product.cpu.abi",
    "android_version": "ro.build.version.release",
    "android_sdk": "ro.build.version.sdk",
    "build_fingerprint": "ro.build.fingerprint",
    "hardware": "ro.hardware",
}
_FACTS_SCRIPT = (
    "".join(f'echo "{name}=$(getprop {text})"\n' for name, text in PROPERTIES.items()) + system.FACTS_SCRIPT
)
_CONDITIONS_SCRIPT = (
    system.CONDITIONS_SCRIPT
    + "dumpsys battery 2>/dev/null; dumpsys thermalservice 2>/dev/null; "
    + "dumpsys power 2>/dev/null | grep mWakefulness=; :"
)
_LOG_LINE = re.compile(r"\d\d-\d\d \d\d:\d\d:\d\d\.\d+\s+(?P<pid>\d{1,10})\s")


class AndroidPlatform(RemotePlatform):
    name: ClassVar[str] = "android"

    @classmethod
    def discover(cls, options: PlatformOptions) -> Discovery:
        seen = discovery.look_around(options.devices, search_network=options.search_network)
        if not seen.connections and not seen.unusable:
            raise NoDeviceError(
                f"platform android: no device found; searched {', '.join(seen.sources)}. "
                "Connect a device, or give its address: --devices 192.168.1.7:5555"
            )
        with ThreadPoolExecutor(max_workers=len(seen.connections) or 1, thread_name_prefix="adb") as executor:
            answers = list(executor.map(lambda one: cls._try(one, options), seen.connections))
        found: dict[str, AndroidPlatform] = {}
        unusable = dict(seen.unusable)
        for connection, answer in zip(seen.connections, answers, strict=True):
            if isinstance(answer, DeviceError):
                unusable[connection.address] = str(answer)
            else:
                found[connection.address] = answer
        ways = [Way(address, one.device, is_own=_is_own(address)) for address, one in found.items()]
        devices = devices_of(ways)
        for device, (first, *others) in devices:
            found[first.address].identify(device)
            for way in others:
                found[first.address]._addresses.add(way.address)
                found[way.address].close()
        return Discovery([found[group[0].address] for _, group in devices], unusable)

    @classmethod
    def _try(cls, connection: AdbConnection, options: PlatformOptions) -> AndroidPlatform | DeviceError:
        try:
            shell = RemoteShell(connection)
            answers = system.Answers(shell.check(_FACTS_SCRIPT, cancellation=options.cancellation))
        except DeviceError as error:
            return error
        directory = f"{options.android_dir.rstrip('/')}/{DIRECTORY_NAME}"
        device = _device(answers, connection.address)
        platform = cls(shell, device, directory, system.processor_zones(answers), options)
        platform._addresses = {connection.address}
        return platform

    _addresses: set[str]
    """All connections to this device."""

    def answers_to(self, text: str) -> bool:
        own = {*(str(self.device.facts.get(name, "")) for name in ("model", "serial")), *self._addresses}
        return super().answers_to(text) or text.lower() in {one.lower() for one in own}

    def _conditions_script(self) -> str:
        return _CONDITIONS_SCRIPT

    def _read_conditions(self, answers: system.Answers) -> Mapping[str, Fact]:
        return {**super()._read_conditions(answers), **_own_conditions(answers)}

    def _ready_script(self) -> str:
        return '[ "$(getprop sys.boot_completed)" = 1 ] || { echo "Android is still starting" >&2; exit 1; }'

    def _without_python(self) -> str:
        return "Give a program that was built for Android with --program"

    def _log_script(self) -> str:
        """Prints the log since the program was started; no log buffer is cleared."""
        return 'logcat -d -v threadtime -T "$started"'

    def _own_lines(self, log: str, pid: int | None) -> str:
        lines = ((line, _LOG_LINE.match(line)) for line in log.splitlines())
        return "\n".join(line for line, match in lines if match and int(match["pid"]) == pid)


def _is_own(address: str) -> bool:
    """Whether only one way of this kind leads to the device: it may have several network addresses, also if
    it is on USB.
    """
    return not discovery.is_network_address(address) and "._adb" not in address


def _device(answers: system.Answers, address: str) -> DeviceInfo:
    """The serial number belongs to the device, regardless of the connection."""
    serial = answers.value("serial") or address
    own: dict[str, Fact] = {name: value for name in PROPERTIES if (value := answers.value(name))}
    model = str(own.get("model", "Android")).replace(" ", "-")
    return DeviceInfo(f"{model}-{serial}", serial, {**system.lasting_facts(answers), **own})


def _own_conditions(answers: system.Answers) -> Mapping[str, Fact]:
    texts = answers.lines
    facts: dict[str, Fact] = {}
    if (level := whole_number(texts.get("level", ""))) is not None:
        facts["battery_percent"] = level
    if (tenths := whole_number(texts.get("temperature", ""))) is not None:
        facts["battery_temperature_celsius"] = tenths / 10
    powered = [value == "true" for name, value in texts.items() if name.endswith(" powered")]
    if powered:
        facts["battery_charging"] = any(powered)
    if (status := whole_number(texts.get("Thermal Status", ""))) is not None:
        facts["thermal_status"] = status
    if wakefulness := answers.value("mWakefulness"):
        facts["screen_on"] = wakefulness == "Awake"
    matches = re.findall(r"mValue=([\d.]+), mType=3,", answers.text)
    if skin := [celsius for match in matches if (celsius := number(match)) is not None]:
        facts["skin_temperature_celsius"] = max(skin)
    return facts
