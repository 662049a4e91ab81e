"""Compares the backends of the Caffe2 program on the engine torch with those of real Caffe2, on the same nets
and inputs.

    python benchmarks/backends.py --caffe2_python PATH/TO/python3.9

PATH/TO/python3.9 is an interpreter that has real Caffe2 (docs/caffe2.md says how to get it). For each net of
the zoo, with synthetic weights and batch 1, all backends of both take turns in random order, as whole
processes, so that disturbances affect all of them. The table shows the time of real Caffe2 divided by that of
this program, as the median of the rounds' ratios with its interval, for each backend and its counterpart:
``default`` and ``onednn`` compared with ``mkl`` of real Caffe2, which is its oneDNN; ``nnpack`` with
``nnpack``; and ``mkl``, which multiplies matrices, with ``default`` of real Caffe2, which also does so. Nets
of which a backend computes nothing are left out for that backend. ``--optimize`` sets how this program runs
the net; real Caffe2 always runs it as it is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from caffe2_engines import (
    PROGRAM,
    Measured,
    Variant,
    compare,
    delay_case,
    difference,
    flags,
    ratio,
    require_caffe2,
    zoo,
)
from tabulate import tabulate

COUNTERPARTS = {"default": "mkl", "onednn": "mkl", "nnpack": "nnpack", "mkl": "default"}
"""Maps the backend of the engine torch to that of real Caffe2."""
COMPUTED_NOTHING = "computed none of the net's"


def variants(caffe2_python: str, backends: Sequence[str], optimize: str) -> dict[str, Variant]:
    real = {f"real {COUNTERPARTS[one]}": (caffe2_python, "native", COUNTERPARTS[one]) for one in backends}
    ours = {one: (sys.executable, "torch", one) for one in backends}
    return {
        name: Variant(
            name,
            python,
            ("--engine", engine, "--backend", backend)
            + (("--optimize", optimize) if engine == "torch" else ()),
        )
        for name, (python, engine, backend) in {**real, **ours}.items()
    }


def computes_something(variant: Variant, net: str, threads: int) -> bool:
    command = [variant.python, str(PROGRAM), *variant.flags, *flags(delay_case(net), threads), "--iter", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and COMPUTED_NOTHING not in done.stderr:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return not done.returncode


def row(net: str, measured: Mapping[str, Measured], ratios: dict[str, list[float]]) -> list[str]:
    """The row of the net; its ratios are added to those of the other nets."""
    cells = [net]
    for backend, values in ratios.items():
        real = f"real {COUNTERPARTS[backend]}"
        if backend not in measured or real not in measured:
            cells += ["-", "-"]
            continue
        value, shown = ratio(measured[real], measured[backend])
        values.append(value)
        cells += [f"{measured[backend].median_ms:.2f}", shown]
    reference = next((one for name, one in measured.items() if name.startswith("real ")), None)
    differences = [difference(reference, one) for one in measured.values() if reference is not None]
    return [*cells, f"{max(differences, default=math.nan):.1e}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--caffe2_python", required=True, metavar="PYTHON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nets", default=",".join(zoo()))
    parser.add_argument("--backends", default=",".join(COUNTERPARTS))
    parser.add_argument("--optimize", default="none", choices=("none", "fuse"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON, too")
    arguments = parser.parse_args()
    unknown = set(arguments.backends.split(",")) - set(COUNTERPARTS)
    if unknown:
        parser.error(f"--backends: {', '.join(sorted(unknown))}: choose from {', '.join(COUNTERPARTS)}")
    require_caffe2(arguments.caffe2_python)
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"ours on torch {torch.__version__}; {platform.machine()}, {cores} cores")
    backends = arguments.backends.split(",")
    every = variants(arguments.caffe2_python, backends, arguments.optimize)
    ratios: dict[str, list[float]] = {one: [] for one in backends}
    rows, figures = [], []
    for net in arguments.nets.split(","):
        there = [one for one in every.values() if computes_something(one, net, arguments.threads)]
        measured = compare(net, arguments.threads, there, arguments.rounds)
        rows.append(row(net, measured, ratios))
        medians = {name: one.median_ms for name, one in measured.items()}
        figures.append({"net": net, "threads": arguments.threads, "median_ms": medians})
        print(f"  {' '.join(rows[-1])}", file=sys.stderr, flush=True)
    means = [
        cell
        for values in ratios.values()
        for cell in ("", f"{math.exp(statistics.fmean(map(math.log, values))):.2f}" if values else "-")
    ]
    rows.append(["geometric mean", *means, ""])
    headers = ["net"]
    for backend in backends:
        headers += [f"{backend} ms", f"real {COUNTERPARTS[backend]} / {backend}"]
    print(tabulate(rows, [*headers, "difference"], disable_numparse=True, stralign="right"), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
