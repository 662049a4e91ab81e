"""``mlbench compare BASE HEAD FILE``: two benchmark programs with a model or specification."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.cli import harness
from benchmarking.cli.argument_types import quoted
from benchmarking.cli.compare_request import READING_OPTIONS, Request
from benchmarking.cli.options import MODEL_SUFFIXES, HarnessOptions, benchmark_file, is_model
from benchmarking.errors import UsageError
from benchmarking.frameworks.frameworks import FRAMEWORKS, make_framework

if TYPE_CHECKING:
    from benchmarking.errors import ExitStatus


def compare(request: Request) -> ExitStatus:
    base, head, *files = request.names
    for name, program in (("BASE", base), ("HEAD", head)):
        if is_model(Path(program)):
            what = "give two benchmark programs, and the model that they run after them"
            raise UsageError(f"{name}: {quoted(program)} is a model: {what}")
    return run(request, files, base={"program": base}, head={"program": head})


def run(
    request: Request,
    files: Sequence[str],
    *,
    base: Mapping[str, Any],
    head: Mapping[str, Any],
    framework: str | None = None,
) -> ExitStatus:
    """An A/B run. ``base``, ``head``: a version of --info. ``framework``: the usual one for these versions.

    Raises:
        BenchmarkError: as ``harness.perform``.
    """
    request.refuse(READING_OPTIONS, "is for commands: it says how the times that they print are read")
    paths = [benchmark_file(name) for name in files]
    values = {"framework": framework or framework_of(files), **request.options}
    options = HarnessOptions(
        benchmark_file=paths[0],
        more_files=tuple(paths[1:]),
        info=json.dumps({"treatment": head, "control": base}),
        **values,
    )
    return harness.perform(options, request.command)


def framework_of(files: Sequence[str]) -> str:
    """The first framework that runs such model files; the harness's own default for specifications."""
    path = benchmark_file(files[0])
    if is_model(path):
        wanted = MODEL_SUFFIXES[path.suffix.lower()]
        return next(name for name in FRAMEWORKS if wanted in make_framework(name).formats)
    return HarnessOptions.framework
