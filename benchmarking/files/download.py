"""Downloads one URL into a stream, or explains in one line why it could not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarking.errors import DownloadError, RunCancelledError
from benchmarking.files import web
from benchmarking.files.web import TransientError, WebError, WebLimits, hide_credentials
from benchmarking.programs.process import Cancellation

logger = logging.getLogger(__name__)

WHOLE_STATUS = (200, 203)
STATUS_WORTH_A_RETRY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class DownloadLimits:
    web: WebLimits = field(default_factory=WebLimits)
    """For each attempt."""
    attempts: int = 4
    first_wait_s: float = 0.5
    """Doubles with each further attempt, with jitter."""


@dataclass(frozen=True)
class Receiver:
    """Receives the data. ``start`` is called at each attempt, with the length if it is known."""

    start: Callable[[int | None], None]
    take: Callable[[bytes], None]


def download(url: str, receiver: Receiver, cancellation: Cancellation, limits: DownloadLimits) -> bool:
    """Streams the whole body of ``url`` to ``receiver``, after as many attempts as necessary.

    Returns whether the server says that the body is compressed, although this was not requested: the data are
    then either the file itself, which is stored compressed, or have to be unpacked.

    Raises:
        DownloadError: it could not be had, and why.
        RunCancelledError: ``cancellation`` was set.
        OSError: what ``receiver`` raises.
    """
    shown = hide_credentials(url)

    def log_retry(error: TransientError) -> None:
        logger.warning("download of %s failed (%s); trying again", shown, error)

    def attempt() -> bool:
        return _attempt(url, receiver, cancellation, limits)

    try:
        return web.persistently(attempt, limits.attempts, limits.first_wait_s, cancellation, log_retry)
    except TransientError as error:
        raise DownloadError(
            f"cannot download {shown}: {error}; gave up after {limits.attempts} attempts"
        ) from error
    except WebError as error:
        raise DownloadError(f"cannot download {shown}: {error}") from error
    except RunCancelledError as error:
        raise RunCancelledError(f"cancelled while downloading {shown}") from error


def _attempt(url: str, receiver: Receiver, cancellation: Cancellation, limits: DownloadLimits) -> bool:
    try:
        with web.ask("GET", url, limits.web, cancellation) as answer:
            status = f"the server answered {answer.status} {answer.reason}".rstrip()
            if answer.status in STATUS_WORTH_A_RETRY:
                raise TransientError(status, answer.retry_after_s)
            if answer.status not in WHOLE_STATUS:
                raise WebError(f"{status}; is the location right?")
            receiver.start(answer.length)
            for block in answer.blocks():
                receiver.take(block)
            return answer.is_gzipped
    except WebError as error:
        if error.is_transient:
            raise TransientError(str(error)) from error
        raise
