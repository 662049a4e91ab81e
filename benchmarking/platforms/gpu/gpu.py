"""NVIDIA GPUs of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from benchmarking.errors import NoDeviceError
from benchmarking.platforms.gpu.nvidia import Gpu, NvidiaManagement
from benchmarking.platforms.host import facts
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, Discovery, PlatformOptions
from benchmarking.programs.command import Command
from benchmarking.results.model import Fact


class GpuPlatform(HostPlatform):
    """One GPU. Programs run on the host and see only this GPU."""

    name: ClassVar[str] = "gpu"
    aliases: ClassVar[tuple[str, ...]] = ("cuda",)
    computes_on_cpu: ClassVar[bool] = False

    def __init__(
        self, device: DeviceInfo, options: PlatformOptions, gpu: Gpu, nvidia: NvidiaManagement
    ) -> None:
        super().__init__(device, options)
        self._gpu = gpu
        self._nvidia = nvidia

    @classmethod
    def discover(cls, options: PlatformOptions) -> Discovery:
        return cls.discover_with(NvidiaManagement(), options)

    @classmethod
    def discover_with(cls, nvidia: NvidiaManagement, options: PlatformOptions) -> Discovery:
        gpus = nvidia.gpus()
        if not gpus:
            raise NoDeviceError(
                "platform gpu: the NVIDIA driver reports no GPU; is a GPU visible to this machine?"
            )
        host_facts = facts.lasting_facts()
        return Discovery(
            [
                cls(DeviceInfo(gpu.device_name, gpu.uuid, {**host_facts, **gpu.facts}), options, gpu, nvidia)
                for gpu in gpus
            ]
        )

    def answers_to(self, text: str) -> bool:
        return super().answers_to(text) or text == str(self._gpu.index)

    def conditions(self) -> Mapping[str, Fact]:
        return {**super().conditions(), **self._nvidia.conditions(self._gpu)}

    def _local(self, command: Command) -> Command:
        environment = {**command.environment, "CUDA_VISIBLE_DEVICES": self._gpu.uuid}
        return super()._local(replace(command, environment=environment))
