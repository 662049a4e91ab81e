"""The continuous loop on a lab: builds and measurements that others do, under names that outlive the loop."""

import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarking.continuous.activities import Activities
from benchmarking.continuous.builder import BuildOptions, Built
from benchmarking.continuous.lab import NAME_LIMIT_BYTES, LabBuilder, LabHarness, Submissions
from benchmarking.continuous.measurement import Harness, HarnessRequest
from benchmarking.dispatch import blobs
from benchmarking.dispatch.database import LabError
from benchmarking.dispatch.person import person
from benchmarking.dispatch.request import BUILD, PROTOCOL, BuildJob
from benchmarking.errors import (
    BuildError,
    DeviceError,
    ExitStatus,
    NoDeviceError,
    RunCancelledError,
    StorageError,
    UsageError,
)
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import Revision

COMMIT = Revision("a1" * 20, 1772442000, "Ann", "faster pooling")
OTHER = Revision("b2" * 20, 1772442000, "Ann", "")
PROGRAM = "#!/bin/sh\necho built\n"


@pytest.fixture
def submissions(tmp_path):
    return Submissions(tmp_path / "deep/submissions")


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


# --- submissions --------------------------------------------------------------------------------------------


def name_of(submissions, *what, ends_well=True):
    one = submissions.unfinished(*what)
    if ends_well:
        one.is_over()
    return one.name


def test_a_submission_keeps_its_name_until_it_is_over(submissions):
    interrupted = [name_of(submissions, "a", "b", ends_well=False) for _ in range(2)]
    assert interrupted[0] == interrupted[1]
    (path,) = submissions.directory.iterdir()
    assert path.read_text() == interrupted[0]
    assert name_of(submissions, "a", "b") == interrupted[0]
    assert list(submissions.directory.iterdir()) == []
    assert name_of(submissions, "a", "b") != interrupted[0]


def test_what_is_not_the_same_has_another_name(submissions):
    names = {
        name_of(submissions, *what, ends_well=False) for what in (("a", "b"), ("ab",), ("a",), ("b", "a"))
    }
    assert len(names) == 4
    # Arguments may hold bytes that are no text.
    assert name_of(submissions, "\udcff") not in names


@pytest.mark.parametrize("content", [b"\xff", b"x" * (NAME_LIMIT_BYTES + 1)])
def test_a_name_that_cannot_be_one_is_replaced(submissions, content):
    name_of(submissions, "a", ends_well=False)
    (path,) = submissions.directory.iterdir()
    path.write_bytes(content)
    name = name_of(submissions, "a", ends_well=False)
    assert path.read_text() == name
    assert len(name) <= NAME_LIMIT_BYTES


def test_a_name_that_cannot_be_kept_is_an_error(submissions):
    submissions.directory.parent.parent.mkdir(parents=True, exist_ok=True)
    submissions.directory.parent.write_text("in the way")
    with pytest.raises(StorageError, match=r"deep/submissions/[0-9a-f]{64}: Not a directory"):
        submissions.unfinished("a")


def test_a_name_that_cannot_be_forgotten_is_an_error(submissions):
    one = submissions.unfinished("a")
    one.path.unlink()
    one.is_over()
    one.path.mkdir()
    with pytest.raises(StorageError, match=r"deep/submissions/[0-9a-f]{64}: Is a directory"):
        one.is_over()


# --- the harness --------------------------------------------------------------------------------------------


class Harnesses:
    """A harness on this host and one on the lab, in whose places programs print their arguments."""

    def __init__(self, directory, submissions, cancellation):
        self.directory = directory
        self.submissions = submissions
        self.cancellation = cancellation

    def program(self, status):
        code = f"import json, sys; print(json.dumps(sys.argv[1:])); sys.exit({status})"
        return (sys.executable, "-S", "-c", code)

    def here(self, status=0):
        return Harness(
            ("--backend=cpu",),
            "caffe2",
            self.directory / "logs",
            Activities(self.directory / "now.json"),
            self.cancellation,
            timeout_s=7.0,
            environment={"A": "b"},
            branch="main",
            program=self.program(status),
        )

    def lab(self, target="label=fast", status=0):
        made = LabHarness.instead_of(self.here(status), self.submissions, target, 8.5)
        return replace(made, program=(*self.program(0), "submit"))


@pytest.fixture
def harnesses(tmp_path, submissions, cancellation):
    return Harnesses(tmp_path, submissions, cancellation)


REQUEST = HarnessRequest("host/mkl", Built(COMMIT, Path("/programs/new"), 1.0))


def arguments_of(report):
    return json.loads(report.output)


def test_the_lab_takes_the_place_of_the_harness(harnesses):
    here = harnesses.here()
    made = LabHarness.instead_of(here, harnesses.submissions, "label=fast", 8.5)
    assert made.here is here
    assert made.program[-3:] == ("lab", "submit", "--all")
    assert made.program_name == "mlbench lab submit"
    assert (made.target, made.run_limit_s, made.timeout_s) == ("label=fast", 8.5, None)
    same = ("arguments", "framework", "log_directory", "activities", "cancellation", "environment", "branch")
    assert all(getattr(made, one) == getattr(here, one) for one in same)


@pytest.mark.parametrize(
    ("target", "on"), [("label=fast", "platform=host,label=fast"), ("", "platform=host")]
)
def test_the_devices_of_the_platform_that_fit_measure(harnesses, target, on):
    report = harnesses.lab(target).measure(REQUEST)
    first, own, key, *rest = arguments_of(report)
    assert (first, own, key.partition("=")[0]) == ("submit", "--backend=cpu", "--key")
    assert rest[:4] == ["--framework", "caffe2", f"--on={on}", "--run_limit=8.5"]
    assert (rest[4], rest[-1]) == ("--info", "--json")
    assert json.loads(rest[5])["treatment"]["commit"] == COMMIT.commit
    assert report.program == "mlbench lab submit"


def test_each_measurement_that_was_finished_has_a_name_of_its_own(harnesses):
    keys = [arguments_of(harnesses.lab().measure(REQUEST))[2] for _ in range(2)]
    assert keys[0] != keys[1]


def test_a_measurement_that_was_not_finished_is_found_again(harnesses):
    lab = harnesses.lab()
    what = (*lab.arguments, *lab._own_arguments(REQUEST))
    name = name_of(harnesses.submissions, *what, ends_well=False)
    assert arguments_of(lab.measure(REQUEST))[2] == f"--key={name}"


@pytest.mark.parametrize(
    ("code", "is_over"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", False),
        ("import sys; sys.exit(4)", False),  # the lab did not answer
        ("import sys; print('{}'); sys.exit(4)", True),
    ],
)
def test_jobs_that_nobody_followed_to_their_end_are_followed_the_next_time(harnesses, code, is_over):
    lab = replace(harnesses.lab(), program=(sys.executable, "-S", "-c", code))
    lab.measure(REQUEST)
    assert len([*harnesses.submissions.directory.iterdir()]) == (0 if is_over else 1)


def test_the_options_are_checked_here_and_then_by_the_lab(harnesses):
    report = harnesses.lab().validate(REQUEST)
    assert arguments_of(report)[0] == "submit"
    assert arguments_of(report)[-1] == "--validate"
    assert not any(one.startswith("--key") for one in arguments_of(report))


def test_options_that_the_harness_refuses_are_not_sent(harnesses):
    report = harnesses.lab(status=2).validate(REQUEST)
    assert report.exit_status == ExitStatus.BAD_USAGE
    assert arguments_of(report)[0] == "--backend=cpu"
    assert "--platform" in arguments_of(report)


# --- the builder --------------------------------------------------------------------------------------------


class Sources:
    """A repository whose checkouts hold nothing but their commit."""

    def __init__(self):
        self.checkouts = []

    def check_out(self, commit, directory, *, clean=False):
        self.checkouts.append((commit, directory, clean))
        (directory / ".git").mkdir(parents=True, exist_ok=True)
        (directory / ".git/HEAD").write_text(commit)
        (directory / "commit").write_text(commit)


class Builds:
    """The scripts and the sources of a loop; and what the lab's host does with each job, as it comes."""

    def __init__(self, lab, directory, submissions, cancellation):
        self.lab, self.directory, self.submissions = lab, directory, submissions
        self.cancellation = cancellation
        self.scripts = directory / "frameworks/caffe2"
        (self.scripts / "host").mkdir(parents=True)
        for one in (".", "host"):
            (self.scripts / one / "build.sh").write_text(f"#!/bin/sh\n# {one}\n")
        self.sources = Sources()
        self.lab.sql(
            "INSERT INTO device (platform, hash, host, name, state, reason, labels, facts)"
            " VALUES (%s, 'host', 'cellar', 'builder for host', 'ready', '', %s, '{}')",
            *(BUILD, []),
        )

    def builder(self, work, **options):
        builds = self

        class Builder(LabBuilder):
            def _follow(self, ids, log):
                (number,) = ids
                work(number)
                return super()._follow(ids, log)

        return Builder(
            repo=builds.sources,
            options=BuildOptions("caffe2", builds.scripts.parent, builds.directory / "programs", **options),
            source_directory=builds.directory / "sources",
            activities=Activities(builds.directory / "now.json"),
            cancellation=builds.cancellation,
            lab=builds.lab.database,
            submissions=builds.submissions,
        )

    def succeed(self, number):
        path = self.directory / "made"
        path.write_text(PROGRAM)
        file = blobs.described(path)
        with self.lab.database.connected() as connection:
            blobs.send(connection, path, file, "somebody")
        self.lab.start(number, host="cellar")
        self.lab.sql("UPDATE run SET program = %s WHERE job = %s", file.model_dump_json(), number)
        self.say(number, "compiling\n", "linking\n")
        self.lab.end(number)

    def fail(self, number, status, problem, end="failed"):
        self.lab.start(number, host="cellar")
        self.say(number, "compiling\n", "no such header\n")
        self.lab.end(number, status, problem, status=end)

    def say(self, number, *parts):
        for at, part in enumerate(parts):
            self.lab.sql("INSERT INTO log VALUES (%s, 1, %s, %s)", number, at, part)

    def job(self, number):
        ((arguments,),) = self.lab.sql("SELECT args FROM procrastinate_jobs WHERE id = %s", number)
        return BuildJob.model_validate(arguments["job"])

    def content(self, job, name, directory):
        """The files of an archive that the job has."""
        directory.mkdir()
        with self.lab.database.connected() as connection:
            path = blobs.fetch(connection, job.files[name], directory)
        with tarfile.open(path) as archive:
            return {one.name for one in archive.getmembers() if one.isfile()}

    @property
    def numbers(self):
        return [one.id for one in self.lab.read("jobs")]


@pytest.fixture
def builds(lab, tmp_path, submissions, cancellation):
    return Builds(lab, tmp_path, submissions, cancellation)


def test_a_host_of_the_lab_builds(builds, tmp_path):
    built = builds.builder(builds.succeed, timeout_s=90.0).build(COMMIT, "host")
    assert built.program.read_text() == PROGRAM
    assert built.program.stat().st_mode & 0o777 == 0o755
    assert built.program.with_name("build.log").read_text() == "compiling\nlinking\n"
    (number,) = builds.numbers
    (job,) = builds.lab.read("jobs")
    assert (job.title, job.kind, job.person) == (f"build of {COMMIT.short} for host", BUILD, person())
    assert (job.platform, job.device, job.device_name) == (BUILD, "host", "builder for host")
    request = builds.job(number)
    assert (request.protocol, request.platform, request.limit_s) == (PROTOCOL, "host", 90.0)
    assert (request.submission, request.script) == (job.submission, "host/build.sh")
    assert builds.sources.checkouts == [(COMMIT.commit, tmp_path / "sources/host", True)]
    assert builds.content(request, request.source, tmp_path / "one") == {"commit"}
    assert builds.content(request, request.scripts, tmp_path / "two") == {"build.sh", "host/build.sh"}
    # It is over, and the next build of this commit is another one.
    assert list(builds.submissions.directory.iterdir()) == []


def test_a_build_that_a_killed_loop_submitted_is_followed(builds):
    def be_killed(number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builds.builder(be_killed).build(COMMIT, "host")
    assert len(builds.numbers) == 1
    assert builds.builder(builds.succeed).build(COMMIT, "host").program.read_text() == PROGRAM
    assert len(builds.numbers) == 1
    assert len(builds.sources.checkouts) == 1


def test_a_program_that_could_not_be_fetched_is_fetched_the_next_time(builds, monkeypatch):
    """It is not built again because the database is away in that moment."""
    errors = [LabError("away"), OSError(28, "No space left on device"), RunCancelledError("ended")]
    fetch = blobs.fetch

    def fail(*arguments):
        raise errors.pop()

    def still_there(number):
        assert builds.numbers == [number]

    monkeypatch.setattr(blobs, "fetch", fail)
    with pytest.raises(RunCancelledError):
        builds.builder(builds.succeed).build(COMMIT, "host")
    for kind in (StorageError, LabError):
        with pytest.raises(kind):
            builds.builder(still_there).build(COMMIT, "host")
    monkeypatch.setattr(blobs, "fetch", fetch)
    assert builds.builder(still_there).build(COMMIT, "host").program.read_text() == PROGRAM
    assert len(builds.numbers) == 1
    assert list(builds.submissions.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DELETE FROM blob", "does not have the file"),
        ("UPDATE run SET program = '1'", "something else than a program"),
    ],
)
def test_a_program_that_is_gone_is_built_again(builds, change, message):
    def lose(number):
        builds.succeed(number)
        builds.lab.sql(change)

    with pytest.raises(DeviceError, match=message):
        builds.builder(lose).build(COMMIT, "host")
    assert builds.builder(builds.succeed).build(COMMIT, "host").program.read_text() == PROGRAM
    assert len(builds.numbers) == 2


@pytest.mark.parametrize("change", ["commit", "script"])
def test_a_build_of_something_else_is_submitted_again(builds, change):
    def be_killed(number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builds.builder(be_killed).build(COMMIT, "host")
    if change == "script":
        (builds.scripts / "host/build.sh").write_text("#!/bin/sh\n# changed\n")
    builds.builder(builds.succeed).build(OTHER if change == "commit" else COMMIT, "host")
    assert len(builds.numbers) == 2


def test_a_commit_that_cannot_be_built_is_to_blame(builds):
    def fail(number):
        builds.fail(number, ExitStatus.BUILD_FAILED, "build.sh ended with exit status 1", "succeeded")

    with pytest.raises(BuildError) as caught:
        builds.builder(fail).build(COMMIT, "host")
    first, *log = str(caught.value).splitlines()
    assert first == f"{COMMIT.short} cannot be built for host: build.sh ended with exit status 1"
    assert log[1:] == ["compiling", "no such header"]
    assert list(builds.submissions.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "problem", "end", "why"),
    [
        (ExitStatus.DEVICE_FAILED, "the disk is full", "failed", "the disk is full"),
        (None, "", "failed", "it was failed"),
        (None, "", "cancelled", "it was cancelled"),
    ],
)
def test_a_host_that_fails_is_not_the_commits_fault(builds, status, problem, end, why):
    with pytest.raises(DeviceError) as caught:
        builds.builder(lambda number: builds.fail(number, status, problem, end)).build(COMMIT, "host")
    (number,) = builds.numbers
    assert str(caught.value) == f"job {number} of the lab, a build for host: {why}"
    assert caught.value.evidence.endswith("\ncompiling\nno such header")


def test_before_the_first_build_there_has_to_be_a_host(builds):
    builder = builds.builder(builds.succeed)
    assert builder.check("host") == (builds.scripts / "host/build.sh").resolve()
    with pytest.raises(NoDeviceError) as caught:
        builder.check("android")
    assert str(caught.value) == (
        "no host of the lab builds for android: start mlbench lab agent --builds android on one, "
        "or give --build_here"
    )
    with pytest.raises(NoDeviceError, match="no host of the lab builds for android"):
        builder.build(COMMIT, "android")
    assert builds.numbers == []


def test_a_device_that_measures_builds_nothing(builds):
    builds.lab.sql("UPDATE device SET platform = 'host', hash = 'else' WHERE platform = %s", BUILD)
    builds.lab.sql("UPDATE device SET hash = 'host' WHERE name = 'attic'")
    with pytest.raises(NoDeviceError):
        builds.builder(builds.succeed).check("host")


def test_a_script_without_a_name_for_other_hosts_is_refused(builds):
    (builds.scripts / "host").rename(builds.scripts / "a b")
    builds.lab.sql("UPDATE device SET hash = 'a b' WHERE platform = %s", BUILD)
    with pytest.raises(
        UsageError, match=r"^--frameworks_dir: .*/a b/build\.sh cannot be sent to another host$"
    ):
        builds.builder(builds.succeed).build(COMMIT, "a b")
    assert builds.numbers == []
