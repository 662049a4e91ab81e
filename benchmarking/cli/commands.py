"""``mlbench COMMAND``: all programs under one name. The module of a command is imported only when it is
called.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarking.cli.argument_types import Parser

PROGRAM = "mlbench"


@dataclass(frozen=True)
class Command:
    summary: str
    module: str
    """A module in ``benchmarking.cli`` with ``main(argv, program)`` and ``make_parser(program)``."""

    def load(self) -> Any:
        return import_module(f"benchmarking.cli.{self.module}")


COMMANDS = {
    "run": Command("perform one benchmark run, as harness.py does", "run"),
    "watch": Command("benchmark the commits of a repository, as repo_driver.py does", "watch"),
    "compare": Command("run two commands or programs in turn: is the second slower?", "compare"),
    "init": Command("write a suite and a CI file for what is in a directory", "init"),
    "doctor": Command("show what this machine does to measurements, and how to mend it", "doctor"),
    "cache": Command("show or remove the environments and builds that comparisons keep", "cache"),
    "devices": Command("show every device that can be found, or check them", "devices"),
    "history": Command("show the saved results commit by commit, and where they changed", "history"),
    "mcp": Command("serve run, compare, bisect ... to agents (Model Context Protocol)", "mcp"),
    "comment": Command("write results into the comment of a pull request, in CI", "comment"),
    "lab": Command("run on the devices of other hosts, through a queue", "lab"),
    "serve": Command("serve the results in a browser, and receive more", "serve"),
    "import": Command("add results of files to those that are served", "importing"),
    "report": Command("write the saved results to one HTML file", "report"),
    "completion": Command("print a shell completion script for this command line", "completion"),
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    name = make_parser().parse(arguments[:1]).command
    status: int = COMMANDS[name].load().main(arguments[1:], f"{PROGRAM} {name}")
    return status


def make_parser() -> Parser:
    commands = [f"  {name:<12}{command.summary}" for name, command in COMMANDS.items()]
    more = f"\n\n{PROGRAM} COMMAND --help shows the options of a command."
    parser = Parser(
        PROGRAM,
        description="Compare the inference time of models across frameworks, platforms and commits.",
        epilog="\n".join(["commands:", *commands]) + more,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="the command to run")
    return parser
