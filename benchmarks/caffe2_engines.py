"""Compares the Caffe2 program with real Caffe2: the same nets, inputs and threads, time and memory.

    python benchmarks/caffe2_engines.py --caffe2_python PATH/TO/python3.9

PATH/TO/python3.9 is an interpreter that has real Caffe2 (docs/caffe2.md says how to get it). For each net of
the zoo, with synthetic weights and batch 1, three programs take turns in random order, as whole processes:
real Caffe2 (``--engine native``), this program operator by operator (``--optimize none``), and this program
fused (``--optimize fuse``). A round is one process of each, so that disturbances affect all three. The table
shows the medians over all iterations, the time of real Caffe2 divided by that of this program as the median
of the rounds' ratios with its interval (order statistics, at least 95 % if there are enough rounds), the peak
memory of the process beyond that of importing torch, and the differences between this program's outputs and
real Caffe2's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from tabulate import tabulate  # noqa: E402

from benchmarking.frameworks import program_output  # noqa: E402
from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402
from benchmarking.specs.expand import TestCase, expand  # noqa: E402
from benchmarking.specs.reader import read_benchmarks  # noqa: E402
from benchmarking.statistics import summaries  # noqa: E402

PROGRAM = ROOT / "benchmarking/frameworks/caffe2/program"
MODELS = ROOT / "specifications/models/caffe2"
PROCESS_S = 1.0
"""The approximate measuring time of a process."""
MEGABYTE = 2**20 if sys.platform == "darwin" else 1024
"""In units of ru_maxrss."""


@dataclass(frozen=True)
class Variant:
    name: str
    python: str
    flags: tuple[str, ...]


@dataclass
class Measured:
    """Of one variant on one net."""

    times_us: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    """The round of each time."""
    peak_mb: float = 0.0
    outputs: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_us) / 1000


def zoo() -> list[str]:
    """The nets that the zoo has, and mobilenet_v2."""
    return sorted(
        path.parent.name
        for path in MODELS.glob("*/*_synthetic.json")
        if (path.parent / f"{path.parent.name}.json").exists() or path.parent.name == "mobilenet_v2"
    )


def delay_case(net: str) -> TestCase:
    """The largest test of batch 1."""
    synthetic = MODELS / net / f"{net}_synthetic.json"
    cases = expand(read_benchmarks(synthetic if synthetic.exists() else MODELS / net / f"{net}.json"), None)
    single = [one for one in cases if one.metric == "delay" and one.inputs[0].shape[0] == 1]
    return max(single, key=lambda one: math.prod(one.inputs[0].shape))


def flags(case: TestCase, threads: int) -> list[str]:
    files = {key: str(location.path) for key, location in case.model_files.items()}
    result = ["--init_net", files["init"], "--net", files["predict"], "--threads", str(threads)]
    result += ["--input", ",".join(blob.name for blob in case.inputs)]
    result += ["--input_dims", ";".join(",".join(map(str, blob.shape)) for blob in case.inputs)]
    return [*result, "--input_type", ";".join(blob.type for blob in case.inputs)]


def run(command: list[str]) -> tuple[str, float]:
    """The text on stderr, and the peak memory in MB of this process alone."""
    with tempfile.TemporaryFile() as stream:
        actions = [(os.POSIX_SPAWN_DUP2, stream.fileno(), number) for number in (1, 2)]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        stream.seek(0)
        text = stream.read().decode(errors="replace")
    if status:
        raise SystemExit(f"{' '.join(command)}\nended with {os.waitstatus_to_exitcode(status)}:\n{text}")
    return text, usage.ru_maxrss / MEGABYTE


def compare(net: str, threads: int, variants: Sequence[Variant], rounds: int) -> dict[str, Measured]:
    case = delay_case(net)
    common = flags(case, threads)
    with tempfile.TemporaryDirectory() as directory:
        first = measure(variants[0], [*common, "--iter", "3", "--warmup", "1"])
        iterations = max(3, min(200, round(PROCESS_S * 1e6 / statistics.median(first[0]))))
        measured = {one.name: Measured() for one in variants}
        for number in range(rounds):
            for variant in random.sample(variants, k=len(variants)):
                times_us, peak_mb = measure(
                    variant, [*common, "--iter", str(iterations), "--warmup", str(max(2, iterations // 10))]
                )
                one = measured[variant.name]
                one.times_us += times_us
                one.rounds += [number] * len(times_us)
                one.peak_mb = max(one.peak_mb, peak_mb)
        for variant in variants:
            folder = Path(directory) / variant.name
            output = last_output(case.model_files["predict"].path)
            writing = ["--output", output, "--output_folder", str(folder), "--text_output", "true"]
            measure(variant, [*common, "--iter", "1", *writing])
            measured[variant.name].outputs = {path.name: np.loadtxt(path) for path in folder.iterdir()}
    return measured


def last_output(predict_net: Path) -> str:
    return str(net_file.read(str(predict_net), "net").op[-1].output[0])


def measure(variant: Variant, arguments: Sequence[str]) -> tuple[list[float], float]:
    text, peak_mb = run([variant.python, str(PROGRAM), *variant.flags, *arguments])
    return list(program_output.parse(text).net_us), peak_mb


def ratio(real: Measured, ours: Measured) -> tuple[float, str]:
    comparison = summaries.compare(real.times_us, real.rounds, ours.times_us, ours.rounds)
    if comparison is None:
        sys.exit("the rounds have no times in common")
    interval = comparison.ratio_interval
    shown = f"{comparison.ratio:.2f}"
    return comparison.ratio, f"{shown} [{interval.low:.2f}, {interval.high:.2f}]" if interval else shown


def difference(real: Measured, ours: Measured) -> float:
    """The largest difference, relative to the largest value of the output."""
    return max(
        float(np.abs(ours.outputs[name] - value).max() / max(np.abs(value).max(), 1e-30))
        for name, value in real.outputs.items()
    )


def import_mb(python: str) -> float:
    return run([python, "-c", "import torch"])[1]


def require_caffe2(python: str) -> None:
    code = "import torch; from caffe2.python import workspace; print(torch.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"--caffe2_python: {python} has no Caffe2; docs/caffe2.md says how to get one")
    print(f"real Caffe2 of torch {done.stdout.strip()}", end=", ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--caffe2_python", required=True, metavar="PYTHON")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--nets", default=",".join(zoo()))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON, too")
    arguments = parser.parse_args()
    require_caffe2(arguments.caffe2_python)
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"ours on torch {torch.__version__}; {platform.machine()}, {cores} cores")
    variants = [
        Variant("real", arguments.caffe2_python, ("--engine", "native")),
        Variant("none", sys.executable, ("--engine", "torch", "--optimize", "none")),
        Variant("fuse", sys.executable, ("--engine", "torch", "--optimize", "fuse")),
    ]
    imports_mb = {one.name: import_mb(one.python) for one in variants}
    figures = []
    for threads in map(int, arguments.threads.split(",")):
        rows: list[list[str]] = []
        ratios: dict[str, list[float]] = {"none": [], "fuse": []}
        for net in arguments.nets.split(","):
            measured = compare(net, threads, variants, arguments.rounds)
            row = [net, *(f"{one.median_ms:.2f}" for one in measured.values())]
            for name, values in ratios.items():
                value, shown = ratio(measured["real"], measured[name])
                values.append(value)
                row.append(shown)
            row += [f"{one.peak_mb - imports_mb[name]:.0f}" for name, one in measured.items()]
            differences = [difference(measured["real"], measured[name]) for name in ratios]
            rows.append([*row, f"{max(differences):.1e}"])
            figures.append(
                {
                    "net": net,
                    "threads": threads,
                    "median_ms": {name: one.median_ms for name, one in measured.items()},
                    "ratio": {name: values[-1] for name, values in ratios.items()},
                    "peak_mb": {name: one.peak_mb for name, one in measured.items()},
                    "import_torch_mb": imports_mb,
                    "difference": max(differences),
                }
            )
            print(f"  {' '.join(rows[-1])}", file=sys.stderr, flush=True)
        means = [f"{math.exp(statistics.fmean(map(math.log, values))):.2f}" for values in ratios.values()]
        rows.append(["geometric mean", "", "", "", *means, "", "", "", ""])
        headers = ["net", "real ms", "none ms", "fuse ms", "real / none", "real / fuse"]
        headers += ["real MB", "none MB", "fuse MB", "difference"]
        print(f"\n{threads} thread{'s' if threads > 1 else ''}; MB beyond importing torch ", end="")
        print("(" + ", ".join(f"{name} {value:.0f}" for name, value in imports_mb.items()) + ")")
        print(tabulate(rows, headers, disable_numparse=True, stralign="right"), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
