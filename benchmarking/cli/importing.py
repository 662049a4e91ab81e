"""``mlbench import``: adds results of files to those that are served."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarking.cli.argument_types import Parser, path, quoted, suggestion
from benchmarking.cli.running import cancelled_by_signals, run_command
from benchmarking.cli.serve import add_database, opened
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.terminal import streams

if TYPE_CHECKING:
    from benchmarking.server.importing import Imported


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Add results to the database of mlbench serve, which may run meanwhile: directories of"
        "\n--local_reporter, documents of --json, and files of other tools (docs/server.md). An import can be"
        "\nrepeated: what is known changes nothing.",
        epilog=f"exit status:\n  {ExitStatus.OK:>3}  done; a damaged run is left out with a warning\n"
        f"  {ExitStatus.BAD_USAGE:>3}  wrong options, or a file of no known form",
    )
    parser.add_argument("paths", nargs="+", type=path, metavar="PATH", help="a directory or a file")
    add_database(parser)
    parser.add_argument(
        "--project", default="default", metavar="NAME", help="whose results they are (default: %(default)s)"
    )
    foreign = parser.add_argument_group("files of other tools", "What a file does not say itself.")
    foreign.add_argument("--format", help="the form of the files (default: auto, by their content)")
    foreign.add_argument("--commit", help="the commit that was measured")
    foreign.add_argument("--commit_time", type=int, metavar="SECONDS", help="its time in Unix seconds")
    foreign.add_argument("--device", help="the name of the machine (default: unknown)")
    return parser


def _main(arguments: argparse.Namespace) -> ExitStatus:
    from benchmarking.programs.process import Cancellation
    from benchmarking.server.foreign import READERS, Context
    from benchmarking.server.importing import import_file, import_tree

    if (arguments.commit is None) != (arguments.commit_time is None):
        raise UsageError("--commit and --commit_time go together")
    if arguments.format is not None and arguments.format not in READERS:
        advice = suggestion(arguments.format, READERS) or f"; these are read: {', '.join(READERS)}"
        raise UsageError(f"--format: there is no format {quoted(arguments.format)}{advice}")
    _check_paths(arguments)
    context = Context(
        format=arguments.format,
        commit=arguments.commit,
        commit_time=arguments.commit_time,
        device=arguments.device,
    )
    with (
        opened(arguments.database) as store,
        Cancellation() as cancellation,
        cancelled_by_signals(cancellation),
    ):
        for one in arguments.paths:
            if cancellation.is_set:
                break
            if one.is_dir():
                done = import_tree(store, one, lambda: cancellation.is_set, project=arguments.project)
            else:
                done = import_file(store, one, context, project=arguments.project)
            streams.show(f"{one}: {_shown(done)}\n")
        return ExitStatus.INTERRUPTED if cancellation.is_set else ExitStatus.OK


def _check_paths(arguments: argparse.Namespace) -> None:
    """
    Raises:
        UsageError: an option says something of results that say it themselves.
    """
    directory = next((one for one in arguments.paths if one.is_dir()), None)
    option = next(
        (one for one in ("format", "commit", "device") if getattr(arguments, one) is not None), None
    )
    if directory is not None and option is not None:
        raise UsageError(
            f"--{option} is for files of other tools, and {directory} is a directory of saved results, which"
            " say it themselves; import it in a call of its own"
        )


def _shown(done: Imported) -> str:
    parts = [f"{done.accepted:,} new", f"{done.known + done.skipped:,} known"]
    return ", ".join([*parts, *([f"{done.damaged:,} damaged"] if done.damaged else [])])
