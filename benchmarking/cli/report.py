"""``mlbench report``: the saved results as one HTML file, which needs no server."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from benchmarking.cli.argument_types import Parser, path, positive_int
from benchmarking.cli.running import run_command
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.terminal import streams

DEFAULT_LIMIT = 500
MOST_SERIES = 100_000
_BATCH = 500


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Write the results saved by harness.py --local_reporter to one HTML file: what is "
        "slower, and a graph of each series.",
        epilog=f"exit status:\n  {ExitStatus.OK:>3}  done\n  {ExitStatus.BAD_USAGE:>3}  wrong options, or no "
        "saved results",
    )
    parser.add_argument(
        "path", type=path, metavar="PATH", help="the directory that was given to harness.py --local_reporter"
    )
    parser.add_argument("--html", type=path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--limit",
        type=positive_int,
        default=DEFAULT_LIMIT,
        metavar="N",
        help="the number of newest commits of each test (default: %(default)s)",
    )
    parser.add_argument("--title", default="", help="a heading (default: the name of the directory)")
    return parser


def _main(arguments: argparse.Namespace) -> ExitStatus:
    root: Path = arguments.path
    if not root.is_dir():
        raise UsageError(f"there is no directory {root}; give the one of harness.py --local_reporter")
    text = _report(root, arguments.limit, arguments.title or root.resolve().name)
    from benchmarking.files import atomic_file

    try:
        atomic_file.write_text(arguments.html, text)
    except OSError as error:
        raise UsageError(f"--html: cannot write {arguments.html}: {error.strerror or error}") from error
    streams.show(f"{arguments.html}: {len(text.encode()) / 1e6:.1f} MB\n")
    return ExitStatus.OK


def _report(root: Path, limit: int, title: str) -> str:
    from benchmarking.records.tree import History, Selection
    from benchmarking.server.ingest import ingest
    from benchmarking.server.pages.reading import reader_of
    from benchmarking.server.pages.report import report_html
    from benchmarking.server.store import open_store, sqlite_url
    from benchmarking.server.triage.search import search, stale

    with tempfile.TemporaryDirectory(prefix="mlbench-report-") as directory:
        store = open_store(sqlite_url(Path(directory, "results.db")))
        try:
            saved = History(root).saved(Selection(limit=limit))
            while batch := list(islice(saved, _BATCH)):
                ingest(store, batch)
            with store.reading() as connection:
                changed = stale(connection, MOST_SERIES)
            for one in changed:
                search(store, one, int(time.time()))
            with store.reading() as connection:
                reader = reader_of(connection)
                if not reader.project:
                    raise UsageError(f"{root}: there are no saved results of commits")
                return report_html(reader, title)
        finally:
            store.close()
