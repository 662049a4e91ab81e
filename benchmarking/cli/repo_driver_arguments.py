"""The command line of ``repo_driver.py``: its own options, and those that it passes to ``harness.py``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarking.cli import harness_arguments
from benchmarking.cli.argument_types import Parser, exit_statuses
from benchmarking.cli.declared import add_options, declarations
from benchmarking.cli.options import TOKEN_OPTION, HarnessOptions
from benchmarking.cli.repo_driver_options import DESCRIPTIONS, RepoDriverOptions
from benchmarking.errors import REPO_DRIVER_EXIT_STATUS_MEANING

PROGRAM = "repo_driver.py"


def parse(argv: Sequence[str], program: str = PROGRAM) -> tuple[RepoDriverOptions, HarnessOptions | None]:
    """The options, and those that ``harness.py`` will read from the rest; None only for ``--status`` without
    a benchmark file.

    If the arguments are wrong, it ends the process with status 2 and a message.
    """
    parser = make_parser(program)
    parser.refuse_unknown_options(argv, harness_arguments.make_parser())
    known, extra = parser.parse_known_args(argv)
    options = RepoDriverOptions(**vars(known), harness_arguments=tuple(extra))
    if options.status and not extra:
        return options, None
    if options.repo_dir is None and not options.status:
        parser.error("the following arguments are required: --repo_dir")
    if options.once and options.interval is not None:
        parser.error("--once ends when nothing is pending, and --interval runs for ever: choose one")
    declared = declarations(HarnessOptions)
    for argument in (one.split("=", 1)[0] for one in extra):
        name = argument.removeprefix("--")
        if argument.startswith("--") and name in declared and declared[name].set_by_loop:
            parser.error(f"{argument} is set by the loop itself for every run of harness.py")
    return options, harness_arguments.parse(extra, parser.prog)


def split_token(argv: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The arguments without the access token, and the token."""
    kept: list[str] = []
    token = None
    rest = iter(argv)
    for argument in rest:
        if argument == TOKEN_OPTION:
            token = next(rest, None)
        elif argument.startswith(f"{TOKEN_OPTION}="):
            token = argument.partition("=")[2]
        else:
            kept.append(argument)
    return tuple(kept), token


def make_parser(program: str = PROGRAM) -> Parser:
    parser = Parser(
        program,
        description="Benchmark the commits of a repository, one after another: build each, measure it, and "
        "find performance regressions. All options of harness.py can also be given; they are passed on.",
        epilog=exit_statuses(REPO_DRIVER_EXIT_STATUS_MEANING),
    )
    add_options(parser, RepoDriverOptions, DESCRIPTIONS, ("exec_dir",))
    return parser
