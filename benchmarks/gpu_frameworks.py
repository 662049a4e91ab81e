"""The part of gpu.py for the other frameworks: one net with a golden output, by the programs of PyTorch and
ONNX Runtime, each in a process of its own.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
SPECIFICATION = ROOT / "specifications/models/zoo/small_squeezenet/small_squeezenet.json"
NUMBER = r"([\d.]+(?:e[-+]?\d+)?)"
NET_US = re.compile(rf"NET_DELAY - {NUMBER} \(us\)")
DEVICE_US = re.compile(rf'"device_latency".*"value": "{NUMBER}"')
PROGRAM_S = 120
"""A program that takes longer is ended."""


@dataclass(frozen=True)
class Subject:
    framework: str
    format: str
    """Of the specification's ``formats``."""
    on_processor: str
    """The backend that stands for ``cuda`` where this script is tried without a GPU."""
    options: tuple[str, ...]
    """Of the backend ``cuda``."""


SUBJECTS = (
    Subject("pytorch", "pytorch", "eager", ("tf32",)),
    Subject("onnxruntime", "onnx", "default", ("tf32",)),
)
MODULES = {"pytorch": "torch", "onnxruntime": "onnxruntime"}


def other_frameworks(part: Any) -> None:
    """``part``: a ``gpu.Part``."""
    for subject in SUBJECTS:
        if find_spec(MODULES[subject.framework]) is None:
            part.add(subject.framework, f"not tried: {MODULES[subject.framework]} is not installed")
            continue
        on_gpu = part.settings.backend == "cuda"
        for options in ((), *((one,) for one in subject.options if on_gpu)):
            part.check_time()
            what = " ".join([subject.framework, *options])
            backend = "cuda" if on_gpu else subject.on_processor
            try:
                _add(part, what, _measured(subject, backend, options, part.settings.rounds))
            except _ProgramFailedError as error:
                part.add(what, str(error), is_wrong=True)


class _ProgramFailedError(Exception):
    pass


@dataclass(frozen=True)
class _Measured:
    wall_us: float
    device_us: float | None
    error: float
    """The largest, relative to the golden output's largest value."""
    is_wrong: bool


def _add(part: Any, what: str, found: _Measured) -> None:
    on_device = f"{found.device_us:.0f} us on the device, " if found.device_us else ""
    said = f"p50 {found.wall_us:.0f} us, {on_device}largest error {found.error:.1e} of the largest value"
    if found.is_wrong:
        said += ", beyond the tolerance"
    if found.device_us and found.device_us > found.wall_us:
        said += "; the device's clock says more than the wall's"
    is_wrong = found.is_wrong or bool(found.device_us and found.device_us > found.wall_us)
    part.add(what, said, is_wrong=is_wrong, wall_us=found.wall_us, device_us=found.device_us)


def _measured(subject: Subject, backend: str, options: tuple[str, ...], rounds: int) -> _Measured:
    """
    Raises:
        _ProgramFailedError: the program failed, or took too long.
    """
    content = json.loads(SPECIFICATION.read_text())
    test = next(one for one in content["tests"] if one["metric"] == "error")
    ((blob, described),) = test["inputs"].items()
    ((output, golden),) = test["output_files"].items()
    files = content["model"]["formats"][subject.format]["files"]
    folder = SPECIFICATION.parent
    with tempfile.TemporaryDirectory() as directory:
        argv = [
            *(sys.executable, "-m", f"benchmarking.frameworks.{subject.framework}.program"),
            *("--model", str(folder / files["model"]["location"]), "--backend", backend),
            *("--input", blob, "--input_dims", ",".join(map(str, described["shapes"][0]))),
            *("--input_file", str(folder / test["input_files"][blob]), "--warmup", str(rounds)),
            *("--iter", str(rounds), "--output", output, "--output_folder", directory),
            *(("--backend_options", ",".join(options)) if options else ()),
        ]
        try:
            done = subprocess.run(
                argv, cwd=ROOT, capture_output=True, text=True, timeout=PROGRAM_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise _ProgramFailedError(f"it is not done after {PROGRAM_S} s") from None
        if done.returncode != 0:
            raise _ProgramFailedError((done.stderr.strip().splitlines() or ["no message"])[-1])
        (written,) = Path(directory).iterdir()
        answer = np.loadtxt(written, dtype=np.float64, ndmin=1)
    expected = np.loadtxt(folder / golden, dtype=np.float64, ndmin=1)
    difference = np.abs(answer - expected)
    tolerance = test["tolerance"]
    # TF32 has 10 bits.
    limit = 2e-2 if options else tolerance["atol"] + tolerance["rtol"] * np.abs(expected)
    device_us = [*_numbers(DEVICE_US, done.stderr)]
    return _Measured(
        wall_us=statistics.median(_numbers(NET_US, done.stderr)),
        device_us=statistics.median(device_us) if device_us else None,
        error=float(difference.max() / np.abs(expected).max()),
        is_wrong=bool((difference > limit).any()),
    )


def _numbers(pattern: re.Pattern[str], text: str) -> Iterator[float]:
    return map(float, pattern.findall(text))
