"""Ownership of processes, their cores, and the system's counters for their threads. Linux reports all of
these.
"""

import os
import subprocess
import sys

import pytest

from benchmarking.driver.waiting import Watched
from benchmarking.platforms.host.host import HostPlatform
from benchmarking.platforms.host.threads import thread_times
from benchmarking.platforms.platform_base import DeviceInfo, PlatformOptions, ThreadTimes
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation
from benchmarking.programs.worker_protocol import IterationSample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux counts this")

CHILD = "sleep 600.75 & echo $!; cat"
ON_TWO_CORES = (
    "import os; os.sched_setaffinity(0, {int(os.sys.argv[1])}); print(os.getpid(), flush=True); input()"
)


def host(**options):
    return HostPlatform(DeviceInfo("one", "1"), PlatformOptions(**options))


@pytest.fixture
def cancellation():
    with Cancellation() as cancellation:
        yield cancellation


def test_a_program_owns_itself_and_what_it_started_and_nothing_else(cancellation):
    stranger = subprocess.Popen(["sleep", "600.75"])
    try:
        with host().start(Command(("sh", "-c", CHILD)), cancellation) as program:
            child = int(program.read_line(30))
            assert program.owns(program.pid)
            assert program.owns(child)
            for pid in (stranger.pid, os.getpid(), os.getppid(), 1, 0, 2**31 - 1, 2**70):
                assert not program.owns(pid), pid
    finally:
        stranger.kill()
        stranger.wait()


def pinned(core, cancellation, **options):
    """Where a program that has put itself on ``core`` is then pinned to."""
    platform = host(**options)
    with platform.start(Command((sys.executable, "-c", ON_TWO_CORES, str(core))), cancellation) as program:
        pid = int(program.read_line(30))
        found = platform.pin(pid)
        return found, os.sched_getaffinity(pid)


def test_a_program_is_pinned_to_a_core_that_both_it_and_the_user_allow(cancellation):
    own = os.sched_getaffinity(0)
    for core in own:
        assert pinned(core, cancellation) == (core, {core})
        assert pinned(core, cancellation, affinity_mask=1 << core) == (core, {core})
        for other in own - {core}:
            # It has left the cores that the user allows: it is not moved to another one that is not allowed.
            assert pinned(core, cancellation, affinity_mask=1 << other) == (None, {core})


def test_cores_that_the_harness_was_not_started_on_are_not_used(cancellation):
    own = os.sched_getaffinity(0)
    if len(own) < 2:
        pytest.skip("one core only")
    first, second = sorted(own)[:2]
    try:
        os.sched_setaffinity(0, {first})
        assert pinned(second, cancellation) == (None, {second})
    finally:
        os.sched_setaffinity(0, own)


def test_a_process_that_is_gone_has_no_threads_and_is_not_pinned():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert thread_times(gone.pid) is None
    assert host().pin(gone.pid) is None


def test_what_the_system_counts():
    before = thread_times(os.getpid())
    if before is None:
        pytest.skip("this kernel does not count")
    while thread_times(os.getpid())[os.getpid()].ran_ns < before[os.getpid()].ran_ns + 2_000_000:
        pass
    watched = Watched.between(before, thread_times(os.getpid()))
    assert sum(watched.ran_ns) >= 2_000_000
    assert watched.computing == 1


@pytest.mark.parametrize(
    ("ran", "waited", "sample", "expected"),
    [
        ({1: 900}, {1: 50}, {"wall_ns": 1000, "cpu_ns": 900}, 50),
        ({1: 900}, {1: 500}, {"wall_ns": 1000, "cpu_ns": 900}, 100),  # what one thread can have waited
        ({1: 900, 2: 900}, {1: 500, 2: 400}, {"wall_ns": 1000, "cpu_ns": 900}, 900),
        ({1: 900}, {1: 50}, {"wall_ns": 1000}, 50),
        ({1: 900}, {1: 50}, {"wall_ns": 1000, "run_delay_ns": 7}, 7),
        ({1: 100}, {1: 50}, {"wall_ns": 1000, "cpu_ns": 900}, None),  # another process computed
        ({1: 100}, {1: 50}, {"wall_ns": 1000}, None),
        ({}, {}, {"wall_ns": 1000, "cpu_ns": 0}, 0),
    ],
)
def test_how_long_an_iteration_waited(ran, waited, sample, expected):
    before = {one: ThreadTimes(5, 5) for one in ran}
    after = {one: ThreadTimes(5 + ran[one], 5 + waited[one]) for one in ran}
    completed = Watched.between(before, after).completed(IterationSample(**sample))
    assert completed.run_delay_ns == expected


def test_without_both_readings_nothing_is_known():
    assert Watched.between(None, {}) is None
    assert Watched.between({}, None) is None


def test_a_thread_that_began_or_ended_meanwhile():
    watched = Watched.between({1: ThreadTimes(100, 10)}, {2: ThreadTimes(30, 4)})
    assert (watched.ran_ns, watched.waited_ns, watched.computing) == ((30,), 4, 1)
