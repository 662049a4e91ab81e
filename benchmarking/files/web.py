"""One request to a web server. It always ends: with an answer, when its time is over, when the answer is too
large, or at once when the run is cancelled.

The timeouts of the libraries limit each read, not the whole request: a server that sends a byte now and then
could block a run for ever. Here a guard watches the request from the name look-up to the last byte, and shuts
the connection down.
"""

from __future__ import annotations

import http.client
import ipaddress
import random
import re
import selectors
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

from benchmarking.errors import RunCancelledError
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

BLOCK_BYTES = 2**17
MOST_REDIRECTS = 10
LONGEST_RETRY_AFTER_S = 60.0
LONGEST_BACKOFF_S = 30.0
LONGEST_REASON = 300
"""The number of characters of a message from a server or a library that are shown."""
_LOOK_S = 0.05
"""How soon a connection attempt is given up after the cancellation."""


@dataclass(frozen=True)
class WebLimits:
    connect_s: float = 10.0
    silence_s: float = 60.0
    """The longest time without a byte; the headers may take this long after the connection is made."""
    slowest_bytes_per_s: float = 1000.0
    """The minimum average speed, once ``silence_s`` is over."""
    total_s: float = 4 * 3600.0
    size_bytes: int = 2**36
    public_only: bool = False
    """Only servers of the internet are asked: none of this machine or a private network, and no proxy."""


class WebError(Exception):
    """There is no usable answer. The message is one line without control characters and credentials."""

    def __init__(self, reason: str, *, is_transient: bool = False, was_sent: bool = True) -> None:
        """``is_transient``: another attempt may succeed; ``was_sent``: the server may have the request."""
        super().__init__(reason)
        self.is_transient = is_transient
        self.was_sent = was_sent


class TransientError(Exception):
    """Another attempt may succeed; ``wait_s`` is the delay that the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    _response: requests.Response
    _guard: _Guard

    @property
    def length(self) -> int | None:
        text = self.headers.get("Content-Length", "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None

    @property
    def is_gzipped(self) -> bool:
        return self.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")

    @property
    def retry_after_s(self) -> float | None:
        return retry_after_s(self.headers.get("Retry-After", ""))

    def blocks(self) -> Iterator[bytes]:
        """The body as it was transferred, in pieces.

        Raises:
            WebError: it did not come whole, in time, or within the limit of its size.
            RunCancelledError: the run was cancelled.
        """
        too_large = WebError(f"the answer is larger than {self._guard.limits.size_bytes:,} bytes")
        if self.length is not None and self.length > self._guard.limits.size_bytes:
            raise too_large
        received = 0
        with self._guard.translating():
            while block := self._response.raw.read1(BLOCK_BYTES, decode_content=False):
                received += len(block)
                self._guard.note(received)
                if received > self._guard.limits.size_bytes:
                    raise too_large
                yield block
        if self.length is not None and received != self.length:
            raise WebError(f"{received} of {self.length} bytes were received", is_transient=True)

    def text(self) -> str:
        """The whole body, decoded. Raises as ``blocks``."""
        blocks: Iterable[bytes] = self.blocks()
        if self.is_gzipped:
            blocks = gunzipped(blocks, self._guard.limits.size_bytes)
        return b"".join(blocks).decode("utf-8", errors="replace")


@contextmanager
def ask(
    method: str,
    url: str,
    limits: WebLimits,
    cancellation: Cancellation,
    *,
    body: Any = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Answer]:
    """``body`` is sent as JSON; bytes are sent as they are. Redirects of a GET are followed, with an
    ``Authorization`` only to the same server; for other methods a redirect is the answer.

    Raises:
        WebError: there is no answer.
        RunCancelledError: ``cancellation`` was set.
    """
    with _Guard(limits, cancellation) as guard, _session(guard) as session:
        with guard.translating():
            response = _request(session, method, url, limits, body, headers)
        yield Answer(response.status_code, _short(response.reason or ""), response.headers, response, guard)


def persistently(
    attempt: Callable[[], Result],
    attempts: int,
    first_wait_s: float,
    cancellation: Cancellation,
    log_retry: Callable[[TransientError], None] = lambda error: None,
) -> Result:
    """Returns the result of ``attempt``. The wait after a ``TransientError`` is the delay that the server
    asked for, or doubles with each attempt, with jitter; ``log_retry`` is called before each further attempt.

    Raises:
        TransientError: the last attempt's.
        RunCancelledError: ``cancellation`` was set during a wait.
    """
    for number in range(attempts - 1):
        try:
            return attempt()
        except TransientError as error:
            log_retry(error)
            backoff_s = min(LONGEST_BACKOFF_S, first_wait_s * 2**number) * random.random()  # noqa: S311
            if cancellation.wait(max(backoff_s, error.wait_s or 0.0)):
                raise RunCancelledError("cancelled between two attempts to reach a server") from error
    return attempt()


def retry_after_s(text: str) -> float | None:
    """The value of the header: seconds or a date (RFC 9110), with a limit; None if it is neither."""
    text = text.strip()
    if re.fullmatch(r"[0-9]+", text):
        seconds = float(text[:9])
    else:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def gunzipped(blocks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    """The content of a gzip or zlib stream, in pieces of limited size.

    Raises:
        WebError: it is damaged, or its content is larger than the limit.
    """
    decoder, left, is_begun = _decoder(), limit_bytes, False
    try:
        for block in blocks:
            while block:
                data, is_begun = decoder.decompress(block, BLOCK_BYTES), True
                block = decoder.unconsumed_tail
                if decoder.eof:  # another member may follow
                    block, decoder, is_begun = decoder.unused_data, _decoder(), False
                left -= len(data)
                if left < 0:
                    raise WebError(f"the unpacked answer is larger than {limit_bytes:,} bytes")
                yield data
        yield decoder.flush()
    except zlib.error as error:
        raise WebError(f"the answer's compression is damaged: {error}") from error
    if is_begun and not decoder.eof:
        raise WebError("the answer's compressed content ends early", is_transient=True)


def _decoder() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 32)


def hide_credentials(text: str) -> str:
    """Masks user, password and the values of a query in a URL, or in a text with URLs."""
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


# --- inside -------------------------------------------------------------------------------------------------


def _request(
    session: requests.Session,
    method: str,
    url: str,
    limits: WebLimits,
    body: Any,
    given: Mapping[str, str],
) -> requests.Response:
    import requests

    # With encoded bodies, Content-Length and the checksum would refer to different bytes.
    headers = {"Accept-Encoding": "identity", **given}
    for _ in range(MOST_REDIRECTS + 1):
        response = session.request(
            method,
            url,
            **{"data" if isinstance(body, bytes) else "json": body},
            headers=headers,
            stream=True,
            timeout=(limits.connect_s, limits.silence_s),
            allow_redirects=False,
        )
        target = requests.Session.get_redirect_target(session, response) if method == "GET" else None
        if target is None:
            return response
        response.close()
        before, url = response.url, urljoin(response.url, target)
        headers.pop("Authorization", None)
        known = response.request.headers.get("Authorization")
        if known is not None and not session.should_strip_auth(before, url):  # type: ignore[no-untyped-call]
            headers["Authorization"] = str(known)
    raise WebError(f"it leads through more than {MOST_REDIRECTS} redirects")


class _Guard:
    """Watches a request, and ends its connections."""

    def __init__(self, limits: WebLimits, cancellation: Cancellation) -> None:
        self.limits = limits
        self.is_connected = False
        """Whether a request may have reached a server."""
        self._cancellation = cancellation
        self._started = time.monotonic()
        self._received = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._has_ended = False

    def __enter__(self) -> Self:
        self._done = Cancellation()
        self._thread = threading.Thread(target=self._watch, name="web watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._done.close()
        for one in self._sockets:
            one.close()

    def note(self, received: int) -> None:
        self._received = received

    def connect(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Returns the result of ``make``, which runs in another thread, because a name look-up cannot be
        interrupted.
        """
        future: Future[socket.socket] = Future()

        def work() -> None:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="web connect", daemon=True).start()
        while not future.done():
            if self._has_ended:
                future.add_done_callback(_close_result)
                raise TimeoutError("given up while connecting")
            wait([future], timeout=_LOOK_S)
        connection = future.result()
        if self.limits.public_only:
            _require_public(connection)
        with self._lock:
            # A descriptor of its own, because TLS takes over that of the library.
            self._sockets.append(connection.dup())
            if self._has_ended:
                _shut_down(connection)
        return connection

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Converts every exception of the libraries."""
        import requests
        from urllib3.exceptions import HTTPError

        try:
            if self._cancellation.is_set:
                raise RunCancelledError("cancelled before a request was sent")
            yield
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise self._translated(error) from error
        if self._has_ended:
            raise self._translated(None)

    def _translated(self, error: Exception | None) -> Exception:
        import requests
        from urllib3 import exceptions

        if self._has_ended and self._cancellation.is_set:
            return RunCancelledError("cancelled while waiting for a server")
        if self._has_ended:
            seconds = time.monotonic() - self._started
            reason = f"it is too slow: {self._received} bytes were received in {seconds:.0f} s"
            return WebError(reason, was_sent=self.is_connected)
        untrusted = (requests.exceptions.SSLError, exceptions.SSLError)
        if isinstance(error, untrusted):
            reason = f"the certificate is not trusted: {_reason(error)}"
            return WebError(reason, was_sent=self.is_connected)
        passing = (requests.ConnectionError, requests.Timeout, exceptions.HTTPError, OSError)
        invalid = (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)
        is_transient = isinstance(error, passing) and not isinstance(error, invalid)
        return WebError(_reason(error), is_transient=is_transient, was_sent=self.is_connected)

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._cancellation, selectors.EVENT_READ)
            selector.register(self._done, selectors.EVENT_READ)
            while not selector.select(max(0.0, self._deadline() - time.monotonic())):
                if time.monotonic() >= self._deadline():
                    break
        if self._done.is_set:
            return
        with self._lock:
            self._has_ended = True
            for one in self._sockets:
                _shut_down(one)

    def _deadline(self) -> float:
        limits = self.limits
        allowed_s = limits.connect_s + limits.silence_s + self._received / limits.slowest_bytes_per_s
        return self._started + min(limits.total_s, allowed_s)


def _close_result(future: Future[socket.socket]) -> None:
    if future.exception() is None:
        future.result().close()


def _require_public(connection: socket.socket) -> None:
    """Looks at the address itself: what a name stands for can change between a look-up and the connection.

    Raises:
        PermissionError
    """
    address = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if not address.is_global:
        connection.close()
        raise PermissionError(f"{address} is not a public address")


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it has already ended
        connection.shutdown(socket.SHUT_RDWR)


def _session(guard: _Guard) -> requests.Session:
    """The usual session of requests (with proxies and .netrc of the environment), over connections that the
    guard knows.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return guard.connect(super()._new_conn)

        def connect(self) -> None:
            super().connect()
            guard.is_connected = True

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return guard.connect(super()._new_conn)

        def connect(self) -> None:
            super().connect()
            guard.is_connected = True

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    pools = {"http": PlainPool, "https": SecurePool}

    class GuardedAdapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **options)
            if not proxy.lower().startswith("socks"):  # those create connections of another kind
                manager.pool_classes_by_scheme = pools
            return manager

    class GuardedSession(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            """None, because the library would otherwise read the whole body of a redirect, whether it follows
            it or not.
            """
            return None

    session = GuardedSession()
    session.trust_env = not guard.limits.public_only
    for scheme in ("http://", "https://"):
        session.mount(scheme, GuardedAdapter())
    return session


def _reason(error: Exception | None) -> str:
    """The innermost reason, without the addresses and object names that the libraries add."""
    inner = error and _innermost(error)
    named = f"{type(inner).__name__}: " if isinstance(inner, http.client.HTTPException) else ""
    text = hide_credentials(f"{named}{inner}")
    match = re.search(
        r"(\[Errno -?\d+\] [^'\")]+|Read timed out|timed out|IncompleteRead[^)]{0,200}\))",
        text,
    )
    return _short(match.group(1) if match else text)


def _innermost(error: BaseException) -> BaseException:
    """The libraries wrap an exception in others, whose texts show it as Python writes it."""
    causes = (getattr(error, "reason", None), *error.args)
    inner = next((one for one in causes if isinstance(one, BaseException)), None)
    return error if inner is None else _innermost(inner)


def _short(text: str) -> str:
    return plain(text)[:LONGEST_REASON]
