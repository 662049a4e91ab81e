"""What taints a run, and when a device is steady."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.driver import conditions
from benchmarking.driver.conditions import cool_down, taints, unsteady
from benchmarking.errors import RunCancelledError
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions
from benchmarking.programs.process import Cancellation

FACTS = st.dictionaries(
    st.sampled_from(
        [
            *("temperature_celsius", "cpu_limit_khz", "thermal_status", "battery_percent", "load_1_min"),
            *("battery_charging", "screen_on", "error"),
            *("cpu_throttled_periods", "cpu_throttled_s", "cpu_quota_cores", "cpu_pressure_s", "uptime_s"),
        ]
    ),
    st.one_of(st.integers(0, 100), st.floats(0, 100), st.booleans(), st.none(), st.text("a 1°", max_size=3)),
)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"temperature_celsius": 30.0}, {"temperature_celsius": 36.5}, "from 30.0 to 36.5 °C"),
        ({"cpu_limit_khz": 1_800_000}, {"cpu_limit_khz": 1_200_000}, "from 1800 to 1200 MHz"),
        ({"battery_charging": True}, {"battery_charging": False}, "charging ended"),
        ({"screen_on": False}, {"screen_on": True}, "the screen was switched on"),
        ({"battery_percent": 15}, {"battery_percent": 14}, "battery is at 14 %"),
        ({"thermal_status": 0}, {"thermal_status": 2}, "thermal throttling, status 2"),
        ({"load_1_min": 3.1}, {"load_1_min": 2.0}, "the load was 3.1 on 2 cores"),
        (
            {"cpu_throttled_periods": 3, "cpu_throttled_s": 0.5},
            {"cpu_throttled_periods": 5, "cpu_throttled_s": 0.75, "cpu_quota_cores": 0.2},
            "the CPU quota of 0.2 cores delayed the test for 0.2 s, in 2 periods",
        ),
        (
            {"cpu_pressure_s": 1.0, "uptime_s": 100.0, "load_1_min": 0.5},
            {"cpu_pressure_s": 4.0, "uptime_s": 110.0, "load_1_min": 0.5},
            "processes of its control group waited for a core for 30 % of the time",
        ),
    ],
)
def test_what_taints_a_run(before, after, reason):
    (found,) = taints(before, after, 2)
    assert reason in found


@given(FACTS)
def test_conditions_that_stay_and_are_sound_taint_nothing(facts):
    quiet = {**facts, "thermal_status": 0, "battery_percent": 80, "load_1_min": 1.0}
    assert taints(quiet, quiet, 4) == ()


@given(FACTS, FACTS)
def test_no_report_of_a_device_causes_a_bug(before, after):
    assert all(isinstance(one, str) for one in taints(before, after, None))


def test_a_containers_load_is_its_own_groups_where_that_is_known():
    """The machine's load, 60 on 2 cores here, may be that of other containers on other cores."""
    before = {"load_1_min": 60.0, "cpu_pressure_s": 1.0, "uptime_s": 100.0}
    quiet = {**before, "cpu_pressure_s": 1.1, "uptime_s": 110.0}
    assert taints(before, quiet, 2) == ()
    assert conditions.wall_time_is_doubtful([before, quiet], 2) is None
    crowded = {**before, "cpu_pressure_s": 6.0, "uptime_s": 110.0}
    assert "control group waited for a core for 50 %" in conditions.wall_time_is_doubtful(
        [before, crowded], 2
    )


def test_the_load_of_a_container_without_pressure_is_judged_by_the_machines_cores():
    facts = {"logical_cores": 64, "usable_cores": 2}
    cores = conditions.core_count(HostPlatform(DeviceInfo("one", "1", facts), PlatformOptions()))
    assert taints({"load_1_min": 10.0}, {"load_1_min": 10.0}, cores) == ()
    assert "on 64 cores" in taints({"load_1_min": 100.0}, {"load_1_min": 100.0}, cores)[0]


def test_wall_time_under_a_quota_is_doubtful():
    pairs = [{"cpu_throttled_periods": count, "cpu_throttled_s": count / 20} for count in (3, 4, 9)]
    assert "delayed the test for 0.3 s, in 6 periods" in conditions.wall_time_is_doubtful(pairs, 2)
    assert conditions.wall_time_is_doubtful(pairs[:1] * 3, 2) is None


def test_varying_conditions_are_not_steady():
    def temperatures(*values):
        return [{"temperature_celsius": value, "load_1_min": 0.5} for value in values]

    assert unsteady(temperatures(31.0, 31.4, 31.2), 2) is None
    assert "varies between 31.0 and 33.0" in unsteady(temperatures(33.0, 32.0, 31.0), 2)
    assert "load" in unsteady([{"load_1_min": 1.0}, {"load_1_min": 0.5}], 2)
    assert unsteady([{}, {}, {}], None) is None


class Cooling(HostPlatform):
    def __init__(self, *temperatures):
        super().__init__(DeviceInfo("one", "1"), PlatformOptions())
        self.temperatures = list(temperatures)

    def conditions(self):
        here = self.temperatures
        return {"temperature_celsius": here.pop(0) if len(here) > 1 else here[0]}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(conditions, "READING_INTERVAL_S", 0.01)


def test_a_device_that_cools_down_is_waited_for():
    with Cancellation() as cancellation:
        assert cool_down(Cooling(50.0, 45.0, 40.0, 38.0, 37.5, 37.2), 60.0, cancellation) is None


def test_a_device_that_stays_restless_is_not_waited_for_longer_than_the_limit():
    with Cancellation() as cancellation:
        restless = Cooling(*[40.0, 50.0] * 1000)
        started = time.monotonic()
        assert "not steady after 0.3 s" in cool_down(restless, 0.3, cancellation)
        assert time.monotonic() - started < 10


def test_a_wait_can_be_cancelled():
    with Cancellation() as cancellation:
        cancellation.set()
        with pytest.raises(RunCancelledError):
            cool_down(Cooling(*[40.0, 50.0] * 1000), 60.0, cancellation)


@pytest.mark.parametrize(("percent", "count"), [(15, 0), (14, 1)])
def test_a_battery_is_low_below_its_limit(percent, count):
    assert len(taints({"battery_percent": 20}, {"battery_percent": percent}, None)) == count
    assert taints({"battery_percent": 20}, {"battery_percent": percent, "battery_charging": True}, None) == ()
