"""The Caffe2 program's backend cuda on the GPU of this machine: is it right, and how fast is it?

    benchmarks/gpu.sh [--python PYTHON] [--wheels FOLDER] [--backend cuda] [--output build/gpu]

Six parts, each with a share of --seconds: the conformance cases of real Caffe2; the zoo's nets with made-up
weights against their golden outputs; the time that the backend tells (device_ns) against CUDA events around
the run and the wall clock; squeezenet and resnet50 beside plain torch on the same card, with and without
TF32, channels_last and autotuning; one net by the programs of PyTorch and, where onnxruntime-gpu is
installed, ONNX Runtime, against its golden output; comparisons of identical programs, and of one that is 3 %
slower, by the worker protocol.

Each finding is a line of JSON in findings.jsonl of the output folder as soon as it is there; the table at the
end is also shown when time runs out or a signal comes (table.md). Status: 0: everything was tried and right,
1: it was not. Needs torch, numpy and protobuf only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as functional  # noqa: E402
from gpu_frameworks import other_frameworks  # noqa: E402
from torch import nn  # noqa: E402

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError  # noqa: E402
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.backends import (  # noqa: E402
    backend_class,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import (  # noqa: E402
    TorchEngine,
)
from benchmarking.frameworks.kit.errors import BenchmarkProgramError  # noqa: E402
from benchmarking.statistics import sequential, summaries  # noqa: E402
from tests.unit.frameworks.caffe2.program import conformance  # noqa: E402

ZOO = ROOT / "specifications/models/caffe2"
INPUTS = {"squeezenet": "data", "resnet50": "gpu_0/data"}
SHARES = {
    "conformance": 0.22,
    "golden": 0.17,
    "clocks": 0.07,
    "plain torch": 0.18,
    "other frameworks": 0.13,
    "comparisons": 0.23,
}
"""Fractions of the time; time that a part does not use is available to the following parts."""
PLAN = sequential.SequentialPlan(max_pairs=8)
ANSWER_S = 60
"""A program that is silent for this long is ended."""


class OutOfTimeError(Exception):
    """A part's share of the time is spent."""


@dataclass
class Findings:
    """Saved line by line, so that an interruption only loses what was not measured yet."""

    folder: Path
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    """The table: part, subject and finding."""
    wrong: int = 0

    def add(self, part: str, what: str, found: str, *, is_wrong: bool = False, **numbers: Any) -> None:
        self.rows.append((part, what, found))
        self.wrong += is_wrong
        line = {"part": part, "what": what, "found": found, "wrong": is_wrong, **numbers}
        with (self.folder / "findings.jsonl").open("a") as stream:
            stream.write(json.dumps(line, default=str) + "\n")
        print(f"{part}: {what}: {found}", flush=True)

    def table(self) -> str:
        rows = [("part", "what", "found"), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


@dataclass
class Part:
    name: str
    findings: Findings
    settings: argparse.Namespace
    ends: float
    """On the monotonic clock."""

    def check_time(self) -> None:
        """Raises:
        OutOfTimeError: this part's share is spent.
        """
        if time.monotonic() > self.ends:
            raise OutOfTimeError

    def add(self, what: str, found: str, *, is_wrong: bool = False, **numbers: Any) -> None:
        self.findings.add(self.name, what, found, is_wrong=is_wrong, **numbers)

    def engine(self, optimize: str = "none", options: Sequence[str] = ()) -> TorchEngine:
        return TorchEngine(1, 0, self.settings.backend, optimize, options)

    @property
    def options(self) -> list[tuple[str, ...]]:
        """None, each one, and all of the backend's options."""
        known = tuple(backend_class(self.settings.backend).options)
        return [(), *((one,) for one in known), *([known] if known else [])]


# --- is it right? -------------------------------------------------------------------------------------------


def conformance_cases(part: Part) -> None:
    cases = conformance.INDEX[:: part.settings.every]
    tried, wrong = 0, []
    try:
        for case in cases:
            part.check_time()
            content, inputs, expected = conformance.read(case)
            for mode in conformance.MODES:
                tried += 1
                problem = _conforms(case, content, inputs, expected, mode, part.settings.backend)
                if problem:
                    wrong.append({"case": case["id"], "mode": mode, "problem": problem})
    finally:
        names = ", ".join(sorted({str(one["case"]) for one in wrong})[:20])
        found = f"{tried - len(wrong)} of {tried} right, {len(cases) * len(conformance.MODES)} planned"
        found += f"; wrong: {names}" if names else ""
        part.add("cases of real Caffe2, three modes", found, is_wrong=bool(wrong), failures=wrong)


def _conforms(case: Any, content: bytes, inputs: Any, expected: Any, mode: str, backend: str) -> str:
    """What is wrong; empty: nothing."""
    try:
        found = conformance.run(content, inputs, expected, mode, backend)
    except NetError as error:
        return "" if case["expect"] == "error" else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if case["expect"] == "error":
        return "an error was expected"
    try:
        conformance.require_same(case, found, expected, 0)
    except AssertionError as error:
        return " ".join(str(error).split())[:300]
    return ""


def golden_outputs(part: Part) -> None:
    for specification in sorted(ZOO.glob("*/*_synthetic.json")):
        name = specification.parent.name
        if part.settings.golden and name not in part.settings.golden:
            continue
        content = json.loads(specification.read_text())
        for test in content["tests"]:
            if test["metric"] == "error":
                part.check_time()
                _golden(part, name, specification.parent, content["model"]["files"], test)


def _golden(part: Part, name: str, folder: Path, files: Any, test: Any) -> None:
    inputs = {}
    for blob, described in test["inputs"].items():
        dtype = {"float": np.float32, "uint8_t": np.uint8}[described["type"]]
        inputs[blob] = _numbers(folder / test["input_files"][blob], described["shapes"][0]).astype(dtype)
    init, net = (net_file.read(str(folder / files[one]["location"]), one) for one in ("init", "predict"))
    outputs = test["output_files"]
    try:
        loaded = part.engine().load(init, net, inputs, frozenset(outputs))
        loaded.run()
        found = {blob: np.asarray(loaded.output(blob), dtype=np.float64) for blob in outputs}
    except BenchmarkProgramError as error:
        part.add(name, str(error), is_wrong=True)
        return
    worst, is_wrong = 0.0, False
    for blob, file in outputs.items():
        expected = _numbers(folder / file, found[blob].shape).astype(np.float64)
        errors = np.abs(found[blob] - expected)
        limit = test["tolerance"].get("atol", 0) + test["tolerance"].get("rtol", 0) * np.abs(expected)
        is_wrong = is_wrong or bool((errors > limit).any())
        worst = max(worst, float(errors.max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)))
    said = f"largest error {worst:.1e} of the largest value"
    part.add(name, said + (", beyond the tolerance" if is_wrong else ""), is_wrong=is_wrong, error=worst)


def _numbers(path: Path, shape: Sequence[int]) -> Any:
    values = np.load(path) if path.suffix == ".npy" else np.loadtxt(path, dtype=np.float64, ndmin=1)
    return values.reshape(shape)


# --- how fast is it? ----------------------------------------------------------------------------------------


def _zoo_net(name: str, batch: int, size: int) -> tuple[Any, Any, dict[str, Any]]:
    folder = ZOO / name
    init, net = (
        net_file.read(str(folder / file), file) for file in ("synthetic_init_net.pb", "predict_net.pb")
    )
    noise = np.random.default_rng(0).standard_normal((batch, 3, size, size))
    return init, net, {INPUTS[name]: noise.astype(np.float32)}


def clocks(part: Part) -> None:
    on_card = part.settings.backend == "cuda"
    for name in part.settings.nets:
        part.check_time()
        loaded = part.engine().load(*_zoo_net(name, 1, part.settings.size))
        for _ in range(part.settings.rounds):
            loaded.run()
        walls: list[float] = []
        devices: list[float | None] = []
        events: list[float | None] = []
        for _ in range(part.settings.rounds):
            started = time.perf_counter_ns()
            events.append(_event_ns(loaded.run) if on_card else loaded.run())
            walls.append(time.perf_counter_ns() - started)
            devices.append(loaded.device_ns())
        wall = statistics.median(walls)
        device, event = (_median_of_all(times_ns) for times_ns in (devices, events))
        if device is None or event is None:
            part.add(name, f"wall {wall / 1e6:.3f} ms; no clock of a device", wall_ns=wall)
            continue
        found = (
            f"device_ns {device / 1e6:.3f} ms, events around the run {event / 1e6:.3f} ms "
            f"({device / event:.1%}), wall {wall / 1e6:.3f} ms ({device / wall:.1%})"
        )
        is_wrong = not 0 < device <= event * 1.01 <= wall * 1.03
        part.add(name, found, is_wrong=is_wrong, device_ns=device, event_ns=event, wall_ns=wall)


def _median_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None


def _event_ns(run: Callable[[], None]) -> float:
    """Measured by separate CUDA events."""
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    run()
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after)) * 1e6


class _Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one, self.three = nn.Conv2d(squeezed, expanded, 1), nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.squeeze(x), inplace=True)
        return functional.relu(torch.cat([self.one(x), self.three(x)], 1), inplace=True)


def _squeezenet() -> nn.Module:
    """Version 1.1 (Iandola et al. 2016)."""
    sizes = [(64, 16, 64), (128, 16, 64), None, (128, 32, 128), (256, 32, 128), None]
    sizes += [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
    fires = [nn.MaxPool2d(3, 2, ceil_mode=True) if one is None else _Fire(*one) for one in sizes]
    first = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True)]
    last = [nn.Conv2d(512, 1000, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Softmax(1)]
    return nn.Sequential(*first, *fires, *last)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        sizes = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, 4 * inner, 1, 1)]
        layers = [_convolution(*size) for size in sizes]
        self.layers = nn.Sequential(
            layers[0], nn.ReLU(inplace=True), layers[1], nn.ReLU(inplace=True), layers[2]
        )
        is_same = inputs == 4 * inner and stride == 1
        self.shortcut = nn.Identity() if is_same else _convolution(inputs, 4 * inner, 1, stride)

    def forward(self, x: Any) -> Any:
        return functional.relu(self.layers(x) + self.shortcut(x), inplace=True)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _resnet50() -> nn.Module:
    """He et al. (2015)."""
    layers = [_convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for inner, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for number in range(count):
            layers.append(_Bottleneck(inputs, inner, 2 if number == 0 and inner > 64 else 1))
            inputs = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000), nn.Softmax(1))


PLAIN = {"squeezenet": _squeezenet, "resnet50": _resnet50}


def beside_plain_torch(part: Part) -> None:
    for name in part.settings.nets:
        for batch in part.settings.batches:
            settings = [(options, "none") for options in part.options]
            for options, optimize in [*settings, (part.options[-1], "fuse")]:
                part.check_time()
                _beside(part, name, batch, options, optimize)


def _beside(part: Part, name: str, batch: int, options: Sequence[str], optimize: str) -> None:
    init, net, inputs = _zoo_net(name, batch, part.settings.size)
    loaded = part.engine(optimize, options).load(init, net, inputs)
    device = "cuda" if part.settings.backend == "cuda" else "cpu"
    layout = torch.channels_last if "channels_last" in options else torch.contiguous_format
    (array,) = inputs.values()
    with torch.inference_mode():
        x = torch.from_numpy(array).to(device, memory_format=layout)
        model = PLAIN[name]().eval().to(device=device)
        model = model.to(memory_format=layout)  # type: ignore[call-overload]

        def plain() -> None:
            model(x)
            if device == "cuda":
                torch.cuda.synchronize()

        ours, theirs = _in_turn((loaded.run, plain), part.settings.rounds)
    comparison = summaries.compare_log_ratios(np.log(np.array(ours) / np.array(theirs)))
    interval = comparison.ratio_interval
    said = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
    found = (
        f"ours {statistics.median(ours) / 1e6:.3f} ms, plain {statistics.median(theirs) / 1e6:.3f} ms, "
        f"ratio {comparison.ratio:.3f}{said}"
    )
    what = f"{name}, batch {batch}, {'+'.join(options) or 'no option'}, {optimize}"
    part.add(what, found, ours_ns=ours, plain_ns=theirs, options=options, optimize=optimize)


def _in_turn(runs: Sequence[Callable[[], None]], rounds: int) -> list[list[int]]:
    """The nanoseconds of each, round by round in random order, after the same number of warm-up rounds."""
    times: list[list[int]] = [[] for _ in runs]
    dice = random.Random(1)
    for number in range(2 * rounds):
        for index in dice.sample(range(len(runs)), len(runs)):
            started = time.perf_counter_ns()
            runs[index]()
            if number >= rounds:
                times[index].append(time.perf_counter_ns() - started)
    return times


# --- is a change found? -------------------------------------------------------------------------------------

SLOWED = '''"""Our Caffe2 program, slowed down: on the device, or the processor where there is none."""

import sys
import time

sys.path.insert(0, {root!r})
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import Caffe2Program
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchNet
from benchmarking.frameworks.kit.main import leave, run

prepare = TorchNet.__init__


def prepare_slowed(self, *arguments, **more):
    prepare(self, *arguments, **more)
    if self._is_device:
        import torch

        synchronise = self._backend.synchronise

        def slowed_synchronise():
            torch.cuda._sleep({cycles})
            synchronise()

        if {cycles}:
            self._backend.synchronise = slowed_synchronise
    elif self._steps:
        last = self._steps[-1]

        def slowed(*inputs):
            output = last.compute(*inputs)
            end = time.thread_time_ns() + {extra_ns}
            while time.thread_time_ns() < end:
                pass
            return output

        self._steps[-1] = last._replace(compute=slowed)


TorchNet.__init__ = prepare_slowed
leave(run(Caffe2Program(), sys.argv[1:]))
'''


class WorkerFailedError(Exception):
    """The program has no answer, or says why it cannot go on."""


class Worker:
    """A program that runs single iterations; if possible, it forks a worker for each comparison."""

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        self._command, self._errors = command, errors
        self._process: subprocess.Popen[bytes] | None = None
        self._forks = True

    def begin(self) -> None:
        """A fresh worker, set up and warm."""
        if self._forks and self._process is None:
            self._forks = self._start("fork").get("forks", False)
        if self._forks:
            answer = self.ask("fork")
            if answer.get("ready"):
                return
            self._forks = False  # a driver that has already started cannot be forked
        self.close()
        if not self._start("true").get("ready"):
            raise WorkerFailedError(f"the program does not start: {self._tail()}")

    def end(self) -> None:
        if self._forks:
            self.ask("end")
        else:
            self.close()

    def _start(self, how: str) -> dict[str, Any]:
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [*self._command, "--worker", how],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        return self._answer()

    def ask(self, line: str) -> dict[str, Any]:
        process = self._running()
        process.stdin.write(line.encode() + b"\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def run(self) -> dict[str, Any]:
        sample = self.ask("run")
        if "wall_ns" not in sample:
            raise WorkerFailedError(str(sample.get("error", sample))[:300])
        return sample

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise WorkerFailedError("the program was not started")
        return self._process

    def _answer(self) -> dict[str, Any]:
        process = self._running()
        timer = threading.Timer(ANSWER_S, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()  # type: ignore[union-attr]
        finally:
            timer.cancel()
        if not line:
            raise WorkerFailedError(f"the program gave no answer: {self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _tail(self) -> str:
        return self._errors.read_text(errors="replace")[-300:].strip()

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # type: ignore[union-attr]
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def comparisons(part: Part) -> None:
    """Eight blocks of rounds of one pair of workers each; the verdicts are those of the harness."""
    settings = part.settings
    with _workers(part, {"control": 0.0}) as started:
        net_ns = _net_ns(started["control"])
    extra_ns = 0.03 * net_ns
    part.add("made slower by", f"{extra_ns / 1e3:.1f} us of {net_ns / 1e6:.3f} ms", net_ns=net_ns)
    arms = {"same": 0.0, "slower": extra_ns, "control": 0.0}
    with _workers(part, arms) as workers:
        for what, treatment, count in (
            ("identical", workers["same"], settings.identical),
            ("+3 %", workers["slower"], settings.slower),
        ):
            made: list[tuple[str, float, str]] = []
            try:
                while len(made) < count:
                    part.check_time()
                    made.append(_compare(treatment, workers["control"], settings.block_rounds, len(made)))
            finally:
                _tell(part, what, made, count)


def _tell(part: Part, what: str, made: Sequence[tuple[str, float, str]], count: int) -> None:
    if not made:
        part.add(what, f"0 of {count} comparisons made", is_wrong=True)
        return
    verdicts = [verdict for verdict, _, _ in made]
    logs = [one for _, one, _ in made]
    spread = f", sd {statistics.stdev(logs):.2%}" if len(logs) > 1 else ""
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in sorted(set(verdicts)))
    found = f"{len(made)} of {count} made: {counts}; on average {statistics.mean(logs):+.2%}{spread}"
    part.add(what, f"{found} by the clock {made[0][2]}", verdicts=verdicts, log_ratios=logs)


@contextlib.contextmanager
def _workers(part: Part, extras: dict[str, float]) -> Iterator[dict[str, Worker]]:
    """Programs that take so many nanoseconds longer each."""
    settings = part.settings
    rate = _cycles_per_ns() if settings.backend == "cuda" else 0.0
    folder = ZOO / "squeezenet"
    flags = ["--init_net", str(folder / "synthetic_init_net.pb"), "--net", str(folder / "predict_net.pb")]
    flags += ["--input", "data", "--input_dims", f"1,3,{settings.size},{settings.size}", "--warmup", "10"]
    flags += ["--engine", "torch", "--backend", settings.backend]
    workers: dict[str, Worker] = {}
    try:
        for name, extra_ns in extras.items():
            path = part.findings.folder / f"program_{name}.py"
            cycles = round(extra_ns * rate)
            path.write_text(SLOWED.format(root=str(ROOT), cycles=cycles, extra_ns=round(extra_ns)))
            errors = part.findings.folder / f"program_{name}.stderr"
            workers[name] = Worker([sys.executable, str(path), *flags], errors)
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def _cycles_per_ns() -> float:
    """Of torch.cuda._sleep."""
    cycles = 20_000_000
    times = [_event_ns(lambda: torch.cuda._sleep(cycles)) for _ in range(3)]
    return cycles / min(times)


def _net_ns(worker: Worker) -> float:
    worker.begin()
    samples = [worker.run() for _ in range(100)][50:]
    worker.end()
    return statistics.median(_times([samples])[0][0])


def _times(arms: Sequence[Sequence[dict[str, Any]]]) -> tuple[list[list[float]], str]:
    """By the clock of the device if it computes for at least half of the time, with the name of the clock."""
    samples = [sample for arm in arms for sample in arm]
    clock = "cpu_ns"
    if all("device_ns" in one for one in samples):
        share = sum(one["device_ns"] for one in samples) / sum(one["wall_ns"] for one in samples)
        clock = "device_ns" if share >= 0.5 else "wall_ns"
    return [[one[clock] for one in arm] for arm in arms], clock


def _compare(treatment: Worker, control: Worker, rounds: int, seed: int) -> tuple[str, float, str]:
    """Verdict, estimate of the log of the ratio, and clock."""
    dice = random.Random(seed)
    arms = (treatment, control)
    for worker in dice.sample(arms, 2):
        worker.begin()
    log_ratios = []
    for block in range(PLAN.max_pairs + 1):
        samples: tuple[list[dict[str, Any]], ...] = ([], [])
        for _ in range(rounds):
            for index in dice.sample((0, 1), 2):
                samples[index].append(arms[index].run())
        (of_treatment, of_control), clock = _times(samples)
        if block:  # the first one warms up
            log_ratios.append(sequential.pair_log_ratio(of_treatment, of_control))
    for worker in arms:
        worker.end()
    decision = sequential.decide(PLAN, log_ratios, limit_reached=True)
    verdict = "undecided" if decision is None else str(decision.verdict.value)
    return verdict, statistics.median(log_ratios), clock


# --- all of it ----------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Part], None]] = {
    "conformance": conformance_cases,
    "golden": golden_outputs,
    "clocks": clocks,
    "plain torch": beside_plain_torch,
    "other frameworks": other_frameworks,
    "comparisons": comparisons,
}


def _describe(findings: Findings, backend: str) -> None:
    facts: dict[str, Any] = {"python": platform.python_version(), **TorchEngine(1, 0, backend).facts()}
    findings.add("machine", platform.platform(), ", ".join(f"{k} {v}" for k, v in facts.items()), **facts)


def _run(part: Part) -> None:
    try:
        PARTS[part.name](part)
    except OutOfTimeError:
        part.add("time", "not finished: its share of the time is spent", is_wrong=True)
    except Exception as error:
        # The failure of one part, even a bug, must not affect the others: the GPU may be available only for
        # minutes.
        traceback.print_exc()
        part.add("failed", f"{type(error).__name__}: {error}", is_wrong=True)


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def listed(text: str) -> list[str]:
        return [one for one in text.split(",") if one]

    parser.add_argument("--backend", default="cuda", help="default: the same on the processor")
    parser.add_argument("--output", type=Path, default=Path("build/gpu"), help="folder of what is found")
    parser.add_argument("--seconds", type=float, default=270, help="of all parts together")
    parser.add_argument("--parts", type=listed, default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--every", type=int, default=1, help="take every n-th conformance case")
    parser.add_argument("--golden", type=listed, default=[], help="zoo nets; all where it is not given")
    parser.add_argument("--nets", type=listed, default=list(PLAIN), help="nets that are timed")
    parser.add_argument("--batches", type=lambda text: list(map(int, text.split(","))), default=[1, 16])
    parser.add_argument("--size", type=int, default=224, help="of the images that are timed")
    parser.add_argument("--rounds", type=int, default=25, help="timed iterations, after as many to warm up")
    parser.add_argument("--identical", type=int, default=20, help="comparisons of identical programs")
    parser.add_argument("--slower", type=int, default=10, help="comparisons with a program slower by 3 %%")
    parser.add_argument("--block_rounds", type=int, default=12, help="in each of a comparison's blocks")
    settings = parser.parse_args()
    for option, known in (("parts", PARTS), ("nets", PLAIN)):
        unknown = [one for one in getattr(settings, option) if one not in known]
        if unknown:
            parser.error(f"--{option}: {', '.join(unknown)}: not among {', '.join(known)}")
    return settings


def _interrupted(number: int, _: Any) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    settings = _settings()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    started = time.monotonic()
    settings.output.mkdir(parents=True, exist_ok=True)
    (settings.output / "findings.jsonl").unlink(missing_ok=True)
    findings = Findings(settings.output.resolve())
    ends, shares = started, sum(SHARES[name] for name in settings.parts)
    stopped = ""
    try:
        try:
            _describe(findings, settings.backend)
        except BenchmarkProgramError as error:
            print(f"gpu.py: error: {error}", file=sys.stderr)
            return 2
        for name in settings.parts:
            ends += SHARES[name] / shares * settings.seconds
            _run(Part(name, findings, settings, ends))
    except KeyboardInterrupt as error:
        stopped = str(error) or "SIGINT"
        findings.add("stopped", "by", stopped, is_wrong=True)
    table = findings.table()
    (settings.output / "table.md").write_text(table + "\n")
    print(
        f"\n{table}\n\n{time.monotonic() - started:.0f} s; {findings.wrong} wrong or not finished", flush=True
    )
    if stopped:
        return 128 + signal.Signals[stopped].value
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
