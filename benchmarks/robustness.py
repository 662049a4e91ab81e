"""How often does wrong, hostile or interrupted input end as it should? The counts of docs/robustness.md.

python benchmarks/robustness.py [--seconds 60 | --count 500] [--only specifications,signals] [--seed 1]

Each row is tried for this time, or this number of times. A fault is a traceback, a hang, an undocumented exit
status, output that could control a terminal, a process or a file that is left over, or a damaged document.
Each fault is printed with the seed that reproduces it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import io
import json
import logging
import math
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as ElementTree
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarking.cli import harness, history  # noqa: E402
from benchmarking.errors import CaseError, DownloadError, ReporterError  # noqa: E402
from benchmarking.files import web  # noqa: E402
from benchmarking.files.download import DownloadLimits, Receiver, download  # noqa: E402
from benchmarking.files.web import WebLimits  # noqa: E402
from benchmarking.frameworks.caffe2 import caffe2  # noqa: E402
from benchmarking.programs import worker_protocol  # noqa: E402
from benchmarking.programs.command import Command, Outcome  # noqa: E402
from benchmarking.programs.process import Cancellation  # noqa: E402
from benchmarking.reporters import remote_reporter  # noqa: E402
from benchmarking.results.model import Device, Provenance, Result, TestKey  # noqa: E402
from benchmarking.specs.expand import TestCase, expand  # noqa: E402
from benchmarking.specs.reader import read_benchmarks  # noqa: E402

HANG_S = 30.0
"""For work that otherwise takes milliseconds."""
NET_HANG_S = 120.0
NET_MEMORY_BYTES = 8 * 2**30
TOKEN = "ROBUSTNESS_TOKEN"
MODELS = ROOT / "specifications/models/caffe2"
SPECIFICATIONS = sorted(MODELS.glob("*/*.json"))

PROGRAM = """#!{python}
import json, subprocess, sys, time
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
subprocess.Popen(["sleep", "300"])
if flags.get("--worker") == "true":
    print(json.dumps({{"protocol": 1, "ready": True}}), flush=True)
    for line in sys.stdin:
        time.sleep(0.002)
        print(json.dumps({{"wall_ns": 1000000}}), flush=True)
    sys.exit()
if "--worker" in flags:
    sys.exit("no forks")
for _ in range(int(flags["--iter"])):
    time.sleep(0.02)
    for line in ("Delay Start", "NET_DELAY - 20000 (us)", "Delay End"):
        print("Caffe2Observer", line, flush=True)
"""


class HangError(Exception):
    """It took too long."""


class Trial(ABC):
    """One row of the table."""

    name: ClassVar[str]
    what: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        """``directory``: empty, and its own."""
        self.directory = directory

    @abstractmethod
    def attempt(self, draw: random.Random) -> str:
        """Returns a word for the outcome. Any exception is a fault."""


class FaultError(Exception):
    """A fault, described in one line."""


@contextlib.contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Also interrupts C code that handles signals between its steps."""

    def end(number: int, frame: object) -> None:
        raise HangError(f"longer than {limit_s:g} s")

    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def called(main: Callable[[Sequence[str]], int], *arguments: object) -> tuple[int, str]:
    """The exit status of a program of this project, run in this process, and its output."""
    output = io.StringIO()
    logging.getLogger().handlers.clear()  # that of the call before
    with within(HANG_S), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status = main([str(one) for one in arguments])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return status, output.getvalue()


def require_harmless(text: str) -> None:
    for line in text.split("\n"):
        if not line.isprintable():
            raise FaultError(f"a line that could drive a terminal: {line[:200]!r}")


# --- mutations ----------------------------------------------------------------------------------------------

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**18, 10**30, -(2**63), 1e308, 5e-324, [], {}, [[]], {"": None}),
    *("", "x", "\x1b[31m\n", "\u202e", "a" * 5000, "..", "/dev/zero", "~nosuchuser", "{ID}" * 50),
    *("NaN", "0,5", "//x", "http://[", "\0", "1e999", "http://user:password@127.0.0.1:1/x?token=y"),
    *([0] * 50, {"a": {"a": 1}}),
)
ODD_TEXTS = (
    *("NaN", "Infinity", "-Infinity", "1e999", "1e-320", "0x10", "9" * 400, "9" * 5000, "[" * 2000),
    *('"\\ud800"', '"\\u0000"', "\x1b[31m", "\ufeff", "\u2028", "\r", "\x00", "-", ",", ":", "'", "//"),
    *("{", "}", "]"),
)


def mutated_value(value: Any, draw: random.Random) -> Any:
    """JSON with one part replaced, removed, duplicated or moved."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.1:
        return draw.choice(ODD_VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, other = draw.choice(keys), draw.choice(keys)
    changed = dict(value) if isinstance(value, dict) else list(value)
    how = draw.random()
    if how < 0.65:
        changed[key] = mutated_value(value[key], draw)
    elif how < 0.8:
        del changed[key]
    elif how < 0.9:
        changed[key] = value[other]
    elif isinstance(changed, dict):
        changed[draw.choice(("x", "", "\x1b[31m", "iter", "model", "a" * 300, str(key) + "s"))] = value[key]
    else:
        changed += changed[: draw.randint(1, 50)]
    return changed


def mutated_text(text: str, draw: random.Random) -> str:
    """The text with characters removed, inserted, duplicated or exchanged."""
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        start = draw.randint(0, len(text))
        end = min(len(text), start + draw.choice((0, 1, 1, 5, 40)))
        new = draw.choice(
            (draw.choice(ODD_TEXTS), text[start:end] * draw.choice((0, 2, 50)), chr(draw.randint(0, 300)))
        )
        text = text[:start] + new + text[end:]
    return text


def mutated_bytes(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        if not changed:
            break
        start = draw.randrange(len(changed))
        how = draw.random()
        if how < 0.5:
            changed[start] = draw.randrange(256)
        elif how < 0.7:
            del changed[start : start + draw.choice((1, 1, 5, 100))]
        elif how < 0.9:
            changed[start:start] = draw.randbytes(draw.choice((1, 1, 5)))
        else:
            del changed[start:]
    return bytes(changed)


def mutated_json(value: Any, draw: random.Random) -> str:
    for _ in range(draw.choice((1, 1, 2, 3))):
        value = mutated_value(value, draw)
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5, indent=draw.choice((None, 2)))
    return mutated_text(text, draw) if draw.random() < 0.4 else text


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


# --- specifications -----------------------------------------------------------------------------------------


class Specifications(Trial):
    name = "specifications"
    what = "mutated benchmark files and suites through `harness.py --validate`"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._values = [json.loads(path.read_text(encoding="utf-8")) for path in SPECIFICATIONS]
        page = (ROOT / "docs/specifications.md").read_text(encoding="utf-8")
        self._values += [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
        os.mkfifo(directory / "fifo")

    def attempt(self, draw: random.Random) -> str:
        path = written(self.directory / "b.json", mutated_json(draw.choice(self._values), draw))
        if draw.random() < 0.3:
            names = draw.choices(
                ("b.json", "fifo", "/dev/zero", ".", "none.json", "\x1b[31m", "b.json/x"), k=3
            )
            path = written(self.directory / "suite.json", mutated_json({"benchmarks": names}, draw))
        status, output = called(
            harness.main, "--benchmark_file", path, "--validate", "--root_model_dir", MODELS
        )
        require_harmless(output)
        if status not in (0, 2):
            raise FaultError(f"status {status}: {output[-300:]}")
        if status and not 0 < len(output.splitlines()) < 60:
            raise FaultError(f"{len(output.splitlines())} lines")
        return "refused" if status else "no faults"


# --- what programs print and write --------------------------------------------------------------------------


def a_case(directory: Path, **options: bool) -> TestCase:
    value = {
        "model": {
            "name": "tiny",
            "format": "caffe2",
            "files": {
                key: {
                    "filename": f"{key}.pb",
                    "location": f"{key}.pb",
                    "md5": hashlib.md5(key.encode()).hexdigest(),
                }
                for key in ("init", "predict")
            },
        },
        "tests": [
            {
                "identifier": "one",
                "metric": "delay",
                "iter": 3,
                "warmup": 0,
                "inputs": {"data": {"shapes": [[1, 2]], "type": "float"}},
                "commands": {"caffe2": options},
            }
        ],
    }
    for key in ("init", "predict"):
        (directory / f"{key}.pb").write_text(key)
    (directory / "tiny.json").write_text(json.dumps(value))
    (case,) = expand(read_benchmarks(directory / "tiny.json"), None)
    return case


class Outputs(Trial):
    name = "outputs"
    what = "mutated output of programs: observer lines, worker answers, lists of backends, tensors"

    _BLOCK = (
        "I0601 12:00:00 7 observer.cc:30] Caffe2Observer Delay Start\n"
        "Caffe2Observer ID_0_Conv_y - 12.5 (us)\nCaffe2Observer ID_1_Relu_z - 0.5 (us)\n"
        "Caffe2Observer NET_DELAY - 0.013\t(m)\nCaffe2Observer Delay End\n"
        "Caffe2Observer Delay Start\nCaffe2Observer NET_DELAY - 13 (us)\nCaffe2Observer Delay End\n"
    )
    _LINES = (
        'Caffe2Observer {"type": "NET", "metric": "latency", "unit": "us", "value": "17.1"}\n'
        'Caffe2Observer {"type": "ID_0_Conv_y", "metric": "latency", "unit": "ms", "value": 0.5}\n'
        'Caffe2Observer {"type": "NET_DELAY", "metric": "cost", "flops": 1, "parameters": 2, "bytes": 3}\n'
        'Caffe2Observer {"type": "ID_0_Conv_y", "metric": "kernel", "kernel": "jit", "own": true}\n'
        'caffe2_benchmark facts {"engine": "torch", "threads": 1}\n'
    )
    _ANSWERS = (
        {"protocol": 1, "ready": True, "pid": 7, "operators": ["a"], "facts": {"threads": 1}, "rss_bytes": 1},
        {"wall_ns": 5, "cpu_ns": 4, "involuntary_switches": 0, "run_delay_ns": 0.5, "operators": {"a": 5}},
        *({"protocol": 1, "forks": True}, {"ended": True}, {"error": "no"}),
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._case = a_case(directory, run_individual=True)
        self._framework = caffe2.Caffe2()
        self._kinds = (self._observer, self._observer, self._worker, self._backends, self._tensor)

    def attempt(self, draw: random.Random) -> str:
        try:
            with within(HANG_S):
                draw.choice(self._kinds)(draw)
        except CaseError as error:
            require_harmless(str(error))
            return "refused"
        return "read"

    def _outcome(self, stdout: str, draw: random.Random) -> Outcome:
        return Outcome(Command(("program",)), 0, stdout, draw.choice(("", stdout)), 0.1)

    def _observer(self, draw: random.Random) -> None:
        text = (self._BLOCK + self._LINES) * 3 if draw.random() < 0.5 else self._LINES * 3
        if draw.random() < 0.05:
            text += (draw.choice(ODD_TEXTS) * 100_000)[:1_000_000]
        report = self._framework.parse(self._outcome(mutated_text(text, draw), draw), self._case)
        values = [value for one in report.measurements for value in one.values]
        if not all(0 <= value < math.inf for value in values):
            raise FaultError(f"a delay that is none: {values}")
        for warning in report.warnings:
            require_harmless(warning)

    def _worker(self, draw: random.Random) -> None:
        line = mutated_json(draw.choice(self._ANSWERS), draw)
        worker_protocol.read(line if draw.random() < 0.5 else line.encode("utf-8", "surrogatepass"))

    def _backends(self, draw: random.Random) -> None:
        told = {"backends": [{"name": "mkl", "available": True, "engine": "torch", "reason": "x"}]}
        self._framework.parse_backend_list(self._outcome(mutated_json(told, draw), draw))

    def _tensor(self, draw: random.Random) -> None:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"
        numpy_file = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(16)
        content = draw.choice((numpy_file, b"1\n-2.5e3\nnan\n"))
        (self.directory / "tensor").write_bytes(mutated_bytes(content, draw))
        self._framework.read_tensor(self.directory / "tensor")


# --- saved results ------------------------------------------------------------------------------------------


class Histories(Trial):
    name = "histories"
    what = "mutated files of saved results through `benchmarking.history`"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._results = directory / "results"
        workshop = Workshop(directory)
        for number in range(3):
            info = {"treatment": {"commit": f"c{number}", "commit_time": 1_700_000_000 + number}}
            arguments = (
                "--info",
                json.dumps(info),
                "--local_reporter",
                self._results,
                "--log_level",
                "error",
            )
            subprocess.run(
                workshop.command(*arguments), check=True, env=workshop.environment, stdout=subprocess.DEVNULL
            )
        self._files = sorted(path for path in self._results.rglob("*") if path.is_file())

    def attempt(self, draw: random.Random) -> str:
        path = draw.choice(self._files)
        content = path.read_bytes()
        try:
            self._damage(path, content, draw)
            command = draw.choice(("show", "changes"))
            status, output = called(history.main, command, "--local_reporter", self._results)
        finally:
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(content)
        require_harmless(output)
        if status not in (0, 2):
            raise FaultError(f"status {status} for {path.name}: {output[-300:]}")
        return "left out" if "left out" in output or status else "read"

    def _damage(self, path: Path, content: bytes, draw: random.Random) -> None:
        kind = draw.random()
        if kind < 0.1:
            path.unlink()
            draw.choice(
                (lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to("/dev/zero"), lambda: None)
            )()
        elif kind < 0.4:
            path.write_bytes(mutated_bytes(content, draw))
        else:
            try:
                written(path, mutated_json(json.loads(content), draw))
            except ValueError:
                path.write_bytes(mutated_bytes(content, draw))


# --- signals ------------------------------------------------------------------------------------------------


class Workshop:
    """A benchmark, a program that takes its time, and directories of its own for everything."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        a_case(directory)
        self.program = directory / "program.sh"
        self.program.write_text(PROGRAM.format(python=sys.executable))
        self.program.chmod(0o755)
        self.temporary = directory / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.token = f"{os.getpid()}-{directory.name}"
        homes = {f"XDG_{name}_HOME": str(directory / name) for name in ("DATA", "CACHE", "STATE")}
        self.environment = {**os.environ, **homes, "TMPDIR": str(self.temporary), TOKEN: self.token}

    def command(self, *arguments: object) -> list[str]:
        given = ("--benchmark_file", self.directory / "tiny.json", "--program", self.program, *arguments)
        return [sys.executable, str(ROOT / "harness.py"), *map(str, given)]

    def processes(self) -> list[psutil.Process]:
        """The processes of this project and all that they have started."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if one.environ().get(TOKEN) == self.token and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
        return found

    def left_over(self) -> str:
        """The processes that still exist after each had time to end."""
        deadline = time.monotonic() + 5
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return ", ".join(f"{one.pid} {' '.join(one.cmdline())[:80]}" for one in left)

    def clear(self) -> None:
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                one.kill()
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()


class Signals(Trial):
    name = "signals"
    what = "SIGINT, SIGTERM, SIGHUP or SIGKILL at a random moment of a run"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._workshop = Workshop(directory)

    def attempt(self, draw: random.Random) -> str:
        number = draw.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL))
        arguments = ["--junit", "j.xml", "--markdown", "m.md", "--local_reporter", "r", "--json"]
        if draw.random() < 0.5:
            arm = {"commit": "a", "commit_time": 1_700_000_000}
            arguments += ["--info", json.dumps({"treatment": arm, "control": arm}), "--max_seconds", "2"]
        workshop = self._workshop
        try:
            with (self.directory / "out").open("wb") as output, (self.directory / "err").open("wb") as errors:
                process = subprocess.Popen(
                    workshop.command(*arguments),
                    cwd=self.directory,
                    env=workshop.environment,
                    stdout=output,
                    stderr=errors,
                )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(draw.choice((0.1, 0.5, 1.5, 4.0)) * draw.random())
                process.send_signal(number)
                status = self._wait(process)
            return self._judged(number, status)
        finally:
            workshop.clear()
            shutil.rmtree(self.directory / "r", ignore_errors=True)
            for name in ("j.xml", "m.md"):
                (self.directory / name).unlink(missing_ok=True)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise HangError(f"still there {HANG_S:g} s after the signal") from None

    def _judged(self, number: signal.Signals, status: int) -> str:
        errors = (self.directory / "err").read_text(encoding="utf-8", errors="replace")
        finished = status in (0, 8)
        if number == signal.SIGKILL and not finished:
            self._run_again()
        elif not finished and status not in (130, -number):
            raise FaultError(f"status {status} after {number.name}: {errors[-300:]}")
        if "import harness" in errors and errors.rstrip().endswith("KeyboardInterrupt"):
            return f"{number.name}, before our first line ran"
        if "Traceback" in errors:
            raise FaultError(f"after {number.name}: {errors[-600:]}")
        if left := self._workshop.left_over():
            raise FaultError(f"left over after {number.name}: {left}")
        files = [path.name for path in self._workshop.temporary.iterdir()]
        if files and number != signal.SIGKILL:
            raise FaultError(f"left in the temporary directory after {number.name}: {files}")
        self._require_valid_documents(finished=finished)
        return f"{number.name}, {'too late' if finished else 'ended'}"

    def _run_again(self) -> None:
        """The next run ends the processes that the killed run left behind."""
        done = subprocess.run(
            self._workshop.command("--screen_reporter"),
            env=self._workshop.environment,
            capture_output=True,
            text=True,
            timeout=HANG_S * 2,
        )
        if done.returncode:
            raise FaultError(f"the next run ended with {done.returncode}: {done.stderr[-300:]}")

    def _require_valid_documents(self, *, finished: bool) -> None:
        junit, document = self.directory / "j.xml", (self.directory / "out").read_bytes()
        if junit.exists() and junit.stat().st_size:
            ElementTree.parse(junit)
        if document or finished:
            json.loads(document)
        for path in (self.directory / "r").rglob("*.txt"):
            if not path.name.startswith("."):
                json.loads(path.read_bytes())


# --- servers ------------------------------------------------------------------------------------------------


STATUS_LINES = (
    *(b"200 OK", b"201 Created", b"204 No Content", b"302 Found", b"404 \x1b[31m", b"500 x", b"999", b"x"),
)
BODIES = (
    *(
        b'{"count": 1}',
        b'{"count": 1e999}',
        b"<html>",
        b"[" * 100_000,
        b"x" * 3 * 2**20,
        b"\xff\x1b[31m",
        b"",
    ),
)
HEADERS = (
    *(b"Content-Length: -1", b"Content-Length: 5", b"Content-Length: x", b"Content-Length: " + b"9" * 30),
    *(b"Content-Encoding: gzip", b"Content-Encoding: x", b"Transfer-Encoding: chunked"),
    *(b"Location: /x", b"Location: http://[", b"Location: file:///etc/passwd", b"no colon", b"\x00: \x00"),
    *(b"Retry-After: 1e999", b"Retry-After: -1", b"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
    b"X: " + b"x" * 70_000,
)


def bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(64)), packer.flush()])


class Servers(Trial):
    name = "servers"
    what = "hostile answers to a download and to the remote reporter"

    LIMITS = WebLimits(connect_s=1, silence_s=0.5, slowest_bytes_per_s=1000, total_s=2, size_bytes=2**20)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._answer: list[bytes | float] = []
        self._bomb = bomb()
        threading.Thread(target=self._serve, daemon=True).start()
        self._result = a_result(directory)
        remote_reporter.LIMITS = self.LIMITS
        web.LONGEST_RETRY_AFTER_S = 1.0  # a minute, otherwise

    def attempt(self, draw: random.Random) -> str:
        self._answer = self._drawn(draw)
        started = time.monotonic()
        output = io.StringIO()
        try:
            with within(HANG_S), Cancellation() as cancellation, contextlib.redirect_stderr(output):
                draw.choice((self._download, self._report))(cancellation)
            ending = "taken"
        except (DownloadError, ReporterError) as error:
            require_harmless(str(error))
            ending = "refused"
        require_harmless(output.getvalue())
        if (took_s := time.monotonic() - started) > 15:
            raise FaultError(f"{took_s:.1f} s for an answer")
        return ending

    def _download(self, cancellation: Cancellation) -> None:
        taken = bytearray()
        receiver = Receiver(start=lambda length: taken.clear(), take=taken.extend)
        download(f"http://{self._url}/x", receiver, cancellation, DownloadLimits(self.LIMITS, 2, 0.01))
        if len(taken) > self.LIMITS.size_bytes:
            raise FaultError(f"{len(taken)} bytes were taken")

    def _report(self, cancellation: Cancellation) -> None:
        shutil.rmtree(self.directory / "spool", ignore_errors=True)
        reporter = remote_reporter.RemoteReporter(
            f"http://{self._url}/x|c",
            access_token="s3cr3t",
            allow_http=True,
            spool_directory=self.directory / "spool",
            cancellation=cancellation,
        )
        reporter.report(self._result)

    def _drawn(self, draw: random.Random) -> list[bytes | float]:
        """Bytes that are sent, and seconds that are waited."""
        status = draw.choice(STATUS_LINES)
        body = draw.choice((*BODIES, self._bomb))
        headers = draw.sample((*HEADERS, b"Content-Length: %d" % len(body)), k=draw.randint(0, 4))
        whole = b"HTTP/1.1 " + status + b"\r\n" + b"".join(one + b"\r\n" for one in headers) + b"\r\n" + body
        how = draw.random()
        if how < 0.1:
            return [draw.choice((b"", b"\x16\x03\x01", b"SSH-2.0-x\r\n", draw.randbytes(1000)))]
        if how < 0.2:
            return [whole[: draw.randint(0, 100)], 3.0]
        if how < 0.3:
            return [part for index in range(0, 200, 10) for part in (whole[index : index + 10], 0.3)]
        if how < 0.35:
            return [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 1000] * 100]
        return [mutated_bytes(whole, draw)] if how < 0.5 else [whole]

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._speak, args=(connection, self._answer), daemon=True).start()

    def _speak(self, connection: socket.socket, answer: list[bytes | float]) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.recv(2**16)
            for part in answer:
                if isinstance(part, float):
                    time.sleep(part)
                else:
                    connection.sendall(part)


def a_result(directory: Path) -> Result:
    from benchmarking.results.model import NET_DELAY, TypeResult
    from benchmarking.statistics import summaries

    values = (10.0, 11.0, 12.0)
    return Result(
        TestKey("tiny", "delay", "one", "caffe2", backend=None, device="hash"),
        Provenance(0, "commit", 1_700_000_000, None, None, "benchmark", ("harness.py",), group=None),
        Device("device"),
        types=(TypeResult(NET_DELAY, "us", summaries.summarize(values), values),),
    )


# --- nets ---------------------------------------------------------------------------------------------------


class Nets(Trial):
    name = "nets"
    what = "mutated Caffe2 nets through the benchmark program"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        import torch

        from benchmarking.frameworks.caffe2.program.caffe2_benchmark import engines
        from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import Caffe2Program
        from benchmarking.frameworks.kit.main import run

        engines.choose("torch", "builtin", "none")  # imported before an attempt's time is taken
        self._program: Callable[[Sequence[str]], int] = lambda flags: run(Caffe2Program(), flags)
        torch.set_num_threads(1)
        names = ("lenet", "faster_rcnn_head", "shufflenet", "squeezenet")
        self._models = [MODELS / name for name in names]
        self._inputs = {path: self._inputs_of(path) for path in self._models}

    def _inputs_of(self, model: Path) -> list[str]:
        for path in SPECIFICATIONS:
            value = json.loads(path.read_text(encoding="utf-8"))
            if path.parent == model and "tests" in value:
                inputs = value["tests"][0].get("inputs") or value["model"]["inputs"]
                dims = ";".join(",".join(map(str, one["shapes"][0])) for one in inputs.values())
                types = ";".join(one.get("type", "float") for one in inputs.values())
                return ["--input", ",".join(inputs), "--input_dims", dims, "--input_type", types]
        return ["--input", "data", "--input_dims", "1,1,28,28"]

    def attempt(self, draw: random.Random) -> str:
        model = draw.choice(self._models)
        files = {}
        for name in ("init_net", "predict_net"):
            (path,) = model.glob(f"*{name}.pb")
            content = path.read_bytes()
            if name == "predict_net" or draw.random() < 0.2:
                content = self._mutated(content, draw)
            files[name] = self.directory / f"{name}.pb"
            files[name].write_bytes(content)
        flags = [
            "--init_net",
            str(files["init_net"]),
            "--net",
            str(files["predict_net"]),
            *self._inputs[model],
        ]
        flags += ["--iter", "1", "--warmup", "0", "--engine", "torch"]
        flags += ["--run_individual", "true"] if draw.random() < 0.5 else []
        status = self._forked(flags)
        errors = (self.directory / "err").read_text(encoding="utf-8", errors="replace")
        if status not in (0, 1, 2) or "Traceback" in errors:
            shown = " ".join(errors.split())[-700:]
            raise FaultError(f"status {status} of {model.name}: {shown}")
        if status and "caffe2_benchmark: error: " not in errors:
            raise FaultError(f"status {status} of {model.name} without a reason: {errors[-300:]}")
        return "refused" if status else "ran"

    def _mutated(self, content: bytes, draw: random.Random) -> bytes:
        """The content with changed bytes, or with a changed field of one of its operators."""
        from google.protobuf import text_format

        from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages

        if draw.random() < 0.2:
            return mutated_bytes(content, draw)
        net = messages.NetDef.FromString(content)
        for _ in range(draw.choice((1, 1, 2))):
            mutate_operator(net.op, draw)
        if draw.random() < 0.1 and len(content) < 100_000:
            return mutated_text(text_format.MessageToString(net), draw).encode("utf-8", "replace")
        mutated: bytes = net.SerializeToString()
        return mutated

    def _forked(self, flags: list[str]) -> int:
        """The exit status, as a shell gives it; a process for each net, with torch loaded already."""
        child = os.fork()
        if child == 0:
            self._run(flags)
        deadline = time.monotonic() + NET_HANG_S
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise HangError(f"a net that takes longer than {NET_HANG_S:g} s")
            time.sleep(0.002)
        return os.waitstatus_to_exitcode(ended[1])

    def _run(self, flags: list[str]) -> None:
        status = 70
        try:
            descriptor = os.open(self.directory / "err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
            faulthandler.enable(2)
            resource.setrlimit(resource.RLIMIT_AS, (NET_MEMORY_BYTES, NET_MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            status = self._program(flags)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def mutate_operator(operators: Any, draw: random.Random) -> None:
    if not operators:
        return
    one, other = draw.choice(operators), draw.choice(operators)
    how = draw.choice(("type", "input", "output", "argument", "argument", "argument", "remove", "double"))
    if how == "type":
        one.type = draw.choice(
            (other.type, "", "Nonesuch", "Concat", "Reshape", "If", "Sum", "BoxWithNMSLimit")
        )
    elif how in ("input", "output") and getattr(one, how):
        blobs = getattr(one, how)
        index = draw.randrange(len(blobs))
        blobs[index] = draw.choice(("", "none", *other.input, *other.output, blobs[0]))
        if draw.random() < 0.3:
            del blobs[index]
    elif how == "argument" and one.arg:
        mutate_argument(draw.choice(one.arg), draw)
    elif how == "remove":
        operators.remove(one)
    else:
        operators.add().CopyFrom(one)


def mutate_argument(argument: Any, draw: random.Random) -> None:
    number = draw.choice((0, -1, 1, 2, 3, 1000, 2**31 - 1, 2**62, -(2**62)))
    how = draw.choice(("i", "f", "ints", "floats", "s", "name"))
    if how == "i":
        argument.i = number
    elif how == "f":
        argument.f = draw.choice((0.0, -1.0, 1e38, math.inf, math.nan))
    elif how in ("ints", "floats"):
        values = getattr(argument, how)
        values.append(number)
        if draw.random() < 0.5:
            del values[0]
    elif how == "s":
        argument.s = draw.choice((b"", b"NHWC", b"\xff", b"x" * 1000))
    else:
        argument.name = draw.choice(("", "x", "order", "axis", "kernel", "shape"))


# --- the table ----------------------------------------------------------------------------------------------

TRIALS: tuple[type[Trial], ...] = (Specifications, Outputs, Histories, Signals, Servers, Nets)


def tried(kind: type[Trial], options: argparse.Namespace) -> tuple[str, int]:
    """A row of the table, and the number of its faults."""
    endings: dict[str, int] = {}
    faults = 0
    longest_s = 0.0
    with tempfile.TemporaryDirectory(prefix="robustness-") as directory:
        trial = kind(Path(directory))
        started = time.monotonic()
        number = 0
        while number < options.count if options.count else time.monotonic() - started < options.seconds:
            seed = f"{options.seed} {kind.name} {number}"
            number += 1
            before = time.monotonic()
            try:
                ending = trial.attempt(random.Random(seed))
            except Exception as error:
                faults += 1
                ending = "FAULT"
                told = str(error) if isinstance(error, FaultError | HangError) else traceback.format_exc()
                print(f"fault in {seed!r}: {type(error).__name__}: {told}", file=sys.stderr, flush=True)
            endings[ending] = endings.get(ending, 0) + 1
            longest_s = max(longest_s, time.monotonic() - before)
    ended = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
    return f"| {kind.what} | {number:,} | {faults} | {ended} | {longest_s:.1f} s |", faults


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [one.name for one in TRIALS]
    parser.add_argument("--seconds", type=float, default=60, help="for each row (default: %(default)g)")
    parser.add_argument("--count", type=int, help="how often each row is tried, however long it takes")
    parser.add_argument("--only", default=",".join(names), help="these rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one tries others (default: %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # If they are ignored, by nohup or in the background of a shell, all processes that are started here
    # ignore them too.
    chosen = options.only.split(",")
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"--only: {', '.join(unknown)}: known are {', '.join(names)}")
    rows = [tried(one, options) for one in TRIALS if one.name in chosen]
    print("| what | tried | faults | how they ended | the longest |\n|---|---|---|---|---|")
    for row, _ in rows:
        print(row)
    return 1 if any(faults for _, faults in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
