"""What a Linux kernel answers, and the facts that follow; how a program on a device has ended."""

import pytest

from benchmarking.platforms.remote import program_run, system
from benchmarking.platforms.remote.system import Answers
from benchmarking.programs.command import Command

CORES = """\
/proc/cpuinfo:processor	: 0
/proc/cpuinfo:model name	: Fast CPU
/proc/cpuinfo:processor	: 1
/proc/cpuinfo:model name	: Fast CPU
/proc/cpuinfo:Hardware	: Chip 7
"""
LASTING = f"""\
host_name=board
machine_id=0123
architecture=aarch64
kernel=6.1.0
{CORES}/proc/meminfo:MemTotal:        2048 kB
/proc/sys/kernel/random/boot_id:b-1
/sys/class/thermal/thermal_zone0/type:battery
/sys/class/thermal/thermal_zone1/type:cpu-thermal
/sys/class/thermal/thermal_zone12/type:tsens_tz
/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:1800000
/sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq:2400000
/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:schedutil
/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor:performance
"""
MOVING = """\
/proc/loadavg:0.52 0.34 0.21 2/345 6789
/proc/meminfo:MemTotal:        2048 kB
/proc/meminfo:MemAvailable:    1024 kB
/sys/class/thermal/thermal_zone0/temp:99000
/sys/class/thermal/thermal_zone1/temp:41500
/sys/class/thermal/thermal_zone12/temp:40000
/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq:1000000
/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq:1200000
/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq:1800000
/sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq:2400000
/proc/stat:cpu  100 20 30 400 50 6 7 800 9 10
"""


def test_facts_that_stay():
    assert system.lasting_facts(Answers(LASTING)) == {
        "host_name": "board",
        "architecture": "aarch64",
        "kernel": "6.1.0",
        "boot_id": "b-1",
        "cpu_model": "Fast CPU",
        "logical_cores": 2,
        "memory_bytes": 2048 * 1024,
        "cpu_max_khz": 2_400_000,
        "cpu_governor": "schedutil",
    }
    assert system.lasting_facts(Answers("")) == {}
    assert system.lasting_facts(Answers("/proc/cpuinfo:Hardware : Chip 7")) == {"cpu_model": "Chip 7"}


def moving(text, zones=None):
    return system.moving_facts(
        Answers(text), system.processor_zones(Answers(LASTING)) if zones is None else zones
    )


def test_facts_that_move():
    assert moving(MOVING) == {
        "load_1_min": 0.52,
        "load_5_min": 0.34,
        "load_15_min": 0.21,
        "cpu_steal_s": 8.0,
        "cpu_total_s": 14.13,
        "cpu_khz": 1_200_000,
        "cpu_limit_khz": 2_400_000,
        "memory_available_bytes": 1024 * 1024,
        "temperature_celsius": 41.5,
    }
    assert moving("") == {}
    assert moving("/proc/loadavg:0.5 0.3") == {}
    assert moving("/proc/loadavg:0.5 x 0.2 more") == {"load_1_min": 0.5, "load_15_min": 0.2}
    assert moving("/proc/stat:cpu  1 2 3 4 5 6 7") == {}
    assert moving("/proc/stat:cpu  100 x 0 0 0 0 0 100") == {"cpu_steal_s": 1.0, "cpu_total_s": 2.0}


@pytest.mark.parametrize(
    ("types", "zones"),
    [
        ({0: "battery", 1: "CPU-0", 2: "soc"}, {1, 2}),
        ({0: "battery", 1: "skin"}, {0, 1}),
        ({}, set()),
    ],
)
def test_the_zones_of_the_processor_or_all(types, zones):
    directory = "/sys/class/thermal/thermal_zone"
    text = "\n".join(f"{directory}{number}/type:{name}" for number, name in types.items())
    assert system.processor_zones(Answers(text)) == {f"{directory}{number}" for number in zones}


@pytest.mark.parametrize(
    ("thousandths", "celsius"), [(0, None), (1, 0.001), (149_999, 149.999), (150_000, None), (-40_000, None)]
)
def test_a_temperature_is_plausible(thousandths, celsius):
    zone = "/sys/class/thermal/thermal_zone0"
    found = moving(f"{zone}/temp:{thousandths}", {zone})
    assert found == ({} if celsius is None else {"temperature_celsius": celsius})


# --- the end of a program


@pytest.mark.parametrize(
    ("status", "over", "exit_code"),
    [
        (0, 0, 0),
        (7, 0, 7),
        (128, 0, 128),
        (129, 0, -1),
        (137, 0, -9),
        (255, 0, -127),
        (256, 0, 0),
        (265, 0, -9),
        (143, 1, None),
    ],
)
def test_how_a_program_has_ended(status, over, exit_code):
    end = program_run.read_end(f"its words\n\ntoken {status} {over} 42\nthe log\n", "token")
    assert (end.exit_code, end.stderr, end.device_log, end.pid) == (exit_code, "its words\n", "the log\n", 42)
    assert program_run.read_end("token 0 0 42", "token") is None


def test_the_time_limit_is_in_the_script_in_whole_seconds():
    def script(**more):
        return program_run.script(
            Command(("a b", "c"), environment={"X": "1 2"}, **more), "/run/it's", "token"
        )

    assert "sleep 3; : > timed_out" in script(timeout_s=2.1)
    assert f"sleep {10 * 24 * 3600}; : > timed_out" in script(timeout_s=None)
    assert "setsid env 'X=1 2' 'a b' c < /dev/null" in script(timeout_s=1)
    live = program_run.live_script(Command(("a",), timeout_s=1), "/run", "token", prefix=("taskset", "3"))
    assert "mkfifo requests || exit 1\n" in live
    assert "setsid taskset 3 a < requests" in live
    assert "cat > requests; sleep 2; kill -s TERM" in live
