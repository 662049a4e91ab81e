"""``mlbench comment``: from the document to the comment of a pull request, on a stand-in for GitHub."""

import json

import pytest

from benchmarking.cli import comment
from benchmarking.errors import ExitStatus
from benchmarking.files import pull_requests
from benchmarking.results import documents
from tests.support import hosting_api
from tests.support.hosting_api import TOKEN
from tests.support.sample_results import PASSED

MARKER = "<!-- mlbench: {} -->\n"


@pytest.fixture
def api(tmp_path, monkeypatch):
    monkeypatch.setattr(pull_requests, "FIRST_WAIT_S", 0.0)
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 5, "head": {"sha": "c0ffee"}}}))
    with hosting_api.running() as server:
        for name, value in {
            "GITHUB_API_URL": server.url,
            "GITHUB_REPOSITORY": "ada/engine",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_TOKEN": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("GITHUB_SERVER_URL", "GITHUB_RUN_ID"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document.json"
    value = {
        "exit_status": 0,
        "duration_s": 61.0,
        "problems": ["odd"],
        "destinations": [],
        "results": [documents.result_json(PASSED)],
    }
    path.write_text(json.dumps(value))
    documents.read(documents.Document, path.read_bytes())
    return path


def run(*arguments):
    return comment.main([*map(str, arguments)], "mlbench comment")


def test_a_comment_is_made_and_brought_up_to_date(api, document, capsys):
    assert run(document) == ExitStatus.OK
    assert capsys.readouterr().err == "the comment was created\n"
    (first,) = api.bodies
    assert first.startswith(f"{MARKER.format('Benchmarks')}### Benchmarks\n\n")
    assert (PASSED.test.net in first, "odd" in first, "1 min" in first or "61" in first) == (True,) * 3
    assert "[The job]" not in comment._text(comment._read(document), "x", "")
    assert run(document) == ExitStatus.OK
    assert capsys.readouterr().err == "the comment was brought up to date\n"
    assert api.bodies == [first]
    assert run(document, "--title", "On a phone (1.5)") == ExitStatus.OK
    assert len(api.bodies) == 2
    assert api.bodies[1].startswith(f"{MARKER.format('On a phone (1.5)')}### On a phone (1.5)\n\n")


def test_the_job_is_linked(api, document, monkeypatch):
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_RUN_ID", "77")
    run(document)
    assert api.bodies[0].endswith("\n[The job](https://github.example/ada/engine/actions/runs/77)\n")


def test_a_comment_is_not_longer_than_it_may_be(api, document, monkeypatch):
    run(document, "--title", "all")
    (everything,) = api.bodies
    monkeypatch.setattr(pull_requests, "LONGEST_COMMENT", len(everything.encode()))
    run(document, "--title", "All")
    monkeypatch.setattr(pull_requests, "LONGEST_COMMENT", len(everything.encode()) - 1)
    run(document, "--title", "ALL")
    assert [one.endswith(comment.LEFT_OUT) for one in api.bodies] == [False, False, True]


def test_whose_comment_is_brought_up_to_date(api, document, monkeypatch):
    asked = []

    def discussion(environment, cancellation, author):
        asked.append(author)
        raise pull_requests.NoPullRequestError("there is none")

    monkeypatch.setattr(pull_requests, "discussion", discussion)
    run(document)
    run(document, "--author", "a-bot")
    assert asked == [pull_requests.GITHUB_AUTHOR, "a-bot"]


def test_without_a_pull_request_there_is_nothing_to_do(api, document, tmp_path, capsys):
    (tmp_path / "event.json").write_text("{}")
    assert run(document) == ExitStatus.OK
    said = capsys.readouterr().err
    assert said.startswith("no comment: ")
    assert (said.count("\n"), api.bodies) == (1, [])


@pytest.mark.parametrize(
    ("title", "is_one"),
    [
        ("x" * 80, True),
        ("x" * 81, False),
        ("", False),
        ("a--b", False),
        ("a>b", False),
        ("A, b: c/d(+)", True),
    ],
)
def test_what_is_a_title(api, document, capsys, title, is_one):
    if is_one:
        assert run(document, "--title", title) == ExitStatus.OK
        return
    with pytest.raises(SystemExit):
        run(document, "--title", title)
    assert "is not a title of letters, digits, blanks and .,:/()+" in capsys.readouterr().err


def test_what_is_no_document(api, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    for name, message in (
        ("none.json", "mlbench comment: cannot read 'none.json': No such file or directory\n"),
        ("other.json", "mlbench comment: 'other.json' is not a document of --json: "),
    ):
        assert run(name) == ExitStatus.BAD_USAGE
        assert capsys.readouterr().err.startswith(message)
    monkeypatch.setattr(comment, "LARGEST_DOCUMENT_BYTES", 1)
    assert run("other.json") == ExitStatus.BAD_USAGE
    assert api.bodies == []
