"""A lab of its own: a real PostgreSQL, real agents, and the command line of those who submit."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil
import psycopg
import pytest
from fastapi.testclient import TestClient

from benchmarking.dispatch.database import Database
from benchmarking.dispatch.ledger import Ledger
from benchmarking.server.app import make_app
from benchmarking.server.lab.delivery import deliver
from benchmarking.server.store import open_store, sqlite_url
from tests.support.loop_workshop import LoopWorkshop, kill
from tests.support.postgresql import PostgreSQL, why_not
from tests.support.repositories import find_hg
from tests.support.workshop import COMMIT, OLDER, PROGRAM, ROOT, Workshop, records

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LIMIT_S = 120
"""For what takes a second or two on a machine that is not busy."""


class Lab:
    """A database with agents, all on this machine."""

    def __init__(self, url, directory):
        self.url = url
        self.directory = directory
        self.agents = {}
        self.environment = dict(os.environ) | {
            "ML_BENCHMARK_LAB": url,
            # One state directory: the locks of devices are those of one machine.
            **{f"XDG_{name}_HOME": str(directory / name.lower()) for name in ("CACHE", "STATE", "DATA")},
        }

    def command(self, *arguments):
        return [sys.executable, "-m", "benchmarking", "lab", *map(str, arguments)]

    def run(self, *arguments, person=None, cwd=ROOT):
        environment = self.environment | ({"LOGNAME": person} if person else {})
        return subprocess.run(
            self.command(*arguments),
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=cwd,
        )

    def start(self, *arguments, **more):
        return subprocess.Popen(self.command(*arguments), env=self.environment, cwd=ROOT, **more)

    def agent(self, name="desk", *arguments):
        log = (self.directory / f"{name}.log").open("a")
        process = self.start(
            *("agent", "--platform", "host", "--name", name, "--lost_after", "3"),
            *("--directory", self.directory / "lab" / name, *arguments),
            stdout=log,
            stderr=log,
        )
        self.agents[name] = process
        return process

    def end(self, name="desk", how=signal.SIGTERM):
        process = self.agents.pop(name)
        process.send_signal(how)
        return process.wait(LIMIT_S)

    def sql(self, text, *values):
        with Database(self.url).connected() as connection:
            cursor = connection.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def jobs(self, *ids):
        with Database(self.url).connected() as connection:
            return Ledger(connection).jobs(ids=ids or None)

    def submit(self, workshop, *arguments, person=None):
        """Returns the number of the job, without waiting for it."""
        done = self.run("submit", workshop.directory / "tiny.json", "--detach", *arguments, person=person)
        assert done.returncode == 0, done.stderr
        return int(re.search(r"lab wait (\d+)", done.stderr)[1])

    def until(self, condition, what="the condition"):
        limit = time.monotonic() + LIMIT_S
        while not (found := condition()):
            assert time.monotonic() < limit, f"{what} did not come true: {self.jobs()}\n{self.logs()}"
            time.sleep(0.1)
        return found

    def state(self, job):
        (found,) = self.jobs(job)
        return found.state

    def logs(self):
        return "\n".join(path.read_text()[-3000:] for path in self.directory.glob("*.log"))

    def close(self):
        for name in list(self.agents):
            self.end(name, signal.SIGKILL)
        for process in psutil.process_iter(["environ"]):
            if str(self.directory) in str((process.info["environ"] or {}).get("XDG_CACHE_HOME")):
                with contextlib.suppress(psutil.Error):
                    process.kill()


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as one:
        url = one.database()
        Database(url).initialize()
        one.template = url.rpartition("/")[2]
        yield one


@pytest.fixture
def lab(server, tmp_path):
    """Without agents."""
    one = Lab(server.database(server.template), tmp_path)
    yield one
    one.close()


@pytest.fixture
def desk(lab):
    """With an agent whose device is there."""
    lab.agent()
    lab.until(lambda: lab.sql("SELECT 1 FROM device"), "the device")
    return lab


@pytest.fixture
def workshop(tmp_path):
    directory = tmp_path / "workshop"
    directory.mkdir()
    one = Workshop(directory)
    one.benchmark()
    return one


def program(workshop, name="program", **behaviour):
    """In one file, with its behaviour: nothing else travels."""
    path = workshop.directory / f"{name}.py"
    source, count = re.subn(
        r"def behaviour\(\) -> dict:\n",
        f"def behaviour() -> dict:\n    return {behaviour!r}\n",
        PROGRAM.read_text(),
    )
    assert count == 1
    path.write_text(source)
    path.chmod(0o755)
    return path


def test_a_submission_gives_what_a_run_here_would_give(desk, workshop):
    workshop.benchmark({"inputs": {"data": {"shapes": [[1, 2], [3, 4]], "type": "float"}}})
    done = desk.run(
        *("submit", workshop.directory / "tiny.json", "--program", program(workshop, delay_us=200)),
        *("--local_reporter", workshop.results, "--json", "--on", "name=*,cores>=1", "--timeout", "60"),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [one["meta"]["identifier"] for one in document["results"]] == ["0", "1"]
    assert document["results"][0]["types"][0]["values"] == [200.0, 201.0, 202.0]
    assert len(list(workshop.results.glob("*/caffe2/tiny/delay/*/*/*/*/*/0/NET_DELAY.txt"))) == 2
    assert "[2/2] tiny delay 1" in done.stderr  # the log of the harness there
    (job,) = desk.jobs()
    assert (job.state, job.exit_status, job.tests_done, job.attempt) == ("done", 0, 2, 0)
    assert not list((desk.directory / "lab" / "desk" / "jobs").iterdir())
    # What is there is not sent again.
    again = desk.run(
        "submit", workshop.directory / "tiny.json", "--program", workshop.directory / "program.py", "--detach"
    )
    assert re.search(r"of which 0\.0 sent", again.stderr)


def test_a_regression_elsewhere_is_the_submitters_exit_status(desk, workshop):
    treatment, control = program(workshop, "new", delay_us=300), program(workshop, "old", delay_us=200)
    info = {"treatment": COMMIT | {"program": str(treatment)}, "control": OLDER | {"program": str(control)}}
    done = desk.run(
        "submit", workshop.directory / "tiny.json", "--info", json.dumps(info), "--canary", "off", "--json"
    )
    assert done.returncode == 5, done.stderr
    stages = [one["meta"] for one in json.loads(done.stdout)["results"]]
    assert [one["run_type"] for one in stages] == ["benchmark", "verify", "regress"]
    assert {(one["commit"], one["control_commit"]) for one in stages} == {("abc", "old")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "name=nonesuch"], "no device can be used for name=nonesuch"),
        (["--on", "cores>=many"], "'many' is not a number as in 8 or 8GB"),
        (
            ["--info", '{"treatment": {"python": "/opt/python"}}'],
            "a Python of this host cannot be sent to another",
        ),
        (["--program", "/nonesuch"], "cannot read /nonesuch"),
        (["--model_cache", "/tmp"], "there is no option '--model_cache'"),
    ],
)
def test_what_cannot_run_elsewhere_is_refused_at_once(desk, workshop, arguments, message):
    done = desk.run("submit", workshop.directory / "tiny.json", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert desk.jobs() == []


def test_a_password_on_the_command_line_is_refused(lab):
    done = lab.run("devices", "--lab", "postgresql://ann:secret@localhost/lab")
    assert done.returncode == 2
    assert "use ~/.pgpass" in done.stderr
    assert "secret" not in done.stderr


def test_a_lab_that_is_not_there_is_one_line(server, lab):
    done = lab.run("devices", "--lab", "postgresql://postgres@127.0.0.1:1/lab")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    empty = server.database()
    done = lab.run("submit", "x.json", "--lab", empty)
    assert "mlbench lab init makes the tables" in done.stderr
    assert lab.run("init", "--lab", empty).stdout.endswith("is ready\n")
    assert "its quotas are set" in lab.run("init", "--lab", empty).stdout


def sleeping(workshop, name="program", seconds=600, **more):
    return program(workshop, name, sleep_s=seconds, spans=str(workshop.directory / "spans"), **more)


def running_programs(workshop):
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if any(
            re.fullmatch(rf"{workshop.directory.parent}/lab/.*\.py", word)
            for word in one.info["cmdline"] or ()
        )
    ]


def test_cancelling_ends_the_program(desk, workshop):
    job = desk.submit(workshop, "--program", sleeping(workshop))
    waiting = desk.submit(workshop, "--program", sleeping(workshop))
    follower = desk.start("wait", job, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    desk.until(lambda: running_programs(workshop), "the program")
    assert desk.run("cancel", job, waiting).stdout == f"job {waiting} cancelled\njob {job} cancelled\n"
    desk.until(lambda: not running_programs(workshop), "the end of the program")
    desk.until(lambda: desk.state(job) == "cancelled", "the end of the job")
    assert desk.state(waiting) == "cancelled"
    assert follower.wait(LIMIT_S) == 130
    assert f"job {job} was over: cancelled" in desk.run("cancel", job).stdout


def test_whoever_follows_may_leave(desk, workshop):
    job = desk.submit(workshop, "--program", sleeping(workshop, seconds=4))
    follower = desk.start("wait", job, stderr=subprocess.PIPE, text=True)
    assert f"job {job} on" in follower.stderr.readline()
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=LIMIT_S)
    assert follower.returncode == 130
    assert "the jobs go on" in said
    assert desk.run("wait", job).returncode == 0
    assert "tiny delay 0" in desk.run("logs", job).stdout


def test_a_second_agent_is_refused_and_disturbs_nothing(desk, workshop):
    job = desk.submit(workshop, "--program", sleeping(workshop))
    before = desk.until(lambda: running_programs(workshop), "the program")
    done = desk.run("agent", "--platform", "host", "--directory", desk.directory / "lab" / "desk")
    assert (done.returncode, "another agent works in" in done.stderr) == (2, True), done.stderr
    done = desk.run("agent", "--platform", "host", "--name", "desk", "--directory", desk.directory / "new")
    assert done.returncode == 4
    assert (
        done.stderr == "mlbench lab agent: another agent of the lab is called desk, and works: give --name\n"
    )
    assert running_programs(workshop) == before
    assert desk.state(job) == "running"


def test_an_agent_that_cannot_write_its_files_says_where(lab, tmp_path):
    (tmp_path / "file").write_text("")
    done = lab.run("agent", "--directory", tmp_path / "file" / "lab")
    assert done.returncode == 2
    assert done.stderr == f"mlbench lab agent: --directory: {tmp_path}/file/lab/jobs: Not a directory\n"


def the_harness(desk):
    """Of the job that runs."""
    (process,) = (
        one for one in psutil.Process(desk.agents["desk"].pid).children() if "--json_lines" in one.cmdline()
    )
    return process


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_harness_that_is_killed_or_stopped_leaves_no_program(desk, workshop, how):
    job = desk.submit(workshop, "--program", sleeping(workshop))
    desk.until(lambda: running_programs(workshop), "the program")
    the_harness(desk).send_signal(how)
    if how is signal.SIGSTOP:
        assert desk.run("cancel", job).returncode == 0
    desk.until(lambda: desk.jobs(job)[0].is_over, "the end of the job")
    assert not running_programs(workshop)
    (found,) = desk.jobs(job)
    killed = "desk: the harness was ended by SIGKILL"
    assert (found.state, found.problem) == (("cancelled", "") if how is signal.SIGSTOP else ("done", killed))


@pytest.mark.parametrize(
    ("how", "message"), [(signal.SIGKILL, "ended by signal 9"), (signal.SIGSTOP, "ran longer than 4 s")]
)
def test_a_program_that_is_killed_or_stopped_fails_its_test(desk, workshop, how, message):
    job = desk.submit(workshop, "--program", sleeping(workshop), "--timeout", "4")
    (found,) = desk.until(lambda: running_programs(workshop), "the program")
    found.send_signal(how)
    done = desk.run("wait", job, "--json")
    assert done.returncode == 3, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert message in result["failure"]["message"]
    assert not running_programs(workshop)


def three_tests(workshop):
    workshop.benchmark({"inputs": {"data": {"shapes": [[1], [2], [3]], "type": "float"}}})


def overlaps(path):
    """Whether two programs ran at once."""
    spans = sorted((one["started"], one["ended"]) for one in records(path))
    return any(after[0] < before[1] for before, after in pairwise(spans))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_ends_loses_no_result_and_repeats_none(desk, workshop, how):
    three_tests(workshop)
    job = desk.submit(workshop, "--program", sleeping(workshop, seconds=1.5))
    desk.until(lambda: desk.jobs(job)[0].tests_done == 2, "two results")
    desk.end(how=how)
    desk.agent()
    done = desk.run("wait", job, "--json")
    assert done.returncode == 0, done.stderr
    identifiers = [one["meta"]["identifier"] for one in json.loads(done.stdout)["results"]]
    assert identifiers == ["0", "1", "2"]
    (found,) = desk.jobs(job)
    assert (found.state, found.attempt) == ("done", 1)
    assert len(desk.sql("SELECT 1 FROM result WHERE job = %s AND attempt = 0", job)) == 1
    assert not running_programs(workshop)


def test_a_database_that_crashes_loses_nothing(server, desk, workshop):
    three_tests(workshop)
    job = desk.submit(workshop, "--program", sleeping(workshop, seconds=1.5))
    follower = desk.start("wait", job, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    desk.until(lambda: desk.jobs(job)[0].tests_done == 1, "a result")
    server.stop(signal.SIGQUIT)
    time.sleep(2)
    server.start()
    output, said = follower.communicate(timeout=LIMIT_S)
    assert follower.returncode == 0, said
    assert [one["meta"]["identifier"] for one in json.loads(output)["results"]] == ["0", "1", "2"]
    assert "trying again" in said
    again = desk.submit(workshop, "--program", program(workshop, "quick"))
    assert desk.run("wait", again).returncode == 0, desk.logs()


def test_an_agent_that_was_taken_for_dead_counts_no_more(desk, workshop):
    """Another host sees the same device. Both agents are on this machine: the device's lock is one."""
    three_tests(workshop)
    job = desk.submit(workshop, "--program", sleeping(workshop, seconds=1.5))
    desk.until(lambda: running_programs(workshop), "the program")
    desk.agents["desk"].send_signal(signal.SIGSTOP)
    desk.agent("other")
    desk.until(lambda: desk.jobs(job)[0].host == "other", "the other agent")
    desk.agents["desk"].send_signal(signal.SIGCONT)
    done = desk.run("wait", job, "--json")
    assert done.returncode == 0, done.stderr + desk.logs()
    results = json.loads(done.stdout)["results"]
    assert [one["meta"]["identifier"] for one in results] == ["0", "1", "2"]
    desk.until(
        lambda: "the agent starts again" in desk.logs() or desk.jobs(job)[0].state == "done", "its end"
    )
    assert not overlaps(workshop.directory / "spans")


def test_a_reservation_keeps_the_others_away(desk, workshop):
    done = desk.run("reserve", "host", "--hours", "1", person="ann")
    reservation = int(re.search(r"job (\d+) reserves", done.stdout)[1])
    desk.until(lambda: desk.state(reservation) == "running", "the reservation")
    job = desk.submit(workshop, "--program", program(workshop), person="bob")
    time.sleep(1)
    assert desk.state(job) == "waiting"
    assert f"job {reservation} of ann@" in desk.run("devices").stdout
    assert desk.run("release", reservation).returncode == 0
    assert desk.run("wait", job).returncode == 0


def test_the_limit_of_a_run_begins_on_its_device(desk, workshop):
    reservation = int(re.search(r"job (\d+) reserves", desk.run("reserve", "host").stdout)[1])
    job = desk.submit(workshop, "--program", sleeping(workshop), "--run_limit", "2")
    time.sleep(2.5)
    assert desk.state(job) == "waiting"
    assert desk.run("release", reservation).returncode == 0
    done = desk.run("wait", job)
    assert "it ran longer than its limit of 2 s and was ended" in done.stderr
    assert done.returncode == 130
    assert not running_programs(workshop)


def test_nobody_waits_for_all_jobs_of_a_greedy_person(lab, workshop):
    lab.agent()
    lab.until(lambda: lab.sql("SELECT 1 FROM device"), "the device")
    lab.end()
    quick = program(workshop)
    greedy = [lab.submit(workshop, "--program", quick, person="greedy") for _ in range(4)]
    modest = [lab.submit(workshop, "--program", quick, person="modest") for _ in range(2)]
    lab.agent()
    everything = [*greedy, *modest]
    lab.until(lambda: all(one.is_over for one in lab.jobs(*everything)), "the end of all")
    order = [job for (job,) in lab.sql("SELECT job FROM run ORDER BY started")]
    assert order == [greedy[0], modest[0], greedy[1], modest[1], *greedy[2:]]


def change_waiting(lab, job, path, value):
    lab.sql(
        "UPDATE procrastinate_jobs SET args = jsonb_set(args, %s, %s::jsonb) WHERE id = %s",
        path,
        json.dumps(value),
        job,
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["job", "protocol"], 99, "the job has the version 99"),
        (["job", "program"], "../../outside", "it is not a path inside the directory of the job"),
        (["job", "program"], "files/none", "the job names a file that it does not have"),
        (["job", "options", "local_reporter"], "/tmp/x", "a job cannot set --local_reporter"),
        (["job", "info"], {"treatment": {"python": "/bin/sh"}}, "a job cannot name a Python of another host"),
        (
            ["job", "files", "a/b"],
            {"sha256": "0" * 64, "size_bytes": 3},
            "does not have the file 000000000000",
        ),
        (["job", "more"], "x", "Extra inputs are not permitted"),
    ],
)
def test_a_forged_job_runs_nothing(lab, workshop, path, value, message):
    lab.agent()
    lab.until(lambda: lab.sql("SELECT 1 FROM device"), "the device")
    lab.end()
    job = lab.submit(workshop, "--program", sleeping(workshop, seconds=0))
    change_waiting(lab, job, path, value)
    lab.agent()
    lab.until(lambda: lab.jobs(job)[0].is_over, "the end")
    assert message in lab.jobs(job)[0].problem
    assert not (workshop.directory / "spans").exists()
    done = lab.run("wait", job)
    assert (done.returncode, message in done.stderr) == (4, True), done.stderr


def test_a_damaged_file_is_noticed_and_sent_again(desk, workshop):
    quick = program(workshop)
    assert desk.run("wait", desk.submit(workshop, "--program", quick)).returncode == 0
    for path in (desk.directory / "lab" / "desk" / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    desk.sql("UPDATE blob_part SET content = 'nonsense'::bytea")
    job = desk.submit(workshop, "--program", quick)
    desk.until(lambda: desk.jobs(job)[0].is_over, "the end")
    assert "is damaged in the lab, and was removed there: submit again" in desk.jobs(job)[0].problem
    while desk.run("wait", job).returncode:
        job = desk.submit(workshop, "--program", quick)


def test_only_the_owners_programs_run(lab, workshop):
    allowed = lab.directory / "programs"
    allowed.mkdir()
    (allowed / "good").write_bytes(program(workshop, "good").read_bytes())
    lab.agent("desk", "--programs", allowed)
    lab.until(lambda: lab.sql("SELECT 1 FROM device"), "the device")
    good = lab.submit(workshop, "--program", workshop.directory / "good.py")
    bad = lab.submit(workshop, "--program", program(workshop, "bad", delay_us=1))
    assert lab.run("wait", good).returncode == 0
    assert "allows only the programs in" in lab.run("wait", bad).stderr


def test_quotas(lab, workshop):
    lab.agent()
    lab.until(lambda: lab.sql("SELECT 1 FROM device"), "the device")
    lab.end()
    lab.run("init", "--blob_quota", "1e-9")
    done = lab.run("submit", workshop.directory / "tiny.json", "--detach", person="ann")
    assert done.returncode == 4
    assert re.search(r"quota: ann@\S+ may keep no more files in this lab$", done.stderr.strip()), done.stderr
    lab.run("init", "--job_quota", "1")
    lab.submit(workshop, person="ann")
    done = lab.run("submit", workshop.directory / "tiny.json", "--detach", person="ann")
    assert "too many of your jobs are waiting" in done.stderr
    lab.submit(workshop, person="bob")


def test_people_and_agents_have_their_own_rights(server, lab, workshop):
    with psycopg.connect(lab.url, autocommit=True) as connection:
        for role, group in (("lab_ann", "mlbench_person"), ("lab_host", "mlbench_agent"), ("lab_eve", None)):
            with contextlib.suppress(psycopg.errors.DuplicateObject):
                connection.execute(f"CREATE ROLE {role} LOGIN {f'IN ROLE {group}' if group else ''}")
    urls = {role: re.sub(r"//\w+@", f"//{role}@", lab.url) for role in ("lab_ann", "lab_host", "lab_eve")}
    lab.agent("desk", "--lab", urls["lab_host"])
    lab.until(lambda: lab.sql("SELECT 1 FROM device"), "the device")
    done = lab.run(
        "submit", workshop.directory / "tiny.json", "--program", program(workshop), "--lab", urls["lab_ann"]
    )
    assert done.returncode == 0, done.stderr
    ann = Database(urls["lab_ann"])
    for text in (
        "DELETE FROM result",
        "UPDATE run SET exit_status = 0",
        "INSERT INTO result VALUES (1, 9, 0, '', '')",
    ):
        with pytest.raises(Exception, match="permission denied"), ann.connected() as connection:
            connection.execute(text)
    done = lab.run("agent", "--lab", urls["lab_ann"], "--directory", lab.directory / "ann", "--name", "ann")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "permission denied for table agent; agents need the group mlbench_agent" in done.stderr
    done = lab.run("devices", "--lab", urls["lab_eve"])
    assert (done.returncode, "an account needs the right to see them" in done.stderr) == (4, True)
    assert Path(lab.directory / "desk.log").read_text().count("Traceback") == 0


def test_the_results_server_takes_the_results_and_shows_the_lab(desk, workshop, tmp_path):
    job = desk.submit(workshop, "--program", program(workshop, delay_us=200), person="ann")
    assert desk.run("wait", job).returncode == 0
    store, lab = open_store(sqlite_url(tmp_path / "results.db")), Database(desk.url)
    try:
        assert [deliver(store, lab), deliver(store, lab)] == [1, 0]
        client = TestClient(make_app(store, lab=lab), base_url="http://localhost")
        page = client.get("/lab").text
        assert "ann@" in page
        assert f'href="/lab/job/{job}"' in page
        (device,) = client.get("/lab/devices.json").json()
        assert client.get("/lab/jobs.csv").text.splitlines()[0].startswith("id,submission,title,person")
        shown = client.get(f"/lab/job/{job}").text
        assert "[1/1] tiny delay 0" in shown
        (run,) = re.findall(r'href="(/run/\w+)"', shown)
        assert client.get(run).status_code == 200
        assert client.get("/lab/job/999").status_code == 404

        token = re.search(r'name="token" value="(\w+)"', page)[1]
        form = {"device": f"{device['platform']}:{device['hash']}", "hours": "1"}
        assert client.post("/lab/reserve", data={**form, "token": "x"}).status_code == 403
        reserved = client.post("/lab/reserve", data={**form, "token": token})
        number = int(reserved.url.path.rpartition("/")[2])
        desk.until(lambda: desk.state(number) == "running", "the reservation")
        client.post(f"/lab/job/{number}/cancel", data={"token": token})
        desk.until(lambda: desk.state(number) == "cancelled", "its end")
        assert "Lab</a>" not in TestClient(make_app(store), base_url="http://localhost").get("/").text
    finally:
        store.close()


# --- the loop -----------------------------------------------------------------------------------------------


@pytest.fixture
def builds(lab):
    """A host that builds, beside its device."""
    lab.agent("desk", "--builds", "host")
    lab.until(lambda: len(lab.sql("SELECT 1 FROM device")) == 2, "the device and the builds")
    return lab


@pytest.fixture
def loop(tmp_path):
    """A repository, and the loop over it."""
    directory = tmp_path / "loop"
    directory.mkdir()
    return LoopWorkshop(directory)


def on_the_lab(desk):
    return {"ML_BENCHMARK_LAB": desk.url}


def test_the_loop_builds_measures_and_bisects_on_the_lab(builds, loop):
    desk = builds
    for delay_us in (100.0, 200.0, 200.0):
        loop.commit(delay_us)
    arguments = ("--commit", loop.commits[0], "--once", "--regression", "--step", "2", "--lab")
    done = loop.run(*arguments, **on_the_lab(desk))
    assert done.returncode == 5, done.stderr + desk.logs()
    assert loop.statuses() == {"commit 0": "measured", "commit 1": "skipped", "commit 2": "regressed"}
    assert "made host slower: commit 1 (" in done.stderr
    assert loop.builds == []  # the script wrote that down beside itself, elsewhere
    jobs = [one for one in desk.jobs() if one.kind == "measure"]
    assert {one.state for one in desk.jobs()} == {"done"}
    saved = list(loop.exec_dir.glob("results/**/NET_DELAY.txt"))
    assert len(saved) == sum(len(desk.sql("SELECT 1 FROM result WHERE job = %s", one.id)) for one in jobs)
    # What is known is told to the devices, with the results of the commits before.
    loop.commit(200.0)
    done = loop.run("--once", "--regression", "--lab", **on_the_lab(desk))
    assert loop.statuses()["commit 3"] == "known", done.stderr + desk.logs()


@pytest.mark.skipif(find_hg() is None, reason="there is no hg here")
def test_the_loop_of_a_mercurial_repository_on_the_lab(builds, tmp_path):
    directory = tmp_path / "loop"
    directory.mkdir()
    loop = LoopWorkshop(directory, "hg")
    # What a host builds is the commit's files, without the repository.
    loop.commit(build_first='test ! -e "$1/.hg"')
    loop.commit(build_first='test ! -e "$1/.hg" && exit 3')
    done = loop.run("--commit", loop.commits[0], "--once", "--lab", **on_the_lab(builds))
    assert loop.statuses() == {"commit 0": "measured", "commit 1": "build failed"}, (
        done.stderr + builds.logs()
    )
    assert done.returncode == 7
    assert len(list(loop.exec_dir.glob("results/**/NET_DELAY.txt"))) == 1


def is_running(lab, kind):
    return any((one.kind, one.state) == (kind, "running") for one in lab.jobs())


def test_a_killed_loop_finds_its_jobs_again(builds, loop):
    loop.commit(build_first="sleep 2", program_also="sleep 1")
    for kind in ("build", "measure"):
        process = loop.start("--once", "--lab", **on_the_lab(builds))
        builds.until(partial(is_running, builds, kind), kind)
        kill(process)
    done = loop.run("--once", "--lab", **on_the_lab(builds))
    assert done.returncode == 0, done.stderr + builds.logs()
    assert loop.statuses() == {"commit 0": "measured"}
    assert [one.kind for one in builds.jobs()] == ["measure", "build"]
    assert len(list(loop.exec_dir.glob("results/**/NET_DELAY.txt"))) == 1
    # What is over is not found again.
    assert loop.run("--lab", **on_the_lab(builds)).returncode == 0
    assert [one.kind for one in builds.jobs()] == ["measure", "measure", "build"]


def test_builds_that_fail_on_the_lab(builds, loop):
    loop.commit(build_first="echo this went wrong >&2; exit 3")
    loop.commit(build_first="sleep 600")
    done = loop.run(
        *("--commit", loop.commits[0], "--once", "--build_timeout", "2", "--lab"), **on_the_lab(builds)
    )
    assert done.returncode == 7, done.stderr + builds.logs()
    assert set(loop.statuses().values()) == {"build failed"}
    assert "build.sh ended with exit status 3" in done.stderr
    assert "this went wrong" in done.stderr
    assert "it exceeded the --build_timeout of 2 s and was killed" in done.stderr
    # Nobody can have a host build that does not offer it.
    builds.end()
    loop.commit(build_first=None)
    process = loop.start("--once", "--lab", **on_the_lab(builds))
    (job,) = builds.until(lambda: [one.id for one in builds.jobs() if one.state == "waiting"], "the build")
    ((device,),) = builds.sql("SELECT hash FROM device WHERE platform = 'host'")
    builds.sql("UPDATE procrastinate_jobs SET queue_name = %s WHERE id = %s", f"host:{device}", job)
    builds.agent()
    assert process.wait(LIMIT_S) == 4
    assert "desk does not build for host" in (loop.directory / "started.log").read_text()


def test_the_loop_needs_a_device_and_a_lab(desk, loop):
    loop.commit()
    for extra, message in [
        (
            ("--lab", "--build_here", "--on", "label=nowhere"),
            "  no device can be used for platform=host,label=nowhere",  # without the name of lab submit
        ),
        (("--lab", "--build_here", "--model_cache", "/tmp"), "there is no option '--model_cache'"),
        (("--lab", "postgresql://ann:secret@localhost/lab"), "use ~/.pgpass"),
    ]:
        done = loop.run(*extra, **on_the_lab(desk))
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert "which lab?" in loop.run("--lab").stderr
    done = loop.run("--lab", **on_the_lab(desk))
    assert (done.returncode, "no host of the lab builds for host" in done.stderr) == (4, True), done.stderr
    assert loop.builds == []
