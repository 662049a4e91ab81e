"""Local copies of the files of models, each checked by its hashes before anything uses it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import IO, BinaryIO

from benchmarking.errors import ChecksumError, DownloadError, ModelError, RunCancelledError
from benchmarking.files import atomic_file, input_tensors
from benchmarking.files.download import DownloadLimits, Receiver, download
from benchmarking.files.web import BLOCK_BYTES, WebError, gunzipped, hide_credentials
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain
from benchmarking.specs.expand import InputBlob, TestCase
from benchmarking.specs.location import Location
from benchmarking.specs.model import FileSpec
from benchmarking.specs.reader import MAXIMUM_NAME_BYTES

logger = logging.getLogger(__name__)

TOGETHER = "together_"
"""The prefix of the name of a directory whose files are needed together."""
LOCK_POLL_S = 0.1
LOCK_NOTICE_S = 2.0
LEFTOVER_AGE_S = 3600.0
"""A temporary file that was not written to for this long has no writer any more."""


@dataclass(frozen=True)
class ResolvedModel:
    """The files of a model, local and checked."""

    files: Mapping[str, Path]
    """Maps the key of ``model.files`` to the file."""


@dataclass(frozen=True)
class _Digests:
    md5: str
    sha256: str | None
    """None: nobody needs it."""

    def differing(self, spec: FileSpec) -> str | None:
        """The given hash that differs: "md5" or "sha256"."""
        if spec.md5 and self.md5 != spec.md5.lower():
            return "md5"
        if spec.sha256 is not None and self.sha256 != spec.sha256.lower():
            return "sha256"
        return None


class _Hashing:
    """The hashes of content that comes in blocks."""

    def __init__(self, with_sha256: bool) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if with_sha256 else None

    def take(self, block: bytes) -> None:
        self._md5.update(block)
        if self._sha256 is not None:
            self._sha256.update(block)

    def digests(self) -> _Digests:
        return _Digests(self._md5.hexdigest(), self._sha256.hexdigest() if self._sha256 else None)


class ModelCache:
    """Safe to use from several threads, and from several processes at once."""

    def __init__(
        self,
        directory: Path,
        *,
        cancellation: Cancellation,
        show_progress: bool,
        limits: DownloadLimits | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._cancellation = cancellation
        self._show_progress = show_progress
        self._limits = limits or DownloadLimits()
        self._lock = threading.Lock()
        self._checked: dict[tuple[str, FileSpec, Path], Path | ModelError] = {}
        self._fetched: dict[Location, Path] = {}
        self._md5_of: dict[Location, str] = {}
        """The hashes of files without a hash in the specification."""
        self._own_directory: tempfile.TemporaryDirectory[str] | None = None
        """The directory for inputs that are generated, and for downloaded inputs if the cache is read-only.
        """
        self._made: dict[str, Path] = {}
        self._warn_of_git()

    def resolve(self, case: TestCase) -> ResolvedModel:
        """Every file of the case's model; each is downloaded and hashed at most once in a run.

        Raises:
            DownloadError: a file could not be fetched or stored.
            ChecksumError: it is another file than the specification means.
        """
        with self._lock:
            known = self._with_hashes(case)
            return ResolvedModel({key: self._resolve_file(known, key) for key in known.model_files})

    def with_data(self, case: TestCase, key: str, names: Sequence[str]) -> tuple[Path, ...]:
        """A resolved model file and the files that it refers to, in a separate directory.

        A data file is listed in ``model.files`` with this name, or is next to the original.

        Args:
            names: of the data files, as the model file has them.

        Raises:
            ModelError: a data file cannot be had, or is not beside the model.
        """
        with self._lock:
            model = self._resolve_file(self._with_hashes(case), key)
            parts = {case.model.files[key].filename: model}
            for name in names:
                parts[name] = self._data_file(case, key, name)
            digest = hashlib.md5(usedforsecurity=False)
            for name, path in parts.items():
                digest.update(f"{name}\0{path.name}\0".encode())
            directory = self._model_directory(case) / f"{TOGETHER}{digest.hexdigest()}"
            self._make(directory)
            for name, path in parts.items():
                self._place(path, directory / name)
            return tuple(directory / name for name in parts)

    def _data_file(self, case: TestCase, key: str, name: str) -> Path:
        """
        Raises:
            ModelError: as ``with_data``.
        """
        shown = plain(repr(name)[:200])
        if not name or name in (".", "..") or Path(name).name != name or "\0" in name:
            raise ModelError(
                f"{case.model.files[key].filename} keeps weights in {shown}, which is not next to it"
            )
        listed = next((one for one, file in case.model.files.items() if file.filename == name), None)
        if listed is not None:
            return self._resolve_file(self._with_hashes(case), listed)
        of_model = case.model_files[key]
        if of_model.is_url:
            raise ModelError(
                f"{hide_credentials(str(of_model))} keeps weights in {shown}: add that file to "
                f"{case.model.files_path} with its location and md5"
            )
        beside = of_model.path.parent / name
        if beside.resolve().parent != of_model.path.parent.resolve():
            raise ModelError(f"{beside} is outside the directory of the model that refers to it")
        path = self._local(Location(str(beside)), case)
        location = Location(str(path))
        if location not in self._md5_of:
            self._md5_of[location] = self._md5(path)
        file = FileSpec(filename=name, location=str(path), md5=self._md5_of[location])
        extended = replace(
            case,
            model=case.model.model_copy(update={"files": {**case.model.files, name: file}}),
            model_files={**case.model_files, name: location},
        )
        return self._resolve_file(extended, name)

    def _place(self, source: Path, target: Path) -> None:
        """The same content under another name; a link if the file system supports links."""
        try:
            if target.exists() and target.samefile(source):
                return
            with suppress(OSError):
                _link(source, target)
                return
            with source.open("rb") as stream, atomic_file.writing(target) as copy:
                shutil.copyfileobj(stream, copy)
        except OSError as error:
            raise _unusable(target.parent, error) from error

    def hashes(self, case: TestCase) -> Mapping[str, str]:
        """The MD5 of the files of the case's model, by the key of ``model.files``; without those that have no
        hash in the specification and have not been resolved yet.
        """
        known = {
            key: case.model.files[key].md5 or self._md5_of.get(location)
            for key, location in case.model_files.items()
        }
        return {key: md5.lower() for key, md5 in known.items() if md5}

    def local_file(self, location: Location, case: TestCase, md5: str | None = None) -> Path:
        """An input or golden file. A file from a server is downloaded again in each run.

        Raises:
            ModelError: there is no such file.
            DownloadError: it could not be fetched.
            ChecksumError: its hash is not ``md5``.
        """
        with self._lock:
            path = self._local(location, case)
            if md5 is not None and (found := self._md5(path)) != md5.lower():
                line = _line_of(case.specification, md5)
                shown = hide_credentials(str(location))
                raise ChecksumError(f"{line}: md5 is {md5}, but {shown} has {found}")
        return path

    def input_file(self, blob: InputBlob, case: TestCase) -> Path | None:
        """The file of an input, which is generated once in a run if it is not given in its final form; None:
        it has none.

        Raises:
            CaseError: as ``local_file``; the file is not what the specification says of it.
        """
        import numpy as np

        source = self.local_file(blob.file, case) if blob.file else None
        with self._lock:
            key = f"{source} {blob}"
            if key not in self._made:
                array = input_tensors.made(blob, source)
                if array is None:
                    return source
                path = self._temporary() / f"made_{len(self._made)}.npy"
                np.save(path, array, allow_pickle=False)
                self._made[key] = path
            return self._made[key]

    def _local(self, location: Location, case: TestCase) -> Path:
        if not location.is_url:
            if not location.path.is_file():
                raise ModelError(
                    f"there is no file {str(location)!r}; {case.specification}: {case.json_path} refers to it"
                )
            return location.path
        if location not in self._fetched:
            digest = hashlib.sha256(location.value.encode()).hexdigest()[:16]
            name = Path(location.value.split("?")[0]).name or "file"
            path = self._input_directory(case) / f"input_{digest}_{_end(name, 100)}"
            with self._locked(path):
                self._store(location, path)
            self._fetched[location] = path
        return self._fetched[location]

    def _md5(self, path: Path) -> str:
        try:
            return _hash_file(path, with_sha256=False).md5
        except OSError as error:
            raise DownloadError(f"cannot read {path}: {error.strerror}") from error

    def _with_hashes(self, case: TestCase) -> TestCase:
        """The case with the hashes of the files for which its specification gives none."""
        files, locations = dict(case.model.files), dict(case.model_files)
        for key, location in case.model_files.items():
            if files[key].md5:
                continue
            path = self._local(location, case)
            if location not in self._md5_of:
                try:
                    with path.open("rb") as stream:
                        _refuse_stand_ins(stream, location)
                except OSError as error:
                    raise DownloadError(f"cannot read {path}: {error.strerror}") from error
                self._md5_of[location] = self._md5(path)
            files[key] = files[key].model_copy(update={"md5": self._md5_of[location]})
            locations[key] = Location(str(path))
        return replace(case, model=case.model.model_copy(update={"files": files}), model_files=locations)

    # --- one file -------------------------------------------------------------------------------------------

    def _resolve_file(self, case: TestCase, key: str) -> Path:
        spec = case.model.files[key]
        path = self._model_directory(case) / _cached_name(spec)
        memory = (str(case.model_files[key]), spec, path)
        if memory not in self._checked:
            try:
                self._checked[memory] = self._fetch_checked(case, key, path)
            except ModelError as error:
                # The other cases of this model fail at once instead of making the same attempts again.
                self._checked[memory] = error
        known = self._checked[memory]
        if isinstance(known, ModelError):
            raise known
        return known

    def _fetch_checked(self, case: TestCase, key: str, path: Path) -> Path:
        spec, location = case.model.files[key], case.model_files[key]
        hashed = self._hashed(case, key)
        # Files appear complete: an existing file needs no lock, which a cache of another user may not allow.
        if _is_valid(path, spec, hashed):
            return path
        self._make(path.parent)
        with self._locked(path):
            if not _is_valid(path, spec, hashed):  # no other process has stored it in the meantime
                self._store(location, path, _Check(case, key))
        return path

    def _hashed(self, case: TestCase, key: str) -> Path | None:
        """The local file that was hashed in this run, with the hashes of the specification: a copy need only
        be compared with it, which takes a fifth of the time.
        """
        spec, location = case.model.files[key], case.model_files[key]
        is_hashed = case.are_hashes_new or self._md5_of.get(location) == spec.md5
        return location.path if is_hashed and spec.sha256 is None and not location.is_url else None

    def _store(self, location: Location, path: Path, check: _Check | None = None) -> None:
        """Writes the complete, verified file, or leaves the previous file unchanged."""
        try:
            progress = path.name if self._show_progress else None
            with_sha256 = check is not None and check.needs_sha256
            with (
                atomic_file.writing(path) as stream,
                _Sink(stream, progress, with_sha256=with_sha256) as sink,
            ):
                if location.is_url:
                    self._download(location, sink, check)
                else:
                    _copy(location, sink)
                if check is None or not check.fits(sink.digests()):
                    _refuse_stand_ins(stream, location)
                if check is not None:
                    check.require(sink.digests(), location)
        except OSError as error:
            raise DownloadError(
                f"cannot store {hide_credentials(str(location))} as {path}: {error.strerror or error}; "
                "choose another directory with --model_cache"
            ) from error

    def _download(self, location: Location, sink: _Sink, check: _Check | None) -> None:
        """Some servers keep files compressed and always say so: the file is then the form that has the right
        hashes, and without hashes the unpacked form, as the standard demands.
        """
        receiver = Receiver(start=sink.restart, take=sink.take)
        is_packed = download(location.value, receiver, self._cancellation, self._limits)
        if not is_packed or (check is not None and check.fits(sink.digests())):
            return
        try:
            sink.unpack(self._limits.web.size_bytes, self._cancellation, check)
        except WebError as error:
            raise DownloadError(f"cannot download {hide_credentials(location.value)}: {error}") from error

    # --- directories and locks ------------------------------------------------------------------------------

    def _model_directory(self, case: TestCase) -> Path:
        return self._directory / case.model.format / case.model.name

    def _make(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(directory, error) from error

    def _input_directory(self, case: TestCase) -> Path:
        """If the cache is read-only, a file without a hash cannot be trusted: it is kept for this
        run only.
        """
        directory = self._model_directory(case)
        effectively = os.access in os.supports_effective_ids
        if directory.is_dir() and not os.access(directory, os.W_OK, effective_ids=effectively):
            return self._temporary()
        self._make(directory)
        return directory

    def _temporary(self) -> Path:
        """A directory for this run only."""
        if self._own_directory is None:
            self._own_directory = tempfile.TemporaryDirectory(prefix="benchmark-inputs-")
        return Path(self._own_directory.name)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Other processes that want the same file wait; if a process dies, its lock is released."""
        import filelock

        mode = 0o666 & ~atomic_file.umask()  # a cache that is shared by a group
        lock = filelock.FileLock(path.with_name(path.name + ".lock"), mode=mode)
        waited_s = 0.0
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(lock.acquire(timeout=0, blocking=False))
                    break
                except filelock.Timeout:
                    if self._cancellation.wait(LOCK_POLL_S):
                        raise RunCancelledError(f"cancelled while waiting for {path.name}") from None
                    waited_s += LOCK_POLL_S
                    if waited_s - LOCK_POLL_S < LOCK_NOTICE_S <= waited_s:
                        logger.info("another process is fetching %s; waiting for it", path.name)
                except OSError as error:
                    raise _unusable(path.parent, error) from error
            _remove_leftovers(path.parent)
            yield

    def _warn_of_git(self) -> None:
        if any((parent / ".git").exists() for parent in (self._directory, *self._directory.parents)):
            logger.warning(
                "the model cache %s is in a git directory; choose another with --model_cache",
                self._directory,
            )


@dataclass(frozen=True)
class _Check:
    """Checks that a downloaded file is the file that the specification means."""

    case: TestCase
    key: str

    @property
    def needs_sha256(self) -> bool:
        return self.case.model.files[self.key].sha256 is not None

    def fits(self, digests: _Digests) -> bool:
        return digests.differing(self.case.model.files[self.key]) is None

    def require(self, digests: _Digests, location: Location) -> None:
        spec = self.case.model.files[self.key]
        differing = digests.differing(spec)
        if differing is None:
            return
        expected, found = getattr(spec, differing), getattr(digests, differing)
        line = _line_of(self.case.specification, expected)
        raise ChecksumError(
            f"{line}: {differing} is {expected}, but {hide_credentials(str(location))} has {found}; "
            f"if that file is the right one, put its {differing} there"
        )


class _Sink:
    """Writes and hashes the received data, and shows the progress."""

    def __init__(self, stream: BinaryIO, name: str | None, *, with_sha256: bool) -> None:
        """``name``: of the file, for the progress; None: none is shown."""
        self._stream = stream
        self._name = name
        self._with_sha256 = with_sha256
        self._stack = ExitStack()
        self._advance: Callable[[int], None] = lambda count: None
        self.restart(None)

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self, length: int | None) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self._hashing = _Hashing(self._with_sha256)
        self._stack.close()
        if self._name is not None and length is not None:
            self._start_progress(self._name, length)

    def _start_progress(self, name: str, length: int) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        from benchmarking.terminal.console import PlainConsole

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = PlainConsole(sys.stderr)
        progress = self._stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task(name, total=length)
        self._advance = lambda count: progress.advance(task, count)

    def take(self, block: bytes) -> None:
        self._stream.write(block)
        self._hashing.take(block)
        self._advance(len(block))

    def digests(self) -> _Digests:
        return self._hashing.digests()

    def unpack(self, limit_bytes: int, cancellation: Cancellation, check: _Check | None) -> None:
        """Replaces the received data by its unpacked content if ``check`` finds that this is the file.

        Raises:
            WebError: it cannot be unpacked, and there is no check.
        """
        if check is not None:
            # Before anything is written: the content of a small answer may fill the disk.
            try:
                self._stream.seek(0)
                unpacked = _unpacked(self._stream, limit_bytes, cancellation)
                is_it = check.fits(_digests_of(unpacked, self._with_sha256))
            except WebError:
                is_it = False
            if not is_it:
                return
        with tempfile.TemporaryFile() as packed:
            self._stream.seek(0)
            shutil.copyfileobj(self._stream, packed)
            packed.seek(0)
            self.restart(None)
            for block in _unpacked(packed, limit_bytes, cancellation):
                self.take(block)


def _unpacked(stream: IO[bytes], limit_bytes: int, cancellation: Cancellation) -> Iterator[bytes]:
    for block in gunzipped(_blocks(stream), limit_bytes):
        if cancellation.is_set:
            raise RunCancelledError("cancelled while unpacking a download")
        yield block


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block


def _copy(location: Location, sink: _Sink) -> None:
    try:
        if location.path.exists() and not location.path.is_file():
            raise DownloadError(f"{location} is not a file")
        source = location.path.open("rb")
    except FileNotFoundError as error:
        raise DownloadError(f"there is no file {str(location)!r}") from error
    except OSError as error:
        raise DownloadError(f"cannot read {location}: {error.strerror}") from error
    with source:
        for block in _blocks(source):
            sink.take(block)


def _link(source: Path, target: Path) -> None:
    """Replaces ``target`` at once: another process may be reading it."""
    with tempfile.TemporaryDirectory(prefix=atomic_file.TEMPORARY_PREFIX, dir=target.parent) as directory:
        link = Path(directory) / "link"
        link.hardlink_to(source)
        link.replace(target)


def _refuse_stand_ins(stream: BinaryIO, location: Location) -> None:
    """Refuses common substitutes for the file.

    Raises:
        DownloadError: what came is something else that is often found in a file's place.
    """
    stream.seek(0)
    head = stream.read(4096)
    shown = hide_credentials(str(location))
    if re.match(
        rb"(\xef\xbb\xbf)?\s*(<!--.{0,500}?-->\s*)?<(!doctype\s+html|html)\b", head, re.IGNORECASE | re.DOTALL
    ):
        title = re.search(rb"<title[^>]{0,100}>\s*([^<]{1,80})", head, re.IGNORECASE)
        named = f" ({plain(title[1].decode(errors='replace').strip())!r})" if title else ""
        raise DownloadError(
            f"{shown} is a web page{named}, not the file: it may require a sign-in, or only link to the"
            " file; "
            "open it in a browser, and use the link to the file itself, or the path of a copy, as the"
            " location"
        )
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise DownloadError(
            f"{shown} is a Git LFS pointer, not the file: run git lfs pull, or use the link to the file"
            " itself"
        )


def _is_valid(path: Path, spec: FileSpec, hashed: Path | None) -> bool:
    """``hashed``: a file that has the right hashes."""
    try:
        if hashed is not None and path.is_file() and _is_same(path, hashed):
            return True
        digests = _hash_file(path, with_sha256=spec.sha256 is not None) if path.is_file() else None
    except OSError as error:
        logger.warning("%s cannot be read (%s): downloading it again", path, error.strerror)
        return False
    differing = digests.differing(spec) if digests else None
    if differing is not None:
        logger.warning("%s has a different %s than the specification: downloading it again", path, differing)
    return digests is not None and differing is None


def _unusable(directory: Path, error: OSError) -> DownloadError:
    return DownloadError(
        f"the model cache cannot be used: {directory}: {error.strerror}; choose another with --model_cache"
    )


def _is_same(path: Path, other: Path) -> bool:
    if path.stat().st_size != other.stat().st_size:
        return False
    with path.open("rb") as stream, other.open("rb") as other_stream:
        return all(one == two for one, two in zip_longest(_blocks(stream), _blocks(other_stream)))


def _hash_file(path: Path, *, with_sha256: bool) -> _Digests:
    with path.open("rb") as stream:
        return _digests_of(_blocks(stream), with_sha256)


def _digests_of(blocks: Iterable[bytes], with_sha256: bool) -> _Digests:
    hashing = _Hashing(with_sha256)
    for block in blocks:
        hashing.take(block)
    return hashing.digests()


def _cached_name(spec: FileSpec) -> str:
    """With room for that of its lock; weights beside a model have names as long as a file system allows."""
    name, md5 = Path(spec.filename), (spec.md5 or "").lower()
    if len(os.fsencode(spec.filename)) > MAXIMUM_NAME_BYTES:
        return f"{_end(name.stem, 100)}_{md5}{_end(name.suffix, 50)}"
    return f"{name.stem}_{md5}{name.suffix}"


def _end(text: str, limit_bytes: int) -> str:
    """Its end, in whole characters: file systems count bytes."""
    return text.encode(errors="ignore")[-limit_bytes:].decode(errors="ignore")


def _line_of(specification: Path, text: str) -> str:
    """``file:line`` of the text."""
    lines = specification.read_text(encoding="utf-8-sig").splitlines()
    number = next((number for number, line in enumerate(lines, start=1) if text in line), None)
    return f"{specification}:{number}" if number else str(specification)


def _remove_leftovers(directory: Path) -> None:
    """Removes unfinished files of killed processes to which nobody writes any more."""
    oldest = time.time() - LEFTOVER_AGE_S
    for path in directory.glob(f"{atomic_file.TEMPORARY_PREFIX}*"):
        # Its writer was alive after all, another process has removed it, or it belongs to another user.
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest:
                path.unlink()
