"""A program that is driven line by line, how its end is told, and the scripts and leftovers of other runs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benchmarking.errors import (
    ProgramExitError,
    ProgramOutputError,
    ProgramTimeoutError,
    RunCancelledError,
    StorageError,
)
from benchmarking.programs import build_script, capture, leftovers, live_program, process
from benchmarking.programs.build_script import run_build_script, tail
from benchmarking.programs.command import Command, Outcome
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation, LiveProcess, Tether
from tests.support.waiting import wait_until


@pytest.fixture
def cancellation():
    with Cancellation() as one:
        yield one


@pytest.fixture
def live(cancellation):
    """Starts a program; it ends with the test."""
    with ExitStack() as stack:

        def start(script, *, by=cancellation, **more):
            return stack.enter_context(LiveProcess(Command(("sh", "-c", script)), by, **more))

        yield start


def test_lines_go_in_and_come_out(live):
    one = live('while read line; do echo "<$line>"; done; printf "a\\r\\nb"')
    for text in ("first", "second"):
        one.write_line(text)
        assert one.read_line(60) == f"<{text}>"
    one._process.stdin.close()
    assert one.read_line(60) == "a"
    with pytest.raises(
        ProgramExitError, match=r"^the program ended with exit status 0 while waiting for its answer$"
    ):
        one.read_line(60)
    assert one.take_received() == b"b"
    assert one.take_received() == b""
    assert one.receive(60) == b""


@pytest.mark.parametrize(
    ("script", "how"), [("echo why >&2; exit 7", "with exit status 7"), ("kill -KILL $$", "by signal 9")]
)
def test_how_a_program_ended(live, script, how):
    one = live(script)
    with pytest.raises(ProgramExitError, match=f"^the program ended {how} while") as raised:
        one.read_line(60)
    assert raised.value.evidence == ("why" if "why" in script else "")
    one.write_line("nobody reads it")


def test_a_program_that_says_nothing_in_time(live):
    one = live("echo begun >&2; read line; echo $line")
    wait_until(lambda: select_stderr(one))
    with pytest.raises(ProgramTimeoutError, match=r"^the program did not answer within 0\.01 s$") as raised:
        one.read_line(0.01)
    assert raised.value.evidence == "begun"
    one.write_line("x")
    assert one.read_line(60) == "x"


def select_stderr(one):
    with pytest.raises(TimeoutError):
        one.receive(0.0)
    return one.stderr


def test_a_line_without_an_end(live, monkeypatch):
    monkeypatch.setattr(live_program, "LONGEST_LINE_BYTES", 4)
    one = live("printf 12345; read line")
    with pytest.raises(ProgramOutputError, match=r"^the program is writing a line that does not end$"):
        one.read_line(60)
    assert live("echo 1234").read_line(60) == "1234"


def test_waiting_for_a_line_can_be_cancelled(live, cancellation):
    one = live("read line")
    cancellation.set()
    with pytest.raises(RunCancelledError, match=r"^cancelled while sh was running$"):
        one.read_line(60)
    assert live("echo x; read line", by=None).read_line(60) == "x"


def test_whose_processes_are_its_own():
    with LiveProcess(Command(("sh", "-c", "sleep 600 & echo $!; read line")), None) as one:
        child = int(one.read_line(60))
        owned = [one.owns(pid) for pid in (one.pid, child, os.getpid(), 1, 2**40)]
        assert (owned, one.exit_code) == ([True, True, False, False, False], None)
    assert one.exit_code is not None
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")


def test_what_a_program_inherits(live, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_SECRET", "s3cret")
    with (tmp_path / "lock").open("wb") as lock:
        tether = Tether(lock.fileno(), "THE_MARK", "mine")
        one = live(
            'echo "$THE_MARK ${THE_SECRET-hidden}"; readlink /proc/$$/fd/* | grep -c lock',
            hidden_environment=("THE_SECRET",),
            tether=tether,
        )
        assert (one.read_line(60), one.read_line(60)) == ("mine hidden", "1")


def test_programs_elsewhere_have_no_number():
    class Elsewhere(LiveProgram):
        send = receive = __enter__ = __exit__ = None
        stderr = "\n".join(map(str, range(100)))

    one = Elsewhere()
    assert (one.pid, one.owns(1), one._how_it_ended()) == (None, False, "")
    assert one.evidence().splitlines() == [str(n) for n in range(100 - live_program.EVIDENCE_LINES, 100)]


def test_an_end_is_noticed_where_the_system_has_no_descriptor_for_it(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    with Cancellation() as cancellation:
        outcome = process.run(Command(("sh", "-c", "echo x; exit 3")), cancellation)
    assert (outcome.exit_code, outcome.stdout) == (3, "x\n")


def test_a_signal_sets_a_cancellation_only_inside(cancellation):
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    try:
        with cancellation.set_by_any_signal():
            os.kill(os.getpid(), signal.SIGUSR1)
            assert cancellation.wait(60)
    finally:
        signal.signal(signal.SIGUSR1, handler)
    assert signal.set_wakeup_fd(before) == before
    cancellation.set()
    assert os.read(cancellation.fileno(), 10) == bytes([signal.SIGUSR1])


# --- commands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Command(("a b", "c")), "'a b' c"),
        (Command(("x",), {"N": "1 2", "M": ""}, affinity_mask=26), "N='1 2' M='' taskset 1a x"),
        (Command(("x",), affinity_mask=0), "taskset 0 x"),
    ],
)
def test_a_command_can_be_pasted(command, text):
    assert str(command) == text


def test_the_evidence_of_an_outcome():
    outcome = Outcome(Command(("x",)), 1, "a\nb\n\n", "", 1.0, device_log="y" * 1001, omitted_bytes=5)
    assert outcome.tail(1) == (
        f"--- end of stdout ---\nb\n--- end of device log ---\n{'y' * 1000}\n"
        "--- 5 bytes of output were not kept ---"
    )
    assert outcome.output == f"a\nb\n\n\n{'y' * 1001}"
    assert Outcome(Command(("x",)), None, "", "\n", 1.0).tail() == "(the program printed nothing)"


# --- build scripts ------------------------------------------------------------------------------------------


def built(tmp_path, cancellation, text, *, mode=0o755, timeout_s=None):
    script, source, log = tmp_path / "build.sh", tmp_path / "source", tmp_path / "log"
    source.mkdir(exist_ok=True)
    script.write_text(text)
    script.chmod(mode)
    result = tmp_path / "result"
    return run_build_script(script, source, result, log, cancellation, timeout_s=timeout_s)


GOOD = '#!/bin/sh\npwd\necho "$1 $2" >&2\necho x >"$2"\nchmod +x "$2"\n'


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_a_script_makes_a_program(tmp_path, cancellation, mode):
    """By sh, where it is not executable."""
    assert built(tmp_path, cancellation, GOOD, mode=mode) is None
    source, result = tmp_path / "source", tmp_path / "result"
    launcher = "" if mode == 0o755 else "sh "
    assert (tmp_path / "log").read_text() == (
        f"{launcher}{tmp_path}/build.sh {source} {result}\n{source}\n{source} {result}\n"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/bin/sh\nexit 3", "{}/build.sh ended with exit status 3"),
        ("#!/bin/sh\n", "{}/build.sh left no executable"),
        ('#!/bin/sh\necho x >"$2"', "{}/build.sh left no executable"),
        ('#!/bin/sh\n: >"$2"; chmod +x "$2"', "{}/build.sh left no executable"),
        ('#!/bin/sh\nmkdir "$2"', "{}/build.sh left no executable"),
        ("#!/bin/sh\nsleep 60", "it exceeded the --build_timeout of 0.2 s and was killed"),
    ],
)
def test_a_script_that_makes_none(tmp_path, cancellation, text, problem):
    limit_s = 0.2 if "sleep" in text else None
    assert built(tmp_path, cancellation, text, timeout_s=limit_s) == problem.format(tmp_path)


def test_a_log_without_end_does_not_fill_the_disk(tmp_path, cancellation, monkeypatch):
    monkeypatch.setattr(capture, "HEAD_LIMIT_BYTES", 2000)
    monkeypatch.setattr(capture, "TAIL_LIMIT_BYTES", 1000)
    text = "#!/bin/sh\necho first\nseq 100000\nseq 100000 >&2\necho last >&2\nexit 1"
    assert "exit status 1" in built(tmp_path, cancellation, text)
    log = tmp_path / "log"
    assert log.stat().st_size < 2000 + 2 * 1000 + 100
    lines = log.read_text().splitlines()
    assert (lines[1], lines[-1]) == ("first", "last")
    (left_out,) = (line for line in lines if line.startswith("--- "))
    written = sum(len(f"{number}\n") for number in range(1, 100_001)) * 2 + len(f"{lines[0]}\nfirst\nlast\n")
    assert int(left_out.split()[1]) == written - (log.stat().st_size - len(left_out) - 2)


def test_a_log_that_cannot_be_written_is_no_fault_of_the_commit(tmp_path, cancellation):
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=f"^{tmp_path}/log: No space left on device$"):
        built(tmp_path, cancellation, GOOD)


def test_a_full_disk_is_not_the_fault_of_the_commit(tmp_path, cancellation, monkeypatch):
    message = f"^the disk of {tmp_path}/source is full: the build could not finish$"
    with pytest.raises(StorageError, match=message):
        built(tmp_path, cancellation, "#!/bin/sh\necho cc: No space left on device; exit 1")
    usage = shutil.disk_usage(tmp_path)
    for free, is_full in ((build_script.SCARCE_BYTES - 1, True), (build_script.SCARCE_BYTES, False)):
        monkeypatch.setattr(
            build_script.shutil, "disk_usage", lambda path, free=free: usage._replace(free=free)
        )
        if is_full:
            with pytest.raises(StorageError, match=message):
                built(tmp_path, cancellation, "#!/bin/sh\nexit 1")
        else:
            assert "exit status 1" in built(tmp_path, cancellation, "#!/bin/sh\nexit 1")
        assert built(tmp_path, cancellation, GOOD) is None


def test_the_end_of_a_log(tmp_path, monkeypatch):
    log = tmp_path / "log"
    assert tail(log) == f"(its log {log} cannot be read)"
    log.write_text("".join(f"{number}\n" for number in range(30)) + "z" * 1001 + "\n\n")
    lines = tail(log).splitlines()
    assert lines == [f"--- end of {log} ---", *map(str, range(11, 30)), "z" * 1000]
    monkeypatch.setattr(build_script, "TAIL_BYTES", 5)
    log.write_bytes(b"123\xff56\n")
    assert tail(log) == f"--- end of {log} ---\n3\ufffd56"


# --- what other runs left -----------------------------------------------------------------------------------


@pytest.fixture
def left():
    """Programs with a mark."""
    started = []

    def start(mark, script="sleep 600"):
        one = subprocess.Popen(
            ["sh", "-c", f"echo; exec {script}"], env={"MARK": mark}, stdout=subprocess.PIPE
        )
        one.stdout.readline()
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stdout.close()


def test_only_what_is_marked_is_ended_and_each_is_named(left, monkeypatch, caplog, tmp_path):
    ours = str(tmp_path)
    monkeypatch.setattr(leftovers, "TERMINATION_GRACE_S", 0.5)
    stubborn = "python3 -c 'import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)'"
    mine, other = left(ours), left("another's")
    deaf = left(ours, stubborn)
    deaf.stdout.readline()
    signals, signal_to = [], leftovers._signal

    def note(one, how):
        signals.append((one.pid, how))
        signal_to(one, how)

    monkeypatch.setattr(leftovers, "_signal", note)
    leftovers.end_marked("MARK", ours.__eq__, "job 7")
    assert sorted(signals) == sorted([(mine.pid, "terminate"), (deaf.pid, "terminate"), (deaf.pid, "kill")])
    assert other.poll() is None
    assert sorted(one.split("(")[0] + one.rpartition(",")[2] for one in caplog.messages) == sorted(
        f"ending process {pid}  which job 7 left running" for pid in (mine.pid, deaf.pid)
    )


def test_a_parent_that_never_hears_of_the_end_holds_up_nothing(monkeypatch, tmp_path):
    """As the first process of many containers, to which what is left behind belongs."""
    monkeypatch.setattr(leftovers, "TERMINATION_GRACE_S", 1000.0)
    ours = str(tmp_path)
    deaf = (
        "import os, subprocess, sys, time\n"
        "one = subprocess.Popen(['sleep', '600'], env={**os.environ, 'MARK': sys.argv[1]})\n"
        "print(one.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", deaf, ours]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        wait_until(lambda: child.cmdline() == ["sleep", "600"])
        leftovers.end_marked("MARK", ours.__eq__)
        assert child.status() == psutil.STATUS_ZOMBIE
        parent.kill()


def test_how_a_process_is_named(left):
    one = left("x", "sleep 601")
    wait_until(lambda: psutil.Process(one.pid).cmdline() == ["sleep", "601"])
    found = psutil.Process(one.pid)
    since = datetime.fromtimestamp(found.create_time()).astimezone().strftime("%H:%M:%S")
    assert leftovers.describe(found) == f"process {one.pid} (sleep 601), started at {since}"
    long = SimpleNamespace(pid=7, create_time=time.time, cmdline=lambda: ["a\x1b", "x" * 200])
    assert leftovers.describe(long).startswith(f"process 7 ('a?' {'x' * 95}), started at ")

    def gone():
        raise psutil.NoSuchProcess(7)

    assert leftovers.describe(SimpleNamespace(pid=7, create_time=gone)) == "process 7"
    assert leftovers._value(SimpleNamespace(environ=gone), "X") is None
    leftovers._signal(SimpleNamespace(kill=gone), "kill")


def test_who_has_a_file_open(tmp_path):
    path = tmp_path / "file"
    path.touch()
    (tmp_path / "link").symlink_to(path)
    assert not leftovers.holds_open(os.getpid(), path)
    with path.open():
        assert leftovers.holds_open(os.getpid(), path)
        assert leftovers.holds_open(os.getpid(), tmp_path / "link")
        assert not leftovers.holds_open(os.getpid(), tmp_path / "other")
    assert not leftovers.holds_open(2**22 + 1, path)


def test_what_belongs_to_another_user_may_be_open(monkeypatch):
    def denied(pid):
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", denied)
    assert leftovers.holds_open(1, Path(sys.executable))


def test_a_program_that_only_complains_is_silent(live, monkeypatch):
    """Its stderr is read meanwhile, and does not extend the time for an answer."""
    one = live("exec sleep 600")
    read_end, write_end = os.pipe()
    os.write(write_end, bytes(4))
    monkeypatch.setattr(process, "_READ_BYTES", 1)
    one._selector.unregister(one._process.stderr)
    with os.fdopen(read_end, "rb") as complaints, os.fdopen(write_end, "wb"):
        one._selector.register(complaints, 1)
        with pytest.raises(TimeoutError):
            one.receive(0)
        one._selector.unregister(complaints)
        one._selector.register(one._process.stderr, 1)
    assert len(one.stderr) == 1
