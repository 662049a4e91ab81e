"""What the doctor finds: on machines whose files a test has written, and on this one."""

from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from benchmarking.platforms.host import examination
from benchmarking.platforms.host.examination import Load, Machine, State, examine

IDLE = Load(busy_cores=0.02, stolen_share=0.0, programs=())
QUIET = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1",
    "sys/devices/system/cpu/smt/active": "0",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
}
FACTS = {
    "logical_cores": 8,
    "usable_cores": 8,
    "virtual_machine": False,
    "container": False,
    "load_1_min": 0.1,
    "temperature_celsius": 45.0,
    "memory_bytes": 16 * 2**30,
    "memory_available_bytes": 12 * 2**30,
}


def findings(root, files, facts=FACTS, load=IDLE, swap=0):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return {one.name: one for one in examine(Machine(facts, load, swap, root))}


def test_a_quiet_machine_has_nothing_to_mend(tmp_path):
    found = findings(tmp_path, QUIET)
    assert {one.state for one in found.values()} == {State.GOOD}
    assert not any(one.advice for one in found.values())


def test_without_sensors_each_unknown_has_its_reason(tmp_path):
    found = findings(tmp_path, {}, facts={"logical_cores": 2, "usable_cores": 2, "container": True})
    unknown = {name for name, one in found.items() if one.state is State.UNKNOWN}
    assert unknown == {
        *("governor", "turbo", "SMT", "virtual machine", "clock source", "temperature", "free memory")
    }
    for name in unknown:
        assert (found[name].value, found[name].advice) == ("unknown", ())
        assert found[name].effect


@pytest.mark.parametrize(
    ("name", "files", "facts", "load", "value", "advice"),
    [
        ("cores", {}, {"usable_cores": 1}, IDLE, "1 usable of 8", "second core"),
        ("governor", {"cpu/cpu0/cpufreq/scaling_governor": "powersave"}, {}, IDLE, "powersave", "cpupower"),
        ("turbo", {"cpu/intel_pstate/no_turbo": "0"}, {}, IDLE, "on", "echo 1 | sudo tee /sys/devices/"),
        ("SMT", {"cpu/smt/active": "1"}, {}, IDLE, "on", "echo off | sudo tee /sys/devices/system/cpu/smt"),
        (
            *("virtual machine", {}, {"virtual_machine": True, "container": True}),
            *(Load(0.0, 0.2, ()), "yes in a container, 20 % stolen", "dedicated"),
        ),
        ("CPU quota", {}, {"cpu_quota_cores": 1.5}, IDLE, "1.5 cores", "docker --cpus"),
        (
            *("other load", {}, {"load_1_min": 3.0}),
            *(Load(2.5, 0.0, (("chromium", 2.0), ("gcc", 0.5))), "2.5 cores, load 3.0"),
            "chromium (200 %), gcc (50 %)",
        ),
        ("clock source", {"clocksource/clocksource0/current_clocksource": "hpet"}, {}, IDLE, "hpet", "tsc"),
        ("temperature", {}, {"temperature_celsius": 97.0}, IDLE, "97 °C", "--cooldown"),
        ("free memory", {}, {"memory_available_bytes": 2**29}, IDLE, "0.5 GiB of 16.0 GiB", "end programs"),
    ],
)
def test_what_harms_numbers_says_how_to_mend_it(name, files, facts, load, value, advice, tmp_path):
    changed = {f"sys/devices/system/{path}": text for path, text in files.items()}
    found = findings(tmp_path, {**QUIET, **changed}, {**FACTS, **facts}, load)
    assert [one.name for one in found.values() if one.state is not State.GOOD] == [name]
    assert found[name].value == value
    assert advice in " ".join(found[name].advice)


def test_amd_names_its_turbo_otherwise(tmp_path):
    files = {name: text for name, text in QUIET.items() if "no_turbo" not in name}
    boost = "sys/devices/system/cpu/cpufreq/boost"
    assert findings(tmp_path, {**files, boost: "0"})["turbo"].value == "off"
    advice = findings(tmp_path, {**files, boost: "1"})["turbo"].advice
    assert advice == (f"echo 0 | sudo tee /{boost}",)


def test_swap_in_use(tmp_path):
    found = findings(tmp_path, QUIET, swap=3 * 2**29)["swap"]
    assert (found.value, found.state) == ("1.5 GiB used", State.HARMFUL)


def test_a_little_swap_is_not_shown_as_none(tmp_path):
    assert findings(tmp_path, QUIET, swap=12 * 2**20)["swap"].value == "12.0 MiB used"


def test_every_core_has_its_governor(tmp_path):
    other = "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor"
    assert findings(tmp_path, {**QUIET, other: "performance"})["governor"].state is State.GOOD
    found = findings(tmp_path, {**QUIET, other: "powersave"})["governor"]
    assert (found.value, found.state) == ("performance, powersave", State.HARMFUL)


def test_a_system_that_does_not_count_its_cores(tmp_path):
    assert findings(tmp_path, QUIET, facts={})["cores"].state is State.UNKNOWN


@pytest.fixture
def machine(monkeypatch):
    """Whose clocks only the test moves: what the looks at all processes cost, and what others use meanwhile."""
    now = SimpleNamespace(s=0.0, own_s=0.0, others_s=0.0, guests_s=0.0, look_s=0.0)

    def cpu_times():
        user_s = now.own_s + now.others_s + now.guests_s
        return SimpleTimes(user_s, 2 * now.s - user_s, now.guests_s)

    def spent_s():
        now.s += now.look_s
        now.own_s += now.look_s
        return {(1, "other"): now.others_s}

    def sleep(seconds):
        now.s += seconds
        now.others_s += now.busy * seconds
        now.guests_s += now.virtual * seconds

    monkeypatch.setattr(examination, "_spent_s", spent_s)
    monkeypatch.setattr(psutil, "cpu_times", cpu_times)
    monkeypatch.setattr(examination, "time", SimpleNamespace(monotonic=lambda: now.s, sleep=sleep))
    return now


class SimpleTimes(NamedTuple):
    user: float
    idle: float
    guest: float


@pytest.mark.parametrize(("look_s", "busy", "virtual"), [(0.0, 1.0, 0.0), (0.5, 0.0, 0.0), (0.5, 0.0, 1.0)])
def test_the_load_is_that_of_others(machine, look_s, busy, virtual):
    """Neither what the look itself takes, nor the time of virtual machines twice."""
    machine.look_s, machine.busy, machine.virtual = look_s, busy, virtual
    load = examination._observed_load()
    assert load.busy_cores == pytest.approx(busy + virtual)
    assert load.programs == ((("other", 1.0),) if busy else ())


def test_this_machine(monkeypatch):
    monkeypatch.setattr(examination, "OBSERVED_S", 0.1)
    machine = examination.look()
    assert machine.load.busy_cores >= 0
    found = examine(machine)
    assert len({one.name for one in found}) == len(examination.EXAMINATIONS)
    assert found[0].value == f"{machine.facts['usable_cores']} usable of {machine.facts['logical_cores']}"


def test_threads_of_the_kernel_are_not_among_the_programs_to_stop():
    if "kthreadd" not in {one.info["name"] for one in psutil.process_iter(["name"])}:
        pytest.skip("the threads of the kernel are not visible here")
    assert not {name for _, name in examination._spent_s()} & {"kthreadd", "ksoftirqd/0"}
    assert examination._spent_s()
