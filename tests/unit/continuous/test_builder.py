"""Builds: which script makes them, when an executable is built again, and who is blamed for a failure."""

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarking.continuous import builder as builder_module
from benchmarking.continuous.activities import Activities
from benchmarking.continuous.builder import BuildOptions, LocalBuilder
from benchmarking.errors import BuildError, StorageError, UsageError
from benchmarking.programs import build_script
from benchmarking.programs.process import Cancellation
from benchmarking.repos.repo_base import Revision

COMMIT = Revision("a1" * 20, 1772442000, "Ann", "faster pooling")
DONE = 'printf "#!/bin/sh\\necho $1" > "$2"; chmod +x "$2"'


class Sources:
    """A repository whose checkouts hold nothing but their commit."""

    def __init__(self):
        self.checkouts = []

    def check_out(self, commit, directory, *, clean=False):
        if clean:
            shutil.rmtree(directory)
        self.checkouts.append("clean" if clean else "kept")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "commit").write_text(commit)


class Workshop:
    def __init__(self, directory, cancellation):
        self.scripts = directory / "frameworks/caffe2"
        self.scripts.mkdir(parents=True)
        self.sources = Sources()
        self.directory = directory
        self.cancellation = cancellation
        self.script(DONE)

    def script(self, text, where=".", mode=0o755):
        (self.scripts / where).mkdir(parents=True, exist_ok=True)
        path = self.scripts / where / "build.sh"
        path.write_text(f'#!/bin/sh\necho called >> "{self.directory}/calls"\n{text}\n')
        path.chmod(mode)
        return path

    @property
    def calls(self):
        path = self.directory / "calls"
        return path.read_text().count("called") if path.exists() else 0

    def builder(self, **options):
        chosen = BuildOptions("caffe2", self.scripts.parent, self.directory / "programs", **options)
        activities = Activities(self.directory / "now.json")
        return LocalBuilder(self.sources, chosen, self.directory / "sources", activities, self.cancellation)

    def build(self, platform="host", **options):
        return self.builder(**options).build(COMMIT, platform)


@pytest.fixture
def workshop(tmp_path):
    with Cancellation() as cancellation:
        yield Workshop(tmp_path, cancellation)


def test_an_executable_lies_under_its_date_and_is_built_once(workshop):
    built = workshop.build("host/mkl")
    assert built.program == (
        workshop.directory / f"programs/caffe2/host/mkl/2026/3/2/{COMMIT.commit}/caffe2_benchmark"
    )
    assert built.program.read_text() == f"#!/bin/sh\necho {workshop.directory}/sources/host+mkl"
    assert built.build_s > 0
    manifest = json.loads(built.program.with_name("manifest.json").read_text())
    assert manifest["commit"] == COMMIT.commit
    again = workshop.build("host/mkl")
    assert (again.program, again.build_s) == (built.program, 0)
    assert (workshop.calls, workshop.sources.checkouts) == (1, ["kept"])


@pytest.mark.parametrize("damage", ["program", "manifest", "no manifest", "other commit", "script", "gone"])
def test_what_is_not_as_its_manifest_says_is_built_again(workshop, damage):
    program = workshop.build().program
    manifest = program.with_name("manifest.json")
    if damage == "program":
        program.write_text("#!/bin/sh\n")
    elif damage == "manifest":
        manifest.write_text("[]")
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "other commit":
        manifest.write_text(manifest.read_text().replace(COMMIT.commit, "b2" * 20))
    elif damage == "script":
        workshop.script(f"{DONE} # changed")
    else:
        program.unlink()
    assert workshop.build().build_s > 0
    assert workshop.build().build_s == 0
    assert workshop.calls == 2


def test_the_nearest_script_builds(workshop):
    nearer, nearest = (workshop.script(DONE, where) for where in ("host", "host/mkl"))
    builder = workshop.builder()
    scripts = [builder.find_script(platform) for platform in ("gpu/x", "host/other", "host/mkl")]
    assert scripts == [workshop.scripts / "build.sh", nearer, nearest]
    (workshop.scripts / "build.sh").unlink()
    with pytest.raises(
        UsageError, match=r"there is no build\.sh in .*/caffe2/gpu or above it up to .*/caffe2$"
    ):
        builder.find_script("gpu")


def test_a_script_that_is_not_executable_is_run_by_the_shell(workshop):
    workshop.script(DONE, mode=0o644)
    assert workshop.build().program.is_file()


def test_a_script_that_cannot_be_run_is_the_users_to_mend(workshop):
    workshop.script("").write_text("#!/nonesuch/interpreter\n")
    with pytest.raises(UsageError, match="--frameworks_dir: "):
        workshop.build()


@pytest.mark.parametrize(
    ("script", "options", "problem"),
    [
        (
            "echo no header; exit 3",
            {},
            r"build\.sh ended with exit status 3\n--- end of .*build\.log ---\n.*no header",
        ),
        ("true", {}, r"build\.sh left no executable\n"),
        ('touch "$2"; chmod +x "$2"', {}, "left no executable"),
        ('echo x > "$2"', {}, "left no executable"),
        (
            "echo begun; sleep 60",
            {"timeout_s": 0.2},
            r"it exceeded the --build_timeout of 0\.2 s and was killed\n",
        ),
    ],
)
def test_a_build_that_fails_is_the_commits_fault_and_shows_the_end_of_its_log(
    workshop, script, options, problem
):
    workshop.script(script)
    with pytest.raises(BuildError) as caught:
        workshop.build(**options)
    first, rest = str(caught.value).split(": ", 1)
    assert first == "a1a1a1a1a1a1 cannot be built for host"
    assert re.search(problem, rest, flags=re.DOTALL)
    kept = [one.name for one in workshop.builder().directory(COMMIT, "host").iterdir()]
    assert kept == ["build.log"]


def test_only_the_last_lines_of_a_long_log_are_shown(workshop):
    workshop.script('i=0; while [ $i -lt 99 ]; do i=$((i+1)); echo "line $i"; done; exit 1')
    with pytest.raises(BuildError) as caught:
        workshop.build()
    assert str(caught.value).splitlines()[2:] == [f"line {number}" for number in range(80, 100)]


def test_what_an_earlier_build_has_left_is_no_fault_of_this_commit(workshop):
    workshop.script(f"[ ! -e left ] || exit 1; touch left; {DONE}")
    workshop.build()
    workshop.script(f"[ ! -e left ] || exit 2; touch left; {DONE}")
    assert workshop.build().build_s > 0
    assert workshop.sources.checkouts == ["kept", "kept", "clean"]


@pytest.mark.parametrize("free", [0, build_script.SCARCE_BYTES - 1])
def test_a_build_that_fails_on_a_full_disk_is_not_the_commits_fault(workshop, monkeypatch, free):
    workshop.script("exit 1")
    usage = shutil.disk_usage(workshop.directory)._replace(free=free)
    monkeypatch.setattr(build_script.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="is full: the build could not finish"):
        workshop.build()


def test_a_build_that_reports_a_full_disk_is_not_the_commits_fault(workshop):
    workshop.script("echo 'ld: No space left on device' >&2; exit 1")
    with pytest.raises(StorageError):
        workshop.build()


def test_what_a_killed_build_has_left_is_removed(workshop):
    directory = workshop.builder().directory(COMMIT, "host")
    (directory / f"{builder_module.atomic_file.TEMPORARY_PREFIX}x").mkdir(parents=True)
    program = workshop.build().program
    assert {one.name for one in directory.iterdir()} == {program.name, "manifest.json", "build.log"}


def test_a_directory_that_cannot_be_made_is_one_line(workshop):
    (workshop.directory / "programs").write_text("")
    with pytest.raises(
        StorageError, match=f"^{workshop.directory}/programs/caffe2/host/.*: Not a directory$"
    ):
        workshop.build()


def test_the_build_is_shown_while_it_goes_on(workshop):
    workshop.script(f'cp "{workshop.directory}/now.json" "{workshop.directory}/seen.json"; {DONE}')
    workshop.build()
    ((what, commit, platform, _),) = json.loads(Path(workshop.directory / "seen.json").read_text())[
        "activities"
    ]
    assert (what, commit, platform) == ("building", COMMIT.short, "host")
    assert json.loads((workshop.directory / "now.json").read_text())["activities"] == []
