"""Adds what is in files: trees of the local reporter, documents, posts, and files of other tools.

An import can be repeated and resumed at any time: files that have not changed since are skipped unread, and
results that are known change nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from sqlalchemy import insert, select

from benchmarking.bounds import read_file
from benchmarking.errors import UsageError
from benchmarking.records import tree
from benchmarking.reporters.numbers import counted
from benchmarking.results.model import Result
from benchmarking.results.plain_text import plain
from benchmarking.server import foreign, payloads
from benchmarking.server.admission import RefusedError, admit
from benchmarking.server.foreign import Context
from benchmarking.server.ingest import identified, ingest
from benchmarking.server.projects import DEFAULT_PROJECT
from benchmarking.server.store import Store
from benchmarking.server.tables import imports

logger = logging.getLogger(__name__)

LARGEST_FILE_BYTES = 128 * 2**20
BATCH = 50
"""Runs in one transaction."""


@dataclass
class Imported:
    accepted: int = 0
    known: int = 0
    damaged: int = 0
    skipped: int = 0
    """Runs that an earlier import had seen."""

    @property
    def seen(self) -> int:
        return self.accepted + self.known + self.damaged + self.skipped


def import_tree(
    store: Store,
    root: Path,
    is_ending: Callable[[], bool],
    source: str = "import",
    project: str = DEFAULT_PROJECT,
) -> Imported:
    """Adds the results that ``--local_reporter`` saved below the directory, failed tests included.

    A damaged run is left out with a warning, and looked at again by the next import.

    Args:
        is_ending: when it is true, the import ends after the current transaction.

    Raises:
        UsageError: the directory cannot be read.
        sqlalchemy.exc.DBAPIError: the database failed; what was imported before is kept.
    """
    try:
        os.scandir(root).close()
    except OSError as error:
        raise UsageError(f"{root}: {error.strerror}") from error
    done = Imported()
    for directories in _batches(run_directories(root)):
        if is_ending():
            break
        digests = {}
        for one in directories:
            try:
                digests[_state(one, project)] = one
            except OSError as error:  # it was removed meanwhile, say
                done.damaged += 1
                _warn(one, error)
        with store.reading() as connection:
            seen = set(connection.scalars(select(imports.c.digest).where(imports.c.digest.in_(digests))))
        done.skipped += len(seen)
        new = {digest: one for digest, one in digests.items() if digest not in seen}
        _import_runs(store, new, source, project, done)
    if done.accepted or done.damaged:
        damaged = f"; {done.damaged} damaged" if done.damaged else ""
        logger.info("%s imported from %s%s", counted(done.accepted, "result"), plain(str(root)), damaged)
    return done


def _batches(directories: Iterator[Path]) -> Iterator[list[Path]]:
    while batch := list(islice(directories, BATCH)):
        yield batch


def _import_runs(
    store: Store, directories: dict[str, Path], source: str, project: str, done: Imported
) -> None:
    found: dict[str, Result] = {}
    for digest, directory in directories.items():
        try:
            found[digest] = admit(identified(_identified(directory, tree.read_run(directory))))
        except (OSError, ValueError, RefusedError) as error:
            done.damaged += 1
            _warn(directory, error)
    ingested = ingest(store, list(found.values()), project=project, source=source)
    done.accepted += ingested.accepted
    done.known += ingested.known
    with store.writing() as connection:
        known = set(connection.scalars(select(imports.c.digest).where(imports.c.digest.in_(found))))
        rows = [{"digest": one, "time": int(time.time())} for one in found if one not in known]
        if rows:
            connection.execute(insert(imports), rows)


def _warn(directory: Path, error: Exception) -> None:
    logger.warning("%s is left out: %s", plain(str(directory)), plain(str(error)))


def _identified(directory: Path, result: Result) -> Result:
    """A result of an older version is known by the bytes of its files: later versions would write others."""
    if result.provenance.uid:
        return result
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0" + path.read_bytes())
    return replace(result, provenance=replace(result.provenance, uid=digest.hexdigest()[:32]))


def run_directories(root: Path) -> Iterator[Path]:
    """The directories of runs below it, in the order of their names; without those that are being written,
    and, with a warning, those that cannot be read.
    """
    with os.scandir(root) as entries:
        children = sorted(
            entries, key=lambda one: (len(one.name), one.name) if one.name.isdecimal() else (0, one.name)
        )
    names = {one.name for one in children}
    if names & {tree.META_FILE, tree.FAILURE_FILE}:
        yield root
        return
    for one in children:
        is_hidden = one.name.startswith(".") and one.name != tree.FAILURES_DIRECTORY
        if not is_hidden and one.is_dir(follow_symlinks=False):
            try:
                yield from run_directories(Path(one.path))
            except OSError as error:
                _warn(Path(one.path), error)


def _state(directory: Path, project: str) -> str:
    """Changes with the directory's path and its files, which are never changed in place."""
    with os.scandir(directory) as entries:
        files = sorted((one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in entries)
    of_project = [] if project == DEFAULT_PROJECT else [project]
    text = repr((str(directory.resolve()), files, *of_project))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def import_file(
    store: Store, path: Path, context: Context, source: str = "import", project: str = DEFAULT_PROJECT
) -> Imported:
    """Adds what is in a document of ``--json``, in a post of docs/contracts.md, section 5, or in a file of
    another tool.

    Raises:
        UsageError: it cannot be read, or its form is not known.
    """
    try:
        content = read_file(path, LARGEST_FILE_BYTES)
        given = _results(content, context)
        ingested = ingest(store, given, project=project, source=source)
    except (OSError, ValueError, UsageError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path}: {reason}") from error
    return Imported(ingested.accepted, ingested.known)


def _results(content: bytes, context: Context) -> Sequence[Result]:
    own = _own_results(content) if context.format is None else None
    if own is None:
        return foreign.read(content, context)
    if context.commit is not None or context.device is not None:
        raise UsageError("its results say commit and device themselves; leave out --commit and --device")
    return own


def _own_results(content: bytes) -> Sequence[Result] | None:
    """None if they seem to be those of another tool."""
    start = content[:4096]
    if b'"layout_version"' in content and b'"exit_status"' in content:
        return payloads.results_of_document(content)
    if b'"logs"' in start:
        return payloads.read_post(content).results
    if b'"message"' in start and b'"category"' in start:
        return payloads.results_of_logs(content)[0]
    return None
