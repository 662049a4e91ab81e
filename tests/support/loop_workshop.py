"""A real repository whose commits say how long their program takes, and ``repo_driver.py`` run over it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.repositories import ISOLATED, MONDAY, REMOTES
from tests.support.waiting import LIMIT_S

ROOT = Path(__file__).parents[2]
HOUR_S = 3600
ITERATIONS = 4

BUILD = """#!/bin/sh
set -eu
echo "$(cat "$1/subject")" >> "$(dirname "$0")/called"
if [ -f "$1/build_first" ]; then . "$1/build_first"; fi
cat > "$2" <<PROGRAM
#!/bin/sh
for number in 1 2 3 4; do
    echo 'Caffe2Observer Delay Start'
    echo "Caffe2Observer NET_DELAY - $(cat "$1/delay") (us)"
    echo 'Caffe2Observer Delay End'
done
$(cat "$1/program_also" 2>/dev/null || true)
PROGRAM
chmod +x "$2"
"""
"""The file ``called`` next to it has a line for every build."""


class LoopWorkshop:
    def __init__(self, directory: Path, kind: str = "git") -> None:
        self.directory = directory
        self.kind = kind
        self.remote = REMOTES[kind](directory / "remote")
        self.exec_dir = directory / "exec"
        self.scripts = directory / "frameworks/caffe2"
        self.scripts.mkdir(parents=True)
        (self.scripts / "build.sh").write_text(BUILD)
        (self.scripts / "build.sh").chmod(0o755)
        self.benchmark = self._write_benchmark()
        self.commits: list[str] = []

    def _write_benchmark(self) -> Path:
        files = {}
        for key in ("init", "predict"):
            (self.directory / key).write_text(key)
            md5 = hashlib.md5(key.encode()).hexdigest()
            files[key] = {"filename": key, "location": key, "md5": md5}
        test = {
            "identifier": "delay",
            "metric": "delay",
            "iter": ITERATIONS,
            "warmup": 0,
            "inputs": {"data": {"shapes": [[1]], "type": "float"}},
        }
        benchmark = {"model": {"name": "tiny", "format": "caffe2", "files": files}, "tests": [test]}
        path = self.directory / "benchmark.json"
        path.write_text(json.dumps(benchmark))
        return path

    def commit(self, delay_us: float | str = 100.0, **files: str | None) -> str:
        """One hour after the one before."""
        number = len(self.commits)
        subject = f"commit {number}"
        everything = {"delay": str(delay_us), "subject": subject, **files}
        self.commits.append(self.remote.commit(everything, subject=subject, time=MONDAY + number * HOUR_S))
        return self.commits[-1]

    def argv(self, *extra: str, repo_dir: Path | None = None) -> list[str]:
        return [
            *(
                sys.executable,
                str(ROOT / "repo_driver.py"),
                "--repo_dir",
                str(repo_dir or self.remote.directory),
            ),
            *("--exec_dir", str(self.exec_dir), "--frameworks_dir", str(self.directory / "frameworks")),
            *(
                "--benchmark_file",
                str(self.benchmark),
                "--ab_mode",
                "process",
                "--ab_pairs",
                "7",
                "--canary",
                "off",
            ),
            *extra,
        ]

    def environment(self, **more: str) -> dict[str, str]:
        user = {f"XDG_{kind}_HOME": str(self.directory / "user") for kind in ("CACHE", "DATA", "STATE")}
        return {**os.environ, **ISOLATED, **user, **more}

    def run(
        self, *extra: str, repo_dir: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*extra, repo_dir=repo_dir),
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def start(self, *extra: str, **environment: str) -> subprocess.Popen[str]:
        log = (self.directory / "started.log").open("a")
        return subprocess.Popen(
            self.argv(*extra), env=self.environment(**environment), stderr=log, stdout=log, text=True
        )

    @property
    def builds(self) -> list[str]:
        """The subjects of the commits that were built, in order."""
        path = self.scripts / "called"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def state(self) -> Path:
        return self.exec_dir / "caffe2/.repo_driver/state.sqlite3"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.state.exists():
            return []
        connection = sqlite3.connect(self.state, timeout=30)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # killed before there were tables
            return []
        finally:
            connection.close()

    def statuses(self) -> dict[str, str]:
        """By subject."""
        return dict(self.rows("SELECT subject, status FROM runs"))

    def forget(self) -> None:
        shutil.rmtree(self.exec_dir, ignore_errors=True)
        (self.scripts / "called").unlink(missing_ok=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
