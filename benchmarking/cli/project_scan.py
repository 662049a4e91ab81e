"""What a directory holds that can be benchmarked. Nothing of it is run, and links are not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarking import bounds
from benchmarking.cli.options import MODEL_SUFFIXES

DEEPEST, MOST_FILES = 5, 20_000
MOST_MODELS, MOST_PROGRAMS = 20, 5
LARGEST_PROGRAM_BYTES, LARGEST_TEXT_BYTES = 2**28, 2**20
SKIPPED = ("node_modules", "site-packages", "__pycache__", "mlbench")
PROGRAM_MARK = b"benchmark_list_tests"
"""Every program that is linked with Google Benchmark has this flag."""
PYTHON_REQUIREMENTS = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "requirements*.txt")
BUILDS = {
    "CMakeLists.txt": "cmake -S . -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --parallel",
    "meson.build": "meson setup build --buildtype=release && ninja -C build",
    "Makefile": "make",
    "Cargo.toml": "cargo build --release",
}

Hosting = Literal["github", "gitlab"]


@dataclass(frozen=True)
class Project:
    """All paths are relative to the directory."""

    directory: Path
    models: tuple[Path, ...]
    """Sorted: the files of a model in several formats, which have the same stem, follow each other."""
    programs: tuple[Path, ...]
    has_pytest_benchmark: bool
    is_python_package: bool
    requirements: str
    """The file of requirements that names pytest-benchmark, or else the first; empty: there is none."""
    repository: Literal["git", "hg"] | None
    hosting: Hosting
    build: str
    """The command that builds it; empty: unknown."""
    left_out: tuple[str, ...]
    """What was not looked at, and why."""


def scan(directory: Path) -> Project:
    files = list(_files(directory, DEEPEST))
    models = sorted(
        (one for one in files if _may_be_model(one)), key=lambda one: (one.parent, one.stem, one.suffix)
    )
    programs = [one for one in files if _is_program(one)]
    left_out = []
    if len(files) == MOST_FILES:
        left_out.append(f"files after the first {MOST_FILES:,}")
    for what, found, most in (("models", models, MOST_MODELS), ("programs", programs, MOST_PROGRAMS)):
        if len(found) > most:
            left_out.append(f"{what} after the first {most} of {len(found)}")
    top = [path for name in PYTHON_REQUIREMENTS for path in directory.glob(name)]
    return Project(
        directory=directory,
        models=tuple(one.relative_to(directory) for one in models[:MOST_MODELS]),
        programs=tuple(one.relative_to(directory) for one in programs[:MOST_PROGRAMS]),
        has_pytest_benchmark=any("pytest-benchmark" in _text(path) for path in top),
        is_python_package=any((directory / name).is_file() for name in ("pyproject.toml", "setup.py")),
        requirements=_requirements([path for path in top if path.suffix == ".txt"]),
        repository=_repository(directory),
        hosting=_hosting(directory),
        build=next((build for name, build in BUILDS.items() if (directory / name).is_file()), ""),
        left_out=tuple(left_out),
    )


def _files(directory: Path, depth: int) -> Iterator[Path]:
    """Regular files, at most ``MOST_FILES``."""
    left = MOST_FILES

    def walk(directory: Path, depth: int) -> Iterator[Path]:
        nonlocal left
        try:
            entries = sorted(os.scandir(directory), key=lambda one: one.name)
        except OSError:
            return  # not readable
        if any(one.name == "pyvenv.cfg" for one in entries):
            return
        for entry in entries:
            if left == 0:
                return
            if entry.is_file(follow_symlinks=False):
                left -= 1
                yield Path(entry.path)
            elif depth and entry.is_dir(follow_symlinks=False) and not _is_skipped(entry.name):
                yield from walk(Path(entry.path), depth - 1)

    return walk(directory, depth)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED


def _may_be_model(path: Path) -> bool:
    """An OpenVINO model has its weights beside it; other XML files and protobuf messages are more common."""
    model_format = MODEL_SUFFIXES.get(path.suffix.lower())
    if model_format == "openvino":
        return path.with_suffix(".bin").is_file()
    if model_format == "caffe2":
        return "predict" in path.stem or "init" in path.stem
    return model_format is not None


def _is_program(path: Path) -> bool:
    try:
        status = path.stat()
        if not status.st_mode & 0o111 or status.st_size > LARGEST_PROGRAM_BYTES:
            return False
        return PROGRAM_MARK in bounds.read_file(path, LARGEST_PROGRAM_BYTES)
    except (OSError, ValueError):
        return False


def _text(path: Path) -> str:
    try:
        return bounds.read_file(path, LARGEST_TEXT_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _requirements(files: Sequence[Path]) -> str:
    ordered = sorted(files, key=lambda one: ("pytest-benchmark" not in _text(one), one.name))
    return ordered[0].name if ordered else ""


def _repository(directory: Path) -> Literal["git", "hg"] | None:
    kinds: tuple[Literal["git", "hg"], ...] = ("git", "hg")
    return next((kind for kind in kinds if (directory / f".{kind}").exists()), None)


def _hosting(directory: Path) -> Hosting:
    is_gitlab = "gitlab" in _text(directory / ".git/config") or (directory / ".gitlab-ci.yml").exists()
    return "gitlab" if is_gitlab else "github"
