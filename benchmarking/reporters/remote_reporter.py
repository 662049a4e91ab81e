"""Sends results to a server: as documents to that of this project (docs/contracts.md, section 8), in the form
of section 5 to others. Results that cannot be sent are kept for the next run.
"""

from __future__ import annotations

import gzip
import hashlib
import ipaddress
import json
import logging
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from benchmarking import bounds
from benchmarking.errors import ExitStatus, ReporterError, RunCancelledError, UsageError
from benchmarking.files import atomic_file, web
from benchmarking.files.web import Answer, TransientError, WebError, WebLimits, hide_credentials
from benchmarking.programs.process import Cancellation
from benchmarking.reporters.reporter_base import ReporterBase
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import Percentiles, Result, TypeResult
from benchmarking.results.plain_text import plain

logger = logging.getLogger(__name__)

MASK = "***"
LIMITS = WebLimits(connect_s=10, silence_s=60, total_s=70, size_bytes=2**20)
ATTEMPTS = 3
FIRST_WAIT_S = 0.5
SPOOL_BATCH = 100
"""The largest number of earlier posts that a run sends before each result, ..."""
SPOOL_LIMIT_S = 60.0
"""... and the longest time for them, so that a long absence does not delay it."""
SPOOL_FAILURES = 5
"""The number of failures in a row after which the posts are not at fault."""
LARGEST_POST_BYTES = 2**28
DOCUMENTS_PATH = "/api/v1/results"
"""An endpoint with this path receives documents."""
EXCERPT_LENGTH = 200
"""The number of characters of a server's message that are shown."""

_EXACT = ("summary", "control_summary", "diff_summary", "comparison", "error", "control_error")

_NOT_NOW_STATUS = (429, 503)
"""The server reports that it has not accepted the post: it is safe to send it again."""
_NOBODYS_STATUS = (401, 402, 403, 404, 405, 407, 408, 421, 425, 426, 511)
"""Refusals that do not concern the post itself: the token, the address or the time is wrong."""


class _UnsentError(Exception):
    """A post was not acknowledged."""


class _NotAcceptedError(_UnsentError, TransientError):
    """The server has certainly not accepted the post; another attempt cannot count twice."""


class _RefusedError(_UnsentError):
    """The server has certainly not accepted the post, and will not accept it in this form."""


class _UncertainError(_UnsentError):
    """The server may have accepted the post."""


class _NoAnswerError(_UncertainError):
    pass


class RemoteReporter(ReporterBase):
    name: ClassVar[str] = "remote"

    def __init__(
        self,
        target: str,
        *,
        access_token: str | None,
        allow_http: bool,
        spool_directory: Path,
        cancellation: Cancellation,
    ) -> None:
        """``target`` is ``<domain>/<endpoint>|<category>``; without a scheme it is https.

        Raises:
            UsageError: the target is no such thing, or the token would go over plain http.
        """
        url, separator, self._category = target.rpartition("|")
        if not separator or not url or not self._category:
            raise UsageError(
                f"--remote_reporter: {target!r} does not have the form <domain>/<endpoint>|<category>"
            )
        self._url = url if "://" in url else f"https://{url}"
        _check_url(self._url, allow_http)
        self._sends_documents = urlsplit(self._url).path.rstrip("/").endswith(DOCUMENTS_PATH)
        self._token = access_token
        digest = hashlib.sha256(target.encode()).hexdigest()[:16]
        self._spool = spool_directory / digest
        self._cancellation = cancellation
        self._failed = 0
        self._is_away = False
        """Whether the last post found no server."""
        self._has_taken = False
        """Whether the server has accepted a post of this run."""
        self._refused: set[Path] = set()
        """Kept posts that it refused before it accepted a post of this run."""

    def report(self, result: Result) -> None:
        post: _Post
        if self._sends_documents:
            post = _document(result)
        elif result.failure is None and result.types:
            post = [self._log(result, one) for one in result.types]
        else:
            logger.info("not sent, because the test failed: %s %s", result.test.net, result.test.identifier)
            return
        try:
            self._send_spooled()
            self._post(post)
        except (_UnsentError, RunCancelledError) as error:
            self._failed += 1
            raise ReporterError(f"{self._spool_post(post)}: {self._shown(str(error))}") from error
        self._judge_refused()

    @property
    def destination(self) -> str | None:
        return f"results sent to {hide_credentials(self._url)}" if not self._failed else None

    # --- the post -------------------------------------------------------------------------------------------

    def _log(self, result: Result, one: TypeResult) -> dict[str, Any]:
        # Half a character, from a name of bytes that are no text, has no place in it.
        name = f"{result.provenance.uid} {one.type}".encode("utf-8", "replace").decode()
        exact = documents.type_json(one)
        message = {
            "int": _integers(result, one),
            "normal": {
                **_strings(result),
                "type": one.type,
                "unit": one.unit,
                "result_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            },
            "normvector": {"values": list(one.values), "control_values": list(one.control_values)},
            "exact": {name: exact[name] for name in _EXACT if name in exact},
        }
        return {"category": self._category, "message": documents.dumps(message), "line_escape": False}

    def _post(self, post: _Post) -> None:
        """Sends a post, repeatedly if the server has certainly not accepted it.

        Raises:
            _UnsentError: after the last attempt.
            RunCancelledError: the run was cancelled.
        """
        attempts = 1 if self._is_away else ATTEMPTS
        web.persistently(lambda: self._post_once(post), attempts, FIRST_WAIT_S, self._cancellation)

    def _post_once(self, post: _Post) -> None:
        shown = hide_credentials(self._url)
        body: Any
        headers: dict[str, str] = {}
        if isinstance(post, list):
            body = {"access_token": self._token, "logs": json.dumps(post)}
        else:
            body = gzip.compress(json.dumps(post).encode())
            headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
        try:
            # Redirects are not followed: they would carry the token to an address of the server's choice.
            with web.ask("POST", self._url, LIMITS, self._cancellation, body=body, headers=headers) as answer:
                self._is_away = False
                _check_answer(answer, post, shown)
        except WebError as error:
            if error.was_sent:
                raise _NoAnswerError(f"{shown} did not answer: {error}") from error
            self._is_away = True
            raise _NotAcceptedError(f"no connection to {shown}: {error}") from error
        self._has_taken = True

    # --- the spool ------------------------------------------------------------------------------------------

    def _spool_post(self, post: _Post) -> str:
        """Keeps a post, without the token. Returns the beginning of the error's message."""
        path = self._new_path()
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, json.dumps(post))
        except OSError as error:
            return f"not sent, and not kept either ({self._spool}: {error.strerror})"
        return f"not sent, kept in {self._spool} for the next run"

    def _send_spooled(self) -> None:
        """Sends earlier posts, oldest first. A post that cannot be sent does not block the others."""
        import filelock

        if not self._spool.is_dir():
            return
        try:
            with filelock.FileLock(self._spool / "sending.lock", timeout=0):
                self._send_kept([path for path in self._kept() if path not in self._refused][:SPOOL_BATCH])
        except filelock.Timeout:
            pass  # another process is sending them
        except OSError as error:
            logger.warning("results of earlier runs in %s cannot be read: %s", self._spool, error)

    def _kept(self) -> list[Path]:
        return sorted(self._spool.glob("[0-9]*.json"))

    def _send_kept(self, paths: Sequence[Path]) -> None:
        deadline = time.monotonic() + SPOOL_LIMIT_S
        problem, failures = None, 0
        for path in paths:
            try:
                self._send_file(path)
                failures = 0
            except _UnsentError as error:
                problem, failures = problem or error, failures + 1
                if isinstance(error, _RefusedError):
                    self._refused.add(path)
                elif isinstance(error, _UncertainError):
                    self._put_last(path)
                if isinstance(error, _NotAcceptedError | _NoAnswerError):
                    break
            if failures >= SPOOL_FAILURES or time.monotonic() > deadline:
                break
        if problem is not None:
            logger.warning("results of earlier runs still cannot be sent: %s", self._shown(str(problem)))
        self._judge_refused()

    def _send_file(self, path: Path) -> None:
        """Raises as ``_post_once``; a damaged file is set aside."""
        try:
            post = _read_post(path)
        except FileNotFoundError:
            return  # another process was faster
        except (OSError, ValueError) as error:
            self._set_aside(path, f"it is damaged: {error}")
            return
        self._post_once(post)
        path.unlink(missing_ok=True)
        logger.info("sent a result of an earlier run")

    def _judge_refused(self) -> None:
        """Sets aside the posts that the server still refuses although it accepts others."""
        if not self._has_taken:
            return
        while self._refused:
            path = self._refused.pop()
            try:
                self._send_file(path)
            except _RefusedError as error:
                self._set_aside(path, str(error))
            except (_UnsentError, RunCancelledError):
                return  # the next run takes care of it

    def _put_last(self, path: Path) -> None:
        with suppress(OSError):
            path.rename(self._new_path())

    def _new_path(self) -> Path:
        return self._spool / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.json"

    def _set_aside(self, path: Path, reason: str) -> None:
        """Keeps the post for a person to look at, with the reason in a separate file; it is not sent again
        automatically.
        """
        target = self._spool / "set_aside" / path.name
        try:
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
            atomic_file.write_text(target.with_suffix(".reason.txt"), f"{self._shown(reason)}\n")
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            logger.warning("a result of an earlier run, %s, cannot be set aside: %s", path, error.strerror)
            return
        logger.warning("a result of an earlier run is set aside as %s: %s", target, self._shown(reason))

    def _shown(self, text: str) -> str:
        return plain(text.replace(self._token, MASK) if self._token else text)


_Post = list[dict[str, Any]] | dict[str, Any]
"""The logs of a result in the form of the contract, or a document."""


def _document(result: Result) -> dict[str, Any]:
    """Of this result alone; as values that JSON has."""
    whole = Document((result,), ExitStatus.OK, result.duration_s, destinations=(), problems=())
    document: dict[str, Any] = documents.jsonable(documents.document_json(whole))
    return document


def _read_post(path: Path) -> _Post:
    """Raises:
    ValueError: it is not one.
    OSError: it cannot be read.
    """
    post = bounds.parse_json(bounds.read_file(path, LARGEST_POST_BYTES))
    if isinstance(post, dict) and isinstance(post.get("results"), list):
        return post
    if post and isinstance(post, list) and all(isinstance(one, dict) and "message" in one for one in post):
        return post
    raise ValueError("it is neither a list of messages nor a document")


def _check_url(url: str, allow_http: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise UsageError(f"--remote_reporter: {url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"--remote_reporter: {url!r} is not an http or https URL")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise UsageError(
            "--remote_reporter: over http others can read the access token; use https, or --allow_http"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_answer(answer: Answer, post: _Post, url: str) -> None:
    """Raises:
    _UnsentError: the server does not say that it has taken all posts.
    WebError: it did not come whole.
    """
    status = answer.status
    if 200 <= status < 300:
        _check_count(answer.text(), post, url)
        return
    said = f"{url} answered {status} {answer.reason}".rstrip()
    if status in _NOT_NOW_STATUS:
        raise _NotAcceptedError(said, answer.retry_after_s)
    with suppress(WebError):
        said = f"{said}: {_excerpt(answer.text())}".rstrip(": ")
    is_refused = 400 <= status < 500 and status not in _NOBODYS_STATUS
    raise (_RefusedError if is_refused else _UncertainError)(said)


def _check_count(text: str, post: _Post, url: str) -> None:
    is_document = isinstance(post, dict)
    expected = len(post["results"] if isinstance(post, dict) else post)
    try:
        given = bounds.parse_json(text)
        count = given["accepted"] + given["known"] if is_document else given["count"]
    except (ValueError, KeyError, TypeError):
        raise _UncertainError(f"{url} answered {_excerpt(text)!r} instead of a count") from None
    if count != expected or isinstance(count, bool):
        raise _UncertainError(f"{url} counted {_excerpt(str(count))} of {expected} results")


def _excerpt(text: str) -> str:
    return " ".join(text[: 10 * EXCERPT_LENGTH].split())[:EXCERPT_LENGTH]


def _integers(result: Result, one: TypeResult) -> dict[str, int]:
    """Values in thousandths; missing and non-finite values are left out."""
    values: dict[str, int] = {"time": result.provenance.time, "commit_time": result.provenance.commit_time}
    if result.provenance.control_commit_time is not None:
        values["control_commit_time"] = result.provenance.control_commit_time
    summaries: Mapping[str, Percentiles | None] = {
        "": one.summary,
        "control_": one.control_summary,
        "diff_": one.diff_summary,
    }
    for prefix, summary in summaries.items():
        for name in ("p0", "p10", "p50", "p90", "p100"):
            value = getattr(summary, name, math.nan)
            if math.isfinite(value):
                values[prefix + name] = round(value * 1000)
    if one.regressed:
        values["regressed"] = 1
    return values


def _strings(result: Result) -> dict[str, str]:
    plain = {name: value for name, value in documents.described(result).items() if value is not None}
    return {
        name: value if isinstance(value, str) else documents.dumps(value).strip()
        for name, value in plain.items()
    }
