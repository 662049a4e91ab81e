"""Makes a small repository with two performance regressions in its history.

    python make_repository.py [--repo git|hg] DIRECTORY

The same hashes come out every time.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
FIRST_COMMIT_TIME = 1772442000
"""Monday, 2026-03-02, 09:00 UTC."""
HOUR_S = 3600
DAY_H = 24

ANN = "Ann Archer <ann@example.org>"
BEN = "Ben Baker <ben@example.org>"
CLEO = "Cleo Carter <cleo@example.org>"
DAN = "Dan Draper <dan@example.org>"

SLOW_PRODUCT = "Write the matrix product as textbooks do"
SLOW_EXPONENTIAL = "Compute the exponential without the math library"
BROKEN = "Name the number of iterations a count"
BRANCH = "documentation"
MERGE = f"Merge the branch {BRANCH}"


@dataclass(frozen=True)
class Change:
    subject: str
    author: str
    hours: int
    """After the first commit."""
    edits: tuple[tuple[str, str, str], ...] = ()
    """File, what is replaced, by what; a file that does not exist is made of the last alone."""
    on_branch: bool = False


def note(file: str, text: str) -> tuple[tuple[str, str, str], ...]:
    return ((file, "", text),)


PRODUCT_ROWS = """    memset(result, 0, SIZE * SIZE * sizeof(float));
    for (int row = 0; row < SIZE; row++)
        for (int inner = 0; inner < SIZE; inner++) {
            float factor = left[row * SIZE + inner];
            for (int column = 0; column < SIZE; column++)
                result[row * SIZE + column] += factor * right[inner * SIZE + column];
        }
"""
PRODUCT_TEXTBOOK = """    for (int row = 0; row < SIZE; row++)
        for (int column = 0; column < SIZE; column++) {
            float sum = 0;
            for (int inner = 0; inner < SIZE; inner++)
                sum += left[row * SIZE + inner] * right[inner * SIZE + column];
            result[row * SIZE + column] = sum;
        }
"""
EXPONENTIAL_LIBRARY = "    return expf(x);\n"
EXPONENTIAL_SERIES = """    float term = 1, sum = 1;
    for (int number = 1; number < 40; number++) {
        term *= x / (float)number;
        sum += term;
    }
    return sum;
"""

WEEK = 7 * DAY_H
HISTORY = (
    # The first week.
    Change("A net of four operators and its benchmark", ANN, 0),
    Change("Ignore what the compiler leaves", BEN, 3, note(".gitignore", "*.o\ndemo_benchmark\n")),
    Change("Say how to build", CLEO, 6, note("README", "Build: cc -O2 *.c -lm\n")),
    Change("List the operators", ANN, DAY_H, note("README", "MatMul, Softmax, MaxPool, Mean\n")),
    Change("Name the license", DAN, DAY_H + 4, note("LICENSE", "Do with it what you like.\n")),
    Change(
        "Explain the size",
        BEN,
        2 * DAY_H,
        (("kernels.h", "#define SIZE 128", "/* Fits in the cache of a core. */\n#define SIZE 128"),),
    ),
    Change("Name the authors", ANN, 2 * DAY_H + 5, note("AUTHORS", "Ann, Ben, Cleo, Dan\n")),
    Change(
        "Ten iterations are too few: do twenty",
        CLEO,
        3 * DAY_H,
        (("demo_benchmark.c", '"iter", "10"', '"iter", "20"'),),
    ),
    Change("Tell what is measured", DAN, 3 * DAY_H + 3, note("README", "The clock is the monotonic one.\n")),
    Change(
        "Rename largest to maximum",
        BEN,
        4 * DAY_H,
        (("kernels.c", "largest", "maximum"),),
    ),
    # The second week.
    Change("Start a list of changes", ANN, WEEK, note("CHANGES", "0.2: twenty iterations\n")),
    Change("Thank the reviewers", CLEO, WEEK + 4, note("AUTHORS", "Thanks to all reviewers.\n")),
    Change(
        "Explain the pooling",
        DAN,
        WEEK + DAY_H,
        (("kernels.h", "void max_pool", "/* Windows of 3 by 3. */\nvoid max_pool"),),
    ),
    Change(SLOW_PRODUCT, BEN, WEEK + DAY_H + 4, (("kernels.c", PRODUCT_ROWS, PRODUCT_TEXTBOOK),)),
    Change("Describe the options", CLEO, WEEK + DAY_H + 5, note("OPTIONS", "--iter N\n"), on_branch=True),
    Change("Describe --warmup", CLEO, WEEK + DAY_H + 6, note("OPTIONS", "--warmup N\n"), on_branch=True),
    Change(
        "No more memset: drop the header",
        ANN,
        WEEK + DAY_H + 7,
        (("kernels.c", "#include <string.h>\n", ""),),
    ),
    Change(MERGE, ANN, WEEK + 2 * DAY_H + 5),
    Change(
        BROKEN,
        DAN,
        WEEK + 3 * DAY_H,
        (("demo_benchmark.c", "int iterations = ", "int count = "),),
    ),
    Change(
        "Back to iterations: count is taken",
        DAN,
        WEEK + 3 * DAY_H + 1,
        (("demo_benchmark.c", "int count = ", "int iterations = "),),
    ),
    Change("Release 0.3", ANN, WEEK + 4 * DAY_H, note("CHANGES", "0.3: documentation\n")),
    # The third week.
    Change("Say which compilers are known to work", BEN, 2 * WEEK, note("README", "gcc and clang.\n")),
    Change("Sort the authors", CLEO, 2 * WEEK + 3, note("AUTHORS", "(sorted)\n")),
    Change(
        "Explain softmax",
        DAN,
        2 * WEEK + DAY_H,
        (("kernels.h", "void softmax", "/* Of every row. */\nvoid softmax"),),
    ),
    Change(
        "Describe --run_individual", BEN, 2 * WEEK + DAY_H + 3, note("OPTIONS", "--run_individual true\n")
    ),
    Change(
        SLOW_EXPONENTIAL,
        CLEO,
        2 * WEEK + 2 * DAY_H,
        (
            ("kernels.c", EXPONENTIAL_LIBRARY, EXPONENTIAL_SERIES),
            ("kernels.c", "#include <math.h>\n", ""),
        ),
    ),
    Change(
        "The math library is not needed", CLEO, 2 * WEEK + 2 * DAY_H + 1, note("CHANGES", "0.4: no -lm\n")
    ),
    Change("Give an example", DAN, 2 * WEEK + 2 * DAY_H + 4, note("README", "demo_benchmark --iter 5\n")),
    Change("Mend a typing error", ANN, 2 * WEEK + 3 * DAY_H, (("README", "gcc and clang", "GCC and Clang"),)),
    Change("Release 0.4", ANN, 2 * WEEK + 3 * DAY_H + 2, note("CHANGES", "0.4: released\n")),
)


class Repository(ABC):
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment: Mapping[str, str] = {}

    def run(self, *argv: str, **environment: str) -> str:
        everything = {**os.environ, **self.environment, **environment}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            everything.pop(name, None)
        done = subprocess.run(
            argv, cwd=self.directory, env=everything, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def leave(self) -> None:
        """Begins a branch beside the main branch."""

    @abstractmethod
    def go_back(self) -> None:
        """To the main branch."""

    @abstractmethod
    def merge(self) -> None:
        """The branch, without committing."""

    @abstractmethod
    def commit(self, change: Change, seconds: int) -> None: ...

    @abstractmethod
    def commits(self) -> list[str]: ...


class Git(Repository):
    def begin(self) -> None:
        who = {"GIT_COMMITTER_NAME": "Demo", "GIT_COMMITTER_EMAIL": "demo@example.org"}
        self.environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **who}
        self.run("git", "init", "--quiet", "--initial-branch=master")

    def leave(self) -> None:
        self.run("git", "checkout", "--quiet", "-b", BRANCH)

    def go_back(self) -> None:
        self.run("git", "checkout", "--quiet", "master")

    def merge(self) -> None:
        self.run("git", "merge", "--quiet", "--no-ff", "--no-commit", BRANCH)

    def commit(self, change: Change, seconds: int) -> None:
        name, mail = change.author.removesuffix(">").split(" <")
        people = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", mail), ("DATE", f"{seconds} +0000"))
        }
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--no-gpg-sign", "-m", change.subject, **people)

    def commits(self) -> list[str]:
        return self.run("git", "rev-list", "--reverse", "--first-parent", "HEAD").split()


class Mercurial(Repository):
    def begin(self) -> None:
        self.environment = {"HGRCPATH": "", "HGPLAIN": "1"}
        beside = Path(sys.executable).parent
        self.hg = shutil.which("hg") or shutil.which("hg", path=str(beside)) or "hg"
        self.run(self.hg, "init")

    def leave(self) -> None:
        """Another head of the same branch."""
        self.left = self.run(self.hg, "identify", "--id", "--debug")

    def go_back(self) -> None:
        self.run(self.hg, "update", "--quiet", "--clean", self.left)

    def merge(self) -> None:
        self.run(self.hg, "merge", "--quiet", "--tool=:fail")

    def commit(self, change: Change, seconds: int) -> None:
        date = f"{seconds} 0"
        argv = (
            "commit",
            "--addremove",
            "--quiet",
            "--user",
            change.author,
            "--date",
            date,
            "-m",
            change.subject,
        )
        self.run(self.hg, *argv)

    def commits(self) -> list[str]:
        return self.run(self.hg, "log", "--rev", "_firstancestors(.)", "--template", "{node}\\n").split()


KINDS: Mapping[str, type[Repository]] = {"git": Git, "hg": Mercurial}


def make_repository(directory: Path, kind: str = "git") -> list[str]:
    """The hashes of the branch's own commits, oldest first."""
    shutil.copytree(SOURCE, directory, dirs_exist_ok=True)
    repository = KINDS[kind](directory)
    repository.begin()
    was_on_branch = False
    for change in HISTORY:
        if change.on_branch and not was_on_branch:
            repository.leave()
        if was_on_branch and not change.on_branch:
            repository.go_back()
        was_on_branch = change.on_branch
        if change.subject == MERGE:
            repository.merge()
        for file, old, new in change.edits:
            edit(directory / file, old, new)
        repository.commit(change, FIRST_COMMIT_TIME + change.hours * HOUR_S)
    return repository.commits()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text() if path.exists() else ""
    if old not in text:
        raise ValueError(f"{path.name} does not have {old!r}")
    path.write_text(text.replace(old, new) if old else text + new)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", choices=tuple(KINDS), default="git", help="its kind (default: %(default)s)")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="is made; may be empty already")
    arguments = parser.parse_args()
    directory = arguments.directory
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        parser.error(f"{directory} is there already and is not empty")
    try:
        commits = make_repository(directory, arguments.repo)
    except FileNotFoundError as error:
        parser.error(f"{error.filename} is missing; install it")
    work = directory.with_name(f"{directory.name}-work")
    script = HERE.parents[1] / "repo_driver.py"  # installed, it is a command
    command = (
        *(("python", str(relative(script))) if script.exists() else ("repo_driver.py",)),
        *("--repo_dir", str(directory), "--exec_dir", str(work)),
        *("--frameworks_dir", str(relative(HERE / "frameworks"))),
        *("--commit", commits[0][:12], "--regression", "--same_host", "--once"),
        *("--benchmark_file", str(relative(HERE / "benchmark.json"))),
        *("--ab_mode", "process", "--minimum_effect", "0.05", "--target_change", "0.1", "--canary", "off"),
    )
    print(f"{len(commits)} commits in {directory}. Look for those that made it slower:")
    print(f"\n    {shlex.join(command)}")
    return 0


def relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    sys.exit(main())
