"""A git repository whose benchmark says how long it took: without any noise."""

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARK = """#!/bin/sh
for number in 1 2 3; do
  echo "Caffe2Observer Delay Start"
  echo "Caffe2Observer NET_DELAY - {us} (us)"
  echo "Caffe2Observer Delay End"
done
"""
BUILD = "cp benchmark.in benchmark && chmod +x benchmark"


def make_repository(directory, *delays_us):
    """With a commit for each delay; returns their hashes."""

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
        argv = ["git", "-C", directory, *identity, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    directory.mkdir(parents=True)
    git("init", "--quiet", "--initial-branch=main")
    commits = []
    for us in delays_us:
        (directory / "benchmark.in").write_text(BENCHMARK.format(us=us))
        git("add", ".")
        git("commit", "--quiet", "--allow-empty", "-m", f"{us} us")
        commits.append(git("rev-parse", "HEAD"))
    return commits


def clone(origin, path, branch=""):
    chosen = ["--branch", branch] if branch else []
    subprocess.run(["git", "clone", "--quiet", *chosen, origin, path], check=True)


def write_mlbench(directory):
    """The program, as an installation would have it."""
    path = directory / "mlbench"
    python = shlex.quote(sys.executable)
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {python} -m benchmarking "$@"\n')
    path.chmod(0o755)
    return path
