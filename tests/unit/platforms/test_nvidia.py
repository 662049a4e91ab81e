"""What is asked of the NVIDIA management library: a stand-in with the names of NVML that are used."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from benchmarking.errors import DeviceError, NoDeviceError
from benchmarking.platforms.gpu.nvidia import Gpu, NvidiaManagement


class NVMLError(Exception):
    pass


class NotSupportedError(NVMLError):
    pass


class Nvml(ModuleType):
    """Two GPUs; a query outside of ``nvmlInit`` and ``nvmlShutdown`` fails, as in the library."""

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    NVMLError = NVMLError
    NVMLError_NotSupported = NotSupportedError

    def __init__(self):
        super().__init__("pynvml")
        self.uuids = ["GPU-0aaaaaaa-1234", "GPU-1bbbbbbb-5678"]
        self.opened = self.closed = 0
        self.failures = {}
        """By the name of a query."""
        self.as_bytes = False

    @property
    def is_open(self):
        return self.opened > self.closed

    def nvmlInit(self):  # noqa: N802
        if "nvmlInit" in self.failures:
            raise self.failures["nvmlInit"]
        self.opened += 1

    def nvmlShutdown(self):  # noqa: N802
        self.closed += 1

    def _text(self, text):
        return text.encode() if self.as_bytes else text

    def __getattr__(self, name):
        answers = {
            "nvmlSystemGetDriverVersion": lambda: self._text("550.54.15"),
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 12110,
            "nvmlDeviceGetCount": lambda: len(self.uuids),
            "nvmlDeviceGetHandleByIndex": lambda index: self.uuids[index],
            "nvmlDeviceGetHandleByUUID": lambda uuid: self.uuids[self.uuids.index(uuid)],
            "nvmlDeviceGetUUID": self._text,
            "nvmlDeviceGetName": lambda handle: self._text(f"Tesla T{handle[4]}"),
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=16_000, free=3, used=2),
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 70_500,
            "nvmlDeviceGetMaxClockInfo": lambda handle, clock: {1: 1590, 2: 5001}[clock],
            "nvmlDeviceGetTemperature": lambda handle, sensor: {0: 41}[sensor],
            "nvmlDeviceGetClockInfo": lambda handle, clock: {1: 1005, 2: 5000}[clock],
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=7, memory=3),
            "nvmlDeviceGetPowerUsage": lambda handle: 30_250,
        }
        if name not in answers:
            raise AttributeError(name)

        def answer(*arguments):
            if not self.is_open:
                raise NVMLError("Uninitialized")
            if name in self.failures:
                raise self.failures[name]
            return answers[name](*arguments)

        return answer


@pytest.fixture
def nvml(monkeypatch):
    one = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", one)
    yield one
    assert not one.is_open


@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_gpus_in_the_order_of_the_driver(nvml, as_bytes):
    nvml.as_bytes = as_bytes  # older versions of pynvml
    first, second = NvidiaManagement().gpus()
    facts = {
        "gpu_driver": "550.54.15",
        "gpu_cuda_version": "12.11",
        "gpu_index": 0,
        "gpu_memory_bytes": 16_000,
        "gpu_power_limit_watts": 70.5,
        "gpu_max_sm_mhz": 1590,
    }
    assert first == Gpu(0, "GPU-0aaaaaaa-1234", "Tesla T0", facts)
    assert second == Gpu(1, "GPU-1bbbbbbb-5678", "Tesla T1", {**facts, "gpu_index": 1})
    assert second.device_name == "Tesla T1-1bbbbbbb"
    assert nvml.opened == 1


def test_the_conditions_of_a_gpu(nvml):
    gpu = NvidiaManagement().gpus()[1]
    nvml.uuids.reverse()  # the driver was started again
    asked = []
    nvml.nvmlDeviceGetHandleByUUID = lambda uuid: asked.append(uuid) or uuid
    assert NvidiaManagement().conditions(gpu) == {
        "gpu_temperature_celsius": 41,
        "gpu_sm_mhz": 1005,
        "gpu_utilization_percent": 7,
        "gpu_power_watts": 30.25,
    }
    assert asked == [gpu.uuid]


def test_what_a_gpu_does_not_support_is_left_out(nvml):
    nvml.failures = {
        "nvmlDeviceGetEnforcedPowerLimit": NotSupportedError("Not Supported"),
        "nvmlDeviceGetTemperature": NotSupportedError("Not Supported"),
    }
    gpu = NvidiaManagement().gpus()[0]
    assert gpu.facts.keys() == {
        *("gpu_driver", "gpu_cuda_version", "gpu_index", "gpu_memory_bytes", "gpu_max_sm_mhz")
    }
    found = NvidiaManagement().conditions(gpu)
    assert found.keys() == {"gpu_sm_mhz", "gpu_utilization_percent", "gpu_power_watts"}


@pytest.mark.parametrize("query", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetMemoryInfo"])
def test_a_driver_that_does_not_answer_has_no_gpu(nvml, query):
    nvml.failures = {query: NVMLError("Driver Not Loaded")}
    with pytest.raises(NoDeviceError) as caught:
        NvidiaManagement().gpus()
    assert str(caught.value) == (
        "platform gpu: the NVIDIA driver cannot be asked: Driver Not Loaded; does nvidia-smi show a GPU?"
    )


def test_a_gpu_that_does_not_answer_any_more_is_lost_not_missing(nvml):
    gpu = NvidiaManagement().gpus()[0]
    nvml.failures = {"nvmlDeviceGetClockInfo": NVMLError("GPU is lost")}
    with pytest.raises(DeviceError, match="cannot be asked: GPU is lost") as caught:
        NvidiaManagement().conditions(gpu)
    assert not isinstance(caught.value, NoDeviceError)


def test_another_error_of_the_question_closes_the_library_and_is_not_hidden(nvml):
    nvml.failures = {"nvmlDeviceGetCount": RuntimeError("a bug")}
    with pytest.raises(RuntimeError, match="a bug"):
        NvidiaManagement().gpus()
