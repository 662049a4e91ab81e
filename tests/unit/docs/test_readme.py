"""What the README says is what happens: its commands run, its tables agree with the program."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import git
import pytest

from benchmarking.cli.harness_arguments import parse
from benchmarking.cli.repo_driver_arguments import parse as parse_repo_driver
from benchmarking.errors import EXIT_STATUS_MEANING, REPO_DRIVER_EXIT_STATUS_MEANING
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import read_benchmarks
from benchmarking.specs.run_info import read_run_info
from examples.regression_demo.make_repository import SLOW_EXPONENTIAL, SLOW_PRODUCT

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPTIONS = (ROOT / "docs/options.md").read_text(encoding="utf-8")
SPECIFICATIONS = (ROOT / "docs/specifications.md").read_text(encoding="utf-8")


def blocks(language, document=README):
    return re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)


COMMANDS = [
    line
    for document in (README, OPTIONS)
    for block in blocks("sh", document)
    for line in block.splitlines()
    if line.startswith("python ")
]


def test_it_is_short_and_shows_output():
    assert len(README.splitlines()) <= 150
    assert "median within" in blocks("text")[0]


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_each_command_runs(command, tmp_path, monkeypatch):
    """Runs in a separate directory that links to the repository, so that nothing is written into it."""
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    work = tmp_path / "work"
    work.mkdir()
    for path in ROOT.iterdir():
        if path.name != ".git":
            (work / path.name).symlink_to(path)
    # Twenty seconds for a narrow interval show no more than two.
    argv = [sys.executable, *shlex.split(command.replace("--max_seconds 20", "--max_seconds 2"))[1:]]
    done = subprocess.run(argv, cwd=work, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    arguments = shlex.split(command)
    for option in ("--junit", "--markdown", "--local_reporter"):
        if option in arguments:
            assert (work / arguments[arguments.index(option) + 1]).exists()


def test_the_quick_start_is_one_line_that_runs_the_quick_start():
    (first, tests, *_) = blocks("sh")
    assert first.count("\n") == 1
    command = first.split("&&")[-1].split()
    cases = expand(read_benchmarks(ROOT / parse(command[2:]).benchmark_file), None)
    assert {case.metric for case in cases} == {"delay", "error"}
    assert tests.split("&&")[-1].strip() == "python -m pytest"


def test_ci_calls_the_readmes_test_command():
    install, test = blocks("sh")[1].strip().split(" && ")
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert install in lines
    assert test in lines


CONTINUOUS = (ROOT / "docs/continuous.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("meanings", "document"),
    [(EXIT_STATUS_MEANING, OPTIONS), (REPO_DRIVER_EXIT_STATUS_MEANING, CONTINUOUS)],
)
def test_the_table_of_exit_statuses(meanings, document):
    table = dict(re.findall(r"^\| (\d+) \| (.*) \|$", document, flags=re.MULTILINE))
    assert table == {str(int(status)): meaning for status, meaning in meanings.items()}


def test_the_loops_example_is_accepted(tmp_path):
    (command,) = re.findall(r"```sh\n(.*?)\n```", CONTINUOUS, flags=re.DOTALL)
    options, harness_options = parse_repo_driver(shlex.split(command)[2:])
    assert options.platforms == ("host", "gpu")
    assert harness_options.local_reporter == Path("/var/benchmark/results")


@pytest.mark.timeout(600)
def test_the_demo_finds_both_slow_commits(tmp_path):
    """From the last good commit to the second slow one: the others are as fast as these."""
    (block,) = blocks("bash")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    make, loop = (
        [sys.executable, ROOT / one.split()[1], *shlex.split(one)[2:]] for one in block.splitlines()
    )
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    repository = git.Repo(tmp_path / make[-1])
    commits = {str(one.summary): one for one in repository.iter_commits(first_parent=True)}
    start = loop.index("--commit") + 1
    assert [*commits.values()][-1].hexsha.startswith(loop[start])
    loop[start] = commits[SLOW_PRODUCT].parents[0].hexsha
    repository.git.reset("--hard", commits[SLOW_EXPONENTIAL].hexsha)
    done = subprocess.run(loop, cwd=tmp_path, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 5, done.stderr
    for subject in (SLOW_PRODUCT, SLOW_EXPONENTIAL):
        assert f"made host slower: {subject} (" in done.stderr, done.stderr


def test_the_json_examples_are_valid(tmp_path):
    (info,), (benchmark, *_) = blocks("json", OPTIONS), blocks("json", SPECIFICATIONS)
    assert read_run_info(info).control.commit == "def456"
    (tmp_path / "b.json").write_text(json.dumps(json.loads(benchmark)))
    assert [case.identifier for case in expand(read_benchmarks(tmp_path / "b.json"), None)] == [
        *("delay-0", "delay-1", "golden-2", "golden-3"),
    ]


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert link.startswith("http") or (document.parent / link).exists(), f"{document.name}: {link}"
