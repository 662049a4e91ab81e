"""Linux machines over SSH."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from benchmarking.errors import DeviceError, NoDeviceError
from benchmarking.platforms.linux.ssh import SshConnection
from benchmarking.platforms.platform_base import DeviceInfo, Discovery, PlatformOptions
from benchmarking.platforms.remote import system
from benchmarking.platforms.remote.connection import Connection
from benchmarking.platforms.remote.identity import Way, devices_of
from benchmarking.platforms.remote.remote_platform import DIRECTORY_NAME, RemotePlatform
from benchmarking.platforms.remote.shell import RemoteShell

_SCRIPT = 'echo "home=$HOME"\necho "cache=${XDG_CACHE_HOME:-$HOME/.cache}"\n' + system.FACTS_SCRIPT


class LinuxPlatform(RemotePlatform):
    """One machine, named in --devices as for ssh."""

    name: ClassVar[str] = "linux"
    aliases: ClassVar[tuple[str, ...]] = ("ssh",)

    @classmethod
    def discover(cls, options: PlatformOptions) -> Discovery:
        if not options.devices:
            raise NoDeviceError("platform linux: name the machines: --devices user@board1,board2:2222")
        destinations = tuple(dict.fromkeys(options.devices))
        with ThreadPoolExecutor(max_workers=len(destinations), thread_name_prefix="ssh") as executor:
            tries = [executor.submit(cls._try, one, options) for one in destinations]
        try:
            answers = [one.result() for one in tries]
        except BaseException:  # cancelled
            for one in tries:
                if one.exception() is None and isinstance(answer := one.result(), LinuxPlatform):
                    answer.close()
            raise
        found: dict[str, LinuxPlatform] = {}
        unusable: dict[str, str] = {}
        for destination, answer in zip(destinations, answers, strict=True):
            if isinstance(answer, DeviceError):
                unusable[destination] = str(answer)
            else:
                found[destination] = answer
        devices = devices_of([Way(destination, one.device) for destination, one in found.items()])
        for device, (first, *others) in devices:
            found[first.address].identify(device)
            for way in others:  # two names of one machine
                found[way.address].close()
        return Discovery([found[group[0].address] for _, group in devices], unusable)

    @classmethod
    def _try(cls, destination: str, options: PlatformOptions) -> LinuxPlatform | DeviceError:
        try:
            return cls._connect(destination, options)
        except DeviceError as error:
            return error

    @classmethod
    def _connect(cls, destination: str, options: PlatformOptions) -> LinuxPlatform:
        shell = RemoteShell(cls._connection(destination, options))
        try:
            answers = system.Answers(shell.check(_SCRIPT, cancellation=options.cancellation))
        except BaseException:
            shell.connection.close()
            raise
        return cls(
            shell,
            _device(answers),
            _directory(options.remote_dir, answers),
            system.processor_zones(answers),
            options,
        )

    @classmethod
    def _connection(cls, destination: str, options: PlatformOptions) -> Connection:
        return SshConnection(destination, hidden_environment=options.secrets)

    def _reboot_script(self) -> str:
        return "sudo -n reboot 2>/dev/null || reboot"


def _directory(chosen: str | None, answers: system.Answers) -> str:
    """Expands ``~`` to the home directory there."""
    if chosen is None:
        return f"{answers.value('cache')}/{DIRECTORY_NAME}"
    is_at_home = chosen == "~" or chosen.startswith("~/")
    return f"{answers.value('home')}{chosen[1:]}" if is_at_home else chosen


def _device(answers: system.Answers) -> DeviceInfo:
    """Boards that were cloned from one image may share the machine id, so the hash includes the name of the
    host.
    """
    host = answers.value("host_name") or "linux"
    identity = f"{answers.value('machine_id')} {host}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return DeviceInfo(f"{host}-{digest[:8]}", digest, system.lasting_facts(answers))
