"""Packs what a run needs into files that another host can run from: no path of this host is left."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.dispatch import blobs
from benchmarking.dispatch.request import BENCHMARK, PackedFile
from benchmarking.errors import UsageError
from benchmarking.files import archive
from benchmarking.records.tree import History
from benchmarking.specs.location import resolve
from benchmarking.specs.model import FileSpec, ModelSpec, PathOrPaths, TestFile, TestSpec
from benchmarking.specs.reader import LoadedBenchmark
from benchmarking.specs.run_info import Commit, RunInfo, Version

if TYPE_CHECKING:
    import psycopg


@dataclass
class Package:
    """The files of a run, by their paths in the directory of a job."""

    directory: Path
    """For the files that are written here."""
    root_model_dir: Path | None = None
    sources: dict[str, Path] = field(default_factory=dict)
    files: dict[str, PackedFile] = field(default_factory=dict)

    def add(self, path: Path, directory: str = "files") -> str:
        """Returns the path in the directory of the job.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            packed = blobs.described(path)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        # Two files of one name stay apart; one file under one name is there once.
        name = re.sub("[^A-Za-z0-9_.-]+", "-", path.name).lstrip(".-")[-100:] or "file"
        relative = f"{directory}/{packed.sha256[:16]}/{name}"
        self.sources[relative], self.files[relative] = path, packed
        return relative

    def add_tree(self, name: str, root: Path, hidden: Collection[str] = ()) -> str:
        """An archive of a directory, without what has one of the hidden names. Returns the archive's path.

        Raises:
            UsageError: something cannot be read.
        """
        paths = (one for one in root.rglob("*") if not {*one.relative_to(root).parts} & {*hidden})
        return self._add_archive(name, root, paths)

    def _add_archive(self, name: str, root: Path, paths: Iterable[Path]) -> str:
        path = self.directory / f"{name}.tar.gz"
        try:
            archive.pack(path, root, paths)
        except OSError as error:
            raise UsageError(f"cannot pack {root}: {error}") from error
        return self.add(path)

    def send(self, connection: psycopg.Connection[Any], person: str) -> int:
        """Returns the number of bytes that were not there.

        Raises:
            PackedFileError: a file changed meanwhile.
        """
        return sum(
            file.size_bytes * blobs.send(connection, self.sources[relative], file, person)
            for relative, file in self.files.items()
        )

    def add_benchmarks(self, loaded: Sequence[LoadedBenchmark]) -> None:
        """
        Raises:
            UsageError: a file that a specification names cannot be read.
        """
        names = []
        for number, one in enumerate(loaded):
            spec = one.spec.model_copy(
                update={
                    "model": self._model(one.spec.model, one.path),
                    "tests": [self._test(test, one.path) for test in one.spec.tests],
                }
            )
            names.append(f"{number}.json")
            self._write(f"benchmarks/{number}.json", spec.model_dump(mode="json", exclude_unset=True))
        self._write(BENCHMARK, {"benchmarks": names})

    def _write(self, relative: str, value: Any) -> None:
        path = self.directory / relative
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
        self.sources[relative], self.files[relative] = path, blobs.described(path)

    def _model(self, model: ModelSpec, specification: Path) -> ModelSpec:
        formats = {
            name: one.model_copy(update={"files": self._files(one.files, specification)})
            for name, one in model.formats.items()
        }
        update: dict[str, Any] = {"formats": formats} if model.formats else {}
        if model.files:
            update["files"] = self._files(model.files, specification)
        return model.model_copy(update=update)

    def _files(self, files: Mapping[str, FileSpec], specification: Path) -> dict[str, FileSpec]:
        return {
            name: one.model_copy(update={"location": self._location(one.location, specification)})
            for name, one in files.items()
        }

    def _test(self, test: TestSpec, specification: Path) -> TestSpec:
        update = {
            name: {key: self._paths(value, specification) for key, value in paths.items()}
            for name in ("input_files", "output_files")
            if (paths := getattr(test, name))
        }
        return test.model_copy(update=update)

    def _paths(self, value: PathOrPaths, specification: Path) -> PathOrPaths:
        if isinstance(value, TestFile):
            return value.model_copy(update={"location": self._location(value.location, specification)})
        if isinstance(value, str):
            return self._location(value, specification)
        return [self._location(one, specification) for one in value]

    def _location(self, text: str, specification: Path) -> str:
        try:
            location = resolve(text, specification, self.root_model_dir)
        except ValueError as error:
            raise UsageError(f"{specification}: {error}") from error
        return location.value if location.is_url else f"../{self.add(Path(location.value))}"

    def add_history(self, history: History, commits: Sequence[Commit], nets: Sequence[str]) -> str:
        """Returns the path of the archive with the results of these commits.

        Raises:
            UsageError: one cannot be read.
        """
        return self._add_archive("history", history.root, history.files_of(commits, nets))

    def add_info(self, info: RunInfo) -> dict[str, Any]:
        """``--info`` with the programs that it names packed.

        Raises:
            UsageError: it names something that cannot leave this host.
        """
        value: dict[str, Any] = info.model_dump(mode="json", exclude_defaults=True)
        for name in ("treatment", "control"):
            version: Version | None = getattr(info, name)
            if version is None:
                continue
            if version.python is not None:
                raise UsageError(f"--info: $.{name}.python: a Python of this host cannot be sent to another")
            if version.program is not None:
                value[name]["program"] = self.add(Path(version.program).expanduser(), "programs")
        if info.shared_libs:
            value["shared_libs"] = [self.add(Path(one).expanduser(), "libraries") for one in info.shared_libs]
        return value
