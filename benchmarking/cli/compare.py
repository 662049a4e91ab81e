"""``mlbench compare``: decides what kind of things are compared; each kind has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from benchmarking.cli import compare_saved
from benchmarking.cli.argument_types import Parser, exit_statuses, path, positive_float
from benchmarking.cli.compare_request import (
    HARNESS_OPTIONS,
    MODEL_OPTIONS,
    READING_OPTIONS,
    USUAL_BUILD_S,
    Request,
)
from benchmarking.cli.declared import add_options
from benchmarking.cli.options import DESCRIPTIONS, HarnessOptions
from benchmarking.cli.running import guarded
from benchmarking.errors import EXIT_STATUS_MEANING, ExitStatus, UsageError
from benchmarking.terminal import streams

BUILD_FAILED = "an environment or a commit could not be built"


def main(argv: Sequence[str], program: str) -> int:
    values = vars(make_parser(program).parse(argv))
    reading = {name: value for name in READING_OPTIONS if (value := values.pop(name)) is not None}
    request = Request(
        names=tuple(values.pop("names")),
        reading=reading,
        **{name: values.pop(name) for name in ("base", "head", "python", "repository", "build")},
        build_timeout_s=values.pop("build_timeout"),
        options={name: value for name, value in values.items() if name in HARNESS_OPTIONS or value},
        command=(*program.split(), *argv),
    )
    streams.log_to_stderr(values["log_level"])
    return guarded(program, lambda: _compare(request))


def make_parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Run two things in turn and report whether HEAD is slower than BASE.\n\n"
        "  two commands: BASE HEAD, each in quotes, without shell syntax\n"
        "  two benchmark programs: BASE HEAD FILE, with a model or a specification\n"
        "  two environments: --base REQUIREMENTS --head REQUIREMENTS FILE\n"
        "  two commits: --repository DIRECTORY --base COMMIT --head COMMIT COMMAND\n\n"
        "Or compare saved runs, without running anything: BASE HEAD.",
        epilog=exit_statuses(EXIT_STATUS_MEANING | {ExitStatus.BUILD_FAILED: BUILD_FAILED}),
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="WHAT",
        help="BASE and HEAD, the model or the specification that runs, or the command (see above)",
    )
    group = parser.add_argument_group("two environments (with a FILE), or two commits (with a command)")
    for name in ("base", "head"):
        group.add_argument(
            f"--{name}",
            metavar="THIS",
            help="what pip installs, as in onnxruntime==1.20.1, wheels, or the path of a Python; with "
            "--repository a commit, branch or tag",
        )
    group.add_argument("--repository", type=path, metavar="DIRECTORY", help="the repository of both")
    group.add_argument("--build", default="", metavar="COMMAND", help="builds a commit, in its directory")
    group.add_argument(
        "--build_timeout",
        type=positive_float,
        metavar="SECONDS",
        help=f"the longest that a build may take (default: {USUAL_BUILD_S:g})",
    )
    group.add_argument(
        "--python", metavar="PYTHON", help="makes the environments (default: the one that runs this)"
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
    kind = _kind(request)
    if kind != "compare_saved":
        request.refuse(compare_saved.OPTIONS, "is for saved runs")
    module = import_module(f"benchmarking.cli.{kind}")
    status: ExitStatus = module.compare(request)
    return status


def _kind(request: Request) -> str:
    """The module of the comparison, which has ``compare(request)``.

    Raises:
        UsageError: it is none.
    """
    if request.build and request.repository is None:
        raise UsageError("--build needs --repository")
    if request.build_timeout_s is not None and not request.build:
        raise UsageError("--build_timeout needs --build")
    has_sides = request.base is not None or request.head is not None
    if request.python is not None and (not has_sides or request.repository):
        raise UsageError("--python makes environments: it needs --base, --head and a model")
    if not (has_sides or request.build) and compare_saved.is_meant(request):
        return "compare_saved"
    if request.repository is not None:
        return "compare_commits"
    if has_sides:
        return "compare_environments"
    count = len(request.names)
    if count < 2:
        raise UsageError(
            "give BASE and HEAD: two commands in quotes, two benchmark programs and a FILE, or two saved runs"
        )
    return "compare_commands" if count == 2 else "compare_programs"
