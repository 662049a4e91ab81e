"""The requirements on every program of this project, for any runtime."""

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarking.frameworks import tensor_file
from benchmarking.frameworks.frameworks import FRAMEWORKS
from benchmarking.frameworks.own_program import OwnProgramFramework
from benchmarking.programs import worker_protocol
from benchmarking.programs.command import Command, Outcome
from tests.support.waiting import LIMIT_S

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "specifications/models"
LENET = MODELS / "caffe2/lenet"
INPUT = ("--input", "data", "--input_dims", "1,1,28,28", "--iter", "2", "--warmup", "1")


@dataclass(frozen=True)
class Subject:
    module: str
    """That its runtime is."""
    model: tuple[str, ...]
    """The flags for a LeNet, which every program has the same weights of."""
    knows_peak: bool = False
    """Whether it finds out what the device can do at best."""
    knows_costs: bool = True
    """Whether it finds out what its operators have to do."""
    made_by: str = ""
    """The script that makes the LeNet, where its file is too large to be committed."""


SUBJECTS = {
    "caffe2": Subject(
        "torch",
        ("--init_net", str(LENET / "init_net.pb"), "--net", str(LENET / "predict_net.pb")),
        knows_peak=True,
    ),
    "onnxruntime": Subject("onnxruntime", ("--model", str(MODELS / "onnx/lenet/lenet.onnx"))),
    "executorch": Subject(
        "executorch",
        ("--model", "lenet.pte"),
        knows_costs=False,
        made_by="executorch/gen_executorch_models.py",
    ),
    "litert": Subject("ai_edge_litert", ("--model", str(MODELS / "tflite/lenet/lenet.tflite"))),
    "openvino": Subject("openvino", ("--model", str(MODELS / "onnx/lenet/lenet.onnx"))),
    "pytorch": Subject("torch", ("--model", str(MODELS / "pytorch/lenet/lenet.pt2"))),
}
OWN = {name: kind for name, kind in FRAMEWORKS.items() if issubclass(kind, OwnProgramFramework)}


def test_every_program_is_under_contract():
    assert set(SUBJECTS) == set(OWN)


@pytest.fixture(scope="module", params=sorted(SUBJECTS))
def program(request, tmp_path_factory):
    """Runs the program as the harness does: built, and with the arguments given."""
    subject = SUBJECTS[request.param]
    if find_spec(subject.module) is None:
        pytest.skip(f"{subject.module} is not installed")
    directory = tmp_path_factory.mktemp(request.param)
    if subject.made_by:
        subprocess.run([sys.executable, MODELS / subject.made_by, directory], check=True)
        subject = replace(subject, model=("--model", str(directory / subject.model[1])))
    framework = OWN[request.param](directory)
    return BuiltProgram(framework, subject, framework.default_program().path)


@dataclass(frozen=True)
class BuiltProgram:
    framework: OwnProgramFramework
    subject: Subject
    path: Path

    def run(self, *arguments, lines=None, **more):
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        return subprocess.run(
            [sys.executable, str(self.path), *arguments],
            input=lines, capture_output=True, text=True, timeout=LIMIT_S, env=environment, **more,
        )  # fmt: skip

    def run_model(self, *arguments, **more):
        return self.run(*self.subject.model, *INPUT, *arguments, **more)

    def answers(self, mode, *lines, **more):
        done = self.run_model(
            "--worker", mode, "--run_individual", "true", lines="".join(f"{line}\n" for line in lines), **more
        )
        assert done.returncode == 0, done.stderr
        return [worker_protocol.read(line) for line in done.stdout.splitlines()]


def test_backends_are_listed(program):
    done = program.run("--list_backends")
    outcome = Outcome(Command(("program",)), done.returncode, done.stdout, done.stderr, 0.1)
    backends = program.framework.parse_backend_list(outcome)
    assert {one.name for one in backends} <= set(program.framework.backends)
    assert backends[0].available  # what runs where none is named
    assert all(one.available != bool(one.reason) and "\n" not in one.reason for one in backends)


def test_a_run_prints_what_is_parsed_and_nothing_on_stdout(program):
    done = program.run_model("--run_individual", "true")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    log = program_log(done.stderr)
    assert len(log.net_us) == 2
    assert log.damaged_count == 0
    assert {len(values) for values in log.operators_us.values()} == {2}
    assert set(log.operators_us) == set(log.kernels)
    if program.subject.knows_costs:
        assert set(log.operators_us) == set(log.costs) - {"NET_DELAY"}
        assert log.costs["NET_DELAY"].flops > 4_000_000
    assert log.facts["threads"] == 1
    assert log.facts["python_executable"] == sys.executable
    assert log.facts["load_ns"] > 0
    assert log.facts["peak_rss_bytes"] > 10_000_000


def program_log(text):
    from benchmarking.frameworks import program_output

    return program_output.parse(text)


def test_outputs_are_those_of_the_golden_files(program, tmp_path):
    golden = LENET / "golden"
    done = program.run_model(
        "--input_file", str(golden / "digit_0_input.txt"), "--output", "softmax", "--output_folder",
        str(tmp_path), *(word for item in program.framework.output_arguments.items() for word in (f"--{item[0]}", item[1])),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = tensor_file.read(tmp_path / program.framework.output_file("softmax"))
    assert found == pytest.approx(tensor_file.read(golden / "digit_0_output.txt"), abs=1e-6)


def test_a_worker_runs_iterations_and_operators(program):
    ready, sample, by_operator, *rest = program.answers(
        "true", "run", "run operators", "run operators", "operators", "nonsense", "quit"
    )
    assert isinstance(ready, worker_protocol.WorkerReady)
    assert ready.load_ns > 0
    assert ready.first_ns > 0
    assert ready.peak_rss_bytes >= ready.rss_bytes * 0.9
    assert ready.facts["threads"] == 1
    peak = {"peak_flops_per_s", "peak_bytes_per_s"} & set(ready.facts)
    assert len(peak) == (2 if program.subject.knows_peak else 0)
    assert set(ready.kernels) == set(ready.operators)
    assert set(ready.operators if program.subject.knows_costs else ()) == set(ready.costs) - {"NET_DELAY"}
    assert sample.operators is None
    assert sample.wall_ns > 0
    if ready.operators_later:
        times = rest[1].operators
        assert {len(values) for values in times.values()} == {2}
    else:
        times = by_operator.operators
    assert list(times) == list(ready.operators)
    assert sum(map(float, (one if isinstance(one, int | float) else one[0] for one in times.values()))) > 0
    assert isinstance(rest[-1], worker_protocol.WorkerError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_the_workers_of_a_program_that_forks_work(program):
    first, *others = program.answers("fork", "fork", "run", "end", "fork", "run operators", "end", "quit")
    assert isinstance(first, worker_protocol.WorkerForks)
    assert [type(one).__name__ for one in others] == [
        *("WorkerReady", "IterationSample", "WorkerEnded"),
        *("WorkerReady", "IterationSample", "WorkerEnded"),
    ]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not list threads")
def test_a_program_that_forks_has_a_single_thread(program):
    command = [sys.executable, str(program.path), *program.subject.model, *INPUT, "--worker", "fork"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert isinstance(worker_protocol.read(process.stdout.readline()), worker_protocol.WorkerForks)
        assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == 1
        process.stdin.write("fork\n")
        process.stdin.flush()
        assert isinstance(worker_protocol.read(process.stdout.readline()), worker_protocol.WorkerReady)
        process.stdin.write("quit\n")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system keeps no process on a core")
def test_a_program_stays_on_the_cores_that_it_was_given(program):
    core = max(os.sched_getaffinity(0))
    command = [sys.executable, str(program.path), *program.subject.model, *INPUT, "--worker", "true"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {core})
        process.stdout.readline()
        for line in ("run", "run operators"):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            process.stdout.readline()
            assert os.sched_getaffinity(process.pid) == {core}
        process.stdin.write("quit\n")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_program_sends_nothing_and_writes_nothing_at_home(program, tmp_path):
    """Without CI in the environment, where some runtimes keep still by themselves."""
    log = tmp_path / "calls"
    home = tmp_path / "home"
    home.mkdir()
    calls = "trace=socket,connect,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
    quiet = {name for name in os.environ if name in ("CI", "GITHUB_ACTIONS") or name.startswith("XDG_")}
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    done = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-e", calls, "-o", str(log), sys.executable, "-B", str(program.path),
         *program.subject.model, *INPUT, "--run_individual", "true"],
        env={**environment, "HOME": str(home)}, cwd=home, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    if "Operation not permitted" in done.stderr and "ptrace" in done.stderr:
        pytest.skip("this container does not allow strace")
    assert done.returncode == 0, done.stderr
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (("--nonsense", "1"), 2),
        (("--threads", "0"), 2),
        (("--backend", "nonsense"), 2),
        (("--input_dims", "1,1,x"), 2),
        (("--input_file", "/nonesuch"), 1),
        (("--output", "nonesuch,another", "--output_folder", "."), 1),
    ],
)
def test_what_is_wrong_is_one_line_and_a_status(program, tmp_path, flags, status):
    done = program.run_model(*flags, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"{program.framework.program_name}: error: ")
    assert "Traceback" not in done.stderr


def test_a_worker_that_cannot_start_says_why(program):
    done = program.run_model("--worker", "true", "--input_file", "/nonesuch", lines="")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("--input_file: cannot read /nonesuch")


@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_a_program_is_python_3_8(name):
    package = ROOT.joinpath(*OWN[name].program_package.split("."))
    kit = ROOT / "benchmarking/frameworks/kit"
    for path in (*package.rglob("*.py"), *kit.rglob("*.py")):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))
