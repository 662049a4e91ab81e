"""Compares the backend opengl of the Caffe2 program with the default backend on one thread: time, start-up,
result.

    python benchmarks/opengl.py [--nets squeezenet,lenet] [--rounds 15]

For each net, with made-up weights and batch 1, both backends are prepared in one process and take turns, a
block of iterations each, in random order; what disturbs the machine disturbs both. Shown are the medians, the
time of opengl over that of default as the median of the rounds' ratios with its interval, the operators that
ran on the device, and how far the outputs are apart. Preparing is timed in processes of their own: with an
empty cache of compiled shaders, and with the one that this leaves (Mesa keeps one on disk).

Without a GPU Mesa's llvmpipe runs the shaders on the processor, on all cores unless LP_NUM_THREADS says how
many, while the default backend has one thread: to compare core with core, bind the script to one (taskset).
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from tabulate import tabulate  # noqa: E402

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import (  # noqa: E402
    TorchEngine,
)
from benchmarking.specs.expand import TestCase, expand  # noqa: E402
from benchmarking.specs.reader import read_benchmarks  # noqa: E402
from benchmarking.statistics import summaries  # noqa: E402

MODELS = ROOT / "specifications/models/caffe2"
BACKENDS = ("default", "opengl")
BLOCK_S = 0.3
"""The approximate time of a block of iterations."""


def delay_case(net: str) -> TestCase:
    """The largest test of batch 1."""
    synthetic = MODELS / net / f"{net}_synthetic.json"
    cases = expand(read_benchmarks(synthetic if synthetic.exists() else MODELS / net / f"{net}.json"), None)
    single = [one for one in cases if one.metric == "delay" and one.inputs[0].shape[0] == 1]
    return max(single, key=lambda one: math.prod(one.inputs[0].shape))


def prepare(net: str, backend: str) -> tuple[TorchEngine, Any, str]:
    """The engine, the net ready to run, and the name of its output."""
    case = delay_case(net)
    init, predict = (net_file.read(str(case.model_files[key].path), key) for key in ("init", "predict"))
    source = np.random.default_rng(0)
    inputs = {
        blob.name: source.integers(0, 256, blob.shape, np.uint8)
        if blob.type == "uint8_t"
        else source.standard_normal(blob.shape, dtype=np.float32)
        for blob in case.inputs
    }
    engine = TorchEngine(threads=1, seed=0, backend=backend)
    return engine, engine.load(init, predict, inputs), predict.op[-1].output[0]


def block_us(loaded: Any, iterations: int) -> list[float]:
    times_us = []
    for _ in range(iterations):
        start = time.perf_counter_ns()
        loaded.run()
        times_us.append((time.perf_counter_ns() - start) / 1000)
    return times_us


def measure(net: str, rounds: int) -> list[str]:
    loaded, outputs = {}, {}
    for backend in BACKENDS:
        _, loaded[backend], output = prepare(net, backend)
        block_us(loaded[backend], 2)
        outputs[backend] = loaded[backend].output(output).astype(float)
    observation = loaded["opengl"].observe()
    iterations = {name: max(1, round(BLOCK_S * 1e6 / min(block_us(one, 3)))) for name, one in loaded.items()}
    times_us: dict[str, list[float]] = {name: [] for name in BACKENDS}
    of_round: dict[str, list[int]] = {name: [] for name in BACKENDS}
    for number in range(rounds):
        for name in random.sample(BACKENDS, k=len(BACKENDS)):
            block = block_us(loaded[name], iterations[name])
            times_us[name] += block
            of_round[name] += [number] * len(block)
    ours, reference = BACKENDS[::-1]
    comparison = summaries.compare(times_us[ours], of_round[ours], times_us[reference], of_round[reference])
    if comparison is None:
        sys.exit(f"{net}: a median is not positive")
    interval = comparison.ratio_interval
    ratio = f"{comparison.ratio:.2f}"
    difference = np.abs(outputs["opengl"] - outputs["default"]).max() / np.abs(outputs["default"]).max()
    return [
        net,
        *(f"{statistics.median(times_us[name]) / 1000:.2f}" for name in BACKENDS),
        f"{ratio} [{interval.low:.2f}, {interval.high:.2f}]" if interval else ratio,
        f"{len(observation.own)} of {len(observation.kernels)}",
        f"{difference:.1e}",
    ]


def preparing_s(net: str, cache: str) -> float:
    """In a separate process; the interpreter and its imports are not counted."""
    argv = [sys.executable, __file__, "--prepare", net]
    environment = {**os.environ, "MESA_SHADER_CACHE_DIR": cache}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default="squeezenet")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--prepare", metavar="NET", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    problem = TorchEngine.why_unavailable("opengl")
    if problem:
        raise SystemExit(f"opengl: {problem}")
    if arguments.prepare:
        start = time.perf_counter()
        prepare(arguments.prepare, "opengl")
        print(time.perf_counter() - start)
        return
    facts = TorchEngine(threads=1, seed=0, backend="opengl").facts()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = f", threads: {facts['gl_threads']}" if "gl_threads" in facts else ""
    print(f"{facts['gl_renderer']}, OpenGL {facts['gl_version']}{threads}; {cores} cores")
    rows = []
    for net in arguments.nets.split(","):
        with tempfile.TemporaryDirectory() as cache:
            starts = [f"{preparing_s(net, cache):.2f}" for _ in range(2)]
        rows.append([*measure(net, arguments.rounds), *starts])
    headers = ["net", "default ms", "opengl ms", "opengl / default", "on the device", "difference"]
    headers += ["prepared s", "with the cache s"]
    print(tabulate(rows, headers, disable_numparse=True, stralign="right"))


if __name__ == "__main__":
    main()
