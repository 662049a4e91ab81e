"""The command line of ``harness.py``, and of ``mlbench run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarking.cli.argument_types import Parser, exit_statuses
from benchmarking.cli.declared import add_options
from benchmarking.cli.options import ALL, DESCRIPTIONS, HarnessOptions, benchmark_file, is_model
from benchmarking.errors import EXIT_STATUS_MEANING

PROGRAM = "harness.py"
MODEL_DEFAULTS = {"framework": ALL, "max_seconds": 20.0}
"""Options that have other defaults where model files are run: the table is there within a minute."""


def parse(argv: Sequence[str], program: str = PROGRAM, *, takes_files: bool = False) -> HarnessOptions:
    """Parses the arguments; if they are wrong, ends the process with status 2 and a message."""
    parser = make_parser(program, takes_files=takes_files)
    values = vars(parser.parse(argv))
    return options_of(values, parser) if takes_files else HarnessOptions(**values)


def options_of(values: dict[str, Any], parser: Parser) -> HarnessOptions:
    """The options of a command that takes files."""
    files = (*filter(None, [values.get("benchmark_file")]), *values.pop("files"))
    if not files:
        parser.error("the following arguments are required: FILE")
    values |= {"benchmark_file": files[0], "more_files": files[1:]}
    of_models = any(map(is_model, files))
    for name, usual in MODEL_DEFAULTS.items():
        if values[name] is None:
            values[name] = usual if of_models else getattr(HarnessOptions, name)
    return HarnessOptions(**values)


def make_parser(program: str = PROGRAM, *, takes_files: bool = False) -> Parser:
    parser = Parser(
        program,
        description="Perform one benchmark run: the tests of a benchmark file on every chosen device.",
        epilog=exit_statuses(EXIT_STATUS_MEANING),
    )
    if not takes_files:
        add_options(parser, HarnessOptions, DESCRIPTIONS, ("benchmark_file",))
    else:
        add_files(parser)
        add_options(parser, HarnessOptions, DESCRIPTIONS, ())
        parser.set_defaults(**dict.fromkeys(MODEL_DEFAULTS))
    return parser


def add_files(parser: Parser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        type=benchmark_file,
        metavar="FILE",
        help="JSON files of benchmarks or of suites, or model files, which run on all frameworks",
    )
