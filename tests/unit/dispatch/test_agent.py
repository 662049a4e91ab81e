"""An agent in the process of the test: what it runs at once, what it takes for lost, and what it tells the lab."""

import asyncio
import logging
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import procrastinate.worker
import psycopg
import pytest
from procrastinate.exceptions import ConnectorException, JobAborted

import benchmarking
from benchmarking.dispatch import agent as agent_module
from benchmarking.dispatch.agent import (
    LONG_AGO,
    Agent,
    HostEndsError,
    _is_elsewhere,
    _is_of_the_database,
    _one_line,
    _retry_strategy,
    _start_again,
    _uninterrupted,
)
from benchmarking.dispatch.database import Database, LabError, RefusedByLabError
from benchmarking.dispatch.job_run import Host, JobOutcome, JobRun, SupersededError
from benchmarking.dispatch.request import PROTOCOL, RESERVE, FilesJob
from benchmarking.driver.survey import FoundDevice
from benchmarking.errors import RunCancelledError, UsageError
from benchmarking.programs.process import Cancellation, Tether

JOB = {"protocol": PROTOCOL, "submission": "s", "person": "p"}
REQUEST = FilesJob(**JOB, platform="host", files={})
QUEUE = "host:attic0"
DEVICE = FoundDevice("host", "attic", "attic0", facts={"cores": 2})


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    for name in ("RECONNECT_S", "RESTART_S"):
        monkeypatch.setattr(agent_module, name, 0.001)


def host_of(tmp_path, **changes):
    return Host(
        **{"name": "attic", "identity": "1", "directory": tmp_path, "tether": Tether(0, "", "")} | changes
    )


def agent_of(database, tmp_path, survey=list, **changes):
    return Agent(database, host_of(tmp_path, **changes), survey, labels=("fast",), lost_after_s=30.0)


@pytest.fixture
def nowhere(tmp_path):
    """It has no database."""
    return agent_of(Database("postgresql://nowhere/lab"), tmp_path)


@pytest.fixture
def attic(lab, tmp_path):
    lab.sql("UPDATE agent SET identity = '1' WHERE host = 'attic'")
    return agent_of(lab.database, tmp_path)


def context(job=7, attempt=1, *, abort=False):
    return SimpleNamespace(job=SimpleNamespace(id=job, attempts=attempt), should_abort=lambda: abort)


# --- what runs at once --------------------------------------------------------------------------------------


class Counted(JobRun):
    """Tells how many run at once."""

    both = threading.Barrier(2)
    running = 0
    most = 0

    def run(self):
        Counted.running += 1
        Counted.most = max(Counted.most, Counted.running)
        if not self.host.builds:
            self.both.wait(60)
        Counted.running -= 1

    def _perform(self):
        return JobOutcome(None)


def most_at_once(tmp_path, builds, alone):
    async def two():
        agent = agent_of(Database("postgresql://nowhere/lab"), tmp_path, builds=builds)
        lock = asyncio.Lock() if alone else None
        await asyncio.gather(
            *(agent._perform(context(number), REQUEST, Counted, lock) for number in range(2))
        )

    Counted.most = 0
    asyncio.run(two())
    return Counted.most


def test_a_host_that_builds_does_one_thing_at_a_time(tmp_path: Path):
    assert most_at_once(tmp_path, ("host",), alone=True) == 1
    assert most_at_once(tmp_path, (), alone=True) == 2


@pytest.mark.parametrize(
    ("platform", "elsewhere"),
    [("android", True), ("linux", True), ("host", False), ("gpu/cuda12", False), ("nonesuch", False)],
)
def test_what_is_measured_on_this_machine(platform, elsewhere):
    assert _is_elsewhere(platform) == elsewhere


@pytest.mark.parametrize(("platform", "needs_this_machine"), [("host", True), ("android", False)])
def test_what_a_measurement_needs_for_itself(nowhere, monkeypatch, platform, needs_this_machine):
    performed = []

    async def perform(*arguments):
        performed.append(arguments)

    monkeypatch.setattr(nowhere, "_perform", perform)
    job = JOB | {"platform": platform, "device": "d", "files": {}, "options": {}, "info": {}, "tests": []}
    build = JOB | {"platform": platform, "files": {}, "source": "a", "scripts": "b", "script": "c"}
    one = context()
    asyncio.run(nowhere._measure(one, job))
    asyncio.run(nowhere._build(one, build))
    lock = nowhere._this_machine
    assert [(given, request.platform, kind.__name__, alone) for given, request, kind, alone in performed] == [
        (one, platform, "MeasureRun", lock if needs_this_machine else None),
        (one, platform, "BuildRun", lock),
    ]


# --- the first contact --------------------------------------------------------------------------------------


def test_a_database_that_is_away_is_waited_for(nowhere, monkeypatch, caplog):
    answers = [LabError("away"), LabError("still away"), None]

    def introduce():
        answer = answers.pop(0)
        if answer:
            raise answer

    monkeypatch.setattr(nowhere, "_introduce_itself", introduce)
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(nowhere._first_contact(asyncio.Event())) is True
    assert caplog.messages == ["away; trying again", "still away; trying again"]
    answers[:] = [RefusedByLabError("another version")]
    with pytest.raises(RefusedByLabError, match="another version"):
        asyncio.run(nowhere._first_contact(asyncio.Event()))


def test_an_agent_that_ends_waits_no_more(nowhere, monkeypatch):
    monkeypatch.setattr(agent_module, "RECONNECT_S", 600)

    async def ends():
        end = asyncio.Event()

        def introduce():
            loop.call_soon_threadsafe(end.set)
            raise LabError("away")

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(nowhere, "_introduce_itself", introduce)
        assert await asyncio.wait_for(nowhere._first_contact(end), 60) is False
        await nowhere.run(end)

    asyncio.run(ends())


def test_an_agent_introduces_itself(lab, attic):
    lab.sql("UPDATE agent SET seen = now() - interval '50 seconds'")
    attic._introduce_itself()
    row = "host, identity, version, protocol, free_bytes > 10, seen > now() - interval '9 seconds'"
    assert lab.sql(f"SELECT {row} FROM agent WHERE host = 'attic'") == [
        ("attic", "1", benchmarking.__version__, PROTOCOL, True, True)
    ]
    lab.sql("UPDATE setting SET value = 99 WHERE name = 'protocol'")
    with pytest.raises(RefusedByLabError, match="has the version 99"):
        attic._introduce_itself()


@pytest.mark.parametrize(("silent_s", "is_refused"), [(80, True), (95, False)])
def test_two_agents_of_one_name(lab, attic, tmp_path, silent_s, is_refused):
    lab.sql("UPDATE agent SET seen = now() - make_interval(secs => %s) WHERE host = 'attic'", silent_s)
    other = agent_of(lab.database, tmp_path, identity="2")
    if is_refused:
        message = "another agent of the lab is called attic, and works: give --name"
        with pytest.raises(RefusedByLabError, match=message):
            other._introduce_itself()
    else:
        other._introduce_itself()
    owner = "1" if is_refused else "2"
    assert lab.sql("SELECT identity FROM agent WHERE host = 'attic'") == [(owner,)]


def test_a_link_is_broken_before_its_jobs_are_lost(nowhere):
    assert nowhere.database._silence_limit_s == 15.0


# --- devices ------------------------------------------------------------------------------------------------


def test_the_devices_that_it_announces(lab, attic):
    unusable = FoundDevice("android", "Pixel", "p1", "unusable", "no adb")
    lab.sql("UPDATE device SET seen = now() - interval '50 seconds'")
    attic._write_devices([DEVICE, unusable, unusable])
    columns = "platform, hash, host, name, state, reason, labels, facts"
    expected = [
        ("android", "p1", "attic", "Pixel", "unusable", "no adb", ["fast"], {}),
        ("host", "attic0", "attic", "attic", "ready", "", ["fast"], {"cores": 2}),
        ("host", "cellar0", "cellar", "cellar", "bad", "why", ["fast"], {"n": 1}),
    ]
    assert lab.sql(f"SELECT {columns} FROM device ORDER BY hash DESC, platform") == [
        expected[0],
        expected[2],
        expected[1],
    ]
    lab.sql("UPDATE device SET seen = now() - interval '50 seconds'")
    attic._write_devices(None)
    recent = "SELECT hash FROM device WHERE seen > now() - interval '9 seconds' ORDER BY 1"
    assert lab.sql(recent) == [("attic0",), ("p1",)]
    assert len(lab.sql("SELECT 1 FROM device")) == 3


def test_a_device_that_measures_is_not_looked_at(nowhere, monkeypatch):
    written, looks = [], []

    def survey():
        looks.append(1)
        return [DEVICE, FoundDevice("android", state="none")]

    monkeypatch.setattr(nowhere, "_write_devices", written.append)
    nowhere.survey = survey
    nowhere._running[7, 1] = Cancellation()
    asyncio.run(nowhere._announce())
    assert (written, looks, nowhere._found, nowhere._look_now.is_set()) == ([None], [], {}, False)
    nowhere._running.pop((7, 1)).close()
    asyncio.run(nowhere._announce())
    assert (written, looks) == ([None, [DEVICE]], [1])
    assert (nowhere._found, nowhere._look_now.is_set()) == ({QUEUE: DEVICE}, True)


def test_a_reservation_does_not_hide_other_devices_of_the_host(nowhere, monkeypatch):
    """Nothing was looked at while it lasted, which may be a month. The reserved device keeps its queue, even if
    its owner reboots it.
    """
    written = []
    other = replace(DEVICE, hash="other")
    monkeypatch.setattr(nowhere, "_write_devices", written.append)
    nowhere.survey = lambda: [DEVICE]
    asyncio.run(nowhere._announce())
    nowhere.survey = lambda: [other]
    with nowhere._begun(context(), is_reservation=True):
        asyncio.run(nowhere._announce())
        with nowhere._begun(context(8)):
            asyncio.run(nowhere._announce())
    asyncio.run(nowhere._announce())
    assert written == [[DEVICE], [DEVICE, other], None, [other]]
    assert (nowhere._running, nowhere._reservations) == ({}, set())


class StandInWorker:
    """For one of Procrastinate's."""

    made: ClassVar[list] = []

    def __init__(self, app, **options):
        self.options = options
        self.worker_id = len(self.made) + 10
        self.stopped = asyncio.Event()
        self.made.append(self)

    async def run(self):
        await self.stopped.wait()

    def stop(self):
        self.stopped.set()


@pytest.fixture
def workers(monkeypatch):
    StandInWorker.made = []
    monkeypatch.setattr(procrastinate.worker, "Worker", StandInWorker)
    return StandInWorker.made


def test_each_device_has_a_worker_while_it_is_there(nowhere, workers, caplog):
    async def day():
        nowhere._found = {QUEUE: DEVICE}
        nowhere._serve(None)
        nowhere._serve(None)
        (first,) = workers
        assert first.options == {
            "queues": [QUEUE],
            "name": "attic host:attic0",
            "fetch_job_polling_interval": 10.0,
            "update_heartbeat_interval": 300.0,
            "stalled_worker_timeout": 300.0,
            "install_signal_handlers": False,
            "shutdown_graceful_timeout": None,
        }
        assert nowhere._living_workers() == {10}
        first.stop()  # as one that lost the database
        await asyncio.wait_for(nowhere._look_now.wait(), 60)
        assert nowhere._living_workers() == set()
        nowhere._serve(None)
        _, second = workers
        nowhere._found = {}
        nowhere._serve(None)
        assert (second.stopped.is_set(), nowhere._workers) == (True, {})
        nowhere._found = {f"host:{'x' * 200}": DEVICE}
        nowhere._serve(None)
        third = workers[2]
        assert third.options["name"] == f"attic host:{'x' * 89}"
        third.worker_id = None
        assert nowhere._living_workers() == set()
        nowhere._running[7, 1] = Cancellation()
        await asyncio.wait_for(nowhere._stop_workers(), 60)
        assert nowhere._is_ending
        assert third.stopped.is_set()
        with nowhere._running.pop((7, 1)) as cancellation:
            assert cancellation.is_set

    with caplog.at_level(logging.INFO):
        asyncio.run(day())
    assert caplog.messages == [
        f"device attic ({QUEUE})",
        f"device attic ({QUEUE})",
        f"the device {QUEUE} is gone",
        f"device attic (host:{'x' * 200})",
    ]


def test_what_is_done_again_and_again(nowhere, caplog):
    outcomes = [None, LabError("away"), psycopg.OperationalError("broken\nlink"), ValueError("a bug"), None]
    end = RefusedByLabError("no")
    done = []

    async def action():
        now.set()
        done.append(1)
        outcome = outcomes.pop(0) if outcomes else end
        if outcome:
            raise outcome

    now = asyncio.Event()
    with caplog.at_level(logging.WARNING), pytest.raises(RefusedByLabError):
        asyncio.run(asyncio.wait_for(nowhere._repeatedly(600, action, now), 60))
    assert len(done) == 6
    assert [(one.getMessage(), one.exc_info is not None) for one in caplog.records] == [
        ("away; trying again", False),
        ("the lab's database on nowhere/lab: broken; trying again", False),
        ("a bug of the agent", True),
    ]


def test_what_is_done_again_after_a_pause(nowhere):
    done = []

    async def action():
        done.append(1)
        if len(done) == 3:
            raise RefusedByLabError("enough")

    with pytest.raises(RefusedByLabError):
        asyncio.run(asyncio.wait_for(nowhere._repeatedly(0.001, action), 60))


# --- jobs that were lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_of_this_host", "is_silent", "is_of_a_living_worker", "patience_s"),
    [
        (True, True, True, 30.0),
        (True, False, True, 30.0),
        (True, True, False, 0.0),
        (True, False, False, 0.0),
        (False, True, False, 10.0),
        (False, False, False, None),
    ],
)
def test_how_long_a_job_may_look_lost(nowhere, is_of_this_host, is_silent, is_of_a_living_worker, patience_s):
    row = {"is_of_this_host": is_of_this_host, "is_silent": is_silent}
    assert nowhere._patience_s(row, is_of_a_living_worker) == patience_s


class Lost:
    """A job that its agent seems to have lost, and the agent that finds it."""

    def __init__(self, lab, agent):
        self.lab, self.agent = lab, agent
        (self.job,) = lab.submit("ann", "attic")
        self.set("status = 'doing', attempts = 1")
        agent._found = {QUEUE: DEVICE}

    def set(self, text):
        self.lab.sql(f"UPDATE procrastinate_jobs SET {text} WHERE id = %s", self.job)

    def run_of(self, host, ended="NULL"):
        self.lab.sql(
            f"INSERT INTO run (job, attempt, host, ended) VALUES (%s, 1, %s, {ended})", self.job, host
        )

    def worker(self, silent_s):
        ((number,),) = self.lab.sql(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - make_interval(secs => %s))"
            " RETURNING id",
            silent_s,
        )
        self.set(f"worker_id = {number}")
        return number

    def look(self, times=1):
        async def looks():
            app = self.agent.database.app()
            async with app.open_async():
                for _ in range(times):
                    await self.agent._settle_lost_jobs(app)

        asyncio.run(looks())
        ((status,),) = self.lab.sql("SELECT status FROM procrastinate_jobs WHERE id = %s", self.job)
        return status


@pytest.fixture
def lost(lab, attic):
    return Lost(lab, attic)


def test_a_job_that_no_run_has_begun_is_begun_again(lost, caplog):
    with caplog.at_level(logging.WARNING):
        assert lost.look() == "todo"
    assert caplog.messages == [f"job {lost.job} is lost with its agent: it is begun again"]


def test_only_jobs_of_its_devices_are_looked_at(lost):
    lost.agent._found = {"host:cellar0": DEVICE}
    assert lost.look() == "doing"


def test_a_job_that_runs_here_is_not_lost(lost):
    with Cancellation() as cancellation:
        lost.agent._running[lost.job, 1] = cancellation
        assert lost.look() == "doing"
        lost.agent._running[lost.job, 2] = lost.agent._running.pop((lost.job, 1))
        assert lost.look() == "todo"


@pytest.mark.parametrize(
    ("abort", "ended", "status"),
    [
        (False, "NULL", "todo"),
        (False, "now()", "succeeded"),
        (True, "NULL", "aborted"),
        (True, "'2020-02-20'", "aborted"),
    ],
)
def test_what_a_lost_job_was_about_to_be(lost, caplog, abort, ended, status):
    lost.set(f"abort_requested = {abort}")
    lost.run_of("attic", ended)
    with caplog.at_level(logging.WARNING):
        assert lost.look() == status
    said = (
        "is lost with its agent: it is begun again"
        if status == "todo"
        else "had ended when its agent was lost"
    )
    assert caplog.messages == [f"job {lost.job} {said}"]
    ((has_ended, year),) = lost.lab.sql("SELECT ended IS NOT NULL, extract(year FROM ended)::int FROM run")
    assert has_ended == (status != "todo")
    assert (year == 2020) == ("2020" in ended)


def test_a_job_of_another_host_is_lost_after_some_time(lost, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(agent_module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    lost.run_of("cellar")
    worker = lost.worker(silent_s=20)
    assert lost.look(2) == "doing"
    assert lost.agent._suspected == {}
    lost.lab.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '40 seconds'")
    assert lost.look(2) == "doing"
    assert lost.agent._suspected == {(lost.job, 1): 100.0}
    now_s[0] = 109.9
    assert lost.look() == "doing"
    lost.lab.sql("UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %s", worker)
    assert lost.look() == "doing"
    assert lost.agent._suspected == {}
    lost.lab.sql("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '40 seconds'")
    assert lost.look() == "doing"
    now_s[0] += 10
    assert lost.look() == "todo"


def test_a_device_that_two_hosts_see_is_not_taken_from_the_other(lost):
    """Nobody has begun the job yet, and its worker gives signs of life."""
    lost.lab.sql(
        "INSERT INTO device (platform, hash, host, name, state, reason, labels, facts)"
        " VALUES ('host', 'attic0', 'cellar', 'attic', 'ready', '', '{}', '{}')"
    )
    lost.worker(silent_s=1)
    assert lost.look() == "doing"


def test_a_job_of_a_worker_that_lives_is_given_time(lost, workers):
    async def serve():
        lost.agent._serve(None)

    asyncio.run(serve())
    task = SimpleNamespace(done=lambda: False)
    number = lost.worker(silent_s=100)
    workers[0].worker_id = number
    lost.agent._workers = {QUEUE: (workers[0], task)}
    assert lost.look() == "doing"
    assert lost.agent._suspected.keys() == {(lost.job, 1)}


def test_its_workers_give_a_sign_of_life(lost, workers, monkeypatch):
    number = lost.worker(silent_s=100)
    other = lost.worker(silent_s=100)
    served = []
    monkeypatch.setattr(lost.agent, "_serve", served.append)
    worker = SimpleNamespace(worker_id=number)
    lost.agent._workers = {QUEUE: (worker, SimpleNamespace(done=lambda: False))}

    async def look():
        app = lost.agent.database.app()
        async with app.open_async():
            await lost.agent._look_after(app)
            assert served == [app]

    asyncio.run(look())
    found = lost.lab.sql(
        "SELECT id, last_heartbeat > now() - interval '9 seconds' FROM procrastinate_workers"
    )
    assert dict(found) == {number: True, other: False}
    assert lost.lab.sql("SELECT status FROM procrastinate_jobs") == [("todo",)]


# --- how jobs end -------------------------------------------------------------------------------------------


class Ends(JobRun):
    """As it was told."""

    error: Exception | None = None

    def run(self):
        if self.error:
            raise self.error

    def _perform(self):
        return JobOutcome(None)


def test_a_job_that_begins_and_ends_is_in_the_log(nowhere, caplog):
    with caplog.at_level(logging.INFO):
        asyncio.run(nowhere._perform(context(), REQUEST, Ends, None))
    assert caplog.messages == ["job 7 of p for host begins", "job 7 is done"]
    assert nowhere._running == {}


@pytest.mark.parametrize(
    ("is_ending", "abort", "expected"),
    [
        (False, False, JobAborted),
        (False, True, JobAborted),
        (True, True, JobAborted),
        (True, False, HostEndsError),
    ],
)
def test_why_a_job_was_ended(nowhere, monkeypatch, is_ending, abort, expected):
    ended = []
    monkeypatch.setattr(nowhere, "_end", lambda *identity: ended.append(identity))
    monkeypatch.setattr(Ends, "error", RunCancelledError("cancelled"))
    nowhere._is_ending = is_ending
    with pytest.raises(expected) as raised:
        asyncio.run(nowhere._perform(context(abort=abort), REQUEST, Ends, None))
    assert isinstance(raised.value.__cause__, RunCancelledError)
    assert ended == ([] if expected is HostEndsError else [(7, 1)])
    if expected is HostEndsError:
        assert str(raised.value) == "attic ends"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (LabError("the database\0 is away"), "the database? is away"),
        (KeyError("meta"), "a bug of the agent of attic: KeyError: 'meta'"),
    ],
)
def test_a_job_that_fails_for_another_reason_is_over_with_that(lab, attic, monkeypatch, error, problem):
    """What it had measured would otherwise never be delivered."""
    (job,) = lab.submit("ann", "attic")
    lab.start(job)
    monkeypatch.setattr(Ends, "error", error)
    with pytest.raises(type(error)):
        asyncio.run(attic._perform(context(job), REQUEST, Ends, None))
    assert lab.sql("SELECT ended IS NOT NULL, exit_status, problem FROM run") == [(True, None, problem)]


def test_a_job_that_fails_without_the_database_fails_as_it_would(nowhere, monkeypatch):
    monkeypatch.setattr(Ends, "error", LabError("it is away"))
    monkeypatch.setattr(nowhere, "database", nowhere.database.noticing_within(0.01))
    with pytest.raises(LabError, match="it is away"):
        asyncio.run(nowhere._perform(context(), REQUEST, Ends, None))


def test_an_agent_whose_job_was_given_away_starts_again(nowhere, monkeypatch):
    restarted = []
    monkeypatch.setattr(agent_module, "_start_again", restarted.append)
    error = SupersededError("lost")
    monkeypatch.setattr(Ends, "error", error)
    asyncio.run(nowhere._perform(context(), REQUEST, Ends, None))
    assert restarted == [error]


def test_how_it_starts_again(monkeypatch, caplog):
    executed, flushed = [], []
    monkeypatch.setattr(os, "execv", lambda *arguments: executed.append(arguments))
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(flush=lambda: flushed.append(1)))
    with caplog.at_level(logging.WARNING):
        _start_again(SupersededError("job 7: lost"))
    assert executed == [(sys.executable, sys.orig_argv)]
    assert (flushed, caplog.messages) == ([1], ["job 7: lost; the agent starts again"])


def test_a_job_goes_back_into_the_queue_only_if_the_host_ends():
    strategy = _retry_strategy()
    (decision, nothing) = (
        strategy.get_retry_decision(exception=error, job=None) for error in (HostEndsError(""), ValueError())
    )
    assert decision.retry_at == LONG_AGO
    assert nothing is None


def test_the_tasks_of_the_queue(nowhere):
    app = nowhere.database.app()
    nowhere._add_tasks(app)
    tasks = {name: app.tasks[name] for name in ("measure", "build", "reserve")}
    assert {name: task.func for name, task in tasks.items()} == {
        "measure": nowhere._measure,
        "build": nowhere._build,
        "reserve": nowhere._reserve,
    }
    assert all(task.pass_context for task in tasks.values())
    assert {type(task.retry_strategy).__name__ for task in tasks.values()} == {"OnlyIfTheHostEnds"}


def test_a_cancelled_job_has_ended(lab, attic):
    (job,) = lab.submit("ann", "attic")
    lab.start(job)
    lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 2, 'attic')", job)
    attic._end(job, 2)
    assert lab.sql("SELECT attempt, ended IS NOT NULL FROM run ORDER BY 1") == [(1, False), (2, True)]


def test_a_job_that_cannot_be_read_is_over_with_that(lab, attic):
    (job,) = lab.submit("ann", "attic", kind=RESERVE)
    for value in (JOB | {"duration_s": -1}, {}):
        with pytest.raises(UsageError):
            asyncio.run(attic._reserve(context(job), value))
    row = "job, attempt, host, ended IS NOT NULL, exit_status, problem"
    assert lab.sql(f"SELECT {row} FROM run") == [
        (job, 1, "attic", True, None, "the job cannot be read: duration_s: Input should be greater than 0")
    ]


# --- reservations -------------------------------------------------------------------------------------------


def test_a_reservation_lasts_no_longer_because_an_agent_was_lost(lab, attic):
    (job,) = lab.submit("ann", "attic", kind=RESERVE)
    assert 0 <= attic._begin_reservation(job, 1) < 60
    lab.sql("UPDATE run SET started = now() - interval '1 hour'")
    assert 3600 <= attic._begin_reservation(job, 2) < 3660
    assert 3600 <= attic._begin_reservation(job, 2) < 3660
    assert lab.sql("SELECT attempt, host FROM run ORDER BY 1") == [(1, "attic"), (2, "attic")]


@pytest.mark.parametrize(("lasted_s", "waits_s"), [(0.0, 60.0), (59.0, 1.0), (61.0, 0.0)])
@pytest.mark.parametrize("is_released", [False, True])
def test_a_reservation_waits_for_its_end(nowhere, monkeypatch, lasted_s, waits_s, is_released):
    waited, aborted, ended = [], [], []

    def wait(cancellation, seconds):
        assert nowhere._running == {(7, 1): cancellation}
        waited.append(seconds)
        return is_released

    async def abort(one, error):
        aborted.append(str(error))

    monkeypatch.setattr(Cancellation, "wait", wait)
    monkeypatch.setattr(nowhere, "_begin_reservation", lambda job, attempt: lasted_s)
    monkeypatch.setattr(nowhere, "_aborted", abort)
    monkeypatch.setattr(nowhere, "_end", lambda *identity: ended.append(identity))
    asyncio.run(nowhere._reserve(context(), JOB | {"duration_s": 60.0}))
    assert (waited, aborted) == ([waits_s], ["released"] * is_released)
    assert ended == ([] if is_released else [(7, 1)])
    assert nowhere._running == {}


# --- details ------------------------------------------------------------------------------------------------


def test_work_that_is_cancelled_is_waited_for():
    async def two_interruptions():
        interrupts = []
        release = asyncio.Event()

        async def work():
            await release.wait()
            return "done"

        task = asyncio.ensure_future(_uninterrupted(work(), lambda: interrupts.append(1)))
        for count in (1, 2):
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(interrupts) == count
        release.set()
        assert await asyncio.wait_for(task, 60) == "done"

    asyncio.run(two_interruptions())


def test_work_that_ends_as_it_is_cancelled_has_its_result():
    async def both_at_once():
        future = asyncio.get_running_loop().create_future()
        interrupts = []
        task = asyncio.ensure_future(_uninterrupted(future, lambda: interrupts.append(1)))
        await asyncio.sleep(0)
        task.cancel()
        future.set_result("done")
        assert await asyncio.wait_for(task, 60) == "done"
        assert interrupts == []

    asyncio.run(both_at_once())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LabError("one line"), "one line"),
        (psycopg.OperationalError("ERROR: first\nsecond"), "the lab's database on nowhere/lab: first"),
        (ConnectorException("broken"), "the lab's database on nowhere/lab: broken"),
    ],
)
def test_what_the_database_says_in_one_line(nowhere, error, expected):
    assert _is_of_the_database(error)
    assert _one_line(error, nowhere.database) == expected


def test_a_bug_is_not_of_the_database():
    assert not _is_of_the_database(ValueError("a bug"))


# --- everything together ------------------------------------------------------------------------------------


def test_a_day_of_an_agent(lab, tmp_path, caplog):
    """It announces its device, runs the job of that, and ends."""
    (job,) = lab.submit("ann", "attic", kind=RESERVE)
    lab.sql(
        "UPDATE procrastinate_jobs SET args = jsonb_set(args, '{job,duration_s}', '0.01') WHERE id = %s", job
    )
    lab.sql("DELETE FROM device; DELETE FROM agent WHERE host = 'attic'")
    agent = agent_of(lab.database, tmp_path, lambda: [DEVICE])

    async def day():
        end = asyncio.Event()
        running = asyncio.create_task(agent.run(end))
        while lab.read("jobs")[0].state != "done":
            assert not running.done(), running.result()
            await asyncio.sleep(0.02)
        end.set()
        await asyncio.wait_for(running, 60)

    with caplog.at_level(logging.INFO, "benchmarking"):
        asyncio.run(asyncio.wait_for(day(), 120))
    assert lab.sql("SELECT host, hash FROM device") == [("attic", "attic0")]
    assert lab.sql("SELECT 1 FROM procrastinate_workers") == []
    assert [one for one in caplog.messages if "attic" in one] == [
        f"attic works for the lab on {lab.database.name}",
        f"device attic ({QUEUE})",
    ]
    assert agent._is_ending


def test_an_agent_that_is_refused_ends(lab, attic, monkeypatch):
    def refuse(found):
        raise RefusedByLabError("another agent")

    monkeypatch.setattr(attic, "_write_devices", refuse)
    with pytest.raises(RefusedByLabError, match="another agent"):
        asyncio.run(asyncio.wait_for(attic.run(asyncio.Event()), 60))


def test_what_an_agent_does_how_often(lab, attic, monkeypatch):
    begun = []

    async def repeatedly(pause_s, action, now=None):
        begun.append((pause_s, getattr(action, "__name__", "look after"), now))
        await asyncio.sleep(600)

    monkeypatch.setattr(attic, "_repeatedly", repeatedly)

    async def short():
        end = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, end.set)
        await asyncio.wait_for(attic.run(end), 60)

    asyncio.run(short())
    assert begun == [
        (30.0, "_announce", None),
        (3600.0, "_clean", None),
        (5.0, "look after", attic._look_now),
    ]
