"""The local reporter's tree of files; only this module knows its paths (docs/contracts.md, section 4).

``<root>/<platform>/<framework>/<net>/<metric>/<identifier>/<Y>/<M>/<D>/<commit>/<run>/``
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarking.bounds import read_file
from benchmarking.files import atomic_file
from benchmarking.results import comparability, documents, unix_time
from benchmarking.results.model import NET_DELAY, NORMAL_RUN, Result, TypeResult
from benchmarking.results.plain_text import plain
from benchmarking.specs.run_info import Commit

logger = logging.getLogger(__name__)

META_FILE = "meta.txt"
FAILURES_DIRECTORY = ".failures"
"""Below the root: the same tree for cases that failed. Readers of results never see it."""
FAILURE_FILE = "failure.json"
NAME_FILE = ".name"
"""A file in a directory whose name differs from the name that it represents; it contains that name."""
ON_BACKEND = " on "
"""Separates the names of a test and of a backend."""
MAXIMUM_PART_BYTES = 150
LARGEST_FILE_BYTES = 128 * 2**20
"""For one run; a million samples of both arms with their CPU times have about 90 MB."""
LARGEST_NAME_BYTES = 2**16

LOOKED_AT = 10
"""The newest runs of a commit, among which a result is searched that may be reported again."""
DATE_DEPTHS = (5, 6, 7)
"""The depths of the directories whose children are years, months and days; the root has depth 0."""
COMMIT_DEPTH = 9
"""The depth of the directories whose children are runs."""

Read = TypeVar("Read")
Run = Mapping[str, TypeResult]
"""The types of one run, by name."""


@dataclass(frozen=True)
class Selection:
    """The runs to read; an empty tuple selects all."""

    platforms: tuple[str, ...] = ()
    nets: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """If it is empty, the operators are left out."""
    operators: bool = False
    """Whether the operators are included."""
    since: date = date.min
    """Only commits from this day (UTC) on."""
    limit: int | None = None
    """The number of newest commits of each case."""


class History:
    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, result: Result) -> Path:
        """Writes a run directory, which appears completely or not at all.

        Raises:
            OSError: it cannot be written.
        """
        files = {META_FILE: documents.dumps(documents.meta_json(result))}
        for one in result.types:
            name = next(name for part in _candidates(one.type) if (name := f"{part}.txt") not in files)
            files[name] = documents.dumps(documents.type_json(one))
        return _add_run(_make(self.root, _parts(result)), files)

    def save_failure(self, result: Result) -> Path:
        """Saves the known facts of a failed case, outside the tree of results.

        Raises:
            OSError: it cannot be written.
        """
        files = {FAILURE_FILE: documents.dumps(documents.result_json(result))}
        if result.failure is not None and result.failure.evidence:
            files["evidence.txt"] = result.failure.evidence + "\n"
        directory = self.root / FAILURES_DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        return _add_run(_make(directory, _parts(result)), files)

    def runs(self, like: Result, commits: Sequence[Commit]) -> list[Run]:
        """For each commit that has any, the latest normal run of the same case on the same device.

        In the order of ``commits``. A damaged run is skipped with a warning.
        """
        found = (self._latest(like, commit) for commit in commits)
        return [run for run in found if run]

    def _latest(self, like: Result, commit: Commit) -> Run | None:
        directory = _find(self.root, _parts(like, commit.commit, commit.commit_time))
        if directory is None:
            return None
        for path in reversed(_numbered(directory)):
            run = _read_run(path, like)
            if run is not None:
                return run
        return None

    def files_of(self, commits: Sequence[Commit], nets: Sequence[str]) -> Iterator[Path]:
        """The files from which ``runs`` reads: a copy of them is a history of these commits."""
        for case in self._cases(Selection(nets=tuple(nets))):
            for commit in commits:
                date = map(str, unix_time.year_month_day(commit.commit_time))
                found = _find(case, [*date, commit.commit])
                if found is not None:
                    # Runs that another process is still writing are not among the numbered ones.
                    yield from (path for run in _numbered(found) for path in sorted(run.iterdir()))
                    above = (directory / NAME_FILE for directory in (found, *found.parents))
                    yield from (path for path in above if path.is_relative_to(self.root) and path.is_file())

    def has(self, result: Result) -> bool:
        """Whether it is among the newest runs of its commit: a lab reports its results again to whoever asks
        again.
        """
        directory = _find(self.root, _parts(result))
        newest = _numbered(directory)[-LOOKED_AT:] if directory and result.provenance.uid else ()
        saved = map(_read_meta, newest)
        return any(one is not None and one.provenance.uid == result.provenance.uid for one in saved)

    def saved(self, selection: Selection) -> Iterator[Result]:
        """Every selected run, case by case; newest commits first, the runs of a commit in order.

        Anything that is damaged, or was not written by the local reporter, is skipped with a warning.
        """
        for case in self._cases(selection):
            count = 0
            for commit in _commits(case, selection.since):
                runs = [one for path in _numbered(commit) if (one := _load(path, selection)) is not None]
                if selection.identifiers:
                    runs = [one for one in runs if one.test.identifier in selection.identifiers]
                yield from runs
                count += bool(runs)
                if count == selection.limit:
                    break

    def _cases(self, selection: Selection) -> list[Path]:
        wanted = (selection.platforms, (), selection.nets, selection.metrics)
        directories = [self.root]
        for names in wanted:
            children = (child for directory in directories for child in _children(directory))
            directories = [child for child in children if not names or _readable_owner(child) in names]
        cases = (child for directory in directories for child in _children(directory))
        return [one for one in cases if _may_be_of(one, selection.identifiers)]


def children(directory: Path, depth: int) -> list[Path]:
    """The directories of results in a directory at that depth. Others are left out with a warning."""
    return (_numbered if depth in (*DATE_DEPTHS, COMMIT_DEPTH) else _children)(directory)


def load(directory: Path) -> Result | None:
    """The run in that directory, without its operators; None, with a warning, if it is damaged."""
    return _load(directory, Selection())


def _may_be_of(case: Path, identifiers: Sequence[str]) -> bool:
    """Whether its runs may belong to one of the tests, on one backend or on several; their
    contents decide.
    """
    owner = _readable_owner(case) or ""
    return not identifiers or any(owner == one or owner.startswith(one + ON_BACKEND) for one in identifiers)


def _children(directory: Path) -> list[Path]:
    """The directories in it, by name; names that begin with a dot are not results."""
    try:
        children = sorted(one for one in directory.iterdir() if not one.name.startswith("."))
    except OSError as error:
        _warn_of_damage(directory, error)
        return []
    for one in children:
        if not one.is_dir():
            _warn_of_foreign(one)
    return [one for one in children if one.is_dir()]


def _numbered(directory: Path) -> list[Path]:
    """The directories with numbers as names, in ascending order."""
    children = _children(directory)
    for one in children:
        if not one.name.isdecimal():
            _warn_of_foreign(one)
    return sorted((one for one in children if one.name.isdecimal()), key=lambda one: int(one.name))


def _warn_of_foreign(path: Path) -> None:
    logger.warning("%s was not written by the local reporter and is left out", plain(str(path)))


def _commits(case: Path, since: date) -> Iterator[Path]:
    """Newest day first; within a day in the order of the commits' times and positions."""
    for year in reversed(_numbered(case)):
        for month in reversed(_numbered(year)):
            for day in reversed(_numbered(month)):
                numbers = int(year.name), int(month.name), int(day.name)
                if numbers >= (since.year, since.month, since.day):
                    yield from sorted(_children(day), key=_moment, reverse=True)


def _moment(commit: Path) -> tuple[int, int]:
    """The time and the position of the commit, from the first of its runs that can be read."""
    for path in commit.glob(f"*/{META_FILE}"):
        with suppress(OSError, ValueError):
            found = _read(path, documents.read_meta).provenance
            return found.commit_time, found.position or 0
    return 0, 0


def _load(directory: Path, selection: Selection) -> Result | None:
    """The run with the selected types; None if it is damaged."""
    result = _read_meta(directory)
    if result is None:
        return None
    default = (NET_DELAY,) if result.test.metric == "delay" and not selection.operators else ()
    run = _read_types(directory, selection.types or default)
    return None if run is None else replace(result, types=tuple(run.values()))


def _read_run(directory: Path, like: Result) -> Run | None:
    """None if it is from another device, ran with other settings, is not a normal run, or is damaged."""
    result = _read_meta(directory)
    if result is None or result.provenance.run_type != NORMAL_RUN:
        return None
    if result.test.device != like.test.device:
        return None
    if result.test.backend != like.test.backend:
        logger.info("%s is not comparable: it ran on the backend %s", directory, result.test.backend)
        return None
    different = (
        *comparability.differences(result.device.facts, like.device.facts, comparability.DEVICE_SETTINGS),
        *comparability.differences(
            result.program.facts,
            like.program.facts,
            (*comparability.PROGRAM_SETTINGS, *comparability.PROGRAM_VERSIONS),
        ),
    )
    if different:
        logger.info("%s is not comparable: it ran with %s", directory, "; ".join(different))
        return None
    return _read_types(directory)


def _read_meta(directory: Path) -> Result | None:
    try:
        return _read(directory / META_FILE, documents.read_meta)
    except documents.NewerVersionError as error:
        logger.warning("%s is left out: %s, or move the directory away", plain(str(directory)), error)
    except (OSError, ValueError) as error:
        _warn_of_damage(directory, error)
    return None


def read_run(directory: Path) -> Result:
    """The result in the directory of a run, or of a failure, with all its types.

    Raises:
        OSError, ValueError: it is damaged, or a newer version wrote it.
    """
    if (directory / FAILURE_FILE).exists():
        return _read(directory / FAILURE_FILE, partial(documents.read, Result))
    result = _read(directory / META_FILE, documents.read_meta)
    types = sorted(_types(directory), key=lambda one: (one.type != NET_DELAY, _numbers_in(one.type)))
    return replace(result, types=tuple(types))


def _numbers_in(name: str) -> list[tuple[int, str]]:
    """Sorts the operators 2 and 10 of a net as people do."""
    return [(int(one), "") if one.isdecimal() else (0, one) for one in re.split(r"([0-9]{1,18})", name)]


def _read_types(directory: Path, wanted: Sequence[str] = ()) -> Run | None:
    try:
        types = _types(directory, wanted)
    except (OSError, ValueError) as error:
        _warn_of_damage(directory, error)
        return None
    types.sort(key=lambda one: one.type != NET_DELAY)
    return {one.type: one for one in types if not wanted or one.type in wanted}


def _types(directory: Path, wanted: Sequence[str] = ()) -> list[TypeResult]:
    """The files of the wanted types, or of all. Raises as ``read_run``."""
    names = {f"{part}.txt" for name in wanted for part in _candidates(name)}
    files = sorted(path for path in directory.glob("*.txt") if path.name != META_FILE)
    chosen = [path for path in files if not wanted or path.name in names]
    return [_read(path, partial(documents.read, TypeResult)) for path in chosen]


def _read(path: Path, reader: Callable[[bytes], Read]) -> Read:
    """Reads a file.

    Raises:
        NewerVersionError: a newer version of this program wrote it.
        OSError, ValueError: with the file's name, in one line.
    """
    try:
        return reader(read_file(path, LARGEST_FILE_BYTES))
    except documents.NewerVersionError:
        raise
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _warn_of_damage(directory: Path, error: object) -> None:
    what = error.strerror if isinstance(error, OSError) and error.strerror else error
    path = plain(str(directory))
    logger.warning("%s is damaged and is left out of the history: %s", path, plain(str(what)))


# --- paths --------------------------------------------------------------------------------------------------


def _parts(result: Result, commit: str | None = None, commit_time: int | None = None) -> list[str]:
    """The names that the directories of a run represent. In a run on several backends each backend has its
    own.
    """
    test, from_ = result.test, result.provenance
    date = map(str, unix_time.year_month_day(from_.commit_time if commit_time is None else commit_time))
    names = [result.device.name, test.framework, test.net, test.metric, test.identifier + result.on_backend]
    return [*names, *date, from_.commit if commit is None else commit]


def path_part(name: str) -> str:
    """The contract's rule: blanks and ``/`` become ``-``, all other characters except letters, digits and ``_
    . -`` are dropped.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "", re.sub(r"[\s/]", "-", name))


def _candidates(name: str) -> Iterator[str]:
    """Directory names for ``name``: the contract's name if it is safe, then names that nothing else gets."""
    plain = path_part(name)
    if plain and not plain.startswith(".") and len(plain) <= MAXIMUM_PART_BYTES:
        yield plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    stem = plain.lstrip(".")[:MAXIMUM_PART_BYTES]
    for length in (8, 64):
        yield f"{stem}-{digest[:length]}"


def _owner(directory: Path) -> str | None:
    """The name that a directory represents; None if there is no directory."""
    with suppress(FileNotFoundError):
        return read_file(directory / NAME_FILE, LARGEST_NAME_BYTES).decode("utf-8", "surrogatepass")
    return directory.name if directory.is_dir() else None


def _readable_owner(directory: Path) -> str | None:
    try:
        return _owner(directory)
    except (OSError, ValueError) as error:
        _warn_of_damage(directory, error)
        return None


def _find(root: Path, names: Sequence[str]) -> Path | None:
    directory = root
    for name in names:
        owned = (directory / candidate for candidate in _candidates(name))
        found = next((path for path in owned if _readable_owner(path) == name), None)
        if found is None:
            return None
        directory = found
    return directory


def _make(root: Path, names: Sequence[str]) -> Path:
    directory = root
    for name in names:
        directory = _claim(directory, name)
    return directory


def _claim(parent: Path, name: str) -> Path:
    """The directory of ``name``, which is created if it does not exist."""
    for candidate in _candidates(name):
        directory = parent / candidate
        if not directory.exists():
            _create(directory, name)
        if _readable_owner(directory) == name:
            return directory
    raise FileExistsError(f"{parent}: no directory is free for {name!r}")


def _create(directory: Path, name: str) -> None:
    """Does nothing if another process was faster: the owner file then shows whose directory it is."""
    if directory.name == name:
        with suppress(FileExistsError):
            directory.mkdir()
        return
    temporary = Path(tempfile.mkdtemp(prefix=atomic_file.TEMPORARY_PREFIX, dir=directory.parent))
    (temporary / NAME_FILE).write_bytes(name.encode("utf-8", "surrogatepass"))
    _publish(temporary, directory)


def _publish(temporary: Path, directory: Path) -> bool:
    """Renames the directory; False, with nothing left behind, if the name is taken by a directory that is not
    empty.
    """
    temporary.chmod(0o777 & ~atomic_file.umask())
    try:
        temporary.rename(directory)
    except OSError:
        shutil.rmtree(temporary)
        if not directory.exists():
            raise
        return False
    return True


def _add_run(parent: Path, files: Mapping[str, str]) -> Path:
    """A new numbered directory with the files: written to a temporary directory, flushed, renamed to the
    first free number.
    """
    number = 0
    while True:
        while (parent / str(number)).exists():
            number += 1
        temporary = Path(tempfile.mkdtemp(prefix=atomic_file.TEMPORARY_PREFIX, dir=parent))
        try:
            for name, text in files.items():
                _write_flushed(temporary / name, text)
            atomic_file.sync_directory(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if _publish(temporary, parent / str(number)):
            atomic_file.sync_directory(parent)
            return parent / str(number)


def _write_flushed(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
