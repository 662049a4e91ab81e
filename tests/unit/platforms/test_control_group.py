"""Quotas of containers and services, in both versions of control groups, inside and outside of a container."""

import pytest

from benchmarking.platforms.host import control_group, facts

MOUNTS = {
    "cgroup2": "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
    "cgroup": "31 23 0:27 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
}
PLACES = {"cgroup2": "sys/fs/cgroup", "cgroup": "sys/fs/cgroup/cpu,cpuacct"}
OTHER_MOUNTS = "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n36 23 0:9 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"


@pytest.fixture
def machine(tmp_path):
    """Files of control groups: ``groups`` by path below the mount, each its files."""

    def make(kind, path, groups, mounted="/"):
        proc = tmp_path / "proc"
        proc.mkdir()
        number, controllers = ("0", "") if kind == "cgroup2" else ("4", "cpu,cpuacct")
        (proc / "cgroup").write_text(f"9:name=systemd:/elsewhere\n7:pids:/x\n{number}:{controllers}:{path}\n")
        (proc / "mountinfo").write_text(OTHER_MOUNTS + MOUNTS[kind].format(root=mounted) + "\n")
        for name, files in groups.items():
            directory = tmp_path / PLACES[kind] / name
            directory.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (directory / file).write_text(text)
        return control_group.facts(proc, tmp_path)

    return make


STAT = "usage_usec 99\nnr_periods 40\nnr_throttled 12\nthrottled_usec 1300000\n"
PRESSURE = (
    "some avg10=1.53 avg60=0.87 avg300=0.73 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
)
LIMITED = {"cpu.max": "20000 100000\n", "cpu.stat": STAT, "cpu.pressure": PRESSURE, "cgroup.events": ""}
UNLIMITED = {"cpu.max": "max 100000\n", "cpu.stat": "usage_usec 99\n", "cgroup.events": ""}
EXPECTED = {
    "cpu_quota_cores": 0.2,
    "cpu_throttled_periods": 12,
    "cpu_throttled_s": 1.3,
    "cpu_pressure_s": 2.5,
}
FIRST_VERSION = {
    "cpu.cfs_quota_us": "20000\n",
    "cpu.cfs_period_us": "100000\n",
    "cpu.stat": "nr_periods 40\nnr_throttled 12\nthrottled_time 1300000000\n",
}


def test_a_service_on_the_machine_itself(machine):
    assert machine("cgroup2", "/system.slice/ci.service", {"system.slice/ci.service": LIMITED}) == EXPECTED


def test_a_container_whose_own_group_is_the_root_that_it_sees(machine):
    assert machine("cgroup2", "/", {".": LIMITED}) == EXPECTED


@pytest.mark.parametrize("path", ["/docker/abc", "/../..", "/elsewhere"])
def test_a_container_that_sees_paths_of_the_machine_outside(machine, path):
    assert machine("cgroup2", path, {".": LIMITED}, mounted="/docker/abc") == EXPECTED


def test_the_first_version(machine):
    found = machine("cgroup", "/kubepods/pod1/abc", {"kubepods/pod1/abc": FIRST_VERSION})
    assert found == {name: value for name, value in EXPECTED.items() if name != "cpu_pressure_s"}


def test_the_tightest_of_the_quotas_above_counts_and_all_hold_up(machine):
    pod = {**LIMITED, "cpu.max": "150000 100000\n"}
    found = machine("cgroup2", "/pod/container", {"pod": pod, "pod/container": LIMITED})
    assert found["cpu_quota_cores"] == 0.2
    assert (found["cpu_throttled_periods"], found["cpu_throttled_s"]) == (24, 2.6)


@pytest.mark.parametrize(
    ("kind", "groups"),
    [
        ("cgroup2", {".": UNLIMITED}),
        ("cgroup2", {".": {"cpu.pressure": PRESSURE}}),  # the machine's own: nobody in particular waited
        ("cgroup2", {".": {"cpu.max": "nonsense\n", "cpu.pressure": "some total", "cgroup.events": ""}}),
        ("cgroup2", {}),
        ("cgroup", {".": {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}}),
        ("cgroup", {".": {"cpu.cfs_quota_us": "5", "cpu.cfs_period_us": "0"}}),
    ],
)
def test_without_a_quota_there_is_none(machine, kind, groups):
    assert machine(kind, "/", groups) == {}


def test_a_machine_without_control_groups(tmp_path):
    assert control_group.facts(tmp_path / "none", tmp_path) == {}


def test_the_hosts_facts_and_conditions_have_them(monkeypatch):
    monkeypatch.setattr(control_group, "facts", lambda: EXPECTED)
    assert facts.lasting_facts()["cpu_quota_cores"] == 0.2
    assert EXPECTED.items() <= facts.moving_facts().items()
