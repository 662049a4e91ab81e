"""The command line of ``harness.py``: every option once, with its help."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarking import __version__
from benchmarking.cli.argument_types import (
    Parser,
    affinity,
    comma_separated,
    comma_separated_paths,
    frequency,
    operator_choice,
    path,
    picture,
    positive_float,
    positive_int,
)
from benchmarking.cli.shipped import shipped
from benchmarking.errors import EXIT_STATUS_MEANING
from benchmarking.frameworks.frameworks import framework_names
from benchmarking.options import (
    BACKEND_TOLERANCE,
    BLOCKS,
    TOKEN_VARIABLE,
    ABMode,
    ClockChoice,
    FailOn,
    HarnessOptions,
    Reboot,
    Strictness,
    WhenBusy,
)
from benchmarking.platforms.platforms import platform_names
from benchmarking.regression_detectors.regression_detectors import detector_names
from benchmarking.results.model import RunType

PROGRAM = "harness.py"


def parse(argv: Sequence[str], program: str = PROGRAM) -> HarnessOptions:
    """Ends the process with status 2 and a message of the program where the arguments are wrong."""
    return HarnessOptions(**vars(make_parser(program).parse(argv)))


def make_parser(program: str = PROGRAM) -> Parser:
    parser = Parser(
        program,
        description="Perform one benchmark run: the tests of a benchmark file on every chosen device.",
        epilog="exit status:\n"
        + "\n".join(f"  {status:>3}  {meaning}" for status, meaning in EXIT_STATUS_MEANING.items()),
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_what_to_run(parser.add_argument_group("what to run"))
    _add_where_to_run(parser.add_argument_group("where to run it"))
    _add_conditions(parser.add_argument_group("the conditions on the device"))
    _add_backends(parser.add_argument_group("comparison of backends (--backend a,b or all)"))
    _add_comparison(parser.add_argument_group("comparison of two programs (A/B)"))
    _add_reporters(
        parser.add_argument_group(
            "where the results go",
            "With none of these, the results are shown on the screen and saved in the user's data directory.",
        )
    )
    return parser


def _add_what_to_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--benchmark_file",
        type=_benchmark_file,
        required=True,
        metavar="FILE",
        help="the json file of a benchmark, or of a suite of benchmarks",
    )
    group.add_argument(
        "--framework",
        choices=framework_names(),
        default="caffe2",
        help="the framework to benchmark (default: %(default)s)",
    )
    group.add_argument(
        "--program",
        type=path,
        metavar="FILE",
        help="the benchmark program, where --info names none; a .pyz or .py file is run by Python "
        "(default: the framework's own program)",
    )
    group.add_argument(
        "--shared_libs",
        type=comma_separated_paths,
        default=(),
        metavar="FILE,...",
        help="shared libraries that the program depends on",
    )
    group.add_argument(
        "--model_cache",
        type=path,
        metavar="DIRECTORY",
        help="where models are kept, not part of a git directory (default: the user's cache directory)",
    )
    group.add_argument(
        "--root_model_dir",
        type=path,
        metavar="DIRECTORY",
        help="the directory of models whose location starts with //",
    )
    group.add_argument(
        "--backend",
        metavar="BACKEND[,...]|all",
        help="the backend that the tests run on; beats what the specification says. With several, or all "
        "that a device has, each test runs on each of them and they are compared",
    )
    group.add_argument(
        "--validate",
        action="store_true",
        help="only check the options, the benchmark file and all they name, without running or downloading",
    )
    group.add_argument(
        "--log_level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="how much to tell on stderr (default: %(default)s)",
    )


def _add_where_to_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--platform",
        default="host",
        help=f"the platform to run on: {', '.join(platform_names())}; what follows a / is the variant that "
        "was built (default: %(default)s)",
    )
    group.add_argument(
        "--devices",
        type=comma_separated,
        default=(),
        metavar="DEVICE,...",
        help="run on these devices only, each by the name or hash that the results show; Android devices "
        "also by model or address (host:port), Linux machines as ssh knows them (user@board1,board2:2222)",
    )
    group.add_argument(
        "--excluded_devices",
        type=comma_separated,
        default=(),
        metavar="DEVICE,...",
        help="run on all devices but these",
    )
    group.add_argument(
        "--android_dir",
        metavar="DIRECTORY",
        help="the directory on Android devices that files are pushed to (default: /data/local/tmp)",
    )
    group.add_argument(
        "--remote_dir",
        metavar="DIRECTORY",
        help="the same on Linux machines (default: the user's cache directory there)",
    )
    group.add_argument(
        "--remote_python",
        default=HarnessOptions.remote_python,
        metavar="COMMAND",
        help="the Python on devices that runs programs that need one (default: %(default)s)",
    )
    group.add_argument(
        "--remove_staged",
        action="store_true",
        help="leave nothing on devices; by default the files that the run used stay for the next one",
    )
    group.add_argument(
        "--when_busy",
        choices=get_args(WhenBusy),
        default=HarnessOptions.when_busy,
        help="what to do when somebody else uses a device (default: %(default)s)",
    )
    group.add_argument(
        "--recovery_limit",
        type=positive_float,
        default=HarnessOptions.recovery_limit,
        metavar="SECONDS",
        help="how long a device that was lost, or reboots, has to come back (default: %(default)g)",
    )
    group.add_argument(
        "--timeout",
        type=positive_float,
        default=HarnessOptions.timeout,
        metavar="SECONDS",
        help="how long one run of the program may take before it is killed; enough for the slowest device "
        "(default: %(default)g)",
    )


def _add_conditions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--affinity",
        type=affinity,
        metavar="CORES",
        help="run programs on these cores only: a list as 0-3,6 or a mask as 0xf",
    )
    group.add_argument(
        "--set_frequency",
        type=frequency,
        metavar="KHZ",
        help="while the tests run, hold all cores at this frequency: kilohertz, min or max; needs root there",
    )
    group.add_argument(
        "--cooldown",
        type=positive_float,
        metavar="SECONDS",
        help="before each test, wait until temperature, frequency and load are steady, at most so long",
    )
    group.add_argument(
        "--reboot",
        nargs="?",
        choices=get_args(Reboot),
        const="commit",
        help="reboot devices before the first test (commit, also with no value), or before each (run)",
    )
    group.add_argument(
        "--health_check",
        nargs="?",
        choices=get_args(Strictness),
        const="warn",
        help="first hold a tiny reference computation against the device's own history; a device that is out "
        "of its band is warned of (warn, also with no value) or not used (require)",
    )


def _add_backends(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--reference_backend",
        metavar="BACKEND",
        help="the backend that the others are compared with (default: default where it is among them, else "
        "the first)",
    )
    group.add_argument(
        "--blocks",
        type=positive_int,
        metavar="N",
        help=f"so many blocks, in each of which every backend runs once, in random order (default: {BLOCKS})",
    )
    group.add_argument(
        "--backend_tolerance",
        type=positive_float,
        metavar="FRACTION",
        help="how far an output may be from the reference's, in parts of its largest value (default: "
        f"{BACKEND_TOLERANCE:g})",
    )
    group.add_argument(
        "--plot",
        type=picture,
        metavar="FILE",
        help="also draw the tests on all backends as a heat map; .svg or .png",
    )


def _add_comparison(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--info",
        metavar="JSON",
        help="json text, or @FILE, that describes treatment, control and the history to compare with",
    )
    group.add_argument(
        "--ab_mode",
        choices=get_args(ABMode),
        default=HarnessOptions.ab_mode,
        help="iteration: treatment and control stay alive side by side and run single iterations in turn. "
        "process: whole processes in turn. auto: iterations where both programs can (default: %(default)s)",
    )
    group.add_argument(
        "--ab_pairs",
        type=positive_int,
        metavar="N",
        help="so many pairs of treatment and control, whatever they show (default: until there is a verdict)",
    )
    group.add_argument(
        "--max_pairs",
        type=positive_int,
        default=HarnessOptions.max_pairs,
        metavar="N",
        help="after so many pairs what is undecided is inconclusive (default: %(default)s)",
    )
    group.add_argument(
        "--max_seconds",
        type=positive_float,
        default=HarnessOptions.max_seconds,
        metavar="SECONDS",
        help="the same after so many seconds of one comparison (default: %(default)g)",
    )
    for name, meaning in (
        ("minimum_effect", "a change whose estimate is smaller is no regression (0.01: 1 %%)"),
        ("target_change", "a change that must not pass for unchanged"),
        ("alpha", "how likely identical programs are called regressed at most, before it is verified"),
        ("beta", "how likely a change of --target_change passes for unchanged at most"),
    ):
        group.add_argument(
            f"--{name}",
            type=positive_float,
            default=getattr(HarnessOptions, name),
            metavar="FRACTION",
            help=f"{meaning} (default: %(default)g)",
        )
    group.add_argument(
        "--clock",
        choices=get_args(ClockChoice),
        default=HarnessOptions.clock,
        help="what verdicts rest on; auto: the device's own time where a device computes, CPU time where one "
        "thread computes all the time, else wall time "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--canary",
        choices=("on", "off"),
        default=HarnessOptions.canary,
        help="first compare the control with its own copy; if they differ, the run's verdicts are void "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--fail_on",
        choices=get_args(FailOn),
        default=HarnessOptions.fail_on,
        help="which verdicts make the exit status other than 0: confirmed regressions, also what is "
        "inconclusive, or none (default: %(default)s)",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="of the random order, to repeat a run (default: a new one)"
    )
    group.add_argument(
        "--detector",
        choices=detector_names(),
        help="judge delays by the regression_commits of --info instead of by their pairs: the newest median "
        "above the p90s of the earlier runs, or a change point (default: by the pairs; where there is no "
        "control, p50_p90)",
    )
    group.add_argument(
        "--run_type",
        choices=get_args(RunType),
        help="benchmark: a normal run. verify: a suspicion is run again. regress: a regression is confirmed "
        "(default: what --info says, else benchmark)",
    )
    group.add_argument(
        "--regressed_types",
        type=_json_strings,
        default=(),
        metavar="JSON",
        help='the types whose regression a run of type regress confirms: ["NET_DELAY", ...]',
    )


def _add_reporters(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--screen_reporter", action="store_true", help="show a summary on the screen")
    group.add_argument(
        "--operators",
        type=operator_choice,
        metavar="all|N|by_type",
        help="which operators the screen and the Markdown table show: all, the N slowest, or one row for "
        "each type (default: the 5 slowest on the screen, none in Markdown)",
    )
    group.add_argument(
        "--local_reporter", type=path, metavar="DIRECTORY", help="save the results below this directory"
    )
    group.add_argument(
        "--remote_reporter",
        metavar="DOMAIN/ENDPOINT|CATEGORY",
        help="send the results to a server, over https unless the domain says otherwise",
    )
    group.add_argument(
        "--remote_access_token",
        metavar="TOKEN",
        help=f"the server's access token; other users of this machine can read it in the list of processes: "
        f"rather set {TOKEN_VARIABLE} in the environment",
    )
    group.add_argument(
        "--allow_http", action="store_true", help="let --remote_reporter send the token unencrypted"
    )
    group.add_argument("--junit", type=path, metavar="FILE", help="write a JUnit XML report")
    group.add_argument(
        "--markdown", type=path, metavar="FILE", help="write a Markdown table for a pull request comment"
    )
    group.add_argument("--json", action="store_true", help="print all results as one JSON document on stdout")


def _benchmark_file(text: str) -> Path:
    return shipped(path(text))


def _json_strings(text: str) -> tuple[str, ...]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(
            f"not JSON: {error}; write a list, as in '[\"NET_DELAY\"]'"
        ) from error
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise argparse.ArgumentTypeError("not a JSON list of strings, as in '[\"NET_DELAY\"]'")
    return tuple(value)
