"""A run of a job, from its row in the queue to its end: the database is real, the harness is a script."""

import json
import logging
import shutil
import stat
from types import SimpleNamespace

import pytest

from benchmarking.dispatch import LAB_VARIABLE, blobs, job_run, measure_run
from benchmarking.dispatch.build_run import BuildRun
from benchmarking.dispatch.database import LabError
from benchmarking.dispatch.job_run import (
    Host,
    JobOutcome,
    JobRun,
    Pump,
    SupersededError,
    UnusableOutputError,
    _place,
)
from benchmarking.dispatch.measure_run import MeasureRun, _status
from benchmarking.dispatch.request import BENCHMARK, PROTOCOL, BuildJob, MeasureJob, PackedFile
from benchmarking.errors import BenchmarkError, ExitStatus, RunCancelledError
from benchmarking.files import archive
from benchmarking.programs import leftovers
from benchmarking.programs.installation import own_program
from benchmarking.programs.process import Cancellation, Tether
from benchmarking.results import documents
from benchmarking.specs.run_info import TestName
from tests.support.sample_results import DELAY, having

LIBRARY, PROGRAM = "libraries/abc/lib.so", "programs/abc/run"
COMMON = {"protocol": PROTOCOL, "submission": "s", "person": "ann", "platform": "host"}
MARK = "MLBENCH_TEST_MARK"


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(job_run, "LOOK_AGAIN_S", 0.005)
    monkeypatch.setattr(job_run, "RETRY_S", 0.005)


class Attic:
    """The host of that name, and one job that it has taken from the queue."""

    def __init__(self, lab, directory):
        self.lab, self.directory = lab, directory
        (self.number,) = lab.submit("ann", "attic")
        lab.sql("UPDATE procrastinate_jobs SET status = 'doing', attempts = 1 WHERE id = %s", self.number)
        self.lock = (directory / "lock").open("wb")
        tether = Tether(self.lock.fileno(), MARK, f"{directory} ")
        self.host = Host("attic", "1", directory / "host", tether)
        self.cancellation = Cancellation()

    def close(self):
        self.cancellation.close()
        self.lock.close()

    def file(self, content, mode=0o644):
        """Sent to the lab."""
        path = self.directory / "to_send"
        path.write_bytes(content)
        path.chmod(mode)
        file = blobs.described(path)
        with self.lab.database.connected() as connection:
            blobs.send(connection, path, file, "ann")
        return file

    def archive(self, **scripts):
        """Of these files, which are executable."""
        root = self.directory / "root"
        root.mkdir()
        for name, text in scripts.items():
            (root / name).write_text(text)
            (root / name).chmod(0o755)
        path = self.directory / "archive"
        archive.pack(path, root, root.iterdir())
        shutil.rmtree(root)
        return self.file(path.read_bytes())

    def harness(self, script, **changes):
        path = self.directory / "harness"
        path.write_text(script)
        return Host(**{**vars(self.host), "harness": ("sh", str(path)), **changes})

    def measure(self, script="", host=None, attempt=1, **job):
        job = {"device": "attic0", "files": {BENCHMARK: self.file(b"{}")}, "options": {}, "info": {}} | job
        request = MeasureJob(**COMMON, **{"tests": [name("0")], **job})
        host = host or self.harness(script)
        return MeasureRun(self.lab.database, host, self.number, attempt, request, self.cancellation)

    def build(self, host=None, *, script="build.sh", **scripts):
        files = {"source.tar.gz": self.archive(commit="1"), "scripts.tar.gz": self.archive(**scripts)}
        request = BuildJob(
            **COMMON, files=files, source="source.tar.gz", scripts="scripts.tar.gz", script=script
        )
        host = host or Host(**{**vars(self.host), "builds": ("host",)})
        return BuildRun(self.lab.database, host, self.number, 1, request, self.cancellation)

    @property
    def ended(self):
        ((has_ended, status, problem, program),) = self.lab.sql(
            "SELECT ended IS NOT NULL, exit_status, problem, program FROM run"
        )
        return has_ended, status, problem, program


@pytest.fixture
def attic(lab, tmp_path):
    one = Attic(lab, tmp_path)
    yield one
    one.close()


def name(identifier):
    return TestName(net=DELAY.test.net, metric="delay", identifier=identifier)


def line(identifier):
    return json.dumps({"result": documents.result_json(having(DELAY, identifier=identifier))})


END = '{"end": {"exit_status": 0, "duration_s": 1, "problems": %s}}'

# --- a measurement ------------------------------------------------------------------------------------------


def test_a_run_from_the_queue_to_its_end(attic, tmp_path, monkeypatch):
    monkeypatch.setenv(LAB_VARIABLE, "postgresql://secret/lab")
    script = f"""
        printf '%s\\n' "$@" >{tmp_path}/arguments
        {{ pwd; echo "${MARK}"; echo "$#" "${{{LAB_VARIABLE}-hidden}}"; }} >{tmp_path}/seen
        stat -c '%a %n' {BENCHMARK} {PROGRAM} >>{tmp_path}/seen
        ls history >>{tmp_path}/seen
        cat <<'TEXT'
{line("0")}
{line("1")}
{END % '["one", "two"]'}
TEXT
        printf 'begun \\033[1m\\nended' >&2
        exit 5
    """
    run = attic.measure(
        host=attic.harness(script, arguments=("--own", "--option=1")),
        files={
            BENCHMARK: attic.file(b"{}"),
            PROGRAM: attic.file(b"a program", 0o755),
            LIBRARY: attic.file(b"a library"),
            "files/history": attic.archive(old="1"),
        },
        options={"framework": "generic", "canary": ""},
        info={
            "treatment": {"commit": "c", "program": PROGRAM},
            "control": {"commit": "d"},
            "shared_libs": [LIBRARY],
            "run_type": "x",
        },
        program=PROGRAM,
        shared_libs=[LIBRARY, BENCHMARK],
        history="files/history",
        tests=[name("0"), name("1")],
    )
    run.run()
    where = tmp_path / "host" / "jobs" / f"{attic.number}-1"
    assert (tmp_path / "arguments").read_text().splitlines() == [
        *("--json_lines", "--own", "--option=1", "--framework=generic", "--canary"),
        f"--benchmark_file={where}/{BENCHMARK}",
        "--platform=host",
        "--devices=attic0",
        f"--program={where}/{PROGRAM}",
        f"--shared_libs={where}/{LIBRARY},{where}/{BENCHMARK}",
        f"--local_reporter={where}/history",
        "--info="
        + json.dumps(
            {
                "treatment": {"commit": "c", "program": f"{where}/{PROGRAM}"},
                "control": {"commit": "d"},
                "shared_libs": [f"{where}/{LIBRARY}"],
                "run_type": "x",
            }
        ),
    ]
    assert (tmp_path / "seen").read_text().splitlines() == [
        str(where),
        f"{tmp_path} {attic.number}-1",
        "12 hidden",
        f"400 {BENCHMARK}",
        f"500 {PROGRAM}",
        "old",
    ]
    assert attic.lab.sql("SELECT job, attempt, host FROM run") == [(attic.number, 1, "attic")]
    assert attic.ended == (True, 5, "one; two", None)
    found = attic.lab.sql("SELECT job, number, attempt, test FROM result ORDER BY number")
    net = DELAY.test.net
    assert found == [(attic.number, number, 1, json.dumps([net, "delay", str(number)])) for number in (0, 1)]
    assert "".join(text for _, text in attic.lab.read("log", attic.number)) == "begun ?[1m\nended"
    assert not where.exists()
    assert run._link._connection is None
    kept = [one for one in (tmp_path / "host/files").rglob("*") if one.is_file()]
    assert len(kept) == 4


def test_what_an_earlier_attempt_finished_is_not_measured_again(attic, tmp_path):
    """Its last test may lack a stage."""
    attic.lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 1, 'attic')", attic.number)
    for number, test in enumerate(("0", "1", "1")):
        attic.lab.result(attic.number, number, json.dumps([DELAY.test.net, "delay", test]))
    attic.lab.sql("UPDATE procrastinate_jobs SET attempts = 2")
    script = f"printf '%s\\n' \"$@\" >{tmp_path}/arguments; echo '{line('1')}'"
    tests = [name("0"), name("1"), name("2")]
    attic.measure(script, attempt=2, tests=tests, info={"run_type": "x"}).run()
    *_, info = (tmp_path / "arguments").read_text().splitlines()
    assert json.loads(info.removeprefix("--info=")) == {
        "run_type": "x",
        "tests": [{"net": DELAY.test.net, "metric": "delay", "identifier": one} for one in ("1", "2")],
    }
    assert attic.lab.sql("SELECT number, attempt FROM result ORDER BY number") == [(0, 1), (1, 2)]
    (tmp_path / "arguments").unlink()
    attic.lab.sql("UPDATE procrastinate_jobs SET attempts = 3")
    attic.measure(script, attempt=3, tests=tests[:1]).run()
    assert not (tmp_path / "arguments").exists()
    assert attic.lab.sql("SELECT exit_status, problem FROM run WHERE attempt = 3") == [(0, "")]


@pytest.mark.parametrize(
    ("script", "status", "problem"),
    [
        ("exit 0", 0, ""),
        ("exit 3", 3, ""),
        ("exit 77", None, ""),
        ("kill -KILL $$", None, "attic: the harness was ended by SIGKILL"),
        ("kill -35 $$", None, "attic: the harness was ended by signal 35"),
        (f"echo '{END % '[]'}'; exit 4", 4, ""),
    ],
)
def test_how_the_harness_ends(attic, script, status, problem):
    attic.measure(script).run()
    assert attic.ended == (True, status, problem, None)


def test_a_harness_that_could_not_write_says_nothing_and_is_explained(attic, monkeypatch):
    run = attic.measure("exit 1")
    usage = shutil.disk_usage(attic.directory)
    monkeypatch.setattr(
        measure_run.shutil, "disk_usage", lambda path: usage._replace(free=measure_run.LEAST_FREE_BYTES - 1)
    )
    assert run._why(0) == ""
    assert run._why(-1) == "attic: the harness was ended by SIGHUP"
    assert run._why(1) == f"attic: {run.directory}: No space left on device"
    monkeypatch.setattr(
        measure_run.shutil, "disk_usage", lambda path: usage._replace(free=measure_run.LEAST_FREE_BYTES)
    )
    assert run._why(1) == ""


def test_what_is_too_long_for_an_argument_is_in_a_file(attic, tmp_path):
    """An agent that was killed has a job of many tests begun again with those that are left."""
    attic.lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 1, 'attic')", attic.number)
    for number in (0, 1):
        attic.lab.result(attic.number, number, json.dumps([DELAY.test.net, "delay", str(number)]))
    attic.lab.sql("UPDATE procrastinate_jobs SET attempts = 2")
    tests = [name(f"{number}{'x' * 90}" if number > 1 else str(number)) for number in range(1500)]
    script = f"for one; do case $one in --info=@*) cp ${{one#--info=@}} {tmp_path}/info;; esac; done"
    attic.measure(script, attempt=2, tests=tests).run()
    assert len(json.loads((tmp_path / "info").read_text())["tests"]) == 1499
    assert attic.lab.sql("SELECT exit_status, problem FROM run WHERE attempt = 2") == [(0, "")]


def test_a_run_has_a_limit(attic):
    attic.measure("sleep 60", run_limit_s=0.2).run()
    problem = "it ran longer than its limit of 0.2 s and was ended"
    assert attic.ended == (True, ExitStatus.INTERRUPTED, problem, None)


def test_a_harness_that_cannot_be_started_is_one_line(attic):
    host = Host(**{**vars(attic.host), "harness": ("/nonesuch/harness",)})
    attic.measure(host=host).run()
    problem = "cannot start '/nonesuch/harness': there is no such file, or its interpreter is missing"
    assert attic.ended == (True, None, problem, None)


def test_no_program_of_a_harness_that_was_killed_is_left(attic, monkeypatch):
    ended = []
    monkeypatch.setattr(
        leftovers, "end_marked", lambda variable, is_left, whose: ended.append((variable, is_left, whose))
    )
    for script in ("exit 0", "exit 1"):
        attic.measure(script).run()
    assert ended == []
    attic.lab.sql("DELETE FROM run")
    for script, more in (("kill -TERM $$", {}), ("sleep 60", {"run_limit_s": 0.1})):
        attic.measure(script, **more).run()
    attic.cancellation.set()
    with pytest.raises(RunCancelledError):
        attic.measure("sleep 60").run()
    mark = f"{attic.directory} {attic.number}-1"
    assert [(variable, is_left(mark), is_left(f"{mark}0"), whose) for variable, is_left, whose in ended] == [
        (MARK, True, False, f"job {attic.number}")
    ] * 3


def test_a_cancelled_run_is_ended_by_the_agent(attic):
    attic.cancellation.set()
    run = attic.measure("exit 0")
    with pytest.raises(RunCancelledError, match=f"^(cancelled|job {attic.number} was cancelled)"):
        run.run()
    assert attic.ended == (False, None, "", None)
    assert not run.directory.exists()


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        ({"options": {"program": "x"}}, "a job cannot set --program on another host"),
        ({"program": "programs/other"}, "the job names a file that it does not have"),
        ({"info": {"control": {"python": "/bin/python"}}}, "a job cannot name a Python of another host"),
        ({"info": {"treatment": {"program": "/bin/sh"}}}, "the job names a file that it does not have"),
        ({"info": {"shared_libs": ["/lib/x"]}}, "the job names a file that it does not have"),
        ({"history": BENCHMARK}, "the history of the job: "),
        (
            {"files": {BENCHMARK: PackedFile(sha256="0" * 64, size_bytes=1)}},
            "the lab does not have the file 000000000000 any more: submit again",
        ),
    ],
)
def test_what_a_job_may_not_ask_for(attic, tmp_path, job, problem):
    attic.measure(f"touch {tmp_path}/ran", **job).run()
    ended, status, found, _ = attic.ended
    assert (ended, status) == (True, None)
    assert found.startswith(problem)
    assert not (tmp_path / "ran").exists()


def test_an_owner_allows_programs_by_their_content(attic, tmp_path):
    allowed = tmp_path / "allowed"
    (allowed / "a directory").mkdir(parents=True)
    for number, content in enumerate((b"other", b"the same size", b"this very one")):
        (allowed / str(number)).write_bytes(content)
    host = attic.harness("exit 0", programs=allowed)
    for content, problem in (
        (b"this very one", ""),
        (b"this very two", f"the owner of attic allows only the programs in {allowed}"),
        (b"another", f"the owner of attic allows only the programs in {allowed}"),
    ):
        attic.lab.sql("DELETE FROM run")
        files = {BENCHMARK: attic.file(b"{}"), PROGRAM: attic.file(content)}
        attic.measure(host=host, files=files, program=PROGRAM).run()
        assert attic.ended == (True, None if problem else 0, problem, None)


@pytest.mark.parametrize(("code", "status"), [(None, None), (0, 0), (5, 5), (-9, None), (99, None)])
def test_only_a_known_status_is_one(code, status):
    assert _status(code) == status


def test_a_result_that_is_too_large_to_be_sent_ends_the_run(attic, monkeypatch):
    """It used to be tried again for ever."""
    monkeypatch.setattr(job_run, "LARGEST_LINE_BYTES", len(line("0")) + 1)
    script = f"echo '{line('0')}'; echo '{line('11')}'; exec sleep 60"
    attic.measure(script, tests=[name("0"), name("11")]).run()
    problem = f"a line of results.jsonl is larger than {len(line('0')) + 1:,} bytes"
    assert attic.ended == (True, None, problem, None)
    assert attic.lab.sql("SELECT number FROM result") == [(0,)]


# --- a build ------------------------------------------------------------------------------------------------


def test_a_build_gives_its_program_to_the_lab(attic, tmp_path, monkeypatch):
    monkeypatch.setenv(LAB_VARIABLE, "postgresql://secret/lab")
    script = (
        f'#!/bin/sh\necho "$0 $1 $2 ${{{LAB_VARIABLE}-hidden}} ${MARK}" >{tmp_path}/seen\n'
        'cat "$1/commit" >"$2"\nchmod +x "$2"\necho built\n'
    )
    attic.build(**{"build.sh": script}).run()
    where = tmp_path / "host" / "jobs" / f"{attic.number}-1"
    assert (tmp_path / "seen").read_text().split() == [
        *(f"{where}/scripts/build.sh", f"{where}/source", f"{where}/program"),
        *("hidden", str(tmp_path), f"{attic.number}-1"),
    ]
    ended, status, problem, program = attic.ended
    assert (ended, status, problem) == (True, 0, "")
    assert (program["size_bytes"], program["executable"]) == (1, True)
    assert attic.lab.sql(
        "SELECT person, size_bytes, complete FROM blob WHERE sha256 = %s", program["sha256"]
    )[0] == ("ann", 1, True)
    assert "built" in "".join(text for _, text in attic.lab.read("log", attic.number))


@pytest.mark.parametrize(
    ("scripts", "status", "problem"),
    [
        ({"build.sh": "#!/bin/sh\nexit 7"}, ExitStatus.BUILD_FAILED, "build.sh ended with exit status 7"),
        ({"build.sh": "#!/bin/sh\nexit 0"}, ExitStatus.BUILD_FAILED, "build.sh left no executable"),
        ({"build.sh": "#!/nonesuch\n"}, None, "there is no such file, or its interpreter is missing"),
    ],
)
def test_a_build_that_fails(attic, scripts, status, problem):
    attic.build(**scripts).run()
    ended, found, said, program = attic.ended
    assert (ended, found, program) == (True, status, None)
    assert said.endswith(problem)


def test_a_build_of_somebody_whose_files_fill_the_quota_ends(attic):
    """It would hold up everybody else's builds."""
    run = attic.build(**{"build.sh": "#!/bin/sh\nprintf '#!/bin/sh' > $2; chmod +x $2\n"})
    attic.lab.sql("UPDATE setting SET value = 5 WHERE name = 'blob_quota_bytes'")
    run.run()
    has_ended, status, problem, program = attic.ended
    assert (has_ended, status, program) == (True, None, None)
    assert problem.endswith("quota: ann may keep no more files in this lab")


def test_a_build_has_a_limit_and_can_be_cancelled(attic):
    run = attic.build(**{"build.sh": "#!/bin/sh\nsleep 60"})
    run.job = run.job.model_copy(update={"limit_s": 0.2})
    run.run()
    problem = "it exceeded the --build_timeout of 0.2 s and was killed"
    assert attic.ended == (True, ExitStatus.BUILD_FAILED, problem, None)
    attic.cancellation.set()
    with pytest.raises(RunCancelledError):
        run.run()
    run.directory.mkdir(parents=True)
    assert run._perform() in (JobOutcome(ExitStatus.INTERRUPTED),)


def test_archives_that_cannot_be_read_are_the_fault_of_the_commit(attic):
    run = attic.build(**{"build.sh": ""})
    run.job = run.job.model_copy(update={"files": run.job.files | {"source.tar.gz": attic.file(b"no")}})
    run.run()
    assert attic.ended[1] == ExitStatus.BUILD_FAILED
    assert attic.ended[2].startswith("the files of the commit or the scripts: ")


def test_a_host_builds_only_what_its_owner_allows(attic):
    attic.build(Host(**{**vars(attic.host), "builds": ("android",)}), **{"build.sh": ""}).run()
    assert attic.ended == (True, None, "attic does not build for host", None)


# --- any run ------------------------------------------------------------------------------------------------


class Plain(JobRun):
    """Does what it was given."""

    def _perform(self):
        return self.action()


@pytest.fixture
def plain(attic):
    request = attic.measure().job
    return Plain(attic.lab.database, attic.host, attic.number, 1, request, attic.cancellation)


def test_a_host_runs_its_own_harness(tmp_path):
    assert Host("a", "1", tmp_path, Tether(0, "", "")).harness == own_program("harness")


def test_a_disk_that_cannot_be_written_is_the_hosts(attic, plain):
    def fails(*arguments):
        raise OSError(*arguments)

    for arguments, problem in (
        ((28, "No space left on device", "/the/file"), "attic: /the/file: No space left on device"),
        ((28, "No space left on device"), f"attic: {plain.directory}: No space left on device"),
        (("odd",), f"attic: {plain.directory}: odd"),
    ):
        plain.action = lambda arguments=arguments: fails(*arguments)
        plain.run()
        assert attic.ended == (True, None, problem, None)


def test_a_run_begins_in_an_empty_directory_and_its_problem_is_cut(attic, plain):
    left = []
    plain.directory.mkdir(parents=True)
    (plain.directory / "of a killed agent").touch()
    plain.action = lambda: left.extend(plain.directory.iterdir()) or JobOutcome(ExitStatus.OK, "x" * 10_001)
    plain.run()
    assert left == []
    assert attic.ended == (True, 0, "x" * 10_000, None)


def test_a_problem_may_hold_what_postgresql_takes_for_no_text(attic, plain):
    """It would be sent again and again."""
    plain.action = lambda: JobOutcome(None, "a\0b\nof \udcff")
    plain.run()
    assert attic.ended == (True, None, "a?b\nof ?", None)


@pytest.mark.parametrize("change", ["status = 'todo'", "attempts = 2"])
def test_a_run_that_was_taken_for_lost_does_not_count(attic, plain, change):
    def superseded():
        attic.lab.sql(f"UPDATE procrastinate_jobs SET {change}")
        return JobOutcome(ExitStatus.OK)

    plain.action = superseded
    message = f"job {attic.number}: the lab took this run for lost"
    with pytest.raises(SupersededError, match=message):
        plain.run()
    assert attic.ended == (False, None, "", None)
    attic.lab.sql("DELETE FROM run")
    with pytest.raises(SupersededError, match=message):
        plain.run()
    assert attic.lab.sql("SELECT 1 FROM run") == []


def test_what_a_run_says_waits_for_the_database(attic, plain, caplog):
    tried = []

    def fails_twice(connection):
        tried.append(connection)
        if len(tried) < 3:
            raise LabError("it is away")
        return "done"

    with caplog.at_level(logging.WARNING):
        assert plain.persistently(fails_twice) == "done"
    assert caplog.messages == [f"job {attic.number}: it is away; trying again"]  # once


def test_a_cancelled_run_waits_for_the_database_for_a_minute(plain, monkeypatch):
    now = [1000.0]
    pauses = []

    def passes(seconds):
        pauses.append(seconds)
        now[0] += 29.9

    monkeypatch.setattr(job_run, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=passes))
    plain.cancellation.set()

    def fails(connection):
        raise LabError("it is away")

    with pytest.raises(LabError, match="it is away"):
        plain.persistently(fails)
    assert pauses == [job_run.RETRY_S] * 3


def test_the_copy_of_a_file_in_the_directory_of_a_job(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    source.chmod(0o400)
    file = PackedFile(sha256="0" * 64, size_bytes=3)
    _place(source, target, file)
    assert target.samefile(source)
    target.unlink()
    for executable, mode in ((True, 0o500), (False, 0o400)):
        target.touch()  # a link cannot be made
        _place(source, target, file.model_copy(update={"executable": executable}))
        assert not target.samefile(source)
        assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", mode)
        target.unlink()


def test_a_cancelled_run_fetches_nothing_more(attic, tmp_path):
    run = attic.measure(files={"a/b": attic.file(b"content")})
    attic.cancellation.set()
    with pytest.raises(RunCancelledError, match="cancelled while files were fetched"):
        run._fetch_files()


# --- the log ------------------------------------------------------------------------------------------------


@pytest.fixture
def pump(attic, plain):
    plain.directory.mkdir(parents=True)
    attic.lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 1, 'attic')", attic.number)
    return Pump(plain)


def test_the_log_is_sent_in_whole_lines(attic, plain, pump, monkeypatch):
    monkeypatch.setattr(job_run, "LARGEST_LOG_CHARACTERS", 8)
    log = plain.directory / "log"
    with attic.lab.database.connected() as connection:
        pump._send(connection, is_last=False)
        for text, is_last in (("a\nb", False), ("", False), ("c\nd", False), ("", True), ("more", True)):
            with log.open("a") as stream:
                stream.write(text)
            pump._send(connection, is_last=is_last)
        with log.open("a") as stream:
            stream.write("too much")
        pump._send(connection, is_last=True)
    assert attic.lab.read("log", attic.number) == [
        ((1, 1), "a\n"),
        ((1, 3), "bc\n"),
        ((1, 4), "d"),
        ((1, 5), "mo"),
    ]


@pytest.mark.parametrize("is_last", [False, True])
def test_a_part_of_the_log_whose_receipt_was_lost_is_followed_by_what_came_since(attic, plain, pump, is_last):
    """Whoever follows the job has read that part, and does not read it again."""
    log = plain.directory / "log"
    log.write_text("a\n")

    class Cut:
        """A link that breaks before it says that something was written."""

        def execute(self, *arguments):
            connection.execute(*arguments)
            raise LabError("cut")

    with attic.lab.database.connected() as connection:
        with pytest.raises(LabError):
            pump._send(Cut(), is_last=False)
        log.write_text("a\nb\n")
        pump._send(connection, is_last=is_last)
        log.write_text("a\nb\nc\n")
        pump._send(connection, is_last=is_last)
    assert attic.lab.read("log", attic.number) == [((1, 0), "a\n"), ((1, 1), "b\n"), ((1, 2), "c\n")]


def test_a_line_is_sent_when_it_is_whole(plain, pump, monkeypatch):
    monkeypatch.setattr(job_run, "LARGEST_LINE_BYTES", 4)
    log = plain.directory / "log"
    assert pump._lines("log") == pump._lines("nonesuch") == []
    for text, whole, everything in (
        ("", [], []),
        ("abc", [], ["abc"]),
        ("abc\n", ["abc\n"], ["abc\n"]),
        ("a\nb", ["a\n"], ["a\n", "b"]),
        ("a\n\nbcdefg", ["a\n", "\n"], ["a\n", "\n", "b"]),
    ):
        log.write_text(text)
        assert pump._lines("log") == [one.encode() for one in whole]
        assert pump._lines("log", whole=False) == [one.encode() for one in everything]
    for text in ("abcd", "abcd\n"):
        log.write_text(text)
        with pytest.raises(UnusableOutputError, match=r"^a line of log is larger than 4 bytes$"):
            pump._lines("log")


def test_everything_is_sent_in_the_end(attic, plain, pump):
    with pump.working():
        (plain.directory / "log").write_text("all of it")
    assert attic.lab.read("log", attic.number)[-1][1] == "all of it"


def test_results_that_waited_for_the_database_are_all_sent_in_the_end(attic, monkeypatch):
    """More of them than are read at once."""
    run = attic.measure()
    run.directory.mkdir(parents=True)
    attic.lab.sql("INSERT INTO run (job, attempt, host) VALUES (%s, 1, 'attic')", attic.number)
    lines = [json.dumps({"result": documents.result_json(DELAY)}) + "\n"] * 5
    monkeypatch.setattr(job_run, "LARGEST_LINE_BYTES", 2 * len(lines[0]) + 10)
    with measure_run._ResultPump(run, 3).working():
        (run.directory / measure_run.RESULTS).write_text("".join(lines))
    assert attic.lab.sql("SELECT number FROM result ORDER BY 1") == [(3,), (4,), (5,), (6,), (7,)]


def test_a_log_that_cannot_be_sent_ends_the_run(plain, pump, monkeypatch):
    def fails(connection, *, is_last):
        raise BenchmarkError("no")

    monkeypatch.setattr(pump, "_send", fails)
    with pytest.raises(BenchmarkError, match="no"), pump.working():
        assert plain.cancellation.wait(60)
