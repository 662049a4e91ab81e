"""Sends results to a server (contracts, section 5); what cannot be sent is kept and sent next time."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from benchmarking import atomic_file, result_json
from benchmarking.errors import ReporterError, UsageError
from benchmarking.reporters.reporter_base import ReporterBase
from benchmarking.results import Meta, Percentiles, Result, TypeResult

logger = logging.getLogger(__name__)

MASK = "***"
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
ATTEMPTS = 3
FIRST_WAIT_S = 0.5
SPOOL_BATCH = 100
"""How many earlier posts a run sends at most, so that a long absence does not hold it up."""

_REFUSED_STATUS = (429, 503)
"""The server says that it has not taken the post: it is safe to send it again."""


class _NotAcceptedError(Exception):
    """The server surely has not taken the post; another attempt cannot count twice."""


class _UncertainError(Exception):
    """The server may have taken the post."""


class RemoteReporter(ReporterBase):
    name: ClassVar[str] = "remote"

    def __init__(
        self, target: str, *, access_token: str | None, allow_http: bool, spool_directory: Path
    ) -> None:
        """``target`` is ``<domain>/<endpoint>|<category>``; without a scheme it is https.

        Raises:
            UsageError: the target is no such thing, or the token would go over plain http.
        """
        url, separator, self._category = target.rpartition("|")
        if not separator or not url or not self._category:
            raise UsageError(f"--remote_reporter: {target!r} is not like <domain>/<endpoint>|<category>")
        self._url = url if "://" in url else f"https://{url}"
        _check_url(self._url, allow_http)
        self._token = access_token
        digest = hashlib.sha256(target.encode()).hexdigest()[:16]
        self._spool = spool_directory / digest
        self._failed = 0

    def report(self, result: Result) -> None:
        if result.failure is not None or not result.types:
            logger.info("not sent, as it failed: %s %s", result.meta.net_name, result.meta.identifier)
            return
        self._send_spooled()
        logs = [self._log(result.meta, one) for one in result.types]
        try:
            self._post(logs)
        except (_NotAcceptedError, _UncertainError) as error:
            self._failed += 1
            raise ReporterError(f"{self._spool_post(logs)}: {self._masked(str(error))}") from error

    @property
    def destination(self) -> str | None:
        return f"results sent to {self._url}" if not self._failed else None

    # --- the post -------------------------------------------------------------------------------------------

    def _log(self, meta: Meta, one: TypeResult) -> dict[str, Any]:
        message = {
            "int": _integers(meta, one),
            "normal": {**_strings(meta), "type": one.type, "unit": one.unit, "result_id": str(uuid.uuid4())},
            "normvector": {"values": list(one.values), "control_values": list(one.control_values)},
            "exact": {
                name: asdict(value)
                for name in (
                    "summary",
                    "control_summary",
                    "diff_summary",
                    "comparison",
                    "error",
                    "control_error",
                )
                if (value := getattr(one, name)) is not None
            },
        }
        return {"category": self._category, "message": result_json.dumps(message), "line_escape": False}

    def _post(self, logs: list[dict[str, Any]]) -> None:
        """Sends, again where it is sure that the server has not taken it.

        Raises:
            _NotAcceptedError, _UncertainError: after the last attempt.
        """
        import tenacity

        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_NotAcceptedError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(FIRST_WAIT_S, max=5),
            reraise=True,
        )(self._post_once, logs)

    def _post_once(self, logs: list[dict[str, Any]]) -> None:
        import requests

        body = {"access_token": self._token, "logs": json.dumps(logs)}
        timeouts = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        try:
            # A redirect would carry the token to wherever the answer says.
            response = requests.post(self._url, json=body, timeout=timeouts, allow_redirects=False)
        except (requests.exceptions.SSLError, requests.exceptions.ConnectTimeout) as error:
            raise _NotAcceptedError(f"no connection to {self._url}: {error}") from error
        except requests.ConnectionError as error:
            text = f"no connection to {self._url}: {error}"
            refused = isinstance(
                error.args[0] if error.args else None, Exception
            ) and "NewConnectionError" in str(error)
            raise (_NotAcceptedError if refused else _UncertainError)(text) from error
        except requests.RequestException as error:
            raise _UncertainError(f"{self._url} did not answer: {error}") from error
        if response.status_code in _REFUSED_STATUS:
            raise _NotAcceptedError(f"{self._url} answered {response.status_code} {response.reason}")
        if response.status_code != 200:
            raise _UncertainError(
                f"{self._url} answered {response.status_code} {response.reason}: {response.text[:200]}"
            )
        _check_count(response.text, len(logs), self._url)

    # --- the spool ------------------------------------------------------------------------------------------

    def _spool_post(self, logs: list[dict[str, Any]]) -> str:
        """Keeps a post, without the token. What it says begins the message of the error."""
        path = self._spool / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.json"
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, json.dumps(logs))
        except OSError as error:
            return f"not sent, and not kept either ({self._spool}: {error.strerror})"
        return f"not sent, kept in {self._spool} for the next run"

    def _send_spooled(self) -> None:
        """Earlier posts, the oldest first, until one fails: then the server is still away."""
        import filelock

        if not self._spool.is_dir():
            return
        try:
            with filelock.FileLock(self._spool / "sending.lock", timeout=0):
                for path in sorted(self._spool.glob("[0-9]*.json"))[:SPOOL_BATCH]:
                    self._post_once(json.loads(path.read_text(encoding="utf-8")))
                    path.unlink()
                    logger.info("sent a result of an earlier run")
        except filelock.Timeout:
            pass  # another process is sending them
        except (_NotAcceptedError, _UncertainError) as error:
            logger.warning("results of earlier runs still cannot be sent: %s", self._masked(str(error)))
        except (OSError, ValueError) as error:
            logger.warning("results of earlier runs in %s cannot be read: %s", self._spool, error)

    def _masked(self, text: str) -> str:
        return text.replace(self._token, MASK) if self._token else text


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
            "--remote_reporter: over http the access token can be read on the way; use https, or --allow_http"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_count(text: str, expected: int, url: str) -> None:
    try:
        count = json.loads(text)["count"]
    except (ValueError, KeyError, TypeError):
        raise _UncertainError(f"{url} answered {text[:200]!r} instead of a count") from None
    if count != expected:
        raise _UncertainError(f"{url} counted {count} of {expected} results")


def _integers(meta: Meta, one: TypeResult) -> dict[str, int]:
    """Thousandths; what is missing or not finite is left out."""
    values: dict[str, int] = {"time": meta.time, "commit_time": meta.commit_time}
    if meta.control_commit_time is not None:
        values["control_commit_time"] = meta.control_commit_time
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


def _strings(meta: Meta) -> dict[str, str]:
    plain = {name: value for name, value in asdict(meta).items() if value is not None}
    return {
        name: value if isinstance(value, str) else result_json.dumps(value).strip()
        for name, value in plain.items()
    }
