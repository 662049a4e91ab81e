"""Fetches one URL into a stream, or says in one line why it could not."""

from __future__ import annotations

import logging
import re
import selectors
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from benchmarking.errors import DownloadError, RunCancelledError
from benchmarking.process import Cancellation

if TYPE_CHECKING:
    import requests
    import tenacity

logger = logging.getLogger(__name__)

BLOCK_BYTES = 2**17
STATUS_WORTH_A_RETRY = (408, 425, 429, 500, 502, 503, 504)
LONGEST_RETRY_AFTER_S = 60.0


@dataclass(frozen=True)
class DownloadLimits:
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """The longest silence."""
    attempts: int = 4
    first_wait_s: float = 0.5
    """Doubles with each further attempt, with jitter."""


@dataclass(frozen=True)
class Receiver:
    """Takes what comes. ``start`` begins anew with every attempt and is told the length where it is known."""

    start: Callable[[int | None], None]
    take: Callable[[bytes], None]


class _PassingError(Exception):
    """Worth another attempt; ``wait_s`` is the server's wish."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def download(url: str, receiver: Receiver, cancellation: Cancellation, limits: DownloadLimits) -> None:
    """Streams the body of ``url`` to ``receiver``, whole, after as many attempts as it takes.

    Raises:
        DownloadError: it could not be had, and why.
        RunCancelledError: ``cancellation`` was set.
        OSError: what ``receiver`` raises.
    """
    import tenacity

    shown = hide_credentials(url)

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wish_s = error.wait_s if isinstance(error, _PassingError) else None
        backoff = tenacity.wait_random_exponential(limits.first_wait_s, max=30)
        return backoff(state) if wish_s is None else min(wish_s, LONGEST_RETRY_AFTER_S)

    def wait_or_cancel(seconds: float) -> None:
        if cancellation.wait(seconds):
            raise RunCancelledError(f"cancelled while downloading {shown}")

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.warning("download of %s failed (%s); trying again", shown, error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_PassingError),
        stop=tenacity.stop_after_attempt(limits.attempts),
        wait=wait_s,
        sleep=wait_or_cancel,
        before_sleep=tell,
        reraise=True,
    )
    try:
        retrying(_attempt, url, shown, receiver, cancellation, limits)
    except _PassingError as error:
        raise DownloadError(
            f"cannot download {shown}: {error}; gave up after {limits.attempts} attempts"
        ) from error


def _attempt(
    url: str, shown: str, receiver: Receiver, cancellation: Cancellation, limits: DownloadLimits
) -> None:
    import requests

    timeouts = (limits.connect_timeout_s, limits.read_timeout_s)
    try:
        # Encoded bodies would make Content-Length and the checksum speak of different bytes.
        with requests.get(
            url, stream=True, timeout=timeouts, headers={"Accept-Encoding": "identity"}
        ) as response:
            _check_status(response, shown)
            with _shut_down_on(cancellation, response):
                _receive(response, receiver, cancellation, shown)
    except requests.RequestException as error:
        if cancellation.is_set:
            raise RunCancelledError(f"cancelled while downloading {shown}") from error
        raise _translated(error, shown) from error


def _translated(error: requests.RequestException, shown: str) -> Exception:
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return DownloadError(f"cannot download {shown}: the certificate is not trusted: {error}")
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    if isinstance(error, passing):
        return _PassingError(_reason(error))
    return DownloadError(f"cannot download {shown}: {_reason(error)}")


@contextmanager
def _shut_down_on(cancellation: Cancellation, response: requests.Response) -> Iterator[None]:
    """Ends the connection when the cancellation is set: a read from a silent server returns at once."""

    def watch() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(cancellation, selectors.EVENT_READ)
            selector.register(done, selectors.EVENT_READ)
            selector.select()
        if cancellation.is_set:
            with suppress(OSError, RuntimeError):  # it has ended by itself
                response.raw.shutdown()

    with Cancellation() as done:
        thread = threading.Thread(target=watch, name="download watch")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _check_status(response: requests.Response, shown: str) -> None:
    status = f"the server answered {response.status_code} {response.reason}"
    if response.status_code in STATUS_WORTH_A_RETRY:
        wish = response.headers.get("Retry-After", "")
        raise _PassingError(status, float(wish) if wish.isdecimal() else None)
    if response.status_code != 200:
        raise DownloadError(f"cannot download {shown}: {status}; is the location right?")


def _receive(response: requests.Response, receiver: Receiver, cancellation: Cancellation, shown: str) -> None:
    length_text = response.headers.get("Content-Length", "")
    length = int(length_text) if length_text.isdecimal() else None
    receiver.start(length)
    received = 0
    for block in response.iter_content(BLOCK_BYTES):
        if cancellation.is_set:
            raise RunCancelledError(f"cancelled while downloading {shown}")
        receiver.take(block)
        received += len(block)
    if length is not None and received != length:
        raise _PassingError(f"{received} of {length} bytes came")


def _reason(error: Exception) -> str:
    """The innermost reason, without the addresses and object names that requests wraps around it."""
    text = hide_credentials(str(error))
    match = re.search(
        r"(\[Errno -?\d+\] [^')]+|Read timed out|timed out|IncompleteRead[^)]*\)|Exceeded \d+ redirects)",
        text,
    )
    return match.group(1) if match else text


def hide_credentials(text: str) -> str:
    """Masks user and password, and the values of a query, in a URL or in a text with URLs."""
    return re.sub(r"https?://[^\s'\"<>]+", lambda match: _hide_in_url(match.group()), text)


def _hide_in_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    host = parts.netloc.rpartition("@")[2]
    user = "***@" if "@" in parts.netloc else ""
    query = re.sub(r"=[^&]*", "=***", parts.query)
    return urlunsplit((parts.scheme, user + host, parts.path, query, ""))
