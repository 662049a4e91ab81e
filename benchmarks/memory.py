"""How much memory does the harness use, also while it downloads a large model?

    python benchmarks/memory.py [--megabytes 600]

Starts the harness on a trivial program twice: with small local model files, and with one large file that a
server on loopback generates. Peaks are the operating system's own accounting of the harness process alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import http_server  # noqa: E402

BLOCK = b"x" * 2**20
PROGRAM = """#!/bin/sh
echo 'Caffe2Observer Delay Start' >&2
echo 'Caffe2Observer NET_DELAY - 100.0 (us)' >&2
echo 'Caffe2Observer Delay End' >&2
"""


def write_benchmark(directory: Path, init_location: str, init_md5: str) -> Path:
    (directory / "predict").write_text("")
    files = {
        "init": {"filename": "init.pb", "location": init_location, "md5": init_md5},
        "predict": {"filename": "predict.pb", "location": "predict", "md5": hashlib.md5(b"").hexdigest()},
    }
    test = {"identifier": "x", "metric": "delay", "iter": 1, "inputs": {"data": {"shapes": [[1]]}}}
    path = directory / "benchmark.json"
    path.write_text(
        json.dumps({"model": {"name": "tiny", "format": "caffe2", "files": files}, "tests": [test]})
    )
    return path


def peak_megabytes(directory: Path, benchmark: Path) -> float:
    """The peak of a harness process; its children are counted separately."""
    command = [sys.executable, str(ROOT / "harness.py"), "--benchmark_file", str(benchmark)]
    command += ["--program", str(directory / "program"), "--model_cache", str(directory / "cache")]
    command += ["--local_reporter", str(directory / "results"), "--log_level", "error"]
    pid = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"the harness ended with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=600)
    megabytes = parser.parse_args().megabytes
    digest = hashlib.md5()
    for _ in range(megabytes):
        digest.update(BLOCK)
    with tempfile.TemporaryDirectory() as temporary, http_server.running() as server:
        directory = Path(temporary)
        (directory / "program").write_text(PROGRAM)
        (directory / "program").chmod(0o755)
        small = peak_megabytes(directory, write_benchmark(directory, "predict", hashlib.md5(b"").hexdigest()))
        url = server.on("/one_byte", http_server.content(b"x"))
        one_byte = peak_megabytes(directory, write_benchmark(directory, url, hashlib.md5(b"x").hexdigest()))
        url = server.on("/large", http_server.generated(BLOCK, megabytes))
        large = peak_megabytes(directory, write_benchmark(directory, url, digest.hexdigest()))
    print(f"peak of the harness, local model:                {small:6.1f} MB")
    print(f"peak of the harness, download of one byte:       {one_byte:6.1f} MB")
    print(f"peak of the harness, download of {megabytes:5d} MB:       {large:6.1f} MB")


if __name__ == "__main__":
    main()
