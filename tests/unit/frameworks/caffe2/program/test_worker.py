"""The worker protocol, spoken with the program as it is started from a shell."""

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.kit import counters
from benchmarking.programs import worker_protocol
from benchmarking.programs.worker_protocol import (
    IterationSample,
    Request,
    WorkerEnded,
    WorkerError,
    WorkerForks,
    WorkerReady,
)

ROOT = Path(__file__).parents[5]
PROGRAM = ROOT / "benchmarking/frameworks/caffe2/program"
LENET = ROOT / "specifications/models/caffe2/lenet"
NET = [
    *("--init_net", LENET / "init_net.pb", "--net", LENET / "predict_net.pb"),
    *("--input", "data", "--input_dims", "1,1,28,28", "--engine", "torch"),
]
OPERATORS = [
    *("ID_0_Conv_conv1", "ID_1_MaxPool_pool1", "ID_2_Conv_conv2", "ID_3_MaxPool_pool2"),
    *("ID_4_FC_fc3", "ID_5_Relu_fc3", "ID_6_FC_pred", "ID_7_Softmax_softmax"),
]


class Worker:
    def __init__(self, *arguments, environment=None):
        self.process = subprocess.Popen(
            list(map(str, [sys.executable, PROGRAM, *arguments])),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, line):
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def answer(self):
        return worker_protocol.read(self.process.stdout.readline())

    def ask(self, line):
        self.send(line)
        return self.answer()

    def close(self):
        """The exit status, and what came that nobody has asked for."""
        stdout, self.stderr = (text.decode() for text in self.process.communicate())
        return self.process.returncode, stdout


@pytest.fixture
def start():
    workers = []

    def start_one(*arguments, **more):
        workers.append(Worker(*arguments, **more))
        return workers[-1]

    yield start_one
    for one in workers:
        one.process.kill()
        one.close() if not one.process.stdout.closed else None


def write_net(path, text):
    path.write_bytes(text_format.Parse(text, messages.NetDef()).SerializeToString())
    return path


@pytest.fixture
def fails_later(tmp_path):
    """A net whose every second iteration does not fit: it makes its own input longer."""
    net = """op { type: "FC" input: ["x", "w", "b"] output: "y" }
             op { type: "Concat" input: ["x", "x"] output: ["x2", "split"] }
             op { type: "Copy" input: "x2" output: "x" }"""
    init = """op { type: "GaussianFill" output: "w" arg { name: "shape" ints: [2, 3] } }
              op { type: "ConstantFill" output: "b" arg { name: "shape" ints: 2 } }"""
    files = {"net": net, "init_net": init}
    paths = [(f"--{name}", write_net(tmp_path / f"{name}.pb", text)) for name, text in files.items()]
    return [
        *(word for pair in paths for word in pair),
        "--input",
        "x",
        "--input_dims",
        "1,3",
        "--engine",
        "torch",
    ]


@pytest.mark.parametrize("mode", ["true", "fork"])
def test_it_reports_the_kernel_of_each_operator(start, mode):
    worker = start(*NET, "--backend", "onednn", "--worker", mode)
    if mode == "fork":
        worker.answer()
        worker.send("fork")
    ready = json.loads(worker.process.stdout.readline())
    assert list(ready["kernels"]) == OPERATORS
    assert [name for name, one in ready["kernels"].items() if one["own"]] == OPERATORS[::2][:3] + OPERATORS[
        6:7
    ]
    assert ready["facts"]["backend_summary"] == "onednn: 4 of 4 convolutions and FCs"
    worker.send("quit")
    assert worker.close() == (0, "")


@pytest.mark.parametrize("mode", ["true", "fork"])
def test_a_backend_that_computes_nothing_is_reported(start, tmp_path, mode):
    net = write_net(tmp_path / "net.pb", 'op { type: "Relu" input: "x" output: "y" }')
    worker = start(
        *("--net", net, "--input", "x", "--input_dims", "2,3", "--engine", "torch"),
        *("--backend", "onednn", "--worker", mode),
    )
    if mode == "fork":
        worker.answer()
        worker.send("fork")
    answer = worker.answer()
    assert isinstance(answer, WorkerError)
    assert answer.error.startswith("--backend onednn computed none of the model's 1 operators")


def test_it_runs_single_iterations(start):
    worker = start(*NET, "--warmup", 2, "--worker", "true")
    ready = worker.answer()
    assert isinstance(ready, WorkerReady)
    assert ready.pid == worker.process.pid
    assert ready.operators == OPERATORS
    assert (ready.facts["engine"], ready.facts["threads"]) == ("torch", 1)
    assert ready.rss_bytes > 10e6
    assert ready.wall_resolution_ns > 0
    assert ready.cpu_resolution_ns > 0
    for _ in range(3):
        sample = worker.ask("run")
        assert isinstance(sample, IterationSample)
        assert sample.operators is None
    sample = worker.ask("run operators")
    assert list(sample.operators) == OPERATORS
    assert sum(sample.operators.values()) <= sample.wall_ns
    worker.send("quit")
    assert worker.close() == (0, "")


def test_it_reports_costs_if_operators_are_timed(start):
    ready = start(*NET, "--worker", "true", "--run_individual", "true").answer()
    assert list(ready.costs) == ["NET_DELAY", *OPERATORS]
    assert ready.costs["NET_DELAY"].flops == sum(ready.costs[name].flops for name in OPERATORS) > 0
    assert start(*NET, "--worker", "true").answer().costs == {}


def test_the_clocks_fit_each_other(start):
    """One thread cannot take more CPU time than goes by."""
    worker = start(*NET, "--worker", "true", "--warmup", 5)
    ready = worker.answer()
    samples = [worker.ask("run") for _ in range(31)]
    slack_ns = 20_000 + ready.cpu_resolution_ns
    assert statistics.median(one.cpu_ns - one.wall_ns for one in samples) < slack_ns
    assert sum(one.cpu_ns for one in samples) > 0
    if Path("/proc/self/schedstat").exists():
        assert all(one.run_delay_ns is not None for one in samples)
        assert all(one.involuntary_switches is not None for one in samples)


@pytest.mark.parametrize("mode", ["true", "fork"])
def test_the_end_of_the_input_ends_it(start, mode):
    worker = start(*NET, "--worker", mode)
    worker.answer()
    if mode == "fork":
        assert isinstance(worker.ask("fork"), WorkerReady)
    worker.send("run")
    status, rest = worker.close()
    assert status == 0
    assert isinstance(worker_protocol.read(rest), IterationSample)


def test_an_unknown_line_is_reported_and_the_worker_continues(start):
    worker = start(*NET, "--worker", "true")
    worker.answer()
    for line in ("runs", "", "RUN", "fork", "end", "x" * 5000, "\N{SNOWMAN}"):
        answer = worker.ask(line)
        assert isinstance(answer, WorkerError), line
        assert "unknown line" in answer.error
    assert isinstance(worker.ask("  run\r"), IterationSample)


@pytest.mark.parametrize("mode", ["true", "fork"])
def test_a_net_that_cannot_be_set_up(start, mode):
    worker = start(*NET, "--input_dims", "1,2,28,28", "--worker", mode)
    if mode == "fork":
        assert isinstance(worker.answer(), WorkerForks)
        assert "operator 0, Conv 'conv1', failed" in worker.ask("fork").error
        assert "operator 0, Conv 'conv1', failed" in worker.ask("fork").error
        worker.send("quit")
        assert worker.close() == (0, "")
    else:
        assert "operator 0, Conv 'conv1', failed" in worker.answer().error
        assert worker.close() == (1, "")
        assert worker.stderr.count("\n") == 1


@pytest.mark.parametrize("mode", ["true", "fork"])
def test_files_that_cannot_be_read_are_reported_at_once(start, mode):
    worker = start("--net", "missing.pb", "--worker", mode)
    assert "cannot read missing.pb" in worker.answer().error
    assert worker.close() == (1, "")


@pytest.mark.parametrize("mode", ["true", "fork"])
def test_a_failed_iteration_is_reported_and_the_worker_continues(start, fails_later, mode):
    worker = start(*fails_later, "--worker", mode)
    worker.answer()
    if mode == "fork":
        worker.ask("fork")
    assert isinstance(worker.ask("run"), IterationSample)
    for line in ("run", "run operators", "run"):
        assert "operator 0, FC 'y', failed" in worker.ask(line).error
    worker.send("quit")
    assert worker.close() == (0, "")


def test_wrong_modes_and_systems_without_fork(start):
    worker = start(*NET, "--worker", "maybe")
    assert worker.close() == (2, "")
    assert "--worker: 'maybe' is not one of false, true, fork" in worker.stderr
    code = "import os, runpy, sys; del os.fork; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = list(map(str, [sys.executable, "-c", code, PROGRAM, *NET, "--worker", "fork"]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--worker fork: this system has no fork" in worker_protocol.read(done.stdout).error


def test_what_else_is_printed_goes_to_stderr(start, tmp_path):
    """Simulated by a module that prints when torch is imported, through Python and directly."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Noise:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            print('noise of Python', flush=True)\n"
        "            os.system('echo noise of a child')\n"
        "sys.meta_path.insert(0, Noise())\n"
    )
    worker = start(*NET, "--worker", "fork", environment={"PYTHONPATH": str(tmp_path)})
    assert isinstance(worker.answer(), WorkerForks)
    assert isinstance(worker.ask("fork"), WorkerReady)
    worker.send("quit")
    assert worker.close() == (0, "")
    assert "noise of Python" in worker.stderr
    assert "noise of a child" in worker.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_it_forks_many_workers(start, threads):
    worker = start(*NET, "--worker", "fork", "--threads", threads)
    forks = worker.answer()
    assert isinstance(forks, WorkerForks)
    assert forks.pid == worker.process.pid
    pids = set()
    for number in range(8):
        ready = worker.ask("fork")
        assert list(ready.kernels) == (OPERATORS if number == 0 else [])
        pids.add(ready.pid)
        assert isinstance(worker.ask("run"), IterationSample)
        assert list(worker.ask("run operators").operators) == OPERATORS
        assert isinstance(worker.ask("end"), WorkerEnded)
        with pytest.raises(ProcessLookupError):
            os.kill(ready.pid, 0)
    assert len(pids) == 8
    assert forks.pid not in pids
    worker.send("quit")
    assert worker.close() == (0, "")
    assert worker.stderr == ""


def test_lines_that_are_sent_ahead_reach_the_process_that_they_are_for(start):
    worker = start(*NET, "--worker", "fork")
    stdout, stderr = worker.process.communicate(b"run\nfork\nrun\nend\nend\nfork\nrun\nrun\nquit\nfork\n")
    kinds = [type(worker_protocol.read(line)) for line in stdout.splitlines()]
    assert kinds == [
        *(WorkerForks, WorkerError, WorkerReady, IterationSample, WorkerEnded),
        *(WorkerError, WorkerReady, IterationSample, IterationSample),
    ]
    assert worker.process.returncode == 0, stderr


def test_a_forked_worker_that_was_killed_between_two_lines(start):
    worker = start(*NET, "--worker", "fork")
    worker.answer()
    for line in ("run", "end", "fork"):
        ready = worker.ask("fork")
        os.kill(ready.pid, signal.SIGKILL)
        assert worker.ask(line) == WorkerError(error="the forked worker was ended by signal 9")
    assert isinstance(worker.ask("fork"), WorkerReady)
    assert isinstance(worker.ask("run"), IterationSample)
    worker.send("quit")
    assert worker.close() == (0, "")


def test_a_forked_worker_that_was_killed_in_an_iteration(start, tmp_path):
    net = write_net(tmp_path / "net.pb", 'op { type: "MatMul" input: ["x", "x"] output: "y" }')
    worker = start("--net", net, "--input", "x", "--input_dims", "4000,4000", "--worker", "fork")
    worker.answer()
    ready = worker.ask("fork")
    worker.send("run")
    time.sleep(0.05)  # an iteration takes many times that
    os.kill(ready.pid, signal.SIGSEGV)
    assert worker.answer() == WorkerError(error="the forked worker was ended by signal 11")
    assert isinstance(worker.ask("fork"), WorkerReady)
    worker.send("quit")
    assert worker.close() == (0, "")


def test_workers_compute_what_a_normal_run_does(start, tmp_path):
    output = ["--output", "softmax", "--text_output", "true", "--output_folder"]
    assert start(*NET, *output, tmp_path / "normal", "--iter", 1).close()[0] == 0
    worker = start(*NET, *output, tmp_path / "worker", "--worker", "true")
    worker.answer()
    worker.ask("run")
    worker.send("quit")
    assert worker.close() == (0, "")
    zygote = start(*NET, *output, tmp_path / "forked", "--worker", "fork")
    zygote.answer()
    texts = [(tmp_path / name / "softmax.txt").read_text() for name in ("normal", "worker")]
    for line in ("run", "run operators"):
        zygote.ask("fork")
        zygote.ask(line)
        assert isinstance(zygote.ask("end"), WorkerEnded)
        texts.append((tmp_path / "forked/softmax.txt").read_text())
    assert len(texts[0].split()) == 10
    assert set(texts) == {texts[0]}
    assert np.loadtxt(texts[0].splitlines()).sum() == pytest.approx(1)


def test_outputs_that_cannot_be_written_are_reported_instead_of_the_end(start):
    worker = start(*NET, "--output", "softmax", "--output_folder", "/dev/null/x", "--worker", "fork")
    worker.answer()
    worker.ask("fork")
    worker.ask("run")
    assert "--output_folder: cannot write" in worker.ask(Request.END).error
    assert isinstance(worker.ask("fork"), WorkerReady)
    assert "there is no blob 'softmax'" in worker.ask("end").error


def test_forked_workers_lie_at_addresses_of_their_own():
    """What comes first after the fork, in each of the three kinds of memory."""
    code = (
        "import ctypes, mmap, os\n"
        "from benchmarking.frameworks.kit.scatter import scatter\n"
        "malloc = ctypes.CDLL(None).malloc; malloc.restype = ctypes.c_void_p\n"
        "for _ in range(12):\n"
        "    if os.fork() == 0:\n"
        "        held = scatter()\n"
        "        places = [id(bytes(100)), malloc(50000), malloc(4000000)]\n"
        "        os.write(1, (' '.join(map(str, places)) + '\\n').encode())\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    places = [line.split() for line in done.stdout.splitlines()]
    assert len(places) == 12
    for of_kind in zip(*places, strict=True):
        assert len(set(of_kind)) > 6


def test_counters_of_threads_that_come_and_go():
    before = counters.Counters(3, {"1": 100, "2": 50})
    after = counters.Counters(5, {"1": 130, "3": 7})
    assert counters.difference(before, after) == {"involuntary_switches": 2, "run_delay_ns": 37}
    unknown = counters.Counters(None, None)
    assert counters.difference(unknown, after) == {"involuntary_switches": None, "run_delay_ns": None}


def test_the_step_of_a_clock_is_seen():
    """Of one that counts in ticks of 10 ms, as the CPU's does on some systems."""
    readings = (number // 3 * 10_000_000 for number in itertools.count())
    assert counters.resolution_ns(lambda: next(readings)) == 10_000_000
    assert counters.resolution_ns(lambda: 5) >= 50_000_000
