"""The shell commands around a test: real ones, of the ``sh`` of this machine."""

import tempfile
from pathlib import Path

import pytest

from benchmarking.driver.arms import LocalFiles
from benchmarking.driver.bench import Bench
from benchmarking.driver.plan import Arm, RunPlan
from benchmarking.driver.record import describe_failure
from benchmarking.driver.shell_commands import around
from benchmarking.errors import CaseError, RunCancelledError
from benchmarking.frameworks.caffe2.caffe2 import Caffe2
from benchmarking.programs.command import Program
from benchmarking.programs.process import Cancellation
from benchmarking.specs.later_form import ShellRun
from tests.support.cases import case


class Shell:
    """Runs commands around a body, and has a file to which they write."""

    def __init__(self, directory, cancellation):
        self.log = directory / "log"
        self.cancellation = cancellation

    @property
    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def around(self, before=(), after=(), variables=None, files=None, **plan):
        made = RunPlan(Caffe2(), Arm("new", 1, Program(Path("program"))), None, ("harness.py",), 1, **plan)
        shell = ShellRun(tuple(before), tuple(after), {"LOG": str(self.log), **(variables or {})})
        return around(Bench(None, made, None, self.cancellation), case(shell=shell), files)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Cancellation() as cancellation:
        yield Shell(tmp_path, cancellation)


def test_the_commands_run_in_their_order_before_and_after_the_test(shell):
    with shell.around(["echo 1 >> {LOG}", "echo 2 >> {LOG}"], ["echo 4 >> {LOG}", "echo 5 >> {LOG}"]):
        assert shell.lines == ["1", "2"]
        shell.log.write_text("1\n2\n3\n")
    assert shell.lines == ["1", "2", "3", "4", "5"]


def test_a_test_without_commands_has_no_directory(shell, tmp_path):
    bench = Bench(None, None, None, shell.cancellation)
    with around(bench, case(shell=None), None):
        assert list(tmp_path.iterdir()) == []


def test_each_test_has_a_directory_that_its_commands_share_and_that_is_removed(shell, tmp_path):
    before = ["touch {HOSTDIR}/here", "ls >> {LOG}", "pwd >> {LOG}", "echo {HOSTDIR} >> {LOG}"]
    with shell.around(before, ["ls >> {LOG}"]):
        (directory,) = tmp_path.glob("benchmark-commands-*")
        assert (directory / "here").is_file()
    assert shell.lines == ["here", str(directory), str(directory), "here"]
    assert not directory.exists()


def test_placeholders_that_are_known_are_filled_in(shell):
    files = LocalFiles({"init.pb": Path("/cache/a"), "predict": Path("/cache/b")}, {}, {})
    variables = {"tool": "made of {index}", "index": "7", "HOSTDIR": "hidden by ours"}
    command = "echo '{files.init.pb} {files.predict} {tool} {index}{index} {HOSTDIR}' >> {LOG}"
    with shell.around([command], variables=variables, files=files):
        (line,) = shell.lines
    # What a value holds is not read once more.
    assert line.startswith("/cache/a /cache/b made of {index} 77 ")
    assert "benchmark-commands-" in line


@pytest.mark.parametrize(
    "text", ["{unknown}", "{files.other}", "{files.init}", "{ index }", "{1}", "{}", "{a b}"]
)
def test_other_braces_are_those_of_the_shell(shell, text):
    with shell.around([f"echo '{text}' >> {{LOG}}"], variables={"index": "7"}):
        assert shell.lines == [text]


@pytest.mark.parametrize("status", [1, 7])
def test_a_command_that_fails_is_an_error_with_its_output(shell, tmp_path, status):
    commands = [f"echo heard; echo moaned >&2; exit {status}", "echo second >> {LOG}"]
    with (
        pytest.raises(CaseError) as caught,
        shell.around(commands, ["echo after >> {LOG}"]),
    ):
        pytest.fail("the test ran")
    assert str(caught.value) == f"the shell command {commands[0]!r} ended with exit status {status}"
    assert caught.value.evidence == "--- end of stdout ---\nheard\n--- end of stderr ---\nmoaned"
    # Nothing was prepared that the last commands could clear away.
    assert shell.lines == []
    assert list(tmp_path.iterdir()) == []


def test_the_last_commands_run_after_a_failure_too(shell, tmp_path):
    with (
        pytest.raises(CaseError, match="the test failed"),
        shell.around(after=["echo after >> {LOG}"]),
    ):
        raise CaseError("the test failed")
    assert shell.lines == ["after"]
    assert list(tmp_path.iterdir()) == [shell.log]


def test_a_last_command_that_fails_is_an_error(shell):
    with (
        pytest.raises(CaseError, match=r"'exit 3' ended with exit status 3"),
        shell.around(after=["exit 3", "echo after >> {LOG}"]),
    ):
        pass
    assert shell.lines == []


def test_an_error_shows_a_long_command_on_one_short_line(shell):
    command = "exit 2 #\n\x1b[31m" + "x" * 500
    with pytest.raises(CaseError) as caught, shell.around([command]):
        pass
    shown = "exit 2 #??[31m" + "x" * (200 - len("exit 2 #\n\x1b[31m"))
    assert str(caught.value) == f"the shell command {shown!r} ended with exit status 2"


def test_a_command_has_the_time_of_a_test(shell):
    with (
        pytest.raises(CaseError, match=r"^the shell command 'echo begun; sleep 60' took too long$"),
        shell.around(["echo begun; sleep 60"], timeout_s=0.2),
    ):
        pass


def test_commands_do_not_see_secrets(shell, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    monkeypatch.setenv("OTHER_VALUE", "other")
    with shell.around(
        ['echo "$SECRET_TOKEN-$OTHER_VALUE" >> {LOG}'],
        ['echo "$SECRET_TOKEN" >> {LOG}'],
        secrets=("SECRET_TOKEN",),
    ):
        assert shell.lines == ["-other"]
    assert shell.lines == ["-other", ""]


def test_a_cancelled_run_starts_no_commands(shell):
    shell.cancellation.set()
    with pytest.raises(RunCancelledError), shell.around(["echo 1 >> {LOG}"]):
        pass
    assert shell.lines == []


def test_a_last_command_that_fails_does_not_hide_why_the_test_failed(shell):
    with (
        pytest.raises(CaseError, match=r"^the test failed\n") as caught,
        shell.around(after=["echo moaned >&2; exit 3"]),
    ):
        raise CaseError("the test failed", "its log")
    failure = describe_failure(caught.value)
    assert failure.message == "the test failed"
    assert failure.evidence.startswith(
        "its log\nafterwards, the shell command 'echo moaned >&2; exit 3' ended"
    )
    assert failure.evidence.endswith("moaned")
