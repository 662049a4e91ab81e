"""The comment of a pull request: what fits, what is waited for, and what is refused."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.errors import ReporterError, UsageError
from benchmarking.files import pull_requests
from benchmarking.files.pull_requests import NoPullRequestError, TransientError, discussion, shortened
from benchmarking.files.web import Answer
from benchmarking.programs.process import Cancellation
from tests.support import hosting_api
from tests.support.hosting_api import TOKEN, rate_limit

LINES = st.lists(
    st.sampled_from(
        ["text", "é" * 30, "```text", "```", "````", "<details><summary>s</summary>", "</details>", ""]
    ),
    max_size=60,
)


@given(LINES, st.integers(300, 2000))
def test_what_is_left_out_leaves_nothing_open(lines, limit_bytes):
    text = "\n".join(lines)
    short = shortened(text, limit_bytes, "NOTE")
    assert len(short.encode()) <= limit_bytes
    if short != text:
        assert len(text.encode()) > limit_bytes
        assert short.endswith("\nNOTE")
        fence = ""
        for line in short.split("\n"):
            if not fence and line.startswith("```"):
                fence = line[: len(line) - len(line.lstrip("`"))]
            elif fence and line == fence:
                fence = ""
        assert not fence


@pytest.mark.parametrize("length", [3, 200, 299, 1001])
def test_what_closes_a_long_fence_fits_too(length):
    """Evidence in which a stranger has put many backticks is in a fence of more."""
    text = "\n".join(["first", "`" * length, *["evidence"] * 300, "`" * length, "last"])
    short = shortened(text, 2000, "NOTE")
    assert len(short.encode()) <= 2000
    assert short.startswith("first\n")
    assert short.endswith("\nNOTE")
    assert short.count("`" * length) in (0, 2)
    assert len(short.encode()) > 2000 - length - 20 or length > 900


def test_an_open_section_is_closed():
    text = "\n".join(
        ["<details><summary>s</summary>", "", "```text", *["evidence"] * 100, "```", "", "</details>"]
    )
    assert shortened(text, 500, "NOTE").endswith("evidence\n```\n\n</details>\n\nNOTE")


@pytest.fixture
def api():
    with hosting_api.running() as server:
        yield server


@pytest.fixture
def environment(api, tmp_path):
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 5, "head": {"sha": "c0ffee"}}}))
    return {
        "GITHUB_API_URL": api.url,
        "GITHUB_REPOSITORY": "ada/engine",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_TOKEN": TOKEN,
    }


def bring_up_to_date(environment):
    with Cancellation() as cancellation:
        return discussion(environment, cancellation)[0].bring_up_to_date("<!-- m -->", "text")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(pull_requests, "FIRST_WAIT_S", 0.0)


def test_a_server_that_never_recovers_is_given_up(api, environment):
    api.refusals = [(503, {})] * 100
    with pytest.raises(
        ReporterError, match=r"^GET http://127\.0\.0\.1:\d+/repos/ada/engine/issues/5/comments.*: 503"
    ):
        bring_up_to_date(environment)
    assert len(api.requests) == pull_requests.ATTEMPTS


def test_a_rate_limit_is_waited_for_without_doubling(api, environment):
    api.refusals = [rate_limit(wait_s=1)]
    assert bring_up_to_date(environment) is False
    api.refusals = [rate_limit(), rate_limit()]
    assert bring_up_to_date(environment) is True
    assert api.bodies == ["<!-- m -->\ntext"]


def test_the_name_of_an_author_is_that_in_any_case(api, environment):
    """As on GitHub; otherwise each run would leave one comment more."""
    for existed, name in ((False, pull_requests.GITHUB_AUTHOR), (True, pull_requests.GITHUB_AUTHOR.upper())):
        with Cancellation() as cancellation:
            found, _ = discussion(environment, cancellation, name)
            assert found.bring_up_to_date("<!-- m -->", "text") is existed


def test_an_address_that_is_none_is_refused_in_one_line(environment):
    with pytest.raises(UsageError, match=r"is not a URL: Invalid IPv6 URL$"):
        bring_up_to_date({**environment, "GITHUB_API_URL": "https://[x"})


def test_a_refusal_that_is_no_rate_limit_is_final(api, environment):
    environment["GITHUB_TOKEN"] = "wr0ng"
    with pytest.raises(ReporterError, match="401") as error:
        bring_up_to_date(environment)
    assert "wr0ng" not in str(error.value)
    assert len(api.requests) == 1


def test_a_comment_that_may_have_arrived_is_not_posted_again(api, environment, monkeypatch):
    posted = []

    def lose(handler, value, status=200, headers=()):
        if handler.command == "POST":
            posted.append(value)
            handler.connection.close()
        else:
            answer(handler, value, status, headers)

    answer = hosting_api._Handler._answer
    monkeypatch.setattr(hosting_api._Handler, "_answer", lose)
    with pytest.raises(ReporterError):
        bring_up_to_date(environment)
    assert len(posted) == 1


def test_a_question_whose_answer_is_lost_is_asked_again(api, environment, monkeypatch):
    lost = []

    def lose_once(handler, value, status=200, headers=()):
        if lost:
            answer(handler, value, status, headers)
        else:
            lost.append(handler.command)
            handler.connection.close()

    answer = hosting_api._Handler._answer
    monkeypatch.setattr(hosting_api._Handler, "_answer", lose_once)
    assert bring_up_to_date(environment) is False
    assert (lost, api.bodies) == (["GET"], ["<!-- m -->\ntext"])


def test_neither_what_others_wrote_nor_another_comment_of_its_own_is_changed(api, environment):
    others = ["<!-- m -->\nof somebody else", "<!-- n -->\nof another tool"]
    api.add(others[0], {"id": 99, "login": "mallory"})
    api.add(others[1])
    assert bring_up_to_date(environment) is False
    assert bring_up_to_date(environment) is True
    assert api.bodies == [*others, "<!-- m -->\ntext"]


def test_nobody_waits_longer_than_a_minute():
    class Answer:
        retry_after_s = None
        headers = {"X-RateLimit-Reset": "99999999999"}  # noqa: RUF012

    assert pull_requests._asked_wait_s(Answer()) == 60.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"GITHUB_TOKEN": ""}, UsageError, "the environment has no GITHUB_TOKEN"),
        ({"GITHUB_API_URL": "http://example.com"}, UsageError, "is not an https URL"),
        ({"GITHUB_EVENT_PATH": "/nonesuch"}, UsageError, "is no event of GitHub"),
        ({"GITHUB_EVENT_PATH": "/dev/zero"}, UsageError, "is no event of GitHub"),
    ],
)
def test_what_is_missing_is_one_line(environment, change, error, message):
    with pytest.raises(error, match=message):
        bring_up_to_date({**environment, **change})


@pytest.mark.parametrize("event", [{}, {"pull_request": None}, {"push": {}}])
def test_a_push_has_no_pull_request(environment, tmp_path, event):
    (tmp_path / "event.json").write_text(json.dumps(event))
    with pytest.raises(NoPullRequestError):
        bring_up_to_date(environment)


def test_elsewhere_there_is_nothing_to_comment_on():
    with pytest.raises(UsageError, match="neither a job of GitHub Actions nor of GitLab CI"):
        bring_up_to_date({})
    with pytest.raises(NoPullRequestError):
        bring_up_to_date({"CI_API_V4_URL": "https://gitlab.example"})


def test_answers_of_another_kind_are_refused(api, environment):
    api.comments = [{"id": "one", "body": "x"}]
    with pytest.raises(ReporterError, match="the answer is not what it should be"):
        bring_up_to_date(environment)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait_s"),
    [
        (200, {}, None, None),
        (299, {}, None, None),
        (199, {}, ReporterError, None),
        (300, {}, ReporterError, None),
        (403, {}, ReporterError, None),
        (403, {"X-RateLimit-Remaining": "1"}, ReporterError, None),
        (403, {"X-RateLimit-Remaining": "0"}, TransientError, None),
        (403, {"Retry-After": "3"}, TransientError, 3),
        (404, {"Retry-After": "3"}, ReporterError, None),
        (428, {}, ReporterError, None),
        (429, {"X-RateLimit-Reset": "1007"}, TransientError, 7),
        (430, {}, ReporterError, None),
        (501, {}, ReporterError, None),
        (502, {"X-RateLimit-Reset": "993"}, TransientError, 0),
        (503, {"X-RateLimit-Reset": "99999"}, TransientError, 60),
        (504, {}, ReporterError, None),
    ],
)
def test_which_answers_are_waited_for_and_how_long(monkeypatch, status, headers, kind, wait_s):
    class Told(Answer):
        def text(self):
            return "the\n  words"

    monkeypatch.setattr(time, "time", lambda: 1000.0)
    answer = Told(status, "Reason", headers, None, None)
    if kind is None:
        assert pull_requests._checked(answer) == "the\n  words"
        return
    with pytest.raises(kind, match=rf"^{status} Reason the words$") as error:
        pull_requests._checked(answer)
    assert type(error.value) is kind
    assert getattr(error.value, "wait_s", None) == wait_s
