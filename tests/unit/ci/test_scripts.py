"""What the scripts of both services share, with a program that notes its arguments in place of mlbench."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.small_repository import make_repository

CI = Path(__file__).parents[3] / "ci"
NOTES = '#!/bin/sh\nprintf "%s\\n" "$@" > "$NOTES"\necho {}\nexit "${STATUS:-0}"\n'


def run(script, *arguments, **environment):
    own = {name: os.environ[name] for name in ("PATH", "HOME")}
    return subprocess.run(
        ["bash", CI / script, *arguments],
        env={**own, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("status", "fail_on", "ends_with", "says"),
    [
        (0, "regressed", 0, ""),
        (0, "inconclusive", 0, ""),
        (5, "regressed", 5, "a regression was confirmed\n"),
        (5, "inconclusive", 5, "a regression was confirmed\n"),
        (5, "never", 0, ""),
        (8, "regressed", 0, ""),
        (8, "inconclusive", 8, "the comparison was inconclusive\n"),
        (8, "never", 0, ""),
        (2, "never", 2, "the comparison failed: the log says why\n"),
        (130, "regressed", 130, "the comparison failed: the log says why\n"),
        (0, "inconclusve", 2, "fail_on is regressed, inconclusive or never, not inconclusve\n"),
        (5, "", 2, "fail_on is regressed, inconclusive or never, not \n"),
    ],
)
def test_the_end_of_the_job(status, fail_on, ends_with, says):
    done = run("check.sh", str(status), FAIL_ON=fail_on)
    assert (done.returncode, done.stdout, done.stderr) == (ends_with, "", says)


@pytest.fixture
def compare(tmp_path):
    """Compares two checkouts; returns the status that was printed, and the arguments of mlbench."""
    mlbench = tmp_path / "mlbench"
    mlbench.write_text(NOTES)
    mlbench.chmod(0o755)
    for name in ("base", "head", "output"):
        (tmp_path / name).mkdir()

    def compare(**environment):
        paths = {name.upper(): tmp_path / name for name in ("base", "head", "output")}
        more = {"COMMAND": "true", "MLBENCH": mlbench, "NOTES": tmp_path / "notes", **paths}
        done = run("compare.sh", **(more | environment))
        assert done.returncode == 0, done.stderr
        return done.stdout, (tmp_path / "notes").read_text().splitlines()

    return compare


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", []),
        ("--max_seconds 20", ["--max_seconds", "20"]),
        ("--max_seconds 20\n--minimum_effect 0.02\n", ["--max_seconds", "20", "--minimum_effect", "0.02"]),
        ("--unit *", ["--unit", "*"]),
    ],
)
def test_options_are_words_on_any_number_of_lines(compare, options, words):
    status, arguments = compare(OPTIONS=options)
    assert status == "0\n"
    assert arguments[3:5] == ["--fail_on", "inconclusive"]
    assert arguments[5 : 5 + len(words)] == words
    assert arguments[5 + len(words)] == "--screen_reporter"


def test_the_status_is_printed(compare):
    assert compare(STATUS=8)[0] == "8\n"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("env", "exec env"),
        ("env --flag 'a b'", "exec env --flag 'a b'"),
        ("true; false", "true; false"),
        ("true | cat", "true | cat"),
        ("true > file", "true > file"),
        ("A=1 true", "A=1 true"),
        ("cd .", "cd ."),
    ],
)
def test_a_single_program_takes_the_place_of_the_shell(compare, tmp_path, command, line):
    compare(COMMAND=command)
    text = (tmp_path / "output/head").read_text()
    assert text.splitlines()[-1] == line
    assert f"cd {tmp_path / 'head'} || exit 126" in text


@pytest.fixture
def measure(tmp_path):
    """The step of GitHub's action, in a workspace that stays, as on a runner of one's own."""
    work = tmp_path / ".mlbench"
    commits = make_repository(work / "head", 100, 150)
    mlbench = tmp_path / "mlbench"
    mlbench.write_text(NOTES)
    mlbench.chmod(0o755)

    def measure(**environment):
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            (tmp_path / name).write_text("")
        return run(
            "github/measure.sh",
            HEAD=work / "head",
            BASE=work / "base",
            OUTPUT=work / "output",
            TITLE="Speed",
            COMMAND="true",
            MLBENCH=mlbench,
            NOTES=tmp_path / "notes",
            GITHUB_OUTPUT=tmp_path / "GITHUB_OUTPUT",
            GITHUB_STEP_SUMMARY=tmp_path / "GITHUB_STEP_SUMMARY",
            **environment,
        )

    return measure, work, commits


def test_what_an_earlier_job_left_is_not_compared(measure):
    measure, work, commits = measure
    (work / "output").mkdir()
    (work / "output/report.md").write_text("of an earlier job")
    (work / "base-environment").mkdir()
    (work / "base-environment/old").touch()
    for _ in range(2):
        done = measure()
        assert done.returncode == 0, done.stderr
        assert (work / "base/benchmark.in").read_text().count("100 (us)") == 1
        assert not (work / "output/report.md").exists()
        assert not (work / "base-environment").exists()
        (work / "base/benchmark.in").write_text("of an earlier job")
        assert (
            commits[0]
            in subprocess.run(
                ["git", "-C", work / "base", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
            ).stdout
        )


def test_the_base_of_the_input_stays(measure):
    measure, work, _ = measure
    (work / "base").mkdir()
    (work / "base/marker").touch()
    done = measure(REF="v1")
    assert done.returncode == 0, done.stderr
    assert (work / "base/marker").exists()


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(0, "fine"), (5, "regressed"), (8, "inconclusive"), (2, "failed"), (130, "failed")],
)
def test_the_outputs_of_the_step(measure, tmp_path, status, verdict):
    measure, work, _ = measure
    assert measure(STATUS=status).returncode == 0
    lines = (tmp_path / "GITHUB_OUTPUT").read_text().splitlines()
    assert lines[:2] == [f"status={status}", f"verdict={verdict}"]
    assert lines[2:] == [f"mlbench={tmp_path / 'mlbench'}", f"document={work}/output/results.json"]
