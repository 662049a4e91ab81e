"""mlbench compare --repository: a command in two commits of a repository."""

import json
import os
import subprocess
import sys

import pytest

from benchmarking.results import documents
from benchmarking.results.model import Verdict
from tests.support.repositories import GitRemote
from tests.support.workshop import ROOT

BUILD = "#!/bin/sh\necho built >> ../builds\ncat source > bench\nchmod +x bench\n"
FEW = ["--ab_pairs", "8", "--canary", "off", "--json"]


def source(seconds):
    """A benchmark of which each run says almost this."""
    document = json.dumps({"results": [{"command": "x", "times": [seconds]}]})
    return f"#!/bin/sh\necho '{document}'\n"


class Project:
    def __init__(self, directory):
        self.remote = GitRemote(directory)
        self.directory = directory

    def commit(self, seconds, build=BUILD):
        return self.remote.commit({"source": source(seconds), "build.sh": build, ".gitignore": "bench\n"})

    def compare(self, *arguments):
        command = [sys.executable, "-m", "benchmarking", "compare", "--repository", ".", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "GIT_CONFIG_GLOBAL": os.devnull}
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False
        )

    def state(self):
        """Every file of the user's, with its content."""
        return {path: path.read_bytes() for path in self.directory.rglob("*") if path.is_file()}


@pytest.fixture
def project(workshop, tmp_path):
    return Project(tmp_path / "a project")


def test_each_commit_is_built_once_and_never_in_the_users_repository(project, tmp_path):
    old = project.commit(0.1)
    new = project.commit(0.15)
    (project.directory / "source").write_text("not committed")
    before = project.state()
    arguments = ("--build", "./build.sh", "--base", "HEAD~1", "--head", "master", "./bench", *FEW)
    done = project.compare(*arguments)
    assert done.returncode == 5, done.stderr
    results = documents.read(documents.Document, done.stdout).results
    assert results[0].net.ratio == pytest.approx(1.5)
    assert (results[0].provenance.control_commit, results[0].provenance.commit) == (old, new)
    assert done.stderr.count("building ") == 2
    again = project.compare(*arguments)
    assert (again.returncode, again.stderr.count("building ")) == (5, 0)
    assert project.state() == before
    removed = [sys.executable, "-m", "benchmarking", "cache", "remove", "--all"]
    subprocess.run(removed, cwd=ROOT, check=True)
    assert project.compare(*arguments).stderr.count("building ") == 2


def test_a_commit_is_compared_with_itself(project):
    project.commit(0.1)
    done = project.compare("--base", "master", "--head", "HEAD", "sh source", *FEW)
    assert done.returncode == 0, done.stderr
    assert documents.read(documents.Document, done.stdout).results[0].verdict is Verdict.UNCHANGED


def test_names_mean_what_they_mean_in_the_repository(project, tmp_path):
    """Not what the remote of the same name last had."""
    project.commit(0.1)
    clone = Project.__new__(Project)
    clone.directory = project.remote.clone(tmp_path / "clone")
    clone.remote = GitRemote.__new__(GitRemote)
    clone.remote.directory = clone.directory
    new = clone.commit(0.2)
    done = clone.compare("--base", "origin/master", "--head", "master", "sh source", *FEW)
    assert documents.read(documents.Document, done.stdout).results[0].provenance.commit == new
    assert done.returncode == 5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--base", "nonesuch", "--head", "HEAD", "true"), 2, "has no commit, branch or tag 'nonesuch'"),
        (("--base", "HEAD", "true"), 2, "two commits need --base, --head and a command in quotes"),
        (("--base", "HEAD", "--head", "HEAD", "./nonesuch"), 2, "BASE: there is no program './nonesuch'"),
        (
            ("--base", "HEAD", "--head", "HEAD", "--build", "sh -c 'echo the end; exit 3'", "true"),
            7,
            "cannot be built: sh -c 'echo the end; exit 3' ended with exit status 3",
        ),
        (("--base", "HEAD", "--head", "HEAD", "--build", "nonesuch-x", "true"), 7, "cannot start 'nonesuch-x'"),
        (
            ("--base", "HEAD", "--head", "HEAD", "--build", "sleep 60", "--build_timeout", "0.3", "true"),
            7,
            "cannot be built: sleep 60 was not finished after 0.3 s",
        ),
        (("--base", "HEAD", "--head", "HEAD", "--repository", "/", "true"), 2, "--repository: / is not a git"),
        (("--base", "HEAD", "--head", "HEAD", "--build", "'", "true"), 2, "--build: \"'\" is not a command"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(project, arguments, status, message):
    project.commit(0.1)
    done = project.compare(*arguments)
    assert message in done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr
