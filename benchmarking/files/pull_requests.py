"""The comment of a pull request (GitHub) or merge request (GitLab) that is brought up to date, not doubled.

The request is that of the CI job in whose environment this runs. What the service and the job's event say is
read with limits: on a pull request of a fork, branches have names that strangers chose.
"""

from __future__ import annotations

import ipaddress
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from benchmarking import bounds
from benchmarking.errors import ReporterError, UsageError
from benchmarking.files import web
from benchmarking.files.web import Answer, TransientError, WebError, WebLimits
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain

LONGEST_COMMENT = 65_536
"""GitHub counts characters; counted in bytes, every way of counting is satisfied."""
GITHUB_TOKEN, GITLAB_TOKEN = "GITHUB_TOKEN", "MLBENCH_GITLAB_TOKEN"
GITHUB_AUTHOR = "github-actions[bot]"
"""To whom the comments of a workflow's own token belong."""

LIMITS = WebLimits(connect_s=10, silence_s=30, total_s=60, size_bytes=2**24)
ATTEMPTS, FIRST_WAIT_S = 4, 1.0
PAGE_SIZE, MOST_PAGES = 100, 50
LARGEST_EVENT_BYTES = 2**25
EXCERPT_LENGTH = 200

Id = Annotated[int, Ge(1)]
Read = TypeVar("Read")


class _FromService(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _User(_FromService):
    id: Id
    login: str = ""


class Comment(_FromService):
    id: Id
    body: str | None = None
    user: _User | None = None
    """GitHub's name of the author."""
    author: _User | None = None
    """GitLab's."""


class _Commit(_FromService):
    sha: str


class _PullRequest(_FromService):
    number: Id
    head: _Commit


class _Owner(_FromService):
    login: str


class _Repository(_FromService):
    owner: _Owner


class _WorkflowRun(_FromService):
    head_sha: str
    head_branch: str | None = None
    head_repository: _Repository | None = None
    html_url: str = ""


class _Event(_FromService):
    """The part of a GitHub event that matters here."""

    pull_request: _PullRequest | None = None
    workflow_run: _WorkflowRun | None = None


class NoPullRequestError(UsageError):
    """The CI job does not belong to a pull request, or to one that has moved on."""


@dataclass(frozen=True)
class Api:
    """A service's REST interface."""

    url: str
    headers: Mapping[str, str]
    token: str
    cancellation: Cancellation

    def ask(self, kind: type[Read], method: str, path: str, body: Mapping[str, str] | None = None) -> Read:
        """
        Raises:
            ReporterError: it does not answer as it should.
            RunCancelledError: the run was cancelled.
        """

        def attempt() -> str:
            try:
                with web.ask(
                    method, self.url + path, LIMITS, self.cancellation, body=body, headers=self.headers
                ) as answer:
                    return _checked(answer)
            except WebError as error:
                # A comment that was perhaps accepted is not posted again.
                if error.is_transient and (method != "POST" or not error.was_sent):
                    raise TransientError(str(error)) from error
                raise ReporterError(str(error)) from error

        try:
            text = web.persistently(attempt, ATTEMPTS, FIRST_WAIT_S, self.cancellation)
            return TypeAdapter(kind).validate_python(bounds.parse_json(text), strict=True)
        except (TransientError, ReporterError) as error:
            raise ReporterError(f"{method} {self.url}{path}: {self._hidden(str(error))}") from error
        except (ValidationError, ValueError) as error:
            raise ReporterError(f"{method} {self.url}{path}: the answer is not what it should be") from error

    def pages(self, kind: type[Read], path: str) -> Iterator[Read]:
        """Of a list: at most ``MOST_PAGES``. Raises as ``ask``."""
        for number in range(1, MOST_PAGES + 1):
            query = urlencode({"per_page": PAGE_SIZE, "page": number})
            page = self.ask(list[kind], "GET", f"{path}?{query}")  # type: ignore[valid-type]
            yield from page
            if len(page) < PAGE_SIZE:
                return

    def _hidden(self, text: str) -> str:
        return plain(text.replace(self.token, "***"))


def _checked(answer: Answer) -> str:
    """
    Raises:
        TransientError: later it may answer; certainly nothing was done.
        ReporterError, WebError: it refuses.
    """
    text = answer.text()
    if 200 <= answer.status < 300:
        return text
    said = f"{answer.status} {answer.reason} {' '.join(text[:EXCERPT_LENGTH].split())}"
    if answer.status in (429, 502, 503) or (answer.status == 403 and _is_rate_limit(answer)):
        raise TransientError(said, _asked_wait_s(answer))
    raise ReporterError(said)


def _is_rate_limit(answer: Answer) -> bool:
    return answer.retry_after_s is not None or answer.headers.get("X-RateLimit-Remaining") == "0"


def _asked_wait_s(answer: Answer) -> float | None:
    """The delay that the service asks for, with a limit."""
    if answer.retry_after_s is not None:
        return answer.retry_after_s
    reset = bounds.number(answer.headers.get("X-RateLimit-Reset", ""))
    return None if reset is None else min(max(reset - time.time(), 0.0), web.LONGEST_RETRY_AFTER_S)


class Discussion(ABC):
    """The comments of one request."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @abstractmethod
    def _comments(self) -> Iterator[Comment]: ...

    @abstractmethod
    def _is_own(self, comment: Comment) -> bool:
        """A stranger's comment is not updated: its author could change it again afterwards."""

    @abstractmethod
    def _create(self, body: str) -> None: ...

    @abstractmethod
    def _update(self, comment: Comment, body: str) -> None: ...

    def bring_up_to_date(self, marker: str, text: str) -> bool:
        """Replaces the comment that has the marker, or creates it. Returns whether there was one.

        Args:
            marker: an HTML comment, which readers do not see.

        Raises:
            ReporterError: the service refuses or does not answer.
            RunCancelledError: the run was cancelled.
        """
        body = f"{marker}\n{text}"
        own = [one for one in self._comments() if (one.body or "").startswith(marker) and self._is_own(one)]
        if own:
            self._update(own[-1], body)
        else:
            self._create(body)
        return bool(own)


class GitHubDiscussion(Discussion):
    def __init__(self, api: Api, repository: str, number: int, author: str) -> None:
        super().__init__(api)
        self._issues = f"/repos/{quote(repository)}/issues"
        self._number = number
        self._author = author

    def _comments(self) -> Iterator[Comment]:
        return self._api.pages(Comment, f"{self._issues}/{self._number}/comments")

    def _is_own(self, comment: Comment) -> bool:
        return comment.user is not None and comment.user.login.lower() == self._author.lower()

    def _create(self, body: str) -> None:
        self._api.ask(Comment, "POST", f"{self._issues}/{self._number}/comments", {"body": body})

    def _update(self, comment: Comment, body: str) -> None:
        self._api.ask(Comment, "PATCH", f"{self._issues}/comments/{comment.id}", {"body": body})


class GitLabDiscussion(Discussion):
    def __init__(self, api: Api, project: str, number: str) -> None:
        super().__init__(api)
        self._notes = f"/projects/{quote(project, safe='')}/merge_requests/{quote(number, safe='')}/notes"

    @cached_property
    def _me(self) -> int:
        return self._api.ask(_User, "GET", "/user").id

    def _comments(self) -> Iterator[Comment]:
        return self._api.pages(Comment, self._notes)

    def _is_own(self, comment: Comment) -> bool:
        return comment.author is not None and comment.author.id == self._me

    def _create(self, body: str) -> None:
        self._api.ask(Comment, "POST", self._notes, {"body": body})

    def _update(self, comment: Comment, body: str) -> None:
        self._api.ask(Comment, "PUT", f"{self._notes}/{comment.id}", {"body": body})


def discussion(
    environment: Mapping[str, str], cancellation: Cancellation, author: str = GITHUB_AUTHOR
) -> tuple[Discussion, str]:
    """The discussion of the request to which this CI job belongs, and the address of the run.

    Raises:
        NoPullRequestError: it belongs to none, or to one that has newer commits.
        UsageError: this is no CI job, or it has no token.
        ReporterError: the service does not answer.
    """
    if "GITHUB_REPOSITORY" in environment:
        return _on_github(environment, cancellation, author)
    if "CI_API_V4_URL" in environment:
        return _on_gitlab(environment, cancellation)
    raise UsageError(
        "this is neither a job of GitHub Actions nor of GitLab CI: there is nothing to comment on"
    )


def _on_github(
    environment: Mapping[str, str], cancellation: Cancellation, author: str
) -> tuple[Discussion, str]:
    repository = environment["GITHUB_REPOSITORY"]
    event = _event(environment.get("GITHUB_EVENT_PATH", ""))
    if event.workflow_run is not None:
        api = _github_api(environment, cancellation)
        number, address = _number_of_run(api, repository, event.workflow_run), event.workflow_run.html_url
    elif event.pull_request is not None:
        api, number = _github_api(environment, cancellation), event.pull_request.number
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        address = f"{server}/{repository}/actions/runs/{environment.get('GITHUB_RUN_ID', '')}"
    else:
        raise NoPullRequestError("this job does not belong to a pull request")
    return GitHubDiscussion(api, repository, number, author), address


def _github_api(environment: Mapping[str, str], cancellation: Cancellation) -> Api:
    token = _token(environment, GITHUB_TOKEN)
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    url = _secure(environment.get("GITHUB_API_URL", "https://api.github.com"))
    return Api(url, headers, token, cancellation)


def _number_of_run(api: Api, repository: str, run: _WorkflowRun) -> int:
    """The event of a fork's run names no pull request, and what the run itself left is a stranger's word:
    the branch and the commit of the run tell.
    """
    if run.head_repository is None or run.head_branch is None:
        raise NoPullRequestError("the branch that was measured does not exist any more")
    head = f"{run.head_repository.owner.login}:{run.head_branch}"
    query = urlencode({"state": "open", "head": head, "per_page": PAGE_SIZE})
    found = api.ask(list[_PullRequest], "GET", f"/repos/{quote(repository)}/pulls?{query}")
    numbers = [one.number for one in found if one.head.sha == run.head_sha]
    if not numbers:
        raise NoPullRequestError("no open pull request is at the commit that was measured")
    return numbers[0]


def _on_gitlab(environment: Mapping[str, str], cancellation: Cancellation) -> tuple[Discussion, str]:
    number, project = (
        environment.get(name, "") for name in ("CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_PROJECT_ID")
    )
    if not (number and project):
        raise NoPullRequestError("this job does not belong to a merge request")
    token = _token(environment, GITLAB_TOKEN)
    api = Api(_secure(environment["CI_API_V4_URL"]), {"PRIVATE-TOKEN": token}, token, cancellation)
    return GitLabDiscussion(api, project, number), environment.get("CI_JOB_URL", "")


def _event(path: str) -> _Event:
    try:
        return _Event.model_validate(bounds.parse_json(bounds.read_file(Path(path), LARGEST_EVENT_BYTES)))
    except (OSError, ValueError) as error:
        raise UsageError(f"GITHUB_EVENT_PATH: {plain(path) or 'nothing'} is no event of GitHub") from error


def _token(environment: Mapping[str, str], name: str) -> str:
    token = environment.get(name, "")
    if not token:
        raise UsageError(f"the environment has no {name}, without which nobody may comment")
    return token


def _secure(url: str) -> str:
    """
    Raises:
        UsageError: others could read the token.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{web.hide_credentials(url)} is not a URL: {error}") from error
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return url.rstrip("/")
    raise UsageError(f"{web.hide_credentials(url)} is not an https URL: others could read the token")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shortened(text: str, limit_bytes: int, note: str) -> str:
    """A Markdown document that fits, whole lines of it: folded sections and blocks of code are closed, and
    the note says that something is missing.
    """
    if len(text.encode()) <= limit_bytes:
        return text
    lines = text.split("\n")
    kept, closing = 0, list[str]()
    fence, folded = "", False
    size_bytes = len(note.encode()) + 1
    for number, line in enumerate(lines, start=1):
        size_bytes += len(line.encode()) + 1
        if size_bytes > limit_bytes:
            break
        opening = line[: len(line) - len(line.lstrip("`"))]
        if not fence and len(opening) >= 3:
            fence = opening
        elif fence and line == fence:
            fence = ""
        if not fence:
            folded = (folded or line.startswith("<details>")) and not line.endswith("</details>")
        ends = [*([fence] if fence else []), *(["", "</details>"] if folded else [])]
        if size_bytes + sum(len(end) + 1 for end in ends) <= limit_bytes:
            kept, closing = number, ends
    return "\n".join([*lines[:kept], *closing, "", note])
