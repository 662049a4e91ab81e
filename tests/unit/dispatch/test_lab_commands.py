"""``mlbench lab``, with the tables of a lab: what it prints, what it writes, and its exit status."""

import asyncio
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.cli import devices, lab_agent, lab_submit
from benchmarking.cli import lab as lab_command
from benchmarking.cli.lab import _age, _queue, lab_database
from benchmarking.dispatch import LAB_VARIABLE, agent, following
from benchmarking.dispatch.person import person
from benchmarking.dispatch.request import BENCHMARK, PROTOCOL, RESERVE
from benchmarking.driver.survey import FoundDevice
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.files import user
from benchmarking.platforms.platforms import platform_names
from benchmarking.programs import leftovers
from benchmarking.programs.process import Cancellation
from tests.support import golden
from tests.support.sample_results import DELAY, FAILED
from tests.support.workshop import COMMIT, OLDER, Workshop


@pytest.fixture
def mlbench(lab, capsys):
    """Runs a command; its exit status, and what it prints."""
    name = lab.database.name

    def run(*arguments):
        capsys.readouterr()
        status = lab_command.main([*map(str, arguments), "--lab", lab.database._url], "mlbench lab")
        shown = capsys.readouterr()
        return status, shown.out.replace(name, "db/lab"), shown.err.replace(name, "db/lab")

    return run


@pytest.fixture
def workshop(tmp_path):
    return Workshop(tmp_path)


# --- which lab ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "environment", "name"),
    [
        ("postgresql://ann@one/lab", {}, "one/lab"),
        ("postgresql://one/lab", {LAB_VARIABLE: "postgresql://other/lab"}, "one/lab"),
        (None, {LAB_VARIABLE: "postgresql://ann:secret@other/lab"}, "other/lab"),
    ],
)
def test_which_lab_is_meant(url, environment, name):
    assert lab_database(url, environment).name == name


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, f"which lab? Give --lab postgresql://user@host/database, or set {LAB_VARIABLE}"),
        (
            "postgresql://ann:secret@one/lab",
            (
                "--lab: everybody on this machine can read a password on the command line: use ~/.pgpass or "
                f"{LAB_VARIABLE}"
            ),
        ),
        (
            "postgresql://ann@one/lab?sslmode=require&password=secret",
            (
                "--lab: everybody on this machine can read a password on the command line: use ~/.pgpass or "
                f"{LAB_VARIABLE}"
            ),
        ),
        (
            "postgresql://[::1/lab",
            "the URL of the lab's database cannot be read: in a password, % is %25, / is %2F, @ is %40",
        ),
    ],
)
def test_which_lab_cannot_be_meant(url, message):
    with pytest.raises(UsageError) as raised:
        lab_database(url, {})
    assert str(raised.value) == message


# --- jobs and devices ---------------------------------------------------------------------------------------


def filled(lab):
    """Jobs in every state, since some time."""
    done, running, waiting, reserved = (
        *lab.submit("ann", "attic"),
        *lab.submit("ann", "attic"),
        *lab.submit("bob", "attic"),
        *lab.submit("cem", "cellar", kind=RESERVE, tests=0),
    )
    lab.start(done)
    lab.result(done, 0, "first")
    lab.result(done, 1, "second", FAILED)
    lab.end(done, ExitStatus.BENCHMARK_FAILED, "a test failed")
    lab.start(running)
    for table, column, days in (("job", "created", 3), ("run", "started", 2)):
        lab.sql(f"UPDATE {table} SET {column} = now() - interval '{days} days 9 seconds'")
    lab.sql("UPDATE run SET ended = now() - interval '1 day 9 seconds' WHERE ended IS NOT NULL")
    lab.sql("INSERT INTO log VALUES (%s, 1, 0, 'begun\n'), (%s, 1, 1, 'ended')", done, done)
    return done, running, waiting, reserved


def test_the_jobs_in_a_table(lab, mlbench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert mlbench("status") == (0, "no jobs\n", "")
    done, _, waiting, _ = filled(lab)
    status, shown, said = mlbench("status")
    assert (status, said) == (0, "")
    golden.check(shown, "lab/status.txt")

    def numbers(*arguments):
        return [line.split()[0] for line in mlbench("status", *arguments)[1].splitlines()[1:]]

    assert numbers("--limit", 2) == ["4", "3"]
    assert numbers(waiting, done, "--limit", 1) == [str(waiting), str(done)]
    document = json.loads(mlbench("status", "--json", done)[1])
    assert [(one["id"], one["state"], one["tests_done"], one["problem"]) for one in document] == [
        (done, "done", 2, "a test failed")
    ]
    assert document[0]["created"].count(":") >= 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86399, "23 h"),
        (86400, "1 d"),
        (200000, "2 d"),
    ],
)
def test_an_age_is_short(seconds, text):
    assert _age(seconds) == text


def test_the_log_of_a_job(lab, mlbench):
    done, running, *_ = filled(lab)
    assert mlbench("logs", done) == (0, "begun\nended", "a test failed\n")
    assert mlbench("logs", running) == (0, "", "")
    assert mlbench("logs", 99) == (2, "", "mlbench lab logs: the lab has no job 99\n")


def test_jobs_are_cancelled(lab, mlbench):
    done, running, waiting, reserved = filled(lab)
    assert mlbench("cancel", running, waiting, done) == (
        0,
        f"job {waiting} cancelled\njob {running} cancelled\njob {done} was over: done\n",
        "",
    )
    assert mlbench("release", reserved)[1] == f"job {reserved} cancelled\n"
    assert mlbench("cancel", 98, 99, waiting) == (2, "", "mlbench lab cancel: the lab has no job 98, 99\n")


def test_the_devices_in_a_table(lab, mlbench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    filled(lab)
    status, shown, said = mlbench("devices")
    assert (status, said) == (0, "")
    golden.check(shown, "lab/devices.txt")
    assert mlbench("devices", "--on", "name=nonesuch") == (0, "no device\n", "")
    (document,) = json.loads(mlbench("devices", "--on", "android", "--json")[1])
    assert (document["hash"], document["labels"], document["waiting"]) == ("Pixel-60", ["fast"], 0)


def test_what_is_to_be_done_on_a_device(lab):
    one = lab.device("attic")
    for waiting, running, reason, text in (
        (0, "", "", ""),
        (2, "job 1 of ann", "by process 7", "job 1 of ann, 2 waiting, by process 7"),
    ):
        assert _queue(replace(one, waiting=waiting, running=running, reason=reason)) == text


def test_a_device_is_reserved(lab, mlbench):
    status, shown, said = mlbench("reserve", "attic", "--hours", 0.5)
    assert (status, shown, said) == (
        0,
        "job 1 reserves attic after those that wait before it\n",
        "mlbench lab release 1 ends the reservation\n",
    )
    (job,) = lab.read("jobs")
    assert (job.title, job.kind, job.person, job.tests, job.device) == (
        *("reserved for 0.5 h", RESERVE, person(), 0, "attic0"),
    )
    ((arguments,),) = lab.sql("SELECT args FROM procrastinate_jobs")
    assert arguments["job"] | {"submission": ""} == {
        "protocol": PROTOCOL,
        "submission": "",
        "person": person(),
        "duration_s": 1800.0,
    }
    assert mlbench("reserve", "attic", "--hours", 720.1) == (
        2,
        "",
        "mlbench lab reserve: --hours: at most 720\n",
    )
    assert mlbench("reserve", "attic", "--hours", 720)[0] == 0
    assert mlbench("reserve", "attic")[0] == 0
    assert lab.read("jobs")[0].title == "reserved for 1 h"
    lab.sql("UPDATE setting SET value = 99 WHERE name = 'protocol'")
    assert "has the version 99" in mlbench("reserve", "attic")[2]


def test_the_quotas_of_a_lab(lab, mlbench):
    lab.sql(
        "INSERT INTO blob (sha256, person, size_bytes, used) VALUES ('a', 'x', 1, now() - interval '9 days')"
    )
    assert mlbench("init") == (0, "the lab on db/lab was there; its quotas are set\n", "")
    quotas = "SELECT value FROM setting WHERE name <> 'protocol' ORDER BY name"
    assert lab.sql(quotas) == [(50 * 2**30,), (1000,)]
    shown = mlbench("init", "--blob_quota", 0.5, "--job_quota", 3, "--remove_files_after", 8)[1]
    assert shown == "the lab on db/lab was there; its quotas are set\n1 files removed\n"
    assert lab.sql(quotas) == [(2**29,), (3,)]


def test_a_new_lab_is_made(server, capsys):
    url = server[0].database()
    assert lab_command.main(["init", "--lab", url], "mlbench lab") == 0
    assert capsys.readouterr().out.endswith(" is ready\n")


# --- submissions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["wait", "logs", "status", "cancel"])
def test_a_number_that_no_job_can_have_is_none(lab, mlbench, command):
    with pytest.raises(SystemExit) as raised:
        mlbench(command, 2**63)
    assert raised.value.code == 2
    if command != "status":
        assert mlbench(command, 2**63 - 1)[0] == 2


def test_a_job_is_submitted_and_followed_under_its_key(lab, mlbench, workshop):
    """It is over when the same command is given again."""
    path = workshop.benchmark()
    program = workshop.program()
    program.write_text(program.read_text() + "#" * 2_000_000)
    submit = ["submit", path, "--on", "host,name=attic", "--key", "night", "--program", program]
    submit += ["--shared_libs", program, "--run_limit", 60, "--timeout", 9]
    status, shown, said = mlbench(*submit, "--detach")
    assert (status, shown) == (0, "")
    assert said.splitlines() == [
        "6 files, 2.0 MB, of which 2.0 sent",
        "job 1 on attic",
        "mlbench lab wait 1 shows the results",
    ]
    ((arguments,),) = lab.sql("SELECT args FROM procrastinate_jobs")
    job = arguments["job"]
    assert (job["person"], job["platform"], job["device"], job["run_limit_s"]) == (
        *(person(), "host", "attic0", 60.0),
    )
    assert job["options"] == {"comparisons": "1", "timeout": "9"}
    assert job["tests"] == [{"net": "tiny", "metric": "delay", "identifier": "0"}]
    assert re.fullmatch(r"programs/\w{16}/program\.py", job["program"])
    assert re.fullmatch(r"libraries/\w{16}/program\.py", job["shared_libs"][0])
    assert {job["program"], *job["shared_libs"], BENCHMARK} < {*job["files"]}
    (found,) = lab.read("jobs")
    assert (found.title, found.kind, found.tests) == ("tiny.json", "measure", 1)
    assert found.submission == lab_submit._submission("night")

    lab.start(1)
    lab.result(1, 0, "only", DELAY)
    lab.sql("INSERT INTO log VALUES (1, 1, 0, 'begun\nended')")
    lab.end(1, problem="odd")
    status, shown, said = mlbench(*submit, "--json")
    assert status == 0
    document = json.loads(shown)
    assert (len(document["results"]), document["problems"]) == (1, ["job 1 on attic: odd"])
    assert said.splitlines()[:3] == [
        "job 1 on attic",
        "begun",
        "ended",
    ]
    assert len(lab.read("jobs")) == 1


def test_a_submission_has_a_number_of_its_own_or_a_key(monkeypatch):
    assert lab_submit._submission(None) != lab_submit._submission(None)
    first = lab_submit._submission("night")
    assert first == lab_submit._submission("night") != lab_submit._submission("day")
    assert re.fullmatch("[0-9a-f]{32}", first)
    monkeypatch.setenv("LOGNAME", "somebody.else")
    monkeypatch.setattr("benchmarking.dispatch.person.user_name", lambda: "somebody.else")
    assert lab_submit._submission("night") != first


def test_each_device_has_its_comparisons(lab, mlbench, workshop):
    """What a job is told of how many there are decides how sure each has to be."""
    path = workshop.benchmark({}, {"metric": "error", "output_files": {"out": "golden.txt"}})
    (workshop.directory / "golden.txt").write_text("1\n")
    base, head = workshop.program("base"), workshop.program("head")
    info = {"treatment": COMMIT | {"program": str(head)}, "control": OLDER | {"program": str(base)}}
    lab.sql("UPDATE device SET state = 'ready'")
    said = mlbench("submit", path, "--on", "host", "--all", "--detach", "--info", json.dumps(info))[2]
    assert said.splitlines()[1:] == [
        "jobs 1 2 on cellar, attic" if "cellar, attic" in said else "jobs 1 2 on attic, cellar",
        "mlbench lab wait 1 2 shows the results",
    ]
    for ((job),) in lab.sql("SELECT args->'job' FROM procrastinate_jobs"):
        assert job["options"]["comparisons"] == "2"
        assert [one["metric"] for one in job["tests"]] == ["delay", "error"]
        assert {job["info"][side]["program"].partition("/")[0] for side in ("treatment", "control")} == {
            "programs"
        }
    mlbench("submit", path, "--on", "name=attic", "--detach", "--comparisons", 7)
    assert lab.sql("SELECT args->'job'->'options'->>'comparisons' FROM procrastinate_jobs WHERE id = 3") == [
        ("7",)
    ]


def test_a_submission_is_checked_without_being_sent(lab, mlbench, workshop, caplog):
    path = workshop.benchmark({}, {"identifier": "second"})
    assert mlbench("submit", path, "--validate", "--on", "name=attic") == (
        0,
        "no faults; 2 tests on attic\n",
        "",
    )
    lab.sql("UPDATE device SET state = 'unusable' WHERE name = 'attic'")
    status, shown, _ = mlbench("submit", path, "--validate", "--on", "name=attic")
    assert (status, shown) == (0, "no faults; 2 tests on no device now\n")
    assert caplog.messages == ["no device can be used for name=attic now (attic is unusable)"]
    lab.submit("ann", "attic")
    lab.sql("INSERT INTO submission VALUES (%s, 'a', 'b', 'c')", lab_submit._submission("mine"))
    lab.sql("UPDATE job SET submission = %s", lab_submit._submission("mine"))
    status, shown, said = mlbench("submit", path, "--validate", "--key", "mine", "--on", "name=attic")
    assert (status, shown) == (0, "no faults; 2 tests on no device now\n")
    lab.sql("DELETE FROM job")
    status, shown, said = mlbench("submit", path, "--on", "name=attic")
    assert (status, shown) == (4, "")
    assert said == "mlbench lab submit: no device can be used for name=attic now (attic is unusable)\n"
    assert lab.sql("SELECT 1 FROM blob") == lab.read("jobs") == []


@pytest.mark.parametrize(
    ("jobs", "result", "options", "status"),
    [
        ([(0, "succeeded")], DELAY, (), 0),
        ([(3, "succeeded")], FAILED, (), 3),
        ([(0, "succeeded"), (None, "failed")], DELAY, (), 4),
        ([(None, "aborted")], DELAY, (), 130),
        ([(7, "succeeded")], DELAY, (), 3),
    ],
)
def test_what_was_submitted_is_waited_for(lab, mlbench, jobs, result, options, status):
    lab.sql("UPDATE device SET state = 'ready'")
    numbers = lab.submit("ann", *("attic", "cellar")[: len(jobs)], tests=1)
    for number, (code, state) in zip(numbers, jobs, strict=True):
        lab.start(number)
        lab.result(number, 0, "only", result)
        lab.sql("INSERT INTO log VALUES (%s, 1, 0, 'a\nb')", number)
        lab.end(number, code, status=state)
    lab.sql("UPDATE run SET started = ended - make_interval(secs => job * 7)")
    found, shown, said = mlbench("wait", *numbers, "--json", *options)
    document = json.loads(shown)
    assert (found, document["exit_status"], len(document["results"])) == (status, status, len(jobs))
    assert document["duration_s"] == 7 * len(jobs)
    names = {one.id: one.device_name for one in lab.read("jobs")}
    several = len(jobs) > 1
    log = [f"{f'{names[number]}: ' if several else ''}{line}" for number in numbers for line in "ab"]
    assert sorted(line for line in said.splitlines() if re.search(r"^(\w+: )?[ab]$", line)) == sorted(log)


@pytest.mark.parametrize("is_over", [True, False])
def test_a_job_that_is_not_there_is_not_waited_for(lab, mlbench, is_over):
    (job,) = lab.submit("ann", "attic")
    lab.start(job)
    if is_over:
        lab.end(job)
    status, _, said = mlbench("wait", job, 98, 99)
    assert (status, said.splitlines()[-1]) == (2, "mlbench lab wait: the lab has no job 98, 99")
    lab.sql("UPDATE setting SET value = 99 WHERE name = 'protocol'")
    assert "has the version 99" in mlbench("wait", job)[2]


def test_who_waits_may_leave(lab, mlbench, monkeypatch):
    monkeypatch.setattr(following, "LOOK_AGAIN_S", 60)
    (job,) = lab.submit("ann", "attic")
    wait = Cancellation.wait
    interrupts = [signal.SIGINT]

    def interrupted(cancellation, seconds):
        if interrupts:
            os.kill(os.getpid(), interrupts.pop())
        return wait(cancellation, seconds)

    monkeypatch.setattr(Cancellation, "wait", interrupted)
    status, _, said = mlbench("wait", job)
    assert (status, said.splitlines()[-1]) == (
        ExitStatus.INTERRUPTED,
        "mlbench lab wait: the jobs go on; the same command shows their results, mlbench lab cancel ends them",
    )
    assert lab.read("jobs")[0].state == "waiting"


# --- agents -------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch):
    """The agents that were started, each of which ends at once by a signal."""
    found = []

    class StandIn(agent.Agent):
        async def run(self, end):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
                await asyncio.wait_for(end.wait(), 60)
                end.clear()
            found.append(self)

    monkeypatch.setattr(agent, "Agent", StandIn)
    return found


def test_what_the_owner_of_a_host_decides(mlbench, started, tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(leftovers, "end_marked", lambda *arguments: ended.append(arguments))
    directory, programs = tmp_path / "agent", tmp_path / "programs"
    programs.mkdir()
    options = ["--directory", directory, "--programs", programs, "--name", "desk", "--label", "fast,room 3"]
    options += ["--builds", "host,android", "--allow_code", "--lost_after", 9, "--platform", "host"]
    assert mlbench("agent", *options) == (0, "", "")
    ((one),) = started
    host = one.host
    assert (host.name, host.directory, host.programs, host.builds) == (
        *("desk", directory, programs, ("host", "android")),
    )
    assert (host.arguments, one.labels, one.lost_after_s) == (("--allow_code",), ("fast", "room 3"), 9.0)
    assert (host.tether.variable, host.tether.mark) == (lab_agent.MARK, f"{directory}//")
    assert host.identity == (directory / "identity").read_text()
    assert (directory / "jobs").is_dir()
    ((variable, is_left, whose),) = ended
    assert (variable, is_left(f"{directory}//7-1"), whose) == (lab_agent.MARK, True, "an earlier agent")
    assert not any(is_left(f"{directory}{others}//7-1") for others in ("2", " 2", "/2"))
    mlbench("agent", "--directory", directory)
    again = started[-1]
    assert (again.host.identity, again.host.name) == (host.identity, os.uname().nodename)
    assert (again.host.arguments, again.host.builds, again.labels, again.lost_after_s) == ((), (), (), 60.0)
    assert again.host.programs is None


def test_what_a_killed_agent_left_is_removed(mlbench, started, tmp_path, monkeypatch):
    """While its programs may still write, nothing is."""
    left = [tmp_path / "jobs/7-1/source/a", tmp_path / "files/ab/.incoming-1"]
    kept = [tmp_path / "files/ab/abcd", tmp_path / "identity"]
    for one in (*left, *kept):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_text("1")
    there = []
    monkeypatch.setattr(leftovers, "end_marked", lambda *_: there.extend(one.exists() for one in left))
    mlbench("agent", "--directory", tmp_path)
    assert there == [True, True]
    assert [*(tmp_path / "jobs").iterdir()] == []
    assert not left[1].exists()
    assert all(one.read_text() == "1" for one in kept)


def test_an_agent_has_a_directory_of_its_own(mlbench, started, tmp_path, monkeypatch):
    monkeypatch.setattr(user, "user_directory", lambda kind: tmp_path / kind)
    mlbench("agent")
    assert started[0].host.directory == tmp_path / "cache" / "lab"
    with (tmp_path / "cache/lab/agent.lock").open("a") as lock:
        lab_agent._be_the_only_agent(lock, Path("there"))
        status, _, said = mlbench("agent")
    assert (status, said) == (
        2,
        f"mlbench lab agent: another agent works in {tmp_path}/cache/lab: give --directory for a second one\n",
    )
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for option, message in (
        ("--programs", "--programs: there is no directory 'file'"),
        ("--directory", "--directory: file/jobs: Not a directory"),
    ):
        assert mlbench("agent", option, "file")[::2] == (2, f"mlbench lab agent: {message}\n")
    assert len(started) == 1


def test_which_devices_an_agent_looks_for(monkeypatch):
    found = FoundDevice("host", "desk", "d0")
    searched = []

    def search(*arguments):
        searched.append(arguments)
        return [found]

    monkeypatch.setattr(devices, "search", search)
    look = lab_agent._survey({"builds": ("android",), "platform": platform_names(), "devices": ("a:1",)})
    assert look() == [found, FoundDevice("build", "builder for android", "android")]
    ((names, addresses, cancellation),) = searched
    assert (names, addresses, cancellation.is_set) == (platform_names(), ("a:1",), False)
