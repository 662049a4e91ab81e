import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from benchmarking.errors import ProgramExitError, ProgramStartError, RunCancelledError
from benchmarking.programs import capture, process
from benchmarking.programs.command import Command


def python(code, *arguments, timeout_s=None, environment=None):
    return Command((sys.executable, "-c", code, *arguments), environment or {}, timeout_s)


@pytest.fixture
def run():
    with process.Cancellation() as cancellation:
        yield lambda command, **more: process.run(command, cancellation, **more)


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_streams_exit_code_and_duration(run):
    outcome = run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"))
    assert (outcome.stdout, outcome.stderr, outcome.exit_code) == ("out\n", "err\n", 7)
    assert outcome.duration_s > 0
    assert not outcome.timed_out


def test_a_signal_is_a_negative_exit_code(run):
    assert run(python("import os; os.abort()")).exit_code == -signal.SIGABRT


@pytest.mark.parametrize("argument", ["", " ", "a b", "'", '"', "$HOME", ";id", "a\nb", "ünï", "*", "\\"])
def test_arguments_arrive_as_they_are(run, argument):
    assert run(python("import sys; print(ascii(sys.argv[1]))", argument)).stdout.strip() == ascii(argument)


def test_the_environment_is_added_to_and_hidden(run, monkeypatch):
    monkeypatch.setenv("THE_SECRET", "s3cret")
    monkeypatch.setenv("KEPT", "kept")
    code = "import os; print(os.environ.get('THE_SECRET'), os.environ['KEPT'], os.environ['ADDED'])"
    outcome = run(python(code, environment={"ADDED": "added"}), hidden_environment=("THE_SECRET",))
    assert outcome.stdout == "None kept added\n"


def test_stdin_is_empty(run):
    assert run(python("import sys; print(repr(sys.stdin.read()))")).stdout == "''\n"


def test_much_output_keeps_the_beginning_and_the_end(run, monkeypatch):
    monkeypatch.setattr(capture, "HEAD_LIMIT_BYTES", 1000)
    monkeypatch.setattr(capture, "TAIL_LIMIT_BYTES", 500)
    outcome = run(python("for number in range(100000): print(f'line {number}')"))
    lines = outcome.stdout.splitlines()
    assert lines[0] == "line 0"
    assert lines[-1] == "line 99999"
    assert all(line.startswith("line ") for line in lines)
    assert outcome.omitted_bytes > 900_000
    assert "not kept" in outcome.tail()


def test_a_gigabyte_of_output_does_not_fill_the_memory(run, monkeypatch):
    monkeypatch.setattr(capture, "HEAD_LIMIT_BYTES", 2**20)
    before = psutil.Process().memory_info().rss
    outcome = run(python("import sys\nfor _ in range(1024): sys.stdout.write('x' * 1048575 + '\\n')"))
    assert outcome.omitted_bytes > 2**30 - 4 * 2**20
    assert psutil.Process().memory_info().rss - before < 30 * 2**20


def test_output_that_is_not_text_does_no_harm(run):
    outcome = run(python("import sys; sys.stdout.buffer.write(b'\\xff\\xfe ok\\n')"))
    assert outcome.stdout.endswith(" ok\n")


def test_output_after_the_end_is_waited_for_until_the_limit_and_no_longer(run, monkeypatch):
    """Of a process that left the group and still holds the pipe."""
    monkeypatch.setattr(process, "DRAIN_LIMIT_S", 0.05)
    waits = []
    handle = process._Supervisor._handle_events

    def handle_events(supervisor, timeout_s):
        waits.append(timeout_s)
        return handle(supervisor, timeout_s)

    monkeypatch.setattr(process._Supervisor, "_handle_events", handle_events)
    code = "import subprocess; subprocess.Popen(['sleep', '2'], start_new_session=True); print('x')"
    assert run(python(code)).stdout == "x\n"
    limited = [one for one in waits if one is not None]
    assert limited
    assert all(0 < one <= 0.05 for one in limited)


def test_streams_that_are_closed_early(run):
    outcome = run(python("import os, time; os.close(1); os.close(2); time.sleep(0.05); os._exit(3)"))
    assert outcome.exit_code == 3


def test_a_timeout_kills_the_whole_group_even_what_ignores_sigterm(run, tmp_path):
    pid_file = tmp_path / "pid"
    code = (
        f"import subprocess, sys, pathlib; child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r} "
        f"+ 'time.sleep(600)']); pathlib.Path({str(pid_file)!r}).write_text(str(child.pid)); {STUBBORN}"
        "print('started', flush=True); time.sleep(600)"
    )
    outcome = run(python(code, timeout_s=1.5))
    assert outcome.timed_out
    assert outcome.exit_code is None
    assert outcome.stdout == "started\n"
    assert wait_until(lambda: not is_running(int(pid_file.read_text())))


def test_what_goes_to_the_background_is_spared_but_not_after_a_timeout(run):
    """As ``ssh -f``, which leaves the group of its parent only when that has ended."""
    words = ("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!; $0")
    spared = int(run(Command((*words, "true")), goes_to_background=True).stdout)
    assert is_running(spared)
    os.kill(spared, signal.SIGKILL)
    outcome = run(Command((*words, "sleep 600"), timeout_s=1.0), goes_to_background=True)
    assert outcome.timed_out
    assert wait_until(lambda: not is_running(int(outcome.stdout)))


def test_children_that_outlive_the_program_are_killed_and_do_not_delay_its_end(run):
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid)"
    outcome = run(python(code))
    assert outcome.exit_code == 0
    assert wait_until(lambda: not is_running(int(outcome.stdout)))


def test_a_program_that_ends_is_waited_for_no_longer(run, monkeypatch):
    """The limits are for programs that do not end, and for pipes that do not: no other run may come near them."""
    monkeypatch.setattr(process, "TERMINATION_GRACE_S", 100.0)
    monkeypatch.setattr(process, "DRAIN_LIMIT_S", 100.0)
    started = time.monotonic()
    assert run(python("print('out')"), termination_grace_s=100.0).stdout == "out\n"
    assert run(python("import time; time.sleep(600)", timeout_s=0.2), termination_grace_s=100.0).timed_out
    assert run(python("import subprocess; subprocess.Popen(['sleep', '600'])")).exit_code == 0
    with process.Cancellation() as cancellation:
        with process.LiveProcess(python("input()"), cancellation) as live:
            assert live.exit_code is None
        assert live.exit_code == 1  # its input has ended
        with process.LiveProcess(python("print('out'); input()"), cancellation) as live:
            assert live.read_line(100) == "out"
            live.write_line("")
            with pytest.raises(ProgramExitError, match="with exit status 0"):
                live.read_line(100)
    assert time.monotonic() - started < 90


def test_a_daemon_that_holds_the_pipe_does_not_hang_us(run):
    code = "import subprocess; print(subprocess.Popen(['sleep', '30'], start_new_session=True).pid)"
    started = time.monotonic()
    outcome = run(python(code))
    os.kill(int(outcome.stdout), signal.SIGKILL)
    assert time.monotonic() - started < 20


def test_a_cancellation_ends_the_group(tmp_path):
    pid_file = tmp_path / "pid"
    code = (
        f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); "
        "time.sleep(600)"
    )
    with process.Cancellation() as cancellation:
        canceller = threading.Thread(
            target=lambda: (
                wait_until(lambda: pid_file.exists() and pid_file.read_text()) and cancellation.set()
            )
        )
        canceller.start()
        with pytest.raises(RunCancelledError):
            process.run(python(code), cancellation)
        canceller.join()
        assert not is_running(int(pid_file.read_text()))
        with pytest.raises(RunCancelledError):
            process.run(python("print()"), cancellation)


def test_threads_run_programs_at_once(run):
    outcomes = {}

    def one(number):
        outcomes[number] = run(python(f"print({number})")).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {number: f"{number}\n" for number in range(8)}


def test_no_descriptor_is_left_open(run):
    run(python("print()"))
    before = psutil.Process().num_fds()
    for _ in range(5):
        run(python("print()"))
    assert psutil.Process().num_fds() == before


def make(path: Path, text: str, mode: int) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_program_that_cannot_be_started_is_reported_with_a_remedy(run, tmp_path):
    cases = {
        str(tmp_path / "missing"): "no such file",
        make(tmp_path / "plain", "#!/bin/sh\n", 0o644): "chmod",
        str(tmp_path): "not executable",
        make(tmp_path / "garbage", "\1\2\3", 0o755): "not an executable for this machine",
        make(tmp_path / "lost", "#!/nonesuch/interpreter\n", 0o755): "interpreter is missing",
        "with\0nul": "null",
    }
    for program, text in cases.items():
        with pytest.raises(ProgramStartError, match=text):
            run(Command((program,)))


SPIN = """import time
end = time.thread_time() + 0.05
while time.thread_time() < end: pass
"""


def test_the_cpu_time_is_that_of_the_process_and_of_its_children(run):
    used = run(python(SPIN)).cpu
    assert used.total_s >= 0.05
    assert used.children_s == 0
    # The threads that Python itself starts do nothing, so the process is its first thread.
    assert used.first_thread_s == pytest.approx(used.total_s, rel=0.05)
    assert used.waited_s >= 0
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}]); print('x')"
    used = run(python(child)).cpu
    assert used.total_s >= used.first_thread_s + 0.05
    assert used.children_s >= 0.04


def test_a_process_that_sleeps_uses_no_cpu_time(run):
    assert run(Command(("sleep", "0.3"))).cpu.total_s < 0.2


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_closed_cancellation_still_says_whether_it_was_set(is_cancelled):
    with process.Cancellation() as cancellation:
        if is_cancelled:
            cancellation.set()
    with Path(os.devnull).open():  # which may get its number
        assert cancellation.is_set == is_cancelled


def test_a_kernel_that_does_not_watch_processes_is_enough(run, monkeypatch):
    """Python may know pidfd_open where an old kernel or a sandbox does not."""

    def refuse(pid):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    outcome = run(python("import sys; print('out'); sys.exit(7)"))
    assert (outcome.stdout, outcome.exit_code) == ("out\n", 7)


def test_a_process_that_cannot_be_watched_is_not_left(run, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(process, "_EndWatch", fail)
    started = tmp_path / "pid"
    command = Command(("sh", "-c", f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 600"))
    start = process._start

    def start_and_wait(*arguments):
        one = start(*arguments)
        assert wait_until(started.exists)
        return one

    monkeypatch.setattr(process, "_start", start_and_wait)
    with pytest.raises(OSError, match="Too many open files"):
        run(command)
    assert not is_running(int(started.read_text()))
