"""The information of the NVIDIA management library, as plain values. The only user of ``pynvml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarking.errors import DeviceError, NoDeviceError
from benchmarking.results.model import Fact

T = TypeVar("T")


@dataclass(frozen=True)
class Gpu:
    index: int
    uuid: str
    product_name: str
    facts: Mapping[str, Fact]

    @property
    def device_name(self) -> str:
        """Two GPUs of the same product in one machine are distinguished by the beginning of their UUIDs."""
        return f"{self.product_name}-{self.uuid.removeprefix('GPU-')[:8]}"


class NvidiaManagement:
    """Opens the library for each query and closes it again, so that nothing is held between queries."""

    def gpus(self) -> Sequence[Gpu]:
        """Every GPU in the order of the driver.

        Raises:
            NoDeviceError: there is no driver, or it does not answer.
        """
        return self._ask(NoDeviceError, self._list_gpus)

    def conditions(self, gpu: Gpu) -> Mapping[str, Fact]:
        """The current conditions of the GPU.

        Raises:
            DeviceError: the GPU does not answer any more.
        """
        return self._ask(DeviceError, lambda nvml: self._read_conditions(nvml, gpu))

    def _ask(self, error_type: type[DeviceError], question: Callable[[Any], T]) -> T:
        import pynvml

        try:
            pynvml.nvmlInit()
            try:
                return question(pynvml)
            finally:
                pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            raise error_type(
                f"platform gpu: the NVIDIA driver cannot be asked: {error}; does nvidia-smi show a GPU?"
            ) from error

    def _list_gpus(self, nvml: Any) -> list[Gpu]:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()
        common: dict[str, Fact] = {
            "gpu_driver": driver,
            "gpu_cuda_version": f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
        return [self._describe(nvml, index, common) for index in range(nvml.nvmlDeviceGetCount())]

    def _describe(self, nvml: Any, index: int, common: Mapping[str, Fact]) -> Gpu:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        questions: dict[str, Callable[[], Fact]] = {
            "gpu_memory_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
            "gpu_power_limit_watts": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
            "gpu_max_sm_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
        }
        return Gpu(
            index=index,
            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
            product_name=_text(nvml.nvmlDeviceGetName(handle)),
            facts={**common, "gpu_index": index, **_answers(nvml, questions)},
        )

    def _read_conditions(self, nvml: Any, gpu: Gpu) -> Mapping[str, Fact]:
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        questions: dict[str, Callable[[], Fact]] = {
            "gpu_temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "gpu_sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "gpu_utilization_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "gpu_power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
        return _answers(nvml, questions)


def _answers(nvml: Any, questions: Mapping[str, Callable[[], Fact]]) -> dict[str, Fact]:
    """The answers, without those to queries that this GPU does not support."""
    answers = {}
    for name, question in questions.items():
        with suppress(nvml.NVMLError_NotSupported):
            answers[name] = question()
    return answers


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
