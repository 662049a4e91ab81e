"""``mlbench init``: looks at a directory, and writes a suite and a CI file to begin with."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import Parser, path, quoted
from benchmarking.cli.running import run_command
from benchmarking.errors import ExitStatus, StorageError, UsageError
from benchmarking.files import atomic_file
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.cli.project_scan import Project
    from benchmarking.cli.starter_files import Starter

OWNER = "OWNER"
OWNER_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Look for models, benchmark programs and a repository, and write a suite and a CI file.\n"
        "Nothing is run, and a file that exists is never overwritten.",
        epilog=f"exit status: {ExitStatus.OK}; {ExitStatus.BAD_USAGE} if there is nothing to benchmark",
    )
    parser.add_argument(
        "directory",
        type=path,
        nargs="?",
        default=Path(),
        metavar="DIRECTORY",
        help="the root of the project (default: the current directory)",
    )
    parser.add_argument("--dry_run", action="store_true", help="show what would be written")
    parser.add_argument(
        "--owner",
        type=_owner,
        default=OWNER,
        help="whose copy of ml-benchmark-platform CI uses: the user or group on GitHub or GitLab",
    )
    return parser


def _owner(text: str) -> str:
    if not OWNER_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no name of a user or a group")
    return text


def _main(arguments: argparse.Namespace) -> ExitStatus:
    from benchmarking.cli.project_scan import scan
    from benchmarking.cli.starter_files import starter

    directory: Path = arguments.directory
    if not directory.is_dir():
        name = quoted(str(directory))
        is_file = directory.exists()
        raise UsageError(
            f"{name} is a file; give the directory with it" if is_file else f"there is no directory {name}"
        )
    project = scan(directory)
    made = starter(project, arguments.owner)
    if not made.files:
        reasons = [f"{file}: {reason}" for file, reason in made.skipped.items()]
        wanted = "a model file, a program linked with Google Benchmark, or pytest-benchmark"
        raise UsageError("\n".join([f"nothing to benchmark was found in {directory}: {wanted}", *reasons]))
    kept = [file for file in made.files if _exists(directory / file)]
    new = {file: text for file, text in made.files.items() if file not in kept}
    if not arguments.dry_run:
        _write(directory, new)
    streams.show("\n".join([*_lines(project, made, kept, new, dry_run=arguments.dry_run), ""]))
    return ExitStatus.OK


def _exists(file: Path) -> bool:
    return file.exists() or file.is_symlink()


def _write(directory: Path, files: Mapping[Path, str]) -> None:
    for file, text in files.items():
        target = directory / file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(target, text)
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror or error}") from error


def _lines(
    project: Project, made: Starter, kept: Sequence[Path], new: Mapping[Path, str], *, dry_run: bool
) -> Iterator[str]:
    yield from _listed("found", _found(project))
    yield from _listed("would be written" if dry_run else "written", list(map(str, new)))
    yield from _listed("kept as they are", list(map(str, kept)))
    if dry_run:
        for file, text in new.items():
            yield f"--- {file}"
            yield text
    from benchmarking.cli.starter_files import SUITE

    skipped = [f"{file}: {reason}" for file, reason in made.skipped.items()]
    yield from _listed("left out", [*skipped, *project.left_out])
    steps = [f"cd {shlex.quote(str(project.directory))}"] if project.directory != Path() else []
    steps += made.commands
    missing = _missing_from_suite(project.directory, made, kept)
    if missing:
        steps.append(f"# add {', '.join(missing)} to {SUITE}, which was there before")
    if any(OWNER in text for text in new.values()):
        steps.append("# replace OWNER in the CI file: who has ml-benchmark-platform (or use --owner)")
    if project.repository and new:
        steps.append(f"{project.repository} add {shlex.join(sorted(map(str, new)))}")
    yield from _listed("next", steps)


def _missing_from_suite(directory: Path, made: Starter, kept: Sequence[Path]) -> list[str]:
    """The benchmarks that a suite does not name because it is kept as it is."""
    from benchmarking.cli.starter_files import SUITE

    if SUITE not in kept:
        return []
    try:
        text = (directory / SUITE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []  # running it reports what is wrong with it
    names = json.loads(made.files[SUITE])["benchmarks"]
    return [one for one in names if json.dumps(one) not in text]


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  {line}" for line in lines)


def _found(project: Project) -> list[str]:
    found = [str(one) for one in (*project.models, *project.programs)]
    found += ["pytest-benchmark"] if project.has_pytest_benchmark else []
    return [*found, f"a {project.repository} repository" if project.repository else "no repository"]
