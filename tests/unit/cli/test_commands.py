"""``mlbench``: one door to every program."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarking import __version__
from benchmarking.cli import commands, repo_driver
from benchmarking.cli.commands import COMMANDS
from benchmarking.cli.options import TOKEN_VARIABLE

ROOT = Path(__file__).parents[3]
LENET = ROOT / "specifications/models/caffe2/lenet/lenet.json"
SQUEEZENET = LENET.parents[1] / "squeezenet/squeezenet_synthetic.json"


def ended(argv):
    with pytest.raises(SystemExit) as end:
        commands.main(argv)
    return end.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help_and_version(name, capsys):
    assert ended([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: mlbench {name} ")
    assert ended([name, "--version"]) == 0
    assert capsys.readouterr().out == f"mlbench {name} {__version__}\n"


def test_the_help_lists_the_commands(capsys):
    assert ended(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown and command.summary in shown for name, command in COMMANDS.items())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "mlbench: error: the following arguments are required: COMMAND"),
        (["wacth"], "mlbench: error: argument COMMAND: 'wacth' is not one of run, watch, "),
        (["--jsn"], "mlbench: error: there is no option '--jsn'"),
        (["run"], "mlbench run: error: the following arguments are required: FILE"),
        (["run", "x.json", "--jsn"], "mlbench run: error: there is no option '--jsn'; did you mean --json?"),
        (["watch", "--exec_dir=e"], "mlbench watch: error: the following arguments are required: --repo_dir"),
        (
            ["history", "shw"],
            "mlbench history: error: argument {show,changes}: 'shw' is not one of show, changes",
        ),
    ],
)
def test_wrong_usage_is_one_line(argv, message, capsys):
    assert ended(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_run_takes_several_files(capsys):
    assert commands.main(["run", str(LENET), "--validate", str(SQUEEZENET)]) == 0
    assert capsys.readouterr().out == f"{LENET}, {SQUEEZENET}: no faults; 2 benchmarks with 11 tests\n"


def test_the_faults_of_all_files_are_reported_together(tmp_path, capsys):
    files = [tmp_path / name for name in ("a.json", "b.json")]
    for file in files:
        file.write_text(json.dumps({"model": {}}))
    assert commands.main(["run", *map(str, files), "--validate"]) == 2
    err = capsys.readouterr().err
    assert all(f"{file}: $.model.name" in err for file in files)


def test_a_file_can_still_be_named_by_its_option(capsys):
    assert commands.main(["run", f"--benchmark_file={LENET}", "--validate"]) == 0
    assert "1 benchmark with" in capsys.readouterr().out


def test_the_token_leaves_the_list_of_processes(monkeypatch):
    """``mlbench watch`` starts itself again, as ``repo_driver.py`` does, with the token in the environment."""
    started = []
    command = [sys.executable, "-m", "benchmarking", "watch"]
    monkeypatch.setattr(sys, "orig_argv", [*command, "--status", "--remote_access_token", "s3cret"])
    monkeypatch.setattr(repo_driver.os, "execv", lambda _, argv: started.append(argv) or sys.exit(0))
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert ended(["watch", "--status", "--remote_access_token", "s3cret"]) == 0
    assert started == [[*command, "--status"]]
    assert repo_driver.os.environ[TOKEN_VARIABLE] == "s3cret"


def completed(shell, *words):
    """What a shell offers for the last word."""
    script = subprocess.run(
        [sys.executable, "-m", "benchmarking", "completion", "bash"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ask = f"COMP_WORDS=(mlbench {' '.join(map(repr, words))}); COMP_CWORD={len(words)}; _mlbench"
    shown = 'printf "%s\\n" "${COMPREPLY[@]}"'
    command = [shell, "-c", f"{script}\n{ask}\n{shown}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("wa",), ["watch"]),
        (("run", "--ab"), ["--ab_mode", "--ab_pairs"]),
        (("run", "x.json", "--ab_mode", "p"), ["process"]),
        (("run", "--ab_mode", "=", "i"), ["iteration"]),
        (("run", "--ab_mode", "="), ["auto", "iteration", "process"]),
        (("watch", "--canary", ""), ["on", "off"]),
        (("watch", "--exec"), ["--exec_dir"]),
        (("history", "sh"), ["show"]),
        (("completion", "z"), ["zsh"]),
    ],
)
def test_completion(words, expected):
    assert completed("bash", *words) == expected


def test_a_script_that_cannot_be_printed_is_one_line(monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys.stdout, "write", full)
    assert (commands.main(["completion", "bash"]), capsys.readouterr().err) == (
        4,
        "mlbench completion: cannot write to stdout: No space left on device\n",
    )


def test_zsh_uses_the_same_function(capsys):
    assert commands.main(["completion", "zsh"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("autoload -Uz compinit bashcompinit\n")
    assert commands.main(["completion", "bash"]) == 0
    assert shown.endswith(capsys.readouterr().out)
