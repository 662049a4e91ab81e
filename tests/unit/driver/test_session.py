"""Sessions on devices that fail as they are told; everything else is real."""

import hashlib
import threading
from pathlib import Path

import pytest

from benchmarking.command import Program
from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.driver.session import Session, exit_status, run_sessions
from benchmarking.errors import DeviceError, ExitStatus
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.model_cache import ModelCache
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.platform_base import DeviceInfo
from benchmarking.process import Cancellation
from benchmarking.results import FailureKind
from benchmarking.specs.location import Location
from benchmarking.specs.model import FileSpec, ModelSpec
from tests.support.cases import case

PROGRAM = Path(__file__).parents[2] / "support/observer_program.py"


class Device(HostPlatform):
    """Raises ``error`` when it is asked to run for the ``fails_at``-th time; meets the others at a barrier."""

    def __init__(self, name, error=None, fails_at=0, barrier=None):
        super().__init__(DeviceInfo(name, f"hash of {name}"))
        self.error, self.fails_at, self.barrier = error, fails_at, barrier
        self.runs = 0

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
    published = []
    with Cancellation() as cancellation:
        cache = ModelCache(tmp_path / "cache", cancellation=cancellation, show_progress=False)
        plan = RunPlan(
            Caffe2(tmp_path), Arm("abc", 1, Program(PROGRAM, needs_python=True)), None, ("x",), seed=1
        )

        def run_on(*devices):
            sessions = [Session(device, plan, cache, cancellation, published.append) for device in devices]
            return run_sessions(sessions, cases)

        run_on.published = published
        run_on.cancellation = cancellation
        yield run_on


def names(results):
    return [(one.meta.platform, one.meta.identifier, one.failure and one.failure.kind) for one in results]


def test_devices_run_at_once_and_the_cases_of_each_in_sequence(run):
    barrier = threading.Barrier(2)  # would break if one device waited for the other
    results = run(Device("one", barrier=barrier), Device("two", barrier=barrier))
    assert names(results) == [(device, str(number), None) for device in ("one", "two") for number in range(3)]
    assert sorted(names(run.published)) == sorted(names(results))
    assert exit_status(results, cancelled=False) is ExitStatus.OK


def test_a_device_that_vanishes_costs_its_own_cases_only(run):
    results = run(Device("one"), Device("two", DeviceError("gone", "the log"), fails_at=2))
    assert names(results)[:3] == [("one", str(number), None) for number in range(3)]
    assert names(results)[3:] == [("two", "0", None), ("two", "1", "device"), ("two", "2", "device")]
    assert results[-1].failure.evidence == "the log"
    assert exit_status(results, cancelled=False) is ExitStatus.DEVICE_FAILED


def test_a_bug_costs_its_own_case_and_keeps_its_traceback(run):
    results = run(Device("one", KeyError("bug"), fails_at=3))
    assert [one.failure for one in results[:2]] == [None, None]
    assert results[2].failure.kind is FailureKind.BUG
    assert "Traceback" in results[2].failure.evidence
    assert exit_status(results, cancelled=False) is ExitStatus.INTERNAL_ERROR


def test_a_cancelled_run_has_the_results_that_there_are(run):
    class Cancelling(Device):
        def run(self, command, cancellation):
            outcome = super().run(command, cancellation)
            if self.runs == 2:
                cancellation.set()
            return outcome

    results = run(Cancelling("one"))
    assert [one.meta.identifier for one in results] == ["0", "1"]
    assert exit_status(results, cancelled=True) is ExitStatus.INTERRUPTED
