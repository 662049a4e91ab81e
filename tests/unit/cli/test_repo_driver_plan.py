"""From the arguments of ``repo_driver.py`` to the loop: every option arrives where it has its effect.

Nothing is built or measured: the loop is taken where it would start.
"""

import logging
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarking.cli import repo_driver
from benchmarking.cli.options import TOKEN_VARIABLE
from benchmarking.cli.repo_driver_options import RepoDriverOptions
from benchmarking.continuous import leftovers, loop, measurement, state
from benchmarking.continuous.builder import LocalBuilder
from benchmarking.continuous.lab import LabBuilder
from benchmarking.continuous.loop import Mode
from benchmarking.dispatch import LAB_VARIABLE
from benchmarking.errors import DeviceError, ExitStatus, RunCancelledError, StorageError, UsageError
from tests.support.loop_workshop import LoopWorkshop


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Calls ``main`` for a repository of two commits; gives what the loop would have begun with."""
    workshop = LoopWorkshop(tmp_path)
    workshop.commit()
    workshop.commit()
    for name, value in workshop.environment().items():
        monkeypatch.setenv(name, value)
    for name in (leftovers.VARIABLE, TOKEN_VARIABLE, LAB_VARIABLE):
        monkeypatch.setenv(name, "")  # what main changes is put back
    monkeypatch.chdir(tmp_path)

    def start(*argv):
        started = SimpleNamespace(status=None, validated=[])

        class TakenLoop:
            def __init__(self, **parts):
                started.__dict__.update(parts)
                started.harness, started.builder = parts["pipeline"].harness, parts["pipeline"].builder
                started.level = logging.getLogger("benchmarking").level

            def run(self):
                logging.getLogger("benchmarking").error("the loop began")
                return ExitStatus.OK

        def validate(harness, request):
            started.validated.append(request)
            usual = {"exit_status": 0, "log": Path("log"), "screen": "", "output": b"no faults"}
            return measurement.HarnessReport(**usual | start.answer)

        monkeypatch.setattr(loop, "Loop", TakenLoop)
        monkeypatch.setattr(measurement.Harness, "validate", validate)
        started.status = repo_driver.main([*workshop.argv()[2:], *argv])
        return started

    start.workshop = workshop
    start.answer = {}
    yield start
    logging.getLogger("benchmarking").setLevel(logging.NOTSET)


def loop_option(name):
    return lambda started: getattr(started.options, name)


TABLE = {
    "branch": (["--branch", "master2"], loop_option("branch"), "master2"),
    "commit": (["--commit", "abc"], loop_option("start"), "abc"),
    "commit_file": (["--commit_file", "c"], loop_option("commit_file"), Path("c")),
    "status_file": (["--status_file", "s"], loop_option("status_file"), Path("s")),
    "regression": (["--regression"], lambda one: one.pipeline.detects_regressions, True),
    "step": (["--step", "3"], loop_option("step"), 3),
    "max_pending": (["--max_pending", "4"], loop_option("max_pending"), 4),
    "merged_commits": (["--merged_commits"], loop_option("merged_commits"), True),
    "retry_failed": (["--retry_failed"], loop_option("retries_failed"), True),
    "platforms": (["--platforms", "host,host/mkl,host"], loop_option("platforms"), ("host", "host/mkl")),
    "build_timeout": (["--build_timeout", "7"], lambda one: one.builder.options.timeout_s, 7.0),
    "same_host": (["--same_host"], loop_option("builds_ahead"), False),
    "once": (["--once"], loop_option("mode"), Mode.ONCE),
    "interval": (
        ["--interval", "9"],
        lambda one: (one.options.mode, one.options.interval_s),
        (Mode.CONTINUOUS, 9.0),
    ),
    "run_timeout": (["--run_timeout", "8"], lambda one: one.harness.timeout_s, 8.0),
    "notify": (["--notify", "true a 'b c'"], lambda one: one.notifier.argv, ("true", "a", "b c")),
    "log_level": (["--log_level", "debug"], lambda one: one.level, logging.DEBUG),
    "harness_arguments": (
        ["--devices", "a b"],
        lambda one: one.harness.arguments[-3:-1],
        ("--devices", "a b"),
    ),
}
ELSEWHERE = {
    "exec_dir": "test_the_directories",
    "repo_dir": "test_the_directories",
    "frameworks_dir": "test_the_directories",
    "repo": "tests/contract/test_repo_contract.py",
    "remote_repository": "test_the_remote",
    "framework": "there is one",
    "base_commit": "test_the_control",
    "status": "tests/e2e/test_repo_driver.py",
    "log_file": "test_the_log",
    "lab": "test_the_lab",
    "on": "test_the_lab",
    "build_here": "test_the_lab",
}


def test_no_option_is_left_out():
    assert {one.name for one in fields(RepoDriverOptions)} == {*TABLE, *ELSEWHERE}


@pytest.mark.parametrize("name", TABLE)
def test_the_option_arrives(start, name):
    argv, value, expected = TABLE[name]
    started = start(*argv)
    assert started.status == 0
    assert value(started) == expected
    assert value(start()) != expected


def test_the_directories(start):
    directory = start.workshop.directory
    started = start()
    assert started.builder.options.executable_directory == directory / "exec"
    assert started.builder.options.frameworks_directory == directory / "frameworks"
    assert started.harness.log_directory == directory / "exec/caffe2/.repo_driver/logs"
    assert f"--local_reporter={directory / 'exec/results'}" in started.harness.arguments


def test_a_directory_whose_name_is_not_utf_8_is_refused(start, capsys):
    assert start("--exec_dir", os.fsdecode(b"\xff")).status == 2
    assert "the name is not UTF-8, which the loop needs" in capsys.readouterr().err


def test_the_control(start):
    first = start.workshop.commits[0]
    started = start("--base_commit", first[:10])
    assert started.pipeline.base.commit == first
    assert start().pipeline.base is None


def test_the_remote(start, capsys):
    assert start("--remote_repository", "elsewhere").status == 2
    assert "has no remote 'elsewhere'" in capsys.readouterr().err


def test_what_is_shown(start):
    shown = start("--screen_reporter", "--json").pipeline
    assert (shown.show_screen, shown.show_document) == (True, True)
    quiet = start().pipeline
    assert (quiet.show_screen, quiet.show_document) == (False, False)


def test_the_verdicts_that_the_exit_status_shows(start):
    assert start("--fail_on", "never").options.fail_on == "never"
    assert start().options.fail_on == "regressed"


def test_the_log(start, capsys):
    start("--log_file", "kept/in/log")
    assert "the loop began" in Path("kept/in/log").read_text()
    assert "the loop began" in capsys.readouterr().err


def test_every_platform_is_validated_as_it_will_be_run(start):
    started = start("--regression", "--platforms", "host,host/mkl")
    assert [one.platform for one in started.validated] == ["host", "host/mkl"]
    assert all(one.control is not None and one.history for one in started.validated)
    (alone,) = start().validated
    assert (alone.control, list(alone.history)) == (None, [])


@pytest.mark.parametrize("answer", [{"exit_status": -9}, {"exit_status": 0, "output": b" \n"}])
def test_a_validation_that_is_killed_is_none(start, caplog, answer):
    start.answer.update(answer)
    assert start().status == 2
    assert caplog.messages[-1] == f"harness.py ended with {answer['exit_status']}"


def test_what_the_harness_refuses_is_reported_in_the_name_of_the_loop(start, capsys):
    start.answer.update(exit_status=2, output=b"", screen="harness.py: --alpha 0.9: must be less\n")
    assert start().status == 2
    assert "harness.py" not in capsys.readouterr().err


@pytest.mark.parametrize("how", ["environment", "option"])
def test_the_token_goes_to_the_harness_alone(start, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv(TOKEN_VARIABLE, "s3cret")
    started = start(*(["--remote_access_token", "s3cret"] if how == "option" else []))
    assert started.harness.environment == {TOKEN_VARIABLE: "s3cret"}
    assert not any("s3cret" in one for one in started.harness.arguments)
    assert TOKEN_VARIABLE not in os.environ


def test_the_lab(start, monkeypatch):
    url = "postgresql://ann:s3cret@lab.example/benchmarks"
    monkeypatch.setattr(LabBuilder, "check", LabBuilder.find_script)  # there is no lab to ask
    monkeypatch.setenv(LAB_VARIABLE, url)
    started = start("--lab", "--on", "label=a", "--run_timeout", "8")
    assert isinstance(started.builder, LabBuilder)
    harness = started.harness
    assert (harness.target, harness.run_limit_s, harness.timeout_s) == ("label=a", 8.0, None)
    assert harness.environment == {LAB_VARIABLE: url}
    assert LAB_VARIABLE not in os.environ  # which builds see
    started = start("--lab", "postgresql://lab.example/benchmarks", "--build_here")
    assert isinstance(started.builder, LocalBuilder)
    assert started.harness.environment == {LAB_VARIABLE: "postgresql://lab.example/benchmarks"}
    monkeypatch.setenv(LAB_VARIABLE, url)
    assert start().harness.environment == {}


def test_the_status_only_reads(start, monkeypatch, capsys):
    directory = start.workshop.directory / "exec/caffe2/.repo_driver"
    directory.mkdir(parents=True)
    benchmark = str(start.workshop.benchmark.resolve())
    with state.State(directory / state.FILE_NAME, benchmark) as written:
        written.set_position("main", state.Position("a" * 40, is_done=True))

    def refuse(path):
        raise AssertionError("it would write")

    monkeypatch.setattr(state, "_open", refuse)
    assert start("--status").status == ExitStatus.OK
    assert f"main: done up to {'a' * 12}" in capsys.readouterr().out


# --- parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RunCancelledError("stop"), ExitStatus.INTERRUPTED, []),
        (DeviceError("gone"), ExitStatus.DEVICE_FAILED, ["gone"]),
        (ValueError("odd"), ExitStatus.INTERNAL_ERROR, ["a bug of this program:"]),
    ],
)
def test_how_the_loop_ends_with_an_error(start, monkeypatch, caplog, error, status, said):
    def fails(*_):
        raise error

    monkeypatch.setattr(repo_driver, "_run", fails)
    handlers = [*logging.getLogger().handlers]
    assert start().status == status
    assert caplog.messages == said
    assert logging.getLogger().handlers == handlers


def test_a_module_that_is_missing_is_said_as_in_other_commands(start, monkeypatch, capsys):
    def fails(*_):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr(repo_driver, "_run", fails)
    assert start().status == ExitStatus.BAD_USAGE
    assert "the package onnx is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--notify", "/no/such x"], "--notify: there is no command '/no/such' that can be run"),
        (["--platforms", "../x"], "--platforms: '../x' is not a platform"),
        (["--platforms", "/x"], "--platforms: '/x' is not a platform"),
        (["--platforms", "nonesuch"], "--platforms: "),
    ],
)
def test_what_is_checked_before_the_first_build(start, caplog, argv, message):
    assert start(*argv).status == ExitStatus.BAD_USAGE
    assert caplog.messages[-1].startswith(message)


def test_two_loops_do_not_share_a_directory(tmp_path):
    with repo_driver._lock(tmp_path / "a" / "b"):
        message = f"^--exec_dir: another repo_driver.py is running with {tmp_path}/a$"
        with pytest.raises(UsageError, match=message), repo_driver._lock(tmp_path / "a" / "b"):
            pass
    with repo_driver._lock(tmp_path / "a" / "b"):
        pass
    (tmp_path / "file").touch()
    message = rf"^--exec_dir: {tmp_path}/file/b: Not a directory$"
    with pytest.raises(StorageError, match=message), repo_driver._lock(tmp_path / "file" / "b"):
        pass


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=rf"^--log_file {tmp_path}/file/log: "):
        repo_driver._log_file(tmp_path / "file" / "log")
    handler = repo_driver._log_file(tmp_path / "a" / "log")
    handler.close()
    assert (handler.maxBytes, handler.backupCount) == (10_000_000, 4)


@pytest.mark.parametrize(("token", "shown"), [("s3cret", "***"), (None, "s3cret"), ("", "s3cret")])
def test_no_token_is_in_the_log(token, shown):
    record = logging.makeLogRecord({"msg": "with %s\x1b", "args": ("s3cret",), "created": 0.0})
    text = repo_driver._Formatter(token).format(record)
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  with {re.escape(shown)}\?", text)


def test_a_token_on_the_command_line_moves_into_the_environment(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    executed = []
    monkeypatch.setattr(
        os, "execv", lambda *arguments: executed.append((*arguments, os.environ[TOKEN_VARIABLE]))
    )
    repo_driver._start_again(["python", "x.py"], ["--a", "b"], "s3cret")
    assert executed == [(sys.executable, ["python", "x.py", "--a", "b"], "s3cret")]


def test_only_secrets_that_are_there_are_handed_on():
    assert repo_driver._Secrets(None, "").environment == {}
    both = repo_driver._Secrets("s3cret", "postgresql://lab")
    assert both.environment == {TOKEN_VARIABLE: "s3cret", LAB_VARIABLE: "postgresql://lab"}
    assert "s3cret" not in repr(both)
    assert "postgresql" not in repr(both)


def test_without_any_state_there_is_no_status(start, capsys):
    assert start("--status").status == ExitStatus.BAD_USAGE
    assert "--exec_dir: nothing has been run with " in capsys.readouterr().err
