"""``mlbench cache``: the environments and the builds of commits that comparisons keep."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from benchmarking.cli.argument_types import Parser, quoted, suggestion
from benchmarking.cli.running import run_command
from benchmarking.cli.wiring import MadeKind, made_directories
from benchmarking.errors import ExitStatus, UsageError
from benchmarking.files.made_directories import Made
from benchmarking.terminal import streams


def main(argv: Sequence[str], program: str) -> int:
    return run_command(make_parser(program), argv, _main)


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Show or remove the environments and the builds of commits that mlbench compare keeps.",
        epilog=f"exit status: {ExitStatus.OK}, but {ExitStatus.DEVICE_FAILED} where one cannot be removed",
    )
    parser.add_argument(
        "action", choices=("list", "remove"), metavar="{list,remove}", help="what to do with them"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="as list shows them")
    parser.add_argument("--all", action="store_true", help="remove all of them")
    return parser


def _main(arguments: argparse.Namespace) -> ExitStatus:
    kinds = [made_directories(kind) for kind in get_args(MadeKind)]
    if arguments.action == "list":
        if arguments.names or arguments.all:
            raise UsageError("list takes neither names nor --all: it shows everything that is kept")
        streams.show(_table([made for one in kinds for made in one.all()]))
        return ExitStatus.OK
    there = {made.name: one for one in kinds for made in one.all()}
    if bool(arguments.names) == arguments.all:
        raise UsageError("remove needs the names of what to remove, or --all")
    for name in arguments.names:
        if name not in there:
            raise UsageError(f"there is no {quoted(name)}{suggestion(name, there) or '; list shows all'}")
    chosen = arguments.names or list(there)
    in_use = [name for name in chosen if not there[name].remove(name)]
    for name in in_use:
        streams.show_message(f"{name}: a comparison uses it")
    return ExitStatus.DEVICE_FAILED if in_use else ExitStatus.OK


def _table(made: Sequence[Made]) -> str:
    from tabulate import tabulate

    rows = [
        (
            one.name,
            f"{one.size_bytes() / 2**20:.0f} MiB",
            datetime.fromtimestamp(one.last_used).astimezone().strftime("%Y-%m-%d"),
            one.title,
        )
        for one in made
    ]
    if not rows:
        return "nothing is kept\n"
    return tabulate(rows, ("name", "size", "last used", "made from"), tablefmt="plain") + "\n"
