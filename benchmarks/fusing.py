"""Is --optimize fuse never slower than none, and how near is it to the fastest runtime?

    python specifications/models/zoo/make_models.py /tmp/models
    python benchmarks/fusing.py /tmp/models [--nets squeezenet,style_transfer] [--blocks 6] [--iterations 20]

For each net, the Caffe2 program with ``none`` and with ``fuse``, and ONNX Runtime and OpenVINO (in f32) with
the same net, as far as there is an ONNX file of it. In each block a fresh process of each is set up on the
same core, with one thread, and they take turns running single iterations, in random order. The table has the
medians of the CPU times in milliseconds, and the ratios of ``fuse`` to ``none`` and to the faster of the
runtimes as medians of the blocks' ratios, with their range.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
FRAMEWORKS = ROOT / "benchmarking/frameworks"
MODELS = ROOT / "specifications/models/caffe2"
NETS = "squeezenet,mobilenet_v2,resnet50,style_transfer"
WARM_UP = 5


def arms(net: str, onnx: Path) -> dict[str, list[str]]:
    """The command line of each program."""
    specification = json.loads((MODELS / net / f"{net}_synthetic.json").read_text())
    files = {key: str(MODELS / net / one["location"]) for key, one in specification["model"]["files"].items()}
    tests = [test["inputs"] for test in specification["tests"] if test["metric"] == "delay"]
    name, data = next(iter(tests[0].items()))
    shape = [1, *max((shape[1:] for test in tests for shape in test[name]["shapes"]), key=math.prod)]
    inputs = ["--input", name, "--input_dims", ",".join(map(str, shape)), "--input_type", data["type"]]
    caffe2 = [str(FRAMEWORKS / "caffe2/program"), "--init_net", files["init"], "--net", files["predict"]]
    caffe2 += ["--engine", "torch", *inputs]
    found = {optimize: [*caffe2, "--optimize", optimize] for optimize in ("none", "fuse")}
    if onnx.exists():
        for runtime in ("onnxruntime", "openvino"):
            found[runtime] = [str(FRAMEWORKS / runtime / "program"), "--model", str(onnx), *inputs]
    return found


class Worker:
    """A program that runs one iteration for each line."""

    def __init__(self, arguments: Sequence[str]) -> None:
        options = ["--worker", "true", "--warmup", str(WARM_UP), "--threads", "1"]
        self._process = subprocess.Popen(
            [sys.executable, *arguments, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        answer: Mapping[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer

    def run_ms(self) -> float:
        """The CPU time of one iteration."""
        self._say("run")
        return float(self._answer()["cpu_ns"]) / 1e6

    def close(self) -> None:
        self._say("quit")
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def block(commands: Mapping[str, Sequence[str]], iterations: int) -> dict[str, float]:
    """The median of each program, in milliseconds."""
    workers = {name: Worker(command) for name, command in commands.items()}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(iterations):
        for name in random.sample(list(workers), k=len(workers)):
            times[name].append(workers[name].run_ms())
    for worker in workers.values():
        worker.close()
    return {name: statistics.median(values) for name, values in times.items()}


def ratio(blocks: Sequence[Mapping[str, float]], others: Sequence[str]) -> str:
    """Of fuse to the fastest of the others."""
    if not set(others) <= set(blocks[0]):
        return ""
    ratios = [one["fuse"] / min(one[name] for name in others) for one in blocks]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=Path, help="the directory that make_models.py has filled")
    parser.add_argument("--nets", default=NETS)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=20)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    for net in arguments.nets.split(","):
        commands = arms(net, arguments.models / f"{net}.onnx")
        blocks = [block(commands, arguments.iterations) for _ in range(arguments.blocks)]
        names = ("none", "fuse", "onnxruntime", "openvino")
        medians = [
            f"{statistics.median(one[name] for one in blocks):.2f}" if name in commands else ""
            for name in names
        ]
        rows.append([net, *medians, ratio(blocks, ["none"]), ratio(blocks, names[2:])])
        print(*rows[-1], f"load {os.getloadavg()[0]:.1f}", sep="  ", file=sys.stderr, flush=True)
    headers = ["net", *names, "fuse / none", "fuse / fastest"]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
