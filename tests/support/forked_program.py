"""The Caffe2 program in a process of its own, forked from one that has torch already: importing it takes a second."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarking.frameworks.caffe2.program.caffe2_benchmark.caffe2_program import Caffe2Program
from benchmarking.frameworks.kit.main import leave, run

ROOT = Path(__file__).parents[2]
LIMIT_S = 200
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        __name__,
        "benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine",
        "benchmarking.frameworks.kit.job",
        "benchmarking.frameworks.kit.summary",
    ]
)


def run_caffe2(*arguments: object, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    argv = [str(one) for one in arguments]
    with tempfile.TemporaryDirectory() as kept:
        paths = [Path(kept, name) for name in ("stdout", "stderr")]
        process = PROCESSES.Process(target=_run, args=(argv, directory, paths, dict(os.environ)))
        process.start()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        texts = [path.read_text(encoding="utf-8") for path in paths]
    return subprocess.CompletedProcess(argv, process.exitcode, *texts)


def _run(argv: list[str], directory: Path, paths: list[Path], environment: dict[str, str]) -> None:
    for descriptor, path in enumerate(paths, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(one, "w", encoding="utf-8", closefd=False) for one in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    leave(run(Caffe2Program(), argv))
