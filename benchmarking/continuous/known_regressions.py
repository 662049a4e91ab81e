"""Asks the results server which regressions are expected or ignored: they are not reported again."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict

from benchmarking import bounds
from benchmarking.files import web
from benchmarking.files.web import WebError, WebLimits, hide_credentials
from benchmarking.programs.process import Cancellation
from benchmarking.results import documents
from benchmarking.results.plain_text import plain

logger = logging.getLogger(__name__)

RESULTS_PATH = "/api/v1/results"
"""The end of the address of a results server of this project (docs/contracts.md, section 8)."""
REGRESSIONS_PATH = "/api/v1/regressions"
SILENT = ("expected", "ignored")
LIMITS = WebLimits(connect_s=10, silence_s=20, total_s=30, size_bytes=2**20)


class _Commit(BaseModel):
    model_config = ConfigDict(frozen=True)

    sha: str


class _Known(BaseModel):
    model_config = ConfigDict(frozen=True)

    commit: _Commit
    state: str
    reason: str = ""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    regressions: tuple[_Known, ...]


@dataclass(frozen=True)
class KnownRegressions:
    results_url: str
    """Where the results are sent."""
    access_token: str | None = field(repr=False)
    cancellation: Cancellation

    def silenced(self, commits: Collection[str]) -> set[str]:
        """Those of the commits whose regressions are expected or ignored. Without an answer there are none: a
        regression is rather reported twice than never.

        Raises:
            RunCancelledError
        """
        address = self.results_url.removesuffix(RESULTS_PATH) + REGRESSIONS_PATH
        query = urlencode([("commit", one) for one in sorted(commits)])
        headers = {"Authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        try:
            with web.ask("GET", f"{address}?{query}", LIMITS, self.cancellation, headers=headers) as answer:
                if answer.status != 200:
                    raise WebError(f"it answered {answer.status} {answer.reason}".rstrip())
                found = documents.validated(_Answer, bounds.parse_json(answer.text()))
        except (WebError, ValueError) as error:
            logger.warning("which regressions are known is unknown: %s: %s", hide_credentials(address), error)
            return set()
        silent = {
            one.commit.sha: one
            for one in found.regressions
            if one.commit.sha in commits and one.state in SILENT
        }
        for sha, one in silent.items():
            logger.info("%s is not reported again: %s: %s", sha[:12], one.state, plain(one.reason))
        return set(silent)


def known_regressions(
    target: str | None, access_token: str | None, cancellation: Cancellation
) -> KnownRegressions | None:
    """None if the results are not sent to a results server of this project.

    Args:
        target: where the results are sent, ``<domain>/<endpoint>|<category>``; without a scheme it is https.
    """
    url = (target or "").partition("|")[0].rstrip("/")
    if not url.endswith(RESULTS_PATH):
        return None
    return KnownRegressions(url if "://" in url else f"https://{url}", access_token, cancellation)
