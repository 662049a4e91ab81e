import pytest

from benchmarking.driver.health import Health, HealthCheck, judge
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions


@pytest.mark.parametrize(
    ("history", "newest", "health"),
    [
        ([], 0.5, Health.UNKNOWN),
        ([0.5] * 4, 9.0, Health.UNKNOWN),
        ([0.5] * 5, 0.55, Health.GOOD),
        ([0.5] * 5, 0.6, Health.BAD),
        ([0.5] * 5, 0.4, Health.BAD),
        ([0.4, 0.45, 0.5, 0.55, 0.6], 0.7, Health.GOOD),
    ],
)
def test_a_reference_is_judged_by_the_ones_before(history, newest, health):
    assert judge(history, newest).health is health


def test_a_bad_reading_does_not_become_the_habit(tmp_path):
    check = HealthCheck(tmp_path)
    device = HostPlatform(DeviceInfo("one", "1"), PlatformOptions())
    device.reference_s = lambda: 0.5
    for _ in range(6):
        check.run(device)
    device.reference_s = lambda: 0.9
    assert [check.run(device).health for _ in range(20)] == [Health.BAD] * 20


def test_a_damaged_history_is_none(tmp_path):
    device = HostPlatform(DeviceInfo("one", "1"), PlatformOptions())
    device.reference_s = lambda: 0.5
    HealthCheck(tmp_path).run(device)
    (path,) = tmp_path.iterdir()
    path.write_text("[[1")
    assert HealthCheck(tmp_path).run(device).health is Health.UNKNOWN


def test_the_reference_of_this_machine_takes_a_moment():
    host = HostPlatform(DeviceInfo("one", "1"), PlatformOptions())
    assert 0 <= host.reference_s() < 30
