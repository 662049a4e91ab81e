"""Sessions on devices with configured failures; everything else is real."""

import hashlib
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.driver import session
from benchmarking.driver.device_lock import DeviceLocks
from benchmarking.driver.health import HealthCheck
from benchmarking.driver.plan import Arm, ManyBackends, RunPlan
from benchmarking.driver.regression_check import RegressionCheck
from benchmarking.driver.session import Session, exit_status, run_sessions
from benchmarking.errors import DeviceBusyError, DeviceError, DeviceLostError, ExitStatus
from benchmarking.files.model_cache import ModelCache
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions
from benchmarking.programs.command import Program
from benchmarking.programs.process import Cancellation
from benchmarking.results.model import FailureKind
from benchmarking.specs.location import Location
from benchmarking.specs.model import FileSpec, ModelSpec
from tests.support.cases import case
from tests.support.sample_results import INCONCLUSIVE, REGRESSED

PROGRAM = Path(__file__).parents[2] / "support/observer_program.py"


class Published:
    """Everything that the sessions reported."""

    def __init__(self):
        self.results, self.bugs = [], []

    def report(self, *results):
        self.results.extend(results)

    def report_bug(self, where, error):
        self.bugs.append((where, error))


class Device(HostPlatform):
    """Raises ``error`` when it is asked to run for the ``fails_at``-th time; meets the others at a barrier."""

    def __init__(self, name, error=None, fails_at=0, barrier=None):
        super().__init__(DeviceInfo(name, f"hash of {name}", {"logical_cores": 2}), PlatformOptions())
        self.error, self.fails_at, self.barrier = error, fails_at, barrier
        self.runs = self.recoveries = self.reboots = 0
        self.recovers = True
        self.readings = []

    def conditions(self):
        return self.readings.pop(0) if self.readings else {}

    def recover(self):
        self.recoveries += 1
        if not self.recovers:
            raise DeviceError(f"{self.device.name} did not come back")

    def reboot(self):
        self.reboots += 1

    def reference_s(self):
        return 0.5

    def run(self, command, cancellation):
        self.runs += 1
        if self.barrier:
            self.barrier.wait(timeout=30)
        if self.error and self.runs >= self.fails_at:
            raise self.error
        return super().run(command, cancellation)


@pytest.fixture
def run(tmp_path):
    files = {}
    for key in ("init", "predict"):
        (tmp_path / key).write_text(key)
        digest = hashlib.md5(key.encode()).hexdigest()
        files[key] = FileSpec(filename=f"{key}.pb", location=key, md5=digest)
    model = ModelSpec(name="tiny", format="caffe2", files=files)
    locations = {key: Location(str(tmp_path / key)) for key in files}
    cases = [
        case(model=model, model_files=locations, identifier=str(number), specification=tmp_path / "tiny.json")
        for number in range(3)
    ]
    published = Published()
    with Cancellation() as cancellation:
        cache = ModelCache(tmp_path / "cache", cancellation=cancellation, show_progress=False)
        plan = RunPlan(
            Caffe2(tmp_path), Arm("abc", 1, Program(PROGRAM, needs_python=True)), None, ("x",), seed=1
        )

        locks = DeviceLocks(tmp_path / "locks", "fail")

        def run_on(*devices, backends=None, **more):
            sessions = [
                Session(
                    platform=device,
                    plan=replace(plan, backends=backends),
                    cache=cache,
                    cancellation=cancellation,
                    publisher=published,
                    **{"locks": locks, **more},
                )
                for device in devices
            ]
            return run_sessions(sessions, cases)

        run_on.locks = locks

        run_on.published = published
        run_on.cancellation = cancellation
        yield run_on


def names(results):
    return [(one.device.name, one.test.identifier, one.failure and one.failure.kind) for one in results]


def test_devices_run_at_once_and_the_cases_of_each_in_sequence(run):
    barrier = threading.Barrier(2)  # would break if one device waited for the other
    results = run(Device("one", barrier=barrier), Device("two", barrier=barrier))
    assert names(results) == [(device, str(number), None) for device in ("one", "two") for number in range(3)]
    assert sorted(names(run.published.results)) == sorted(names(results))
    assert exit_status(results, cancelled=False) is ExitStatus.OK


def test_a_device_that_disappears_only_affects_its_own_cases(run):
    results = run(Device("one"), Device("two", DeviceError("gone", "the log"), fails_at=2))
    assert names(results)[:3] == [("one", str(number), None) for number in range(3)]
    assert names(results)[3:] == [("two", "0", None), ("two", "1", "device"), ("two", "2", "device")]
    assert results[-1].failure.evidence == "the log"
    assert exit_status(results, cancelled=False) is ExitStatus.DEVICE_FAILED


@pytest.mark.parametrize("backends", [None, ManyBackends(("default", "nnpack"), blocks=1)])
def test_every_result_has_its_own_id_and_that_of_the_run_also_a_failed_one(run, backends):
    results = run(Device("one"), Device("two", DeviceError("gone"), fails_at=2), backends=backends)
    assert {one.failure is None for one in results} == {True, False}
    assert len({one.provenance.uid for one in results if one.provenance.uid}) == len(results)
    assert len({one.provenance.run_uid for one in results if one.provenance.run_uid}) == 1


def test_a_bug_costs_its_own_case_and_keeps_its_traceback(run):
    results = run(Device("one", KeyError("bug"), fails_at=3))
    assert [one.failure for one in results[:2]] == [None, None]
    assert results[2].failure.kind is FailureKind.BUG
    assert "Traceback" in results[2].failure.evidence
    assert exit_status(results, cancelled=False) is ExitStatus.INTERNAL_ERROR


BUG = KeyError("bug")


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("where", ["conditions", "recover", "stage"])
def test_a_bug_around_the_tests_of_a_device_costs_no_result_of_another(run, where):
    """The first conditions are read before the first test, and a device is lost and recovered in between."""
    broken = Losing("one", 2)
    broken.__dict__[where] = failing(BUG)
    results = run(broken, Device("two"))
    assert sorted(names(run.published.results)) == sorted(names(results))
    assert [one.failure for one in results if one.device.name == "two"] == [None] * 3
    of_the_broken = [one.failure for one in results if one.device.name == "one"]
    assert len(of_the_broken) == 3
    bugs = [one for one in of_the_broken if one and one.kind is FailureKind.BUG]
    assert bugs
    assert all("Traceback" in one.evidence and "KeyError" in one.evidence for one in bugs)
    assert exit_status(results, cancelled=False) is ExitStatus.INTERNAL_ERROR


@pytest.mark.parametrize("where", ["lock", "hold", "health check", "discovery of backends"])
def test_a_bug_before_the_first_test_is_the_result_of_every_test(run, where, monkeypatch):
    device, more = Device("one"), {}
    if where == "lock":
        more["locks"] = type("Locks", (), {"held": failing(BUG)})()
    elif where == "hold":
        device.hold = failing(BUG)
    elif where == "health check":
        more["health_check"] = type("HealthCheck", (), {"run": failing(BUG)})()
    else:
        more["backends"] = ManyBackends(("default", "mkl"))
        monkeypatch.setattr(session, "find_backends", failing(BUG))
    results = run(device, **more)
    assert [one.failure.kind for one in results] == [FailureKind.BUG] * 3
    assert run.published.results == list(results)
    assert exit_status(results, cancelled=False) is ExitStatus.INTERNAL_ERROR
    assert [one.status for one in run(Device("one"))] == ["passed"] * 3  # it is free again


def test_a_bug_in_the_canary_costs_the_canary(run, monkeypatch):
    monkeypatch.setattr(session, "run_canary", failing(BUG))
    assert [one.status for one in run(Device("one"))] == ["passed"] * 3
    assert run.published.bugs == [("the canary on one", BUG)]


@pytest.mark.parametrize("method", ["finished", "suspects"])
def test_a_bug_in_the_judgement_keeps_what_was_measured(run, method):
    check = RegressionCheck()
    object.__setattr__(check, method, failing(BUG))
    results = run(Device("one"), regression_check=check)
    assert [len(one.types) for one in results] == [1] * 3
    if method == "finished":
        assert {one.failure.kind for one in results} == {FailureKind.BUG}
    else:
        assert [error for _, error in run.published.bugs] == [BUG] * 3


def test_a_device_that_cannot_be_let_go_of_costs_nothing(run):
    device, other = Device("one"), Device("two")
    device.close, other.close = failing(BUG), failing(DeviceError("gone"))
    assert [one.status for one in run(device, other)] == ["passed"] * 6
    assert [error for _, error in run.published.bugs] == [BUG]


def test_a_cancelled_run_has_the_results_that_there_are(run):
    class Cancelling(Device):
        def run(self, command, cancellation):
            outcome = super().run(command, cancellation)
            if self.runs == 2:
                cancellation.set()
            return outcome

    results = run(Cancelling("one"))
    assert [one.test.identifier for one in results] == ["0", "1"]
    assert exit_status(results, cancelled=True) is ExitStatus.INTERRUPTED


class Losing(Device):
    """Is lost in the runs whose numbers are given."""

    def __init__(self, name, *lost_at, recovers=True):
        super().__init__(name)
        self.lost_at, self.recovers = lost_at, recovers

    def run(self, command, cancellation):
        outcome = super().run(command, cancellation)
        if self.runs in self.lost_at:
            raise DeviceLostError("the cable fell out")
        return outcome


def test_a_device_that_comes_back_runs_the_lost_case_again(run):
    device = Losing("one", 2)
    results = run(device)
    assert names(results) == [("one", str(number), None) for number in range(3)]
    assert device.runs == 4
    assert ["the cable fell out" in "".join(one.warnings) for one in results] == [False, True, False]
    assert exit_status(results, cancelled=False) is ExitStatus.OK


def test_a_device_that_does_not_come_back_is_not_tried_again(run):
    device = Losing("one", 2, recovers=False)
    results = run(device, Device("two"))
    assert names(results) == [
        *[("one", "0", None), ("one", "1", "device lost"), ("one", "2", "device")],
        *[("two", str(number), None) for number in range(3)],
    ]
    assert (device.runs, device.recoveries) == (2, 1)
    assert [one.status for one in results[:3]] == ["passed", "missing", "missing"]
    assert "did not come back" in results[2].failure.message
    assert sorted(names(run.published.results)) == sorted(names(results))
    assert exit_status(results, cancelled=False) is ExitStatus.DEVICE_FAILED


def test_a_device_that_is_lost_over_and_over_is_given_up(run, monkeypatch):
    monkeypatch.setattr(session, "RECOVERIES", 1)
    device = Losing("one", *range(1, 100))
    results = run(device)
    assert [one.status for one in results] == ["missing"] * 3
    assert device.recoveries == 1
    assert "more than 1 times" in results[2].failure.message


def test_a_device_that_cannot_be_set_up_has_all_its_cases_missing(run):
    class Unready(Device):
        @contextmanager
        def hold(self):
            raise DeviceError("no space left")
            yield

    results = run(Unready("one"))
    assert [(one.status, one.failure.message) for one in results] == [("missing", "no space left")] * 3


@pytest.mark.parametrize(("when_busy", "status"), [("wait", "passed"), ("fail", "missing")])
def test_another_machine_s_device_is_waited_for(run, monkeypatch, when_busy, status):
    class Leased(Device):
        looks = 0

        @contextmanager
        def hold(self):
            self.looks += 1
            if self.looks < 3:
                raise DeviceBusyError("one is in use by the machine lab-7")
            yield

    monkeypatch.setattr(session, "LEASE_LOOK_AGAIN_S", 0.01)
    results = run(Leased("one"), locks=replace(run.locks, when_busy=when_busy))
    assert [one.status for one in results] == [status] * 3


def test_a_device_in_use_is_not_used_twice(run):
    with Cancellation() as cancellation, run.locks.held(Device("one"), cancellation):
        results = run(Device("one"), Device("two"))
    assert [one.status for one in results] == ["missing"] * 3 + ["passed"] * 3
    assert results[0].failure.error == "DeviceBusyError"
    assert f"in use by process {os.getpid()}" in results[0].failure.message
    assert [one.status for one in run(Device("one"))] == ["passed"] * 3


def test_a_reboot_per_commit_or_per_run(run):
    for reboot, expected in ((None, 0), ("commit", 1), ("run", 3)):
        device = Device("one")
        run(device, reboot=reboot)
        assert device.reboots == expected


def test_a_run_whose_conditions_moved_is_tainted(run):
    device = Device("one")
    device.readings = [{"temperature_celsius": one} for one in (30.0, 31.0, 31.0, 44.0)]
    tainted = [one.device.tainted for one in run(device)]
    assert tainted == [(), ("the temperature went from 31.0 to 44.0 °C",), ()]


def test_a_device_in_bad_health_is_not_used_where_health_is_required(run, tmp_path):
    check = HealthCheck(tmp_path / "health", "require")
    device = Device("one")
    for _ in range(6):
        assert [one.status for one in run(device, health_check=check)] == ["passed"] * 3
    device.reference_s = lambda: 0.8
    results = run(device, health_check=check)
    assert [one.status for one in results] == ["missing"] * 3
    assert "the reference took 800 ms, usually 500 ms" in results[0].failure.message


SEVERAL = ManyBackends(("default", "mkl"), blocks=2)


def on_backends(results):
    return [(one.test.identifier, one.test.backend, one.failure and one.failure.kind) for one in results]


def test_each_case_on_each_backend_side_by_side_on_all_devices(run):
    results = run(Device("one"), Device("two"), backends=SEVERAL)
    expected = [(str(number), backend, None) for number in range(3) for backend in SEVERAL.names]
    assert on_backends(results) == expected * 2
    assert all(one.cell.blocks == 2 for one in results)


def test_a_device_that_is_lost_among_the_backends_runs_the_case_again_whole(run):
    device = Losing("one", 4)  # the first run is the question for its backends, four more are a case
    results = run(device, backends=SEVERAL)
    assert on_backends(results) == [
        (str(number), name, None) for number in range(3) for name in SEVERAL.names
    ]
    assert "run again, because the device was lost" in results[0].warnings[0]
    assert device.runs == 1 + 3 + 3 * 4


def test_a_device_that_stays_away_is_missing_on_every_backend(run):
    results = run(Losing("one", 7, recovers=False), backends=SEVERAL)
    assert on_backends(results)[:2] == [("0", "default", None), ("0", "mkl", None)]
    assert all(one.failure.is_of_the_device and one.cell for one in results[2:])
    assert [one.test.backend for one in results[2:]] == ["default", "mkl"] * 2


def test_a_bug_among_the_backends_costs_its_own_case(run):
    results = run(Device("one", KeyError("bug"), fails_at=6), backends=SEVERAL)
    assert on_backends(results)[:2] == [("0", "default", None), ("0", "mkl", None)]
    assert {one.failure.kind for one in results[2:]} == {FailureKind.BUG}


@pytest.mark.parametrize(
    ("results", "more", "status"),
    [
        ((REGRESSED,), {}, ExitStatus.REGRESSION_CONFIRMED),
        ((REGRESSED,), {"devices_missing": True}, ExitStatus.REGRESSION_CONFIRMED),
        ((REGRESSED,), {"fail_on": "never"}, ExitStatus.OK),
        ((), {"devices_missing": True}, ExitStatus.DEVICE_FAILED),
        ((INCONCLUSIVE,), {}, ExitStatus.OK),
        ((INCONCLUSIVE,), {"fail_on": "inconclusive"}, ExitStatus.INCONCLUSIVE),
    ],
)
def test_the_exit_status_is_the_most_severe_that_the_user_wants(results, more, status):
    assert exit_status(results, cancelled=False, **more) is status
