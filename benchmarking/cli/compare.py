"""``mlbench compare``: decides what kind of things are compared; each kind has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from benchmarking.cli import compare_saved
from benchmarking.cli.argument_types import Parser, exit_statuses
from benchmarking.cli.compare_request import HARNESS_OPTIONS, MODEL_OPTIONS, READING_OPTIONS, Request
from benchmarking.cli.declared import add_options
from benchmarking.cli.options import DESCRIPTIONS, HarnessOptions
from benchmarking.cli.running import guarded
from benchmarking.errors import EXIT_STATUS_MEANING, ExitStatus, UsageError
from benchmarking.terminal import streams


def main(argv: Sequence[str], program: str) -> int:
    values = vars(make_parser(program).parse(argv))
    reading = {name: value for name in READING_OPTIONS if (value := values.pop(name)) is not None}
    request = Request(
        names=tuple(values.pop("names")),
        reading=reading,
        options={name: value for name, value in values.items() if name in HARNESS_OPTIONS or value},
        command=(*program.split(), *argv),
    )
    streams.log_to_stderr(values["log_level"])
    return guarded(program, lambda: _compare(request))


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Run two things in turn and report whether HEAD is slower than BASE: two commands in "
        "quotes,\nwithout shell syntax, or two benchmark programs with a model or a specification. Or\n"
        "compare saved runs, without running anything.",
        epilog=exit_statuses(EXIT_STATUS_MEANING),
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="BASE HEAD [FILE...]",
        help="two commands; or two benchmark programs, with the model or the specification that they run; or "
        "two saved runs",
    )
    group = parser.add_argument_group(
        "how the times of commands are read",
        "By default the times that both print in a known form, or else whole processes.",
    )
    group.add_argument(
        "--format",
        help="the form of the times: process for whole processes, observer, google_benchmark, "
        "hyperfine, pyperf ... (default: auto; docs/generic.md)",
    )
    group.add_argument("--pattern", help="a regular expression with a group (?P<value>...)")
    group.add_argument("--json_path", help="the path of the times in a JSON document")
    group.add_argument("--unit", help="of --pattern and --json_path: ns, us, ms or s")
    group.add_argument("--net", help="the name of the main benchmark, of programs that report several")
    compare_saved.add_arguments(parser)
    add_options(parser, HarnessOptions, DESCRIPTIONS, (), only=(*MODEL_OPTIONS, *HARNESS_OPTIONS))
    parser.set_defaults(**dict.fromkeys(MODEL_OPTIONS))
    return parser


def _compare(request: Request) -> ExitStatus:
    module = import_module(f"benchmarking.cli.{_kind(request)}")
    status: ExitStatus = module.compare(request)
    return status


def _kind(request: Request) -> str:
    """The module of the comparison, which has ``compare(request)``.

    Raises:
        UsageError: it is none.
    """
    count = len(request.names)
    if count < 2:
        raise UsageError(
            "give BASE and HEAD: two commands in quotes, two benchmark programs and a FILE, or two saved runs"
        )
    if compare_saved.is_meant(request):
        return "compare_saved"
    return "compare_commands" if count == 2 else "compare_programs"
