"""What runs a lab is killed or stopped at every stage of a job: nothing is lost, and nothing is there twice.

The agents, the queue and the database are real, the harness is a stand-in.
"""

import html
import itertools
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from fastapi.testclient import TestClient

from benchmarking.cli import lab as lab_command
from benchmarking.dispatch import blobs
from benchmarking.dispatch.database import Database, LabError
from benchmarking.dispatch.following import LOOK_AGAIN_S, Following
from benchmarking.dispatch.job_run import RETRY_S
from benchmarking.dispatch.ledger import Ledger
from benchmarking.errors import ExitStatus, RunCancelledError
from benchmarking.programs.process import Cancellation
from benchmarking.server.app import make_app
from benchmarking.server.lab import delivery
from benchmarking.server.store import open_store, sqlite_url
from tests.support.postgresql import PostgreSQL, why_not
from tests.support.small_disk import database_on, small_disk
from tests.support.small_lab import BUILDS, LOCKS, OVER, small_lab, submit, submit_build
from tests.support.waiting import LIMIT_S, wait_until

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

JOBS = "SELECT count(*) FROM job"
RUNS = "SELECT count(*) FROM run"
RESULTS = "SELECT count(*) FROM result"
WORKERS = "SELECT count(*) FROM procrastinate_workers"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
TESTS = ("0", "1", "2")
TEST_S = 0.4
DISTURBED_S = 0.5


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as one:
        url = one.database()
        Database(url).initialize()
        one.template = url.rpartition("/")[2]
        yield one


@pytest.fixture
def lab(server, tmp_path):
    """With a device, whose agent is not there yet."""
    with small_lab(server.database(server.template), tmp_path, 3.0) as one:
        announce(one, "desk", "phone")
        yield one


def announce(lab, host, device):
    with lab.database.connected() as connection:
        connection.execute(
            "INSERT INTO agent (host, identity, version, protocol, free_bytes) VALUES (%s, %s, '', 1, 0)"
            " ON CONFLICT DO NOTHING",
            [host, host],
        )
        connection.execute(
            "INSERT INTO device (platform, hash, host, name, state, reason, labels, facts)"
            " VALUES ('host', %s, %s, %s, 'ready', '', '{}', '{}')",
            [device, host, device],
        )


def jobs(lab):
    with lab.database.connected() as connection:
        return Ledger(connection).jobs()


def assert_whole(lab):
    """One job, which ended well, with each test's result once; and no program disturbed another."""
    lab.until(OVER, 1)
    with lab.database.connected() as connection:
        ledger = Ledger(connection)
        (job,) = ledger.jobs()
        results = [result.test.identifier for _, _, result in ledger.results(job.id, -1)]
    assert (job.state, job.exit_status, job.problem) == ("done", 0, ""), lab.logs()
    assert results == [*TESTS]
    assert lab.runs_at_once() == 0
    return job


@contextmanager
def locked(lab, table):
    """Whoever wants something of the table waits, or fails with the database."""
    connection = lab.database.connect()
    try:
        connection.execute("BEGIN")
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        connection.close()


class Victim:
    """Is killed and started again, or stopped and continued."""

    def __init__(self, lab, server, suite, what, how):
        self.lab, self.server, self.suite, self.what, self.how = lab, server, suite, what, how
        self.submitter = None

    def submit(self):
        if self.what == "submitter":
            self.submitter = self.lab.submitter("phone", self.suite)
        else:
            self.lab.submit(self.suite, ["phone"])

    def disturb(self):
        with self.disturbed():
            pass

    @contextmanager
    def disturbed(self):
        begin, end = self._actions()
        begin()
        yield
        time.sleep(DISTURBED_S)
        end()

    def _actions(self):
        if self.what == "database":
            crash = partial(self.server.stop, signal.SIGQUIT)
            return (
                (crash, self.server.start) if self.how == "kill" else (self.server.pause, self.server.resume)
            )
        process = self.submitter if self.what == "submitter" else self.lab.agents["desk"]
        if self.how == "kill":
            return process.kill, self._start_again
        return partial(process.send_signal, signal.SIGSTOP), partial(process.send_signal, signal.SIGCONT)

    def _start_again(self):
        if self.what == "agent":
            self.lab.agents["desk"].wait()
            self.lab.start("desk")
        elif self.lab.count(JOBS) == 0:
            self.submit()


def disturb_at(lab, victim, stage):
    """The job waits already."""
    if stage == "queue":
        victim.disturb()
    elif stage == "staging":
        with locked(lab, "blob_part"):
            lab.start("desk", "phone")
            lab.until(WAITING, 1)
            victim.disturb()
    elif stage == "run":
        lab.start("desk", "phone")
        lab.until(RESULTS, 1)
        victim.disturb()
    else:
        lab.start("desk", "phone")
        lab.until(RUNS, 1)
        with locked(lab, "result"):
            lab.until(WAITING, 1)
            victim.disturb()


@pytest.mark.parametrize("stage", ["queue", "staging", "run", "report"])
@pytest.mark.parametrize(
    ("what", "how"), list(itertools.product(("agent", "database", "submitter"), ("kill", "stop")))
)
def test_nothing_is_lost_and_nothing_is_there_twice(lab, server, what, how, stage):
    victim = Victim(lab, server, lab.suite(TEST_S, TESTS), what, how)
    if (what, stage) == ("agent", "queue"):
        lab.start("desk", "phone")
        lab.until(WORKERS, 1)
        with victim.disturbed():
            victim.submit()
    elif (what, stage) == ("submitter", "staging"):
        with locked(lab, "blob_part"):
            victim.submit()
            lab.until(WAITING, 1)
            victim.disturb()
    else:
        victim.submit()
        lab.until(JOBS, 1)
        disturb_at(lab, victim, stage)
    if "desk" not in lab.agents:
        lab.start("desk", "phone")
    assert_whole(lab)
    if victim.submitter is not None and victim.submitter.poll() is None:
        said, _ = victim.submitter.communicate(timeout=LIMIT_S)
        assert said.split()[1:] == [*TESTS]


@contextmanager
def hanging(server):
    """It neither answers nor lets go of a connection."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@pytest.mark.parametrize("is_local", [False, True], ids=["tcp", "local socket"])
def test_a_statement_ends_where_the_database_hangs(lab, server, is_local):
    name = urlsplit(lab.url).path
    by_socket = f"postgresql://{server.user}@{name}?host={server.directory}&port={server.port}"
    database = Database(by_socket if is_local else lab.url, 0.5)
    with (
        hanging(server),
        pytest.raises(LabError, match=r"^the lab's database on [^:]+: it does not answer$"),
        database.connected(),
    ):
        pass
    with (
        pytest.raises(LabError, match=r"it did not answer for 0\.6 s$"),
        database.connected() as connection,
        connection.transaction(),
        hanging(server),
    ):
        connection.execute("SELECT 1")


def test_a_statement_ends_where_somebody_holds_what_it_wants(lab):
    database = Database(lab.url, 0.5)
    with (
        locked(lab, "job"),
        pytest.raises(LabError, match="it did not finish in time: it is busy, or somebody holds"),
        database.connected() as connection,
    ):
        Ledger(connection).jobs()


def test_who_listens_is_not_answered(lab):
    """An idle agent hears nothing, and its link is good."""
    with Database(lab.url, 0.2).connected() as connection:
        connection.execute("LISTEN nothing")
        assert list(connection.notifies(timeout=0.6)) == []
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("command", ["status", "submit"])
def test_a_command_says_that_the_database_hangs(lab, server, monkeypatch, capsys, command):
    monkeypatch.setattr(lab_command, "ANSWER_LIMIT_S", 0.2)
    words = {"logs": ["1"], "cancel": ["1"], "reserve": ["phone"], "submit": [str(lab.suite(0))]}
    with hanging(server):
        status = lab_command.main([command, "--lab", lab.url, *words.get(command, [])], "mlbench lab")
    assert status == ExitStatus.DEVICE_FAILED
    where = Database(lab.url).name
    assert (
        capsys.readouterr().err
        == f"mlbench lab {command}: the lab's database on {where}: it does not answer\n"
    )


def test_who_waits_is_patient_while_the_database_hangs(lab, server, caplog):
    caplog.set_level("INFO")
    lab.submit(lab.suite(TEST_S, TESTS), ["phone"])
    (job,) = jobs(lab)
    lab.start("desk", "phone")
    lab.until(RESULTS, 1)
    reported = []
    following = Following(Database(lab.url, 0.5), [job.id], reported.extend)
    with Cancellation() as cancellation, ThreadPoolExecutor() as thread:
        ended = thread.submit(following.until_over, cancellation)
        wait_until(lambda: f"job {job.id} on phone" in caplog.text)
        with hanging(server):
            wait_until(lambda: "it did not answer for 0.6 s; trying again" in caplog.text)
            wait_until(lambda: "it does not answer; trying again" in caplog.text)
            # The agent too.
            wait_until(lambda: "did not answer for 1.8 s" in lab.log("desk").read_text())
        assert ended.result(LIMIT_S)[0].state == "done"
    assert [one.test.identifier for one in reported] == [*TESTS]
    assert "answers again" in caplog.text
    assert_whole(lab)


@pytest.mark.parametrize("stage", ["connecting", "asking"])
def test_who_waits_may_leave_while_the_database_hangs(lab, server, caplog, stage):
    """At once, other than by the limits of a connection and of a statement: those are 10 and 36 seconds."""
    caplog.set_level("INFO")
    (number,) = lab.submit(lab.suite(0), ["phone"])
    following = Following(lab.database, [number], list)
    with Cancellation() as cancellation, ThreadPoolExecutor() as thread:
        if stage == "connecting":
            with hanging(server):
                ended = thread.submit(following.until_over, cancellation)
                wait_until(lambda: "connects" in {one.name for one in threading.enumerate()})
                cancellation.set()
                assert isinstance(ended.exception(LIMIT_S), RunCancelledError)
        else:
            ended = thread.submit(following.until_over, cancellation)
            wait_until(lambda: "phone: waiting" in caplog.text)
            with hanging(server):
                time.sleep(2 * LOOK_AGAIN_S)
                cancellation.set()
                assert isinstance(ended.exception(LIMIT_S), RunCancelledError)
    assert "it did not answer" not in caplog.text
    assert "it does not answer" not in caplog.text


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory):
    """For processes: an environment in which it is earlier or later."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock_offset.so"
    source = Path(__file__).parents[1] / "support/clock_offset.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return lambda offset_s: {"LD_PRELOAD": str(library), "CLOCK_OFFSET_S": str(offset_s)}


def test_no_clock_of_a_host_decides(lab, wrong_clock):
    """Neither when a job that was given back begins, nor who gave no sign of life."""
    announce(lab, "other", "phone")
    lab.submit(lab.suite(TEST_S, TESTS), ["phone"])
    lab.start("desk", "phone", **wrong_clock(600))
    lab.until(RESULTS, 1)
    lab.end("desk")
    lab.start("other", "phone", **wrong_clock(-600))
    lab.until("SELECT count(*) FROM run WHERE host = 'other'", 1)
    lab.agents["other"].send_signal(signal.SIGSTOP)  # it has not finished, however long this takes
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarking", "lab", "status", "--lab", lab.url],
        env=lab.environment | wrong_clock(600),
        capture_output=True,
        text=True,
    )
    assert re.search(r"running +\d+ s ", shown.stdout), shown.stdout + shown.stderr
    lab.kill("other")
    lab.start("desk", **wrong_clock(600))
    assert assert_whole(lab).attempt == 2


DOING = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"


BUILDING = "#!/bin/sh\nsleep 600\n"


@contextmanager
def at_stage(lab, stage):
    """A job that got so far."""
    with ExitStack() as locks:
        if stage == "downloading":
            (number,) = lab.submit(lab.suite(0), ["phone"])
            locks.enter_context(locked(lab, "blob_part"))
        lab.start("desk", "phone", **{BUILDS: "host"})
        lab.until("SELECT count(*) FROM device", 2)
        if stage in ("building", "its turn"):
            number = lab.submit_build(BUILDING)
            wait_until(lab.programs)
        if stage == "its turn":  # the host builds, and does one thing at a time
            (number,) = lab.submit(lab.suite(0), ["phone"])
            lab.until(DOING, 2)
        elif stage == "downloading":
            lab.until(WAITING, 1)
        elif stage in ("running", "reporting"):
            is_reporting = stage == "reporting"
            (number,) = lab.submit(lab.suite(TEST_S, TESTS) if is_reporting else lab.suite(600), ["phone"])
            wait_until(lab.programs)
            if is_reporting:
                locks.enter_context(locked(lab, "result"))
                lab.until(WAITING, 1)
        yield number


def cancel(lab, number):
    with lab.database.connected() as connection:
        assert Ledger(connection).cancel(number)


@pytest.mark.parametrize("stage", ["downloading", "its turn", "building", "running", "reporting"])
def test_cancelling_at_each_stage_ends_the_program_and_frees_the_device(lab, stage):
    with at_stage(lab, stage) as number:
        cancel(lab, number)
        if stage != "its turn":
            wait_until(lambda: not lab.programs())
        if stage != "reporting":  # what was measured is sent first
            lab.until(OVER, 1)
    lab.until(OVER, 1)
    found = {one.id: one for one in jobs(lab)}
    assert (found[number].state, found[number].problem) == ("cancelled", "")
    for other in found.keys() - {number}:
        cancel(lab, other)
    (after,) = lab.submit(lab.suite(0, TESTS), ["phone"])
    lab.until(OVER, len(found) + 1)
    with lab.database.connected() as connection:
        (job,) = Ledger(connection).jobs(ids=[after])
    assert (job.state, job.problem, job.tests_done) == ("done", "", len(TESTS)), lab.logs()
    assert "Traceback" not in lab.logs()


def test_cancelling_in_the_queue(lab):
    (number,) = lab.submit(lab.suite(0), ["phone"])
    cancel(lab, number)
    with lab.database.connected() as connection:
        assert not Ledger(connection).cancel(number)
    lab.submit(lab.suite(0), ["phone"])
    lab.start("desk", "phone")
    lab.until(OVER, 2)
    assert {one.id: one.state for one in jobs(lab)} == {number: "cancelled", number + 1: "done"}
    assert lab.count(RUNS) == 1


def test_two_hosts_build_each_commit_once(lab, tmp_path):
    for name in ("desk", "other"):
        lab.start(name, "phone", **{BUILDS: "host"})
    lab.until("SELECT count(*) FROM device WHERE platform = 'build'", 2)
    built = tmp_path / "built"
    numbers = [
        lab.submit_build(f'#!/bin/sh\necho {one} >> {built}; sleep 0.5; echo {one} > "$2"; chmod +x "$2"\n')
        for one in range(6)
    ]
    lab.until(OVER, len(numbers))
    assert sorted(built.read_text().split()) == [str(one) for one in range(6)]
    with lab.database.connected() as connection:
        ledger = Ledger(connection)
        assert {(one.state, one.exit_status) for one in ledger.jobs()} == {("done", 0)}
        assert {ledger.program(one).size_bytes for one in numbers} == {2}
        assert len({ledger.program(one).sha256 for one in numbers}) == 6
    assert lab.count("SELECT count(DISTINCT host) FROM run") == 2


def test_who_may_not_build_is_refused_in_one_line(lab, account):
    with lab.database.connected() as connection:
        connection.execute(
            "INSERT INTO agent (host, identity, version, protocol, free_bytes)"
            " VALUES ('desk', 'desk', '', 1, 0) ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO device (platform, hash, host, name, state, reason, labels, facts)"
            " VALUES ('build', 'host', 'desk', 'builder for host', 'ready', '', '{}', '{}')"
        )
    person, builder = account("lab_person", "mlbench_person"), account("lab_builder", "mlbench_builder")
    message = "the account lab_person may not build in this lab: it needs the group mlbench_builder"
    with pytest.raises(LabError, match=rf"^[^\n]*{message}$"):
        submit_build(person, lab.directory, BUILDING, "ann")
    number = submit_build(builder, lab.directory, BUILDING, "bob")
    # Nor is another's build changed, or a build called something else.
    for change in ("args = '{}'", "task_name = 'build'"):
        with pytest.raises(LabError, match=message), person.connected() as connection:
            connection.execute(f"UPDATE procrastinate_jobs SET {change} WHERE id = {number}")
    with person.connected() as connection:
        assert Ledger(connection).cancel(number)
    submit(person, lab.suite(0), ["phone"], "ann")


def test_two_hosts_that_see_a_phone_take_turns(lab, tmp_path):
    announce(lab, "other", "phone")
    lab.submit(lab.suite(0.3), ["phone"] * 10)
    for name in ("desk", "other"):
        (tmp_path / name).mkdir()
        # They do not see each other's locks.
        lab.start(name, "phone", **{LOCKS: str(tmp_path / name)})
    lab.until(RESULTS, 2)
    with lab.database.connected() as connection:
        ((first,),) = connection.execute("SELECT host FROM run ORDER BY started LIMIT 1").fetchall()
    lab.end(first)
    lab.until(OVER, 10)
    assert lab.runs_at_once() == 0
    assert lab.count("SELECT count(DISTINCT host) FROM run") == 2
    assert lab.count(RESULTS) == 10


def test_a_full_disk_of_a_host_is_named(lab, tmp_path):
    lab.submit(lab.suite(0, padding=2**20), ["phone"])
    with small_disk(tmp_path / "desk", 2**18):
        lab.start("desk", "phone")
        lab.until(OVER, 1)
    (job,) = jobs(lab)
    assert (job.exit_status, job.problem.startswith("desk: ")) == (None, True)
    assert "No space left on device" in job.problem
    assert "Traceback" not in lab.logs()


def test_results_that_do_not_fit_on_the_disk_of_a_host(lab, tmp_path):
    lab.submit(lab.suite(0, [str(number) for number in range(300)]), ["phone"])
    with small_disk(tmp_path / "desk", 2**17):
        lab.start("desk", "phone")
        lab.until(OVER, 1)
    (job,) = jobs(lab)
    assert job.problem == f"desk: {tmp_path}/desk/jobs/{job.id}-0: No space left on device"


@contextmanager
def database_on_small_disk(server, name):
    directory = server.directory / name
    with small_disk(directory, 2**25, server.user), database_on(server, directory, server.template) as url:
        yield url


def test_a_full_disk_of_the_server_is_one_line(server, tmp_path):
    with database_on_small_disk(server, "small") as url:
        path = tmp_path / "large"
        path.write_bytes(random.Random(1).randbytes(2**25))
        database = Database(url)
        with (
            pytest.raises(LabError, match=r"^[^\n]*No space left on device[^\n]*$"),
            database.connected() as connection,
        ):
            blobs.send(connection, path, blobs.described(path), "somebody")


ROOM = ("run SET problem = problem", "agent SET seen = seen", "procrastinate_jobs SET priority = priority")
"""What is updated while the disk is full; an update needs room in its table for the row as it was."""


def fill(url):
    """Until no table can grow any more, but with room for updates inside those tables."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=lab") as connection:
        for update in ROOM:
            for _ in range(100):
                connection.execute(f"UPDATE {update}")
            connection.execute(f"VACUUM {update.split()[0]}")
        connection.execute("CREATE TABLE filler (content text)")
        with suppress(psycopg.errors.DiskFull):
            while True:
                connection.execute("INSERT INTO filler SELECT repeat('x', 1900) FROM generate_series(1, 16)")


def test_results_wait_on_their_host_while_the_disk_of_the_server_is_full(server, tmp_path):
    with database_on_small_disk(server, "filled") as url, small_lab(url, tmp_path, 3.0) as lab:
        announce(lab, "desk", "phone")
        (number,) = lab.submit(lab.suite(0.1, TESTS), ["phone"])
        with locked(lab, "result"):
            lab.start("desk", "phone")
            lab.until(WAITING, 1)
            fill(url)
        lab.until("SELECT count(*) FROM run WHERE problem LIKE 'desk keeps what comes%'", 1)
        (job,) = jobs(lab)
        full = f"the lab's database on {lab.database.name}: its disk is full: No space left on device"
        assert (job.state, job.problem) == ("running", f"desk keeps what comes: {full}")
        client = TestClient(make_app(open_store(sqlite_url(tmp_path / "results.db")), lab=lab.database))
        # PostgreSQL may need room even to read; then the page says the same.
        assert full in html.unescape(client.get("/lab", headers={"Host": "localhost"}).text)
        # It tries again meanwhile.
        time.sleep(2 * RETRY_S)
        assert lab.count(RESULTS) == 0
        with lab.database.connected() as connection:
            connection.execute("DROP TABLE filler")
        assert_whole(lab)
        said = lab.log("desk").read_text()
        assert said.count(full) == 1, said
        assert f"job {number}: the lab's database on {lab.database.name} takes it again" in said


def test_results_wait_in_the_lab_while_the_disk_of_the_results_server_is_full(
    lab, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(delivery, "RETRY_S", 0.2)
    lab.submit(lab.suite(0, TESTS), ["phone"])
    lab.start("desk", "phone")
    disk = tmp_path / "disk"
    with small_disk(disk, 2**22):
        store = open_store(sqlite_url(disk / "results.db"))
        app = make_app(store, lab=lab.database)
        client = TestClient(app, base_url="http://localhost")
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(2**12)):
                pass
        assert_whole(lab)
        ending, arrived = threading.Event(), threading.Event()
        state = app.state.lab_delivery
        with ThreadPoolExecutor() as thread:
            done = thread.submit(delivery.keep_delivering, store, lab.database, arrived.set, state, ending)
            try:
                wait_until(lambda: "database or disk is full" in client.get("/lab").text)
                (disk / "filler").unlink()
                assert arrived.wait(LIMIT_S)
                wait_until(lambda: "disk is full" not in client.get("/lab").text)
            finally:
                ending.set()
            done.result(LIMIT_S)
        store.close()
    assert caplog.text.count("results of the lab wait: database or disk is full") == 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("INSERT INTO result VALUES ({job}, 9, 1, '[]', '')", "no attempt 1 of job"),
        ("INSERT INTO result VALUES ({job}, 9, 0, '[]', '')", "no attempt 0 of job"),
        ("INSERT INTO result VALUES ({job} + 1, 9, 0, '[]', '')", "no attempt 0 of job"),
        ("INSERT INTO run (job, attempt, host) VALUES ({job}, 5, 'desk')", "is not one of the account"),
        ("UPDATE agent SET seen = now()", "the host desk belongs to the account"),
    ],
)
def test_an_agent_cannot_speak_for_another(server, lab, forger, statement, message):
    with lab.database.connected() as connection:
        (number,) = lab.submit(lab.suite(0), ["phone"])
        connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        connection.execute("INSERT INTO run (job, attempt, host) VALUES (%s, 0, 'desk')", [number])
    with pytest.raises(LabError, match=message), forger.connected() as connection:
        connection.execute(statement.format(job=number))


@pytest.fixture
def account(lab, server):
    """Makes accounts of their own."""

    def make(name, group):
        with lab.database.connected() as connection, suppress(psycopg.errors.DuplicateObject):
            connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {group}")
        return Database(f"postgresql://{name}@127.0.0.1:{server.port}{urlsplit(lab.url).path}")

    return make


@pytest.fixture
def forger(account):
    """An account of another agent."""
    return account("lab_forger", "mlbench_agent")
