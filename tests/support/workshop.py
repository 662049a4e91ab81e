"""A directory with a benchmark, programs that do as told, and a way to run the harness on them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import LIMIT_S

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/support/observer_program.py"
WORKER_PROGRAM = ROOT / "tests/support/worker_program.py"
SHELL_WORKER = ROOT / "tests/support/worker_program.sh"
SHELL_PROGRAM = ROOT / "tests/support/observer_program.sh"

COMMIT = {"commit": "abc", "commit_time": 1521500000}
OLDER = {"commit": "old", "commit_time": 1521400000}


def records(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def option(record, name):
    argv = record["argv"]
    return argv[argv.index(f"--{name}") + 1]


def error_test(tolerance=None):
    test = {"metric": "error", "output_files": {"out": "golden.txt"}}
    return test | ({"tolerance": tolerance} if tolerance else {})


class Workshop:
    """A directory with a benchmark, programs that do as told, and a way to run the harness on them."""

    def __init__(self, directory):
        self.directory = directory
        self.results = directory / "results"
        for name in ("init", "predict"):
            (directory / f"{name}_net.pb").write_text(name)

    def program(self, name="program", **behaviour):
        """A copy of the observer program that behaves as ``behaviour`` says."""
        path = self.directory / f"{name}.py"
        path.write_text(PROGRAM.read_text())
        path.chmod(0o755)
        path.with_suffix(".json").write_text(json.dumps(behaviour))
        return path

    def worker_program(self, name, **behaviour):
        """A program with the worker protocol whose times are made up as ``behaviour`` says."""
        path = self.directory / f"{name}.py"
        path.write_text(WORKER_PROGRAM.read_text())
        path.chmod(0o755)
        path.with_suffix(".json").write_text(json.dumps(behaviour))
        return path

    def shell_program(self, behaviour="", name="program"):
        """A benchmark program for devices without Python; ``behaviour`` as in its own words."""
        return self._shell_script(SHELL_PROGRAM, name, f"BEHAVIOUR='{behaviour}'")

    def shell_worker(self, name, net_us):
        """The same with the worker protocol; each iteration takes about ``net_us``."""
        return self._shell_script(SHELL_WORKER, name, f"NET_US={net_us}")

    def _shell_script(self, source, name, setting):
        path = self.directory / f"{name}.sh"
        path.write_text(source.read_text().replace("\n", f"\n{setting}\n", 1))
        path.chmod(0o755)
        return path

    def benchmark(self, *tests, name="tiny", **model):
        """A benchmark file; by default each test is a delay test of one shape."""
        files = {
            key: {
                "filename": f"{key}_net.pb",
                "location": f"{key}_net.pb",
                "md5": hashlib.md5(key.encode()).hexdigest(),
            }
            for key in ("init", "predict")
        }
        default = {
            "identifier": "{ID}",
            "metric": "delay",
            "iter": 3,
            "warmup": 1,
            "inputs": {"data": {"shapes": [[1, 2]], "type": "float"}},
        }
        spec = {
            "model": {"name": name, "format": "caffe2", "files": files} | model,
            "tests": [default | test for test in tests or ({},)],
        }
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(spec))
        return path

    def command(self, *arguments, benchmark=None):
        benchmark = benchmark or self.directory / "tiny.json"
        return [
            *(sys.executable, str(ROOT / "harness.py"), "--benchmark_file", str(benchmark)),
            *("--model_cache", str(self.directory / "cache"), *map(str, arguments)),
        ]

    def run(self, *arguments, benchmark=None, environment=None):

        return subprocess.run(
            self.command(*arguments, benchmark=benchmark),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=dict(os.environ) | (environment or {}),
        )

    def json(self, *arguments, **more):
        """The document that ``--json`` prints, and the finished process."""
        done = self.run("--json", *arguments, **more)
        assert done.stdout, done.stderr
        return json.loads(done.stdout), done
