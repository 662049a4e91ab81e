import sys
from pathlib import Path

import pytest

from benchmarking.errors import NoDeviceError, UsageError
from benchmarking.platforms.gpu.gpu import GpuPlatform
from benchmarking.platforms.gpu.nvidia import Gpu, NvidiaManagement
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.platforms import find_platform, select
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation

OPTIONS = PlatformOptions()


class TwoGpus(NvidiaManagement):
    def gpus(self):
        return [
            Gpu(number, f"GPU-{number}aaaaaaa-1234", "Tesla T4", {"gpu_driver": "550.1"}) for number in (0, 1)
        ]

    def conditions(self, gpu):
        return {"gpu_temperature_celsius": 40 + gpu.index}


class NoGpus(NvidiaManagement):
    def gpus(self):
        return []


@pytest.mark.parametrize("text", ["host", "cpu", "mac", "HOST", "host/mkl", "mac/clang/debug"])
def test_the_names_of_the_host(text):
    assert find_platform(text) is HostPlatform


def test_an_unknown_platform_is_reported_with_a_proposal():
    with pytest.raises(UsageError, match="did you mean 'host'"):
        find_platform("hots")
    with pytest.raises(UsageError, match="known are host, gpu"):
        find_platform("toaster")


def test_devices_are_chosen_by_name_and_by_hash():
    (host,) = select("host", [], [], OPTIONS).devices
    for text in (host.device.name, host.device.hash.upper()):
        found = select("host", [text], [], OPTIONS)
        assert [one.device for one in found.devices] == [host.device]
        assert not found.unusable


def test_a_missing_device_is_reported_with_the_available_ones():
    (host,) = select("host", [], [], OPTIONS).devices
    with pytest.raises(NoDeviceError, match=f"nonesuch.*{host.device.hash}"):
        select("host", ["nonesuch"], [], OPTIONS)


def test_devices_that_are_there_are_used_even_where_others_are_not():
    (host,) = select("host", [], [], OPTIONS).devices
    found = select("host", [host.device.name, "nonesuch"], [], OPTIONS)
    assert [one.device for one in found.devices] == [host.device]
    assert list(found.unusable) == ["nonesuch"]


def test_a_host_that_is_excluded_leaves_nothing():
    (host,) = select("host", [], [], OPTIONS).devices
    with pytest.raises(NoDeviceError, match="leaves no device"):
        select("host", [], [host.device.hash], OPTIONS)
    with pytest.raises(NoDeviceError, match="leaves no device"):
        select("host", [host.device.name], [host.device.name], OPTIONS)


def test_identical_gpus_have_different_names():
    first, second = GpuPlatform.discover_with(TwoGpus(), OPTIONS).devices
    assert (first.device.name, second.device.name) == ("Tesla T4-0aaaaaaa", "Tesla T4-1aaaaaaa")
    assert first.device.hash == "GPU-0aaaaaaa-1234"
    assert first.answers_to("0")
    assert not first.answers_to("1")
    assert first.device.facts["gpu_driver"] == "550.1"
    assert "cpu_model" in first.device.facts
    assert second.conditions()["gpu_temperature_celsius"] == 41


def test_where_the_device_computes_the_time_of_the_cpu_says_little():
    assert (HostPlatform.computes_on_cpu, GpuPlatform.computes_on_cpu) == (True, False)


def test_a_program_sees_its_own_gpu_only():
    second = GpuPlatform.discover_with(TwoGpus(), OPTIONS).devices[1]
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    with Cancellation() as cancellation:
        outcome = second.run(Command((sys.executable, "-c", code)), cancellation)
    assert outcome.stdout == "GPU-1aaaaaaa-1234\n"


def test_without_a_gpu_the_reason_is_reported():
    with pytest.raises(NoDeviceError, match="reports no GPU"):
        GpuPlatform.discover_with(NoGpus(), OPTIONS)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a GPU")
def test_without_a_driver_the_reason_is_reported():
    with pytest.raises(NoDeviceError, match="nvidia-smi"):
        GpuPlatform.discover(OPTIONS)


def test_the_users_own_library_path_stays_behind_the_commands(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/users/own")
    (host,) = HostPlatform.discover(OPTIONS).devices
    code = "import os; print(os.environ['LD_LIBRARY_PATH'])"
    with Cancellation() as cancellation:
        command = Command((sys.executable, "-c", code), {"LD_LIBRARY_PATH": "/the/commands"})
        assert host.run(command, cancellation).stdout == "/the/commands:/users/own\n"


def test_an_excluded_device_that_is_not_there_is_named(caplog):
    (host,) = select("host", [], ["nonesuch"], OPTIONS).devices
    assert caplog.messages == [
        f"--excluded_devices: 'nonesuch' was not found; available: {host.device.name} ({host.device.hash})"
    ]
