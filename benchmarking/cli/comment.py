"""``mlbench comment DOCUMENT``: brings the comment of a pull request up to date, on GitHub and GitLab.

The document may come from a stranger's pull request: everything in it is data, and the text is made here.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import Parser, path, quoted
from benchmarking.cli.running import cancelled_by_signals, run_command
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.results.documents import Document

LARGEST_DOCUMENT_BYTES = 2**26
USUAL_TITLE = "Benchmarks"
TITLE = re.compile(r"[\w .,:/()+]{1,80}")
"""It is in an HTML comment, too, which two hyphens would end."""
MARKER = "<!-- mlbench: {} -->"
LEFT_OUT = "_The rest does not fit into a comment: see the summary of the job._"


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Write the results of a run into one comment of the pull request to which this CI job\n"
        "belongs (GitHub Actions, GitLab CI), and bring that comment up to date when it is there.",
        epilog=f"exit status: {ExitStatus.OK}, also if there is no pull request; "
        f"{ExitStatus.REPORTER_FAILED} if the service does not accept the comment",
    )
    parser.add_argument("document", type=path, metavar="DOCUMENT", help="the file that --json wrote")
    parser.add_argument(
        "--title",
        type=_title,
        default=USUAL_TITLE,
        help=f"the title; each title has its own comment (default: {USUAL_TITLE})",
    )
    parser.add_argument(
        "--author",
        help="on GitHub, whose comments are brought up to date, if the token is not that of the workflow",
    )
    return parser


def _title(text: str) -> str:
    if not TITLE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is not a title of letters, digits, blanks and .,:/()+"
        )
    return text


def _main(arguments: argparse.Namespace) -> ExitStatus:
    from benchmarking.files import pull_requests
    from benchmarking.programs.process import Cancellation

    document = _read(arguments.document)
    marker = MARKER.format(arguments.title)
    with Cancellation() as cancellation, cancelled_by_signals(cancellation):
        try:
            discussion, run = pull_requests.discussion(
                os.environ, cancellation, arguments.author or pull_requests.GITHUB_AUTHOR
            )
        except pull_requests.NoPullRequestError as error:
            streams.show_message(f"no comment: {error}")
            return ExitStatus.OK
        text = _text(document, arguments.title, run)
        limit_bytes = pull_requests.LONGEST_COMMENT - len(marker.encode()) - 1
        existed = discussion.bring_up_to_date(marker, pull_requests.shortened(text, limit_bytes, LEFT_OUT))
    streams.show_message(f"the comment was {'brought up to date' if existed else 'created'}")
    return ExitStatus.OK


def _read(file: Path) -> Document:
    from benchmarking import bounds
    from benchmarking.results import documents

    try:
        return documents.read(documents.Document, bounds.read_file(file, LARGEST_DOCUMENT_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read {quoted(str(file))}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{quoted(str(file))} is not a document of --json: {error}") from error


def _text(document: Document, title: str, run: str) -> str:
    from benchmarking.reporters.markdown_reporter import markdown
    from benchmarking.reporters.reporter_base import RunSummary

    summary = RunSummary(document.exit_status, document.duration_s, problems=document.problems)
    link = f"[The job]({run})\n" if run else ""
    return f"### {title}\n\n{markdown(document.results, summary)}\n{link}"
