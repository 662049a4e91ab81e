"""``python -m benchmarking.history``: the saved results commit by commit, and where they changed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking import start
from benchmarking.cli.argument_types import (
    Parser,
    comma_separated,
    exports,
    path,
    picture,
    positive_int,
    quoted,
)
from benchmarking.cli.running import guarded
from benchmarking.cli.wiring import default_results
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.reporters.settings import EXPORT_FORMATS
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.records.series import Series

PROGRAM = "python -m benchmarking.history"
DEFAULT_LIMIT = 1000
ALL_TYPES = "all"


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    arguments = make_parser(program).parse(sys.argv[1:] if argv is None else argv)
    streams.log_to_stderr()
    return guarded(program.removeprefix("python -m "), lambda: _main(arguments))


def make_parser(program: str = PROGRAM) -> Parser:
    parser = Parser(
        program,
        description="Show the results saved by harness.py --local_reporter, commit by commit, or where they "
        "changed.",
        epilog=f"exit status:\n  {ExitStatus.OK:>3}  done, even if changes were found: they are only advice\n"
        f"  {ExitStatus.BAD_USAGE:>3}  wrong options, or no results that match them\n"
        f"  {ExitStatus.REPORTER_FAILED:>3}  a file of --export cannot be written",
    )
    parser.add_argument(
        "command",
        choices=("show", "changes"),
        metavar="{show,changes}",
        help="show: print one line per commit. changes: print the commits between which the level changed",
    )
    parser.add_argument(
        "--local_reporter",
        type=path,
        metavar="DIRECTORY",
        help="the directory that was given to harness.py with the same option (default: its default "
        "directory)",
    )
    chosen = parser.add_argument_group(
        "which results", "Use the names that show prints; separate several with commas."
    )
    for option, what in {
        "platform": "devices",
        "net": "nets",
        "metric": "metrics",
        "identifier": "tests",
    }.items():
        chosen.add_argument(
            f"--{option}",
            type=comma_separated,
            default=(),
            metavar="NAME,...",
            help=f"only these {what} (default: all)",
        )
    chosen.add_argument(
        "--type",
        type=comma_separated,
        default=(),
        metavar="NAME,...",
        help=f"only these types, or {ALL_TYPES} (default: NET_DELAY and the outputs, but not the operators)",
    )
    chosen.add_argument(
        "--since",
        type=_date,
        default=date.min,
        metavar="YYYY-MM-DD",
        help="only commits of this day (UTC) or later",
    )
    chosen.add_argument(
        "--limit",
        type=positive_int,
        default=DEFAULT_LIMIT,
        metavar="N",
        help="the number of newest commits of each test (default: %(default)s)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print a JSON document")
    output.add_argument(
        "--plot", type=picture, metavar="FILE", help="also draw the series and their changes; .svg or .png"
    )
    output.add_argument(
        "--export",
        type=exports,
        default=(),
        metavar="FORMAT:FILE,...",
        help=f"also write the newest commit of each series as {', '.join(EXPORT_FORMATS)}",
    )
    return parser


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a date, as in 2026-03-31") from None


def _main(arguments: argparse.Namespace) -> ExitStatus:
    series = _read(arguments)
    if arguments.plot:
        _draw(series, arguments.plot)
    if arguments.export:
        from benchmarking.reporters.exports import of_series, write

        write(arguments.export, of_series(series))
    if arguments.json:
        from benchmarking.reporters.history_report import document

        streams.show(document(series))
    else:
        from benchmarking.reporters.history_report import show, show_changes

        shown = (show if arguments.command == "show" else show_changes)(series, _width())
        streams.show(shown, is_styled=True)
    return ExitStatus.OK


def _read(arguments: argparse.Namespace) -> list[Series]:
    from benchmarking.records.series import series_of
    from benchmarking.records.tree import History, Selection

    root: Path = arguments.local_reporter or default_results()
    selection = Selection(
        platforms=arguments.platform,
        nets=arguments.net,
        metrics=arguments.metric,
        identifiers=arguments.identifier,
        types=() if ALL_TYPES in arguments.type else arguments.type,
        operators=ALL_TYPES in arguments.type,
        since=arguments.since,
        limit=arguments.limit,
    )
    if not root.is_dir():
        if arguments.local_reporter is None:
            raise UsageError(
                f"harness.py has saved nothing in {root} yet; choose another directory with --local_reporter"
            )
        raise UsageError(f"--local_reporter: there is no directory {root}")
    series = series_of(History(root).saved(selection))
    if not series:
        raise UsageError(f"{root}: no saved results match; without filters, show lists all results")
    return series


def _draw(series: Sequence[Series], path: Path) -> None:
    from benchmarking.reporters.history_plot import draw

    try:
        draw(series, path)
    except OSError as error:
        raise UsageError(f"--plot: cannot write {path}: {error.strerror or error}") from error


def _width() -> int | None:
    """None: the width of the terminal."""
    from benchmarking.terminal.console import width_for

    return width_for(streams.standard_output())


if __name__ == "__main__":
    start.run("benchmarking.history", "benchmarking.cli.history")
