"""``mlbench devices``: what is shown of devices that are there, in use, in bad health, or cannot be used."""

import json
from types import SimpleNamespace

import pytest

from benchmarking.cli import devices
from benchmarking.driver import survey
from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.driver.health import Diagnosis, Health, HealthCheck
from benchmarking.errors import DeviceLostError, NoDeviceError, RunCancelledError

PHONE = {"android_version": "14", "abi": "arm64-v8a", "logical_cores": 8, "memory_bytes": 6 * 2**30}
BOARD = {"kernel": "6.1.0", "cpu_model": "Cortex-A72"}


class Device:
    def __init__(self, platform, name, facts, **conditions):
        self.name = platform
        self.device = SimpleNamespace(name=name, hash=f"{name}-hash", facts=facts)
        self.found, self.is_closed = conditions, False

    def conditions(self):
        if "error" in self.found:
            raise self.found["error"]
        return self.found

    def close(self):
        self.is_closed = True


class Machine:
    """The devices of this machine by platform, and what was asked of it."""

    def __init__(self):
        self.devices = {
            "android": [Device("android", "phone", PHONE, temperature_celsius=31.4, battery_percent=80)],
            "linux": [Device("linux", "board", BOARD, load_1_min=0.25)],
        }
        self.unusable = {}
        self.errors = {}
        self.addresses = {}
        self.health = {}
        self.handed_out = []

    def find_platform(self, name):
        return SimpleNamespace(name=name, discover=lambda options: self.discover(name, options))

    def discover(self, name, options):
        assert options.search_network
        self.addresses[name] = options.devices
        if name in self.errors:
            raise self.errors[name]
        self.handed_out += self.devices[name]
        return SimpleNamespace(devices=self.devices[name], unusable=self.unusable)

    def diagnose(self, device):
        return self.health.get(device.device.name, Diagnosis(Health.GOOD, 0.25, 0.2))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    machine = Machine()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for module in (devices, survey):
        monkeypatch.setattr(module, "find_platform", machine.find_platform)
    monkeypatch.setattr(HealthCheck, "diagnose", lambda self, device: machine.diagnose(device))
    return machine


@pytest.fixture
def run(machine, capsys):
    def run(*arguments, platform="android,linux"):
        status = devices.main([*arguments, "--platform", platform])
        assert all(one.is_closed for one in machine.handed_out)
        return status, capsys.readouterr().out

    return run


def test_devices_are_listed_with_what_matters_of_them(run):
    status, shown = run("list")
    assert status == 0
    assert [line.split(maxsplit=4) for line in shown.splitlines()] == [
        ["platform", "device", "hash", "state"],
        [
            *("android", "phone", "phone-hash", "ready"),
            "Android 14, arm64-v8a, 8 cores, 6.0 GiB, 31 °C, battery 80 %",
        ],
        ["linux", "board", "board-hash", "ready", "kernel 6.1.0, Cortex-A72, load 0.2"],
    ]


def test_the_document_has_all_that_is_known(run):
    status, shown = run("list", "--json")
    phone, board = json.loads(shown)
    assert status == 0
    assert (phone["facts"], phone["conditions"]["battery_percent"]) == (PHONE, 80)
    assert {**board, "facts": None} == {
        "platform": "linux",
        "device": "board",
        "hash": "board-hash",
        "state": "ready",
        "reason": "",
        "health": None,
        "facts": None,
        "conditions": {"load_1_min": 0.25},
    }


@pytest.mark.parametrize(("command", "status"), [("list", 0), ("check", 4)])
def test_what_cannot_be_used_is_shown_with_the_reason(machine, run, command, status):
    machine.unusable = {"10.0.0.1:5555": "10.0.0.1:5555: not authorised"}
    machine.devices["linux"][0].found["error"] = DeviceLostError("board: it does not answer")
    found, shown = run(command, "--json")
    rows = [(one["device"], one["state"], one["reason"]) for one in json.loads(shown)]
    assert found == status
    assert rows == [
        ("phone", "ready", ""),
        ("10.0.0.1:5555", "unusable", "not authorised"),
        ("board", "unusable", "board: it does not answer"),
        ("10.0.0.1:5555", "unusable", "not authorised"),
    ]


@pytest.mark.parametrize(("health", "state", "status"), [(Health.GOOD, "ready", 0), (Health.BAD, "bad", 4)])
def test_a_check_shows_the_health(machine, run, health, state, status):
    machine.health["phone"] = Diagnosis(health, 0.25, 0.125)
    found, shown = run("check", "--json")
    phone, board = json.loads(shown)
    assert found == status
    assert (phone["state"], board["state"]) == (state, "ready")
    assert phone["health"] == f"health {health}: the reference took 250 ms, usually 125 ms"
    assert run("list")[0] == 0


@pytest.mark.parametrize("command", ["list", "check"])
def test_a_device_in_use_is_left_alone_and_is_no_fault(machine, run, command):
    (phone,) = machine.devices["android"]
    phone.found["error"] = AssertionError("it is in use")
    with DeviceLocks(survey.user_directory("state") / "locks", "fail").held(phone, None):
        status, shown = run(command, "--json")
    assert status == 0
    assert [one["state"] for one in json.loads(shown)] == ["in use", "ready"]
    assert "by " in json.loads(shown)[0]["reason"]


@pytest.mark.parametrize(("command", "status"), [("list", 0), ("check", 4)])
def test_a_machine_without_devices(machine, run, command, status):
    machine.errors = {
        "android": NoDeviceError("platform android: none found"),
        "linux": ModuleNotFoundError(name="zeroconf"),
    }
    found, shown = run(command, "--json")
    assert found == status
    android, linux = json.loads(shown)
    assert (android["state"], android["reason"]) == ("none", "none found")
    assert linux["state"] == "none"
    assert linux["reason"].startswith("the package zeroconf is missing")
    machine.errors.pop("linux")
    assert run(command)[0] == 0


def test_a_bug_while_searching_is_no_missing_package(machine, run):
    machine.errors["android"] = ModuleNotFoundError(name="benchmarking.nonesuch")
    with pytest.raises(ModuleNotFoundError):
        run("list")


@pytest.mark.parametrize(
    ("platform", "android", "linux"),
    [
        ("android,host", ("10.0.0.1:5555", "[fe80::1]:5555"), None),
        ("android,linux", ("10.0.0.1:5555", "[fe80::1]:5555"), ("me@board:22", "board")),
        ("linux", None, ("10.0.0.1:5555", "[fe80::1]:5555", "me@board:22", "board")),
    ],
)
def test_an_address_goes_to_the_platform_that_it_fits(machine, run, platform, android, linux):
    machine.devices["host"] = []
    given = ["10.0.0.1:5555", "[fe80::1]:5555", *(("me@board:22", "board") if linux else ())]
    run("list", "--devices", ",".join(given), platform=platform)
    assert (machine.addresses.get("android"), machine.addresses.get("linux")) == (android, linux)


def test_after_a_cancellation_every_connection_is_closed(machine, run):
    machine.devices["android"].append(Device("android", "other", PHONE))
    machine.devices["android"][0].found["error"] = RunCancelledError("cancelled")
    status, _ = run("list", platform="android")
    assert status == 130
    assert len(machine.handed_out) == 2


@pytest.mark.parametrize(
    ("platform", "address"),
    [("android", "board"), ("android,host", "me@board:22"), ("host", "10.0.0.1:5555"), ("gpu", "board")],
)
def test_an_address_that_nobody_looks_for_is_no_success(machine, capsys, platform, address):
    status = devices.main(["check", "--platform", platform, "--devices", address])
    assert (status, machine.handed_out) == (2, [])
    assert capsys.readouterr().err == (
        f"benchmarking.devices: --devices: '{address}' is not searched with --platform {platform}: host:port is "
        "of the platform android, anything else of linux\n"
    )
