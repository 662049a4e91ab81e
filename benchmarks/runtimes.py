"""Do the net's times agree with those of the runtimes' own tools, and do the operators add up to the net?

    python specifications/models/zoo/make_models.py /tmp/models
    python benchmarks/runtimes.py /tmp/models/squeezenet.json [--rounds 9] [--runtime openvino]

For each installed runtime, its own tool and this project's program take turns, as whole processes, on the
same file, one core and one thread: ONNX Runtime's Python interface with bound inputs and outputs, OpenVINO's
benchmark_app, LiteRT's litert-benchmark, PyTorch's torch.utils.benchmark. The table shows the medians, and
the program's time divided by the tool's as the median of the rounds' ratios with its interval. The program
then times each operator: the sum of their medians is shown relative to the net's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarking.frameworks.framework_base import FrameworkBase, Invocation, ProgramReport  # noqa: E402
from benchmarking.frameworks.frameworks import FRAMEWORKS  # noqa: E402
from benchmarking.programs.command import Outcome  # noqa: E402
from benchmarking.results.model import NET_DELAY  # noqa: E402
from benchmarking.specs.expand import TestCase, expand  # noqa: E402
from benchmarking.specs.reader import read_benchmarks  # noqa: E402
from benchmarking.statistics.summaries import compare_log_ratios  # noqa: E402

ONNX_RUNTIME = """
import json, os, sys, time
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
binding = session.io_binding()
shape = json.loads(sys.argv[2])
binding.bind_cpu_input(session.get_inputs()[0].name, numpy.random.rand(*shape).astype("float32"))
for one in session.get_outputs():
    binding.bind_output(one.name)
times = []
for _ in range(int(sys.argv[3])):
    start = time.perf_counter_ns()
    session.run_with_iobinding(binding)
    times.append(time.perf_counter_ns() - start)
times = sorted(times[5:])
print(times[len(times) // 2] / 1e3)
"""
PYTORCH = """
import json, sys, torch
from torch.utils.benchmark import Timer
module = torch.export.load(sys.argv[1]).module(check_guards=False)
values = torch.rand(json.loads(sys.argv[2]))
with torch.inference_mode():
    timer = Timer("module(values)", globals={"module": module, "values": values}, num_threads=1)
    timer.timeit(5)
    times = sorted(timer.timeit(1).times[0] for _ in range(int(sys.argv[3])))
print(times[len(times) // 2] * 1e6)
"""


@dataclass(frozen=True)
class Tool:
    """A runtime's own way to time a model."""

    name: str
    median_us: Callable[[Path, list[int], int], float]
    """Of a file, the shape of its input and the number of iterations."""


def printed_us(code: str) -> Callable[[Path, list[int], int], float]:
    def median_us(path: Path, shape: list[int], iterations: int) -> float:
        return float(output([sys.executable, "-c", code, path, json.dumps(shape), iterations]))

    return median_us


def by_benchmark_app(path: Path, shape: list[int], iterations: int) -> float:
    name = f"[{','.join(map(str, shape))}]"
    options = [*("-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", "1", "-pin", "NO")]
    options += ["-infer_precision", "f32", "-niter", str(iterations), "-shape", name]
    text = output([beside("benchmark_app"), "-m", path, *options])
    (median_ms,) = re.findall(r"Median:\s+([\d.]+) ms", text)
    return float(median_ms) * 1e3


def by_litert_benchmark(path: Path, shape: list[int], iterations: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "result.json"
        options = ["--num_runs", iterations, "--warmup_runs", 5, "--num_threads", 1, "--result_json", file]
        output([beside("litert-benchmark"), "--model", path, *options])
        result = json.loads(file.read_text())
    return float(result["latency"]["median_ms"]) * 1e3


TOOLS = {
    "onnxruntime": Tool("a Python loop with bound tensors", printed_us(ONNX_RUNTIME)),
    "openvino": Tool("benchmark_app", by_benchmark_app),
    "litert": Tool("litert-benchmark", by_litert_benchmark),
    "pytorch": Tool("torch.utils.benchmark", printed_us(PYTORCH)),
}


def beside(program: str) -> str:
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        sys.exit(f"{program} does not lie beside {sys.executable}")
    return found


def output(argv: list[object]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"{argv[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


class OurProgram:
    def __init__(self, framework: FrameworkBase, case: TestCase) -> None:
        self._framework = framework
        self.case = case.in_first_format_of(framework.formats)
        self._program = framework.default_program()

    @property
    def model(self) -> Path:
        return next(iter(self.case.model_files.values())).path

    def report(self, iterations: int, *, times_operators: bool = False) -> ProgramReport:
        options = {"run_individual": "true"} if times_operators else {}
        case = replace(self.case, iterations=iterations, warmup=5, commands={self._framework.name: options})
        files = {key: str(location.path) for key, location in case.model_files.items()}
        invocation = Invocation(case, (sys.executable, str(self._program.path)), files, {}, None)
        command = self._framework.compose(invocation)
        environment = {**os.environ, **command.environment}
        done = subprocess.run(command.argv, capture_output=True, check=False, env=environment)
        outcome = Outcome(command, done.returncode, done.stdout.decode(), done.stderr.decode(), 0.0)
        return self._framework.parse(outcome, case)

    def median_us(self, iterations: int) -> float:
        return medians(self.report(iterations))[NET_DELAY]

    def operators_share(self, iterations: int) -> float:
        """The operators' medians together, over the net's."""
        times = medians(self.report(iterations, times_operators=True))
        return sum(value for name, value in times.items() if name != NET_DELAY) / times[NET_DELAY]


def medians(report: ProgramReport) -> dict[str, float]:
    return {one.type: statistics.median(one.values) for one in report.measurements}


def row(name: str, case: TestCase, rounds: int, iterations: int) -> list[str]:
    program, tool = OurProgram(FRAMEWORKS[name](), case), TOOLS[name]
    shape = [*case.inputs[0].shape]
    ours: list[float] = []
    theirs: list[float] = []
    turns: list[tuple[list[float], Callable[[], float]]] = [
        (ours, lambda: program.median_us(iterations)),
        (theirs, lambda: tool.median_us(program.model, shape, iterations)),
    ]
    for _ in range(rounds):
        for times, measure in random.sample(turns, k=2):
            times.append(measure())
    compared = compare_log_ratios([math.log(one / other) for one, other in zip(ours, theirs, strict=True)])
    interval = compared.ratio_interval
    return [
        name,
        tool.name,
        f"{statistics.median(theirs) / 1e3:.3f}",
        f"{statistics.median(ours) / 1e3:.3f}",
        f"{compared.ratio:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""),
        f"{program.operators_share(iterations):.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("specification", type=Path, help="of a model in several formats, with one input")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--runtime", action="append", choices=tuple(TOOLS), help="again for each")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    case = next(
        case for case in expand(read_benchmarks(arguments.specification), None) if case.metric == "delay"
    )
    rows = []
    for name in arguments.runtime or TOOLS:
        if all(map(find_spec, FRAMEWORKS[name]().default_program().python_modules)):
            rows.append(row(name, case, arguments.rounds, arguments.iterations))
            print(*rows[-1], sep="  ", file=sys.stderr)
        else:
            print(f"{name} is not installed", file=sys.stderr)
    headers = ["runtime", "its own tool", "ms", "ours ms", "ours / the tool's", "operators / net"]
    print(f"{case.model.name}, {case.inputs[0].shape}, {arguments.rounds} rounds of {arguments.iterations}\n")
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
