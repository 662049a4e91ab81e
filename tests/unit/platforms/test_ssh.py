"""The arguments to ssh, and the interpretation of its answers: a stand-in for ssh runs the commands here."""

import json
import os
import shlex
import shutil
import subprocess
import tempfile

import pytest

from benchmarking.errors import DeviceError, DeviceLostError
from benchmarking.platforms.linux.linux import LinuxPlatform
from benchmarking.platforms.linux.ssh import OPTIONS, SESSION_OPTIONS, SshConnection, for_any_shell
from benchmarking.platforms.platform_base import PlatformOptions
from benchmarking.platforms.remote.shell import RemoteShell
from tests.support.waiting import wait_until

SSH = """#!/bin/sh
printf '%s\\0' "$@" >> "$SSH_LOG"; printf '\\n' >> "$SSH_LOG"
for word; do
    case $word in
        -M) [ -z "$SSH_REFUSAL" ] || { printf '%s\\n' "$SSH_REFUSAL" >&2; exit 255; }
            [ -z "$SSH_MASTER" ] || (sleep 0.2; echo "it lives" > "$SSH_MASTER") & exit 0 ;;
        -O) exit 0 ;;
    esac
    last=$word
done
[ -z "$SSH_GREETING" ] || { echo "$SSH_GREETING"; echo "$SSH_GREETING" >&2; }
exec $SSH_SHELL -c "$last"
"""
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish")
NASTY = "a'b\"c$HOME`id`!x!!\\n\\\\ ünï\t~*{a,b}[a]%d%%"


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Returns what ssh was called with."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin/ssh"
    path.write_text(SSH)
    path.chmod(0o755)
    log = tmp_path / "log"
    for name, value in {"LOG": str(log), "SHELL": "sh", "REFUSAL": "", "MASTER": "", "GREETING": ""}.items():
        monkeypatch.setenv(f"SSH_{name}", value)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return lambda: [line.split("\0")[:-1] for line in log.read_text().splitlines() if line]


@pytest.fixture
def connection(ssh):
    one = SshConnection("pi@board:2222")
    yield one
    one.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_reach_a_posix_shell_whatever_the_login_shell_is(connection, monkeypatch, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    monkeypatch.setenv("SSH_SHELL", shell)
    script = (
        f"cd {shlex.quote(str(tmp_path))}\nprintf '%s' {shlex.quote(NASTY)}\necho \"two\nlines\" >&2\nexit 7"
    )
    result = RemoteShell(connection).run(script)
    assert (result.exit_code, result.stdout, result.stderr) == (7, NASTY, "two\nlines\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_files_and_conversations_whatever_the_login_shell_is(connection, monkeypatch, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    monkeypatch.setenv("SSH_SHELL", shell)
    monkeypatch.setenv("SSH_GREETING", "Welcome!")
    content = os.urandom(100_000)
    (tmp_path / "there").write_bytes(content)
    connection.push(tmp_path / "there", f"{tmp_path}/it's \\ $here", cancellation=None)
    connection.pull(f"{tmp_path}/it's \\ $here", tmp_path / "back", cancellation=None)
    assert (tmp_path / "back").read_bytes() == content
    with connection.start('read line; echo "got $line"', cancellation=None) as live:
        live.write_line("a 'b'")
        assert [live.read_line(30), live.read_line(30)] == ["Welcome!", "got a 'b'"]


def test_a_command_holds_nothing_that_another_shell_takes_for_its_own():
    command = for_any_shell(f"{NASTY}\n'!'\\")
    assert command.isascii()
    assert command.isprintable()
    assert "!" not in command
    words = shlex.split(command)
    assert words[:3] == ["exec", "sh", "-c"]
    plain = {one for one in map(chr, range(1, 128)) if for_any_shell(one).endswith(f"sh '{one}'")}
    assert plain == {one for one in map(chr, range(128)) if one.isprintable()} - {"'", "!", "\\"}
    assert for_any_shell("\x7fé").endswith(r"sh '\0177\0303\0251'")


def test_the_configuration_of_a_persons_own_sessions_is_overruled(connection, ssh):
    RemoteShell(connection).run(":")
    connection.close()
    master, session, end = ssh()
    for words in (master, session, end):
        given = dict(word.split("=", 1) for word in words[: words.index("--")] if "=" in word)
        assert OPTIONS.items() <= given.items()
        assert given["ControlPath"].startswith("/tmp/bench-ssh-")
        assert words[words.index("-p") + 1] == "2222"
        assert words[words.index("--") + 1] == "pi@board"
    assert {"-M", "-N", "-f"} <= set(master)
    assert SESSION_OPTIONS.items() <= dict(word.split("=", 1) for word in session if "=" in word).items()
    assert end[end.index("-O") + 1] == "exit"


def test_the_master_is_not_ended_while_it_goes_to_the_background(connection, monkeypatch, tmp_path):
    """Ssh forks, and only then leaves the process group of its parent, which has ended."""
    monkeypatch.setenv("SSH_MASTER", str(tmp_path / "master"))
    RemoteShell(connection).run(":")
    wait_until(lambda: (tmp_path / "master").exists(), "the master lives")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
def test_ssh_itself_knows_the_options(tmp_path):
    """Also where the configuration says otherwise."""
    config = tmp_path / "config"
    config.write_text(
        "Host board\n RemoteCommand htop\n RequestTTY force\n LocalCommand echo hello\n"
        " PermitLocalCommand yes\n ControlMaster auto\n ControlPath ~/x\n BatchMode no\n LogLevel DEBUG3\n"
        " Tunnel yes\n RemoteForward 1 host:2\n"
    )
    given = [word for pair in {**OPTIONS, **SESSION_OPTIONS}.items() for word in ("-o", "=".join(pair))]
    done = subprocess.run(
        ["ssh", "-F", config, *given, "-G", "board"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert said["batchmode"] == "yes"
    assert said["requesttty"] == "false"
    assert said["permitlocalcommand"] == "no"
    assert said.get("remotecommand", "none") == "none"
    assert said["controlmaster"] == "false"
    assert said["loglevel"] == "ERROR"
    assert said["tunnel"] == "false"
    assert said["clearallforwardings"] == "yes"


@pytest.mark.parametrize(
    ("refusal", "kind", "parts"),
    [
        (
            "Host key verification failed.",
            DeviceError,
            ["Host key verification failed: ", "connect once by hand"],
        ),
        ("pi@board: Permission denied (publickey).", DeviceError, ["Permission denied", "ssh-copy-id"]),
        (
            "~/c: line 1: Bad configuration option: x\n~/c: terminating",
            DeviceError,
            ["line 1", "fix the ssh"],
        ),
        (
            "ssh: Could not resolve hostname jump: no\r\nConnection closed by UNKNOWN port 65535",
            DeviceError,
            ["hostname jump", "is the name right"],
        ),
        ("Connection closed by UNKNOWN port 65535", DeviceError, ["jump host"]),
        ("ssh: connect to host board port 22: No route to host", DeviceLostError, ["No route to host"]),
        ("", None, []),
    ],
)
def test_refusals_say_what_to_do(connection, monkeypatch, refusal, kind, parts):
    monkeypatch.setenv("SSH_REFUSAL", refusal)
    if kind is None:
        assert RemoteShell(connection).check("echo here") == "here\n"
        return
    with pytest.raises(DeviceError) as caught:
        RemoteShell(connection).run(":")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in ("pi@board:2222: ", *parts)), caught.value


@pytest.mark.parametrize("text", ["", "@", "-oProxyCommand=x", "-x@y"])
def test_what_is_not_a_host_is_refused(text):
    with pytest.raises(DeviceError, match="is not a host"):
        SshConnection(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("board", ["--", "board"]),
        ("pi@board:22", ["-p", "22", "--", "pi@board"]),
        ("pi@[::1]:22", ["-p", "22", "--", "pi@::1"]),
        ("::1", ["--", "::1"]),
    ],
)
def test_destinations(text, words):
    assert SshConnection(text)._destination_arguments() == words


def test_machines_that_say_the_same_of_themselves(ssh):
    """Here they are one: the kernel started once."""
    found = LinuxPlatform.discover(PlatformOptions(devices=("board1", "board2", "board1", "-x")))
    for one in found.devices:
        one.close()
    assert len(found.devices) == 1
    assert json.dumps(dict(found.unusable)).startswith('{"-x":')


def test_a_machine_without_room_for_a_socket_is_named(connection, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    with pytest.raises(DeviceError, match="cannot create a socket in /tmp: No space left on device"):
        RemoteShell(connection).run(":")


def test_a_command_that_no_system_takes_is_refused_in_one_line(connection):
    with pytest.raises(DeviceError, match=r"^pi@board:2222: a command of \d+ bytes cannot be passed on"):
        RemoteShell(connection).run(f": {'x' * 2**17}")
    assert RemoteShell(connection).run(f"echo {'x' * 100_000} | wc -c").stdout == "100001\n"
