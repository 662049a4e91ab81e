"""The options of ``harness.py``, each declared at its field."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarking.cli.argument_types import (
    PICTURES,
    affinity,
    comma_separated_paths,
    exports,
    frequency,
    operator_choice,
    path,
    picture,
    quoted,
    suggestion,
)
from benchmarking.cli.declared import DeclaredOptions, option
from benchmarking.cli.shipped import shipped
from benchmarking.driver.settings import (
    BLOCKS,
    ITERATION_BLOCKS,
    ABMode,
    ClockChoice,
    FailOn,
    Reboot,
    Strictness,
    WhenBusy,
)
from benchmarking.errors import UsageError
from benchmarking.frameworks.frameworks import framework_names
from benchmarking.platforms.platforms import platform_names
from benchmarking.regression_detectors.regression_detectors import detector_names
from benchmarking.reporters.settings import Export, OperatorChoice
from benchmarking.results.model import RunType
from benchmarking.results.precision import TOLERANCES

TOKEN_VARIABLE = "BENCHMARK_REMOTE_ACCESS_TOKEN"  # noqa: S105 - the variable's name
TOKEN_OPTION = "--remote_access_token"  # noqa: S105 - the option's name
MASK = "***"

LogLevel = Literal["debug", "info", "warning", "error"]

WHAT = "what to run"
WHERE = "where to run"
CONDITIONS = "conditions on the device"
BACKENDS = "comparison of backends and frameworks (--backend or --framework a,b or all)"
COMPARISON = "comparison of two programs (A/B)"
REPORTS = "where the results go"
DESCRIPTIONS = {
    REPORTS: "With none of these, the results are shown on the screen and saved in the user's data directory."
}


def benchmark_file(text: str) -> Path:
    return shipped(path(text))


ALL = "all"


MODEL_SUFFIXES = {
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".pt2": "pytorch",
    ".pt": "pytorch",
    ".xml": "openvino",
    ".pte": "executorch",
    ".pb": "caffe2",
}
"""The format of a model file by its suffix."""


def is_model(path: Path) -> bool:
    """Whether it is a model, and not the JSON file of a benchmark."""
    return path.suffix.lower() in MODEL_SUFFIXES


def input_shapes(text: str) -> str:
    """As in ``ids:1,128;mask:1,128``; checked, and otherwise as it is."""
    try:
        shapes_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is not NAME:SIZE,... as in images:1,3,640,640; several have semicolons between "
            "them"
        ) from None
    return text


def shapes_of(text: str) -> dict[str, tuple[int, ...]]:
    """By input. The name of one may have a colon.

    Raises:
        ValueError: it is something else.
    """
    shapes = {}
    for one in text.split(";"):
        name, colon, sizes = one.rpartition(":")
        shape = tuple(int(size) for size in sizes.split(",") if sizes.strip())
        if not (name.strip() and colon) or any(size < 0 for size in shape):
            raise ValueError(one)
        shapes[name.strip()] = shape
    return shapes


def frameworks(text: str) -> str:
    """Names with commas between them, or ``all``; checked, and otherwise as they are."""
    names = [name.strip() for name in text.split(",")]
    known = framework_names()
    for name in names:
        if name not in known and names != [ALL]:
            raise argparse.ArgumentTypeError(
                f"{quoted(name)} is not one of {', '.join(known)}{suggestion(name, known)}; separate "
                "several with commas; all cannot be combined with others"
            )
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r}: name each framework once")
    return ",".join(names)


def _json_strings(text: str) -> tuple[str, ...]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}; use a list, as in '[\"NET_DELAY\"]'") from error
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise argparse.ArgumentTypeError("not a JSON list of strings, as in '[\"NET_DELAY\"]'")
    return tuple(value)


@dataclass(frozen=True, kw_only=True)
class HarnessOptions(DeclaredOptions):
    """Every option of ``harness.py``, by its name."""

    benchmark_file: Path = option(
        group=WHAT,
        read=benchmark_file,
        metavar="FILE",
        example="specifications/benchmarks/caffe2/quickstart.json",
        help="required: the JSON file of a benchmark, or of a suite of benchmarks",
        page="specifications.md",
    )
    more_files: tuple[Path, ...] = ()
    """Further files, of ``mlbench run FILE...``."""
    framework: str = option(
        "caffe2",
        group=WHAT,
        read=frameworks,
        metavar="FRAMEWORK[,...]|all",
        example="onnxruntime",
        help=f"the framework to benchmark: {', '.join(framework_names())}. With several, or all, each test "
        "runs on each of them that can run it, and they are compared",
        page="backends.md",
    )
    input: str | None = option(
        None,
        group=WHAT,
        read=input_shapes,
        metavar="NAME:SIZES[;...]",
        example="images:1,3,640,640",
        usual="as the model's file says",
        help="the shapes of inputs, when model files are run; a file may leave dimensions open",
        page="model_files.md",
    )
    threads: int | None = option(
        None,
        group=WHAT,
        metavar="N",
        example="2",
        usual="1",
        help="the number of threads, when model files are run",
        page="model_files.md",
    )
    save_spec: Path | None = option(
        None,
        group=WHAT,
        metavar="FILE",
        example="yolo.json",
        help="when model files are run, also save the specification that they were run with",
        page="model_files.md",
    )
    program: Path | None = option(
        None,
        group=WHAT,
        metavar="FILE",
        example="build/caffe2_benchmark",
        set_by_loop=True,
        usual="the framework's own program",
        help="the benchmark program, if --info names none; a .pyz or .py file is run by Python",
    )
    python: str | None = option(
        None,
        group=WHAT,
        metavar="PYTHON",
        example="envs/ort-1.23/bin/python",
        usual="the Python that runs harness.py; on devices, --remote_python",
        help="the Python that runs the program, if --info names none; for example, that of another "
        "environment",
    )
    shared_libs: tuple[str, ...] = option(
        (),
        group=WHAT,
        read=comma_separated_paths,
        metavar="FILE,...",
        example="build/lib/libcaffe2.so",
        help="shared libraries that the program needs; their directories come first in its LD_LIBRARY_PATH",
    )
    model_cache: Path | None = option(
        None,
        group=WHAT,
        metavar="DIRECTORY",
        example="/var/cache/models",
        usual="a directory in the user's cache directory",
        help="the directory for model files; their MD5 is checked before each use; if it is complete, it may "
        "be read-only",
    )
    root_model_dir: Path | None = option(
        None,
        group=WHAT,
        metavar="DIRECTORY",
        example="/data/models",
        help="the directory of models whose location starts with //",
    )
    backend: str | None = option(
        None,
        group=WHAT,
        metavar="BACKEND[,...]|all",
        example="mkl",
        help="the backend that computes the operators; overrides the specification. With several "
        "backends, or all of a device, each test runs on each backend and they are compared",
        page="backends.md",
    )
    validate: bool = option(
        False,
        group=WHAT,
        set_by_loop=True,
        help="only check the options, the benchmark file and everything that they name; nothing is run or "
        "downloaded",
    )
    log_level: LogLevel = option("info", group=WHAT, example="debug", help="how much to log on stderr")

    platform: str = option(
        "host",
        group=WHERE,
        set_by_loop=True,
        example="host/mkl",
        help=f"the platform: {', '.join(platform_names())} (cpu and mac mean host); the part after a / names "
        "the variant that was built",
        page="devices.md",
    )
    devices: tuple[str, ...] = option(
        (),
        group=WHERE,
        metavar="DEVICE,...",
        example="Pixel-6",
        help="run on these devices only, each by the name or hash that the results show; a GPU also by its "
        "index, an Android device by its model or address (host:port), a Linux machine as ssh knows it "
        "(user@board1,board2:2222)",
    )
    excluded_devices: tuple[str, ...] = option(
        (), group=WHERE, metavar="DEVICE,...", example="0", help="run on all devices except these"
    )
    timeout: float | None = option(
        None,
        group=WHERE,
        metavar="SECONDS",
        example="600",
        usual="what the specification says, or 300",
        help="the longest that one run of the program may take before it is killed, with all its children; "
        "enough for the slowest device",
    )
    allow_commands: bool = option(
        False,
        group=WHERE,
        help="run the shell commands that a specification has before and after its tests, on this machine; "
        "without this option, such tests are not run",
    )
    allow_code: bool = option(
        False,
        group=WHERE,
        help="run code that a model file contains, such as TorchScript or an AOTInductor package; "
        "without this option, such files are refused",
    )
    android_dir: str | None = option(
        None,
        group=WHERE,
        metavar="DIRECTORY",
        example="/data/local/bench",
        platforms=("android",),
        usual="/data/local/tmp",
        help="the directory on Android devices that files are pushed to",
    )
    remote_dir: str | None = option(
        None,
        group=WHERE,
        metavar="DIRECTORY",
        example="/srv/bench",
        platforms=("linux",),
        usual="the user's cache directory there",
        help="the directory on Linux machines that files are copied to",
    )
    remote_python: str = option(
        "python3",
        group=WHERE,
        metavar="COMMAND",
        example="/opt/venv/bin/python",
        platforms=("android", "linux"),
        help="the Python on devices, for programs that need it",
    )
    remove_staged: bool = option(
        False,
        group=WHERE,
        platforms=("android", "linux"),
        help="leave no files on devices; by default the files of a run are kept for the next run",
    )
    when_busy: WhenBusy = option(
        "wait",
        group=WHERE,
        example="fail",
        help="wait for a device that somebody else uses, or fail: report its tests as missing",
    )
    recovery_limit: float = option(
        120.0,
        group=WHERE,
        metavar="SECONDS",
        example="300",
        platforms=("android", "linux"),
        help="the time in which a device that was lost, or reboots, has to return",
    )

    affinity: str | None = option(
        None,
        group=CONDITIONS,
        read=affinity,
        metavar="CORES",
        example="0-3",
        help="run programs on these cores only: a list as in 0-3,6 or a mask as in 0xf",
    )
    set_frequency: str | None = option(
        None,
        group=CONDITIONS,
        read=frequency,
        metavar="KHZ",
        example="max",
        help="hold all cores at this frequency while the tests run: kilohertz, min or max; needs root on the "
        "device",
    )
    cooldown: float | None = option(
        None,
        group=CONDITIONS,
        metavar="SECONDS",
        example="120",
        help="before each test, wait up to this long for temperature, frequency and load to settle",
    )
    reboot: Reboot | None = option(
        None,
        group=CONDITIONS,
        bare="commit",
        example="run",
        help="reboot devices before the first test (commit, also without a value) or before each test (run)",
    )
    health_check: Strictness | None = option(
        None,
        group=CONDITIONS,
        bare="warn",
        example="require",
        help="first run a short reference computation and compare it with the device's own history; for an "
        "outlier, log a warning (warn, also without a value) or do not use the device (require)",
    )

    reference_backend: str | None = option(
        None,
        group=BACKENDS,
        metavar="BACKEND",
        example="mkl",
        usual="default if it is among them, otherwise the first; with several frameworks, that of the first",
        help="the baseline for run time and output accuracy; with several frameworks FRAMEWORK or "
        "FRAMEWORK/BACKEND",
    )
    blocks: int | None = option(
        None,
        group=BACKENDS,
        metavar="N",
        example="20",
        usual=f"{BLOCKS} to {ITERATION_BLOCKS}, or {BLOCKS} of whole processes",
        help="the number of blocks; in each block every backend takes its turn, in random order",
    )
    backend_tolerance: float | None = option(
        None,
        group=BACKENDS,
        metavar="FRACTION",
        example="0.01",
        usual="by precision: " + ", ".join(f"{name} {value:g}" for name, value in TOLERANCES.items()),
        help="the largest deviation of an output from the baseline's, as a fraction of its largest value",
    )
    plot: Path | None = option(
        None,
        group=BACKENDS,
        read=picture,
        metavar="FILE",
        example="backends.svg",
        help=f"also draw the tests on all backends as a heat map ({' or '.join(PICTURES)})",
    )

    info: str | None = option(
        None,
        group=COMPARISON,
        metavar="JSON",
        example="@info.json",
        set_by_loop=True,
        help="JSON text, or @FILE, that describes the treatment, the control and the history to compare with",
    )
    ab_mode: ABMode = option(
        "auto",
        group=COMPARISON,
        example="process",
        help="iteration: treatment and control stay alive side by side and run single iterations in turn. "
        "process: whole processes in turn. auto: iterations if both programs support them",
        page="worker_protocol.md",
    )
    ab_pairs: int | None = option(
        None,
        group=COMPARISON,
        metavar="N",
        example="10",
        usual="until there is a verdict",
        help="run exactly N pairs of treatment and control, at most 1000, regardless of the outcome",
    )
    max_pairs: int | None = option(
        None,
        group=COMPARISON,
        metavar="N",
        example="60",
        usual="40; 1000 with a --target_change below 0.03, or if commands are compared",
        help="give up after N pairs; what is undecided by then is inconclusive",
    )
    max_seconds: float = option(
        120.0,
        group=COMPARISON,
        metavar="SECONDS",
        example="30",
        help="give up after this many seconds of one comparison",
    )
    minimum_effect: float | None = option(
        None,
        group=COMPARISON,
        metavar="FRACTION",
        example="0.02",
        usual="0.01, and at most half of --target_change",
        help="the smallest relative change that is reported as a regression (0.01 means 1 %)",
        page="statistics.md",
    )
    target_change: float = option(
        0.03,
        group=COMPARISON,
        metavar="FRACTION",
        example="0.05",
        help='the smallest relative change that the test must be able to detect; "unchanged" rules out such '
        "a change",
    )
    alpha: float = option(
        0.01,
        group=COMPARISON,
        metavar="FRACTION",
        example="0.001",
        help="the false-positive rate of a comparison, before verification",
    )
    beta: float = option(
        0.05,
        group=COMPARISON,
        metavar="FRACTION",
        example="0.01",
        help="the false-negative rate: how often a change of --target_change may be called unchanged",
    )
    clock: ClockChoice = option(
        "auto",
        group=COMPARISON,
        example="wall",
        help="the time on which verdicts are based. auto: the device's own time if a device computes, CPU "
        "time "
        "if one thread does all the work, otherwise wall time",
    )
    comparisons: int | None = option(
        None,
        group=COMPARISON,
        metavar="N",
        example="24",
        usual="the number of tests and devices of this run",
        help="the number of comparisons of all runs of which this one is a part: --alpha becomes smaller, so "
        "that together they raise false alarms as rarely as a single one",
    )
    canary: Literal["on", "off"] = option(
        "on",
        group=COMPARISON,
        example="off",
        help="first compare the control with its own copy; if they differ, the verdicts of the run are void",
    )
    fail_on: FailOn = option(
        "regressed",
        group=COMPARISON,
        example="inconclusive",
        help="the verdicts that the exit status reflects: confirmed regressions, also inconclusive "
        "comparisons, "
        "or none",
    )
    seed: int | None = option(
        None,
        group=COMPARISON,
        read=int,
        metavar="N",
        example="7",
        usual="random",
        help="the seed of the random order, to repeat a run; it is recorded in the results",
    )
    detector: str | None = option(
        None,
        group=COMPARISON,
        choices=detector_names,
        example="change_points",
        usual="by the pairs; without a control, p50_p90",
        help="judge delays by the regression_commits of --info instead of by the pairs: p50_p90 compares the "
        "newest median with the p90s of the earlier runs, change_points looks for a step or a drift",
        page="history.md",
    )
    run_type: RunType | None = option(
        None,
        group=COMPARISON,
        example="verify",
        set_by_loop=True,
        usual="the run type in --info, otherwise benchmark",
        help="benchmark: a normal run. verify: a suspected regression is measured again. regress: a "
        "regression is confirmed and marked",
    )
    regressed_types: tuple[str, ...] = option(
        (),
        group=COMPARISON,
        read=_json_strings,
        write=json.dumps,
        metavar="JSON",
        example='["NET_DELAY"]',
        set_by_loop=True,
        help="the types whose regression a run of type regress confirms and marks in the results",
    )

    screen_reporter: bool = option(
        False, group=REPORTS, help="show a summary of each test, and a table of all tests, on the screen"
    )
    operators: OperatorChoice | None = option(
        None,
        group=REPORTS,
        read=operator_choice,
        metavar="all|N|by_type",
        example="all",
        usual="the 5 slowest on the screen, none in Markdown",
        help="the operators that the screen and the Markdown table show: all, the N slowest, or one row for "
        "each type",
    )
    local_reporter: Path | None = option(
        None,
        group=REPORTS,
        metavar="DIRECTORY",
        example="results",
        help="save the results below this directory: all samples, summaries and facts about the device",
    )
    remote_reporter: str | None = option(
        None,
        group=REPORTS,
        metavar="DOMAIN/ENDPOINT|CATEGORY",
        example="example.org/benchmarks|nightly",
        help="send the results to a server, over https unless the domain has another scheme; results that "
        "cannot be sent are kept and sent with the next run",
        page="remote_reporter.md",
    )
    remote_access_token: str | None = option(
        None,
        group=REPORTS,
        variable=TOKEN_VARIABLE,
        metavar="TOKEN",
        help="the server's access token. Other users of this machine can read it in the list of processes: "
        f"set {TOKEN_VARIABLE} in the environment instead",
    )
    allow_http: bool = option(
        False, group=REPORTS, help="let --remote_reporter send the token to another machine unencrypted"
    )
    junit: Path | None = option(
        None, group=REPORTS, metavar="FILE", example="junit.xml", help="write a JUnit XML report"
    )
    markdown: Path | None = option(
        None,
        group=REPORTS,
        metavar="FILE",
        example="summary.md",
        help="write a Markdown table to post on a pull request",
    )
    export: tuple[Export, ...] = option(
        (),
        group=REPORTS,
        read=exports,
        metavar="FORMAT:FILE,...",
        example="bencher:results.json",
        help="write the results for other programs, as github_action_benchmark, bencher or open_metrics",
        page="exports.md",
    )
    json: bool = option(
        False,
        group=REPORTS,
        help="print all results as one JSON document on stdout",
        page="result.schema.json",
    )

    json_lines: bool = option(
        False,
        group=REPORTS,
        help="print each result as one line of JSON on stdout as soon as it is available, and the outcome of "
        "the run as the last line",
    )

    @property
    def benchmark_files(self) -> tuple[Path, ...]:
        return (self.benchmark_file, *self.more_files)

    @property
    def specification_files(self) -> tuple[Path, ...]:
        return tuple(path for path in self.benchmark_files if not is_model(path))

    @property
    def model_files(self) -> tuple[Path, ...]:
        return tuple(path for path in self.benchmark_files if is_model(path))

    @property
    def frameworks(self) -> tuple[str, ...]:
        return framework_names() if self.framework == ALL else tuple(self.framework.split(","))

    @property
    def compares_frameworks(self) -> bool:
        return self.framework == ALL or len(self.frameworks) > 1

    @property
    def written_files(self) -> Sequence[tuple[str, Path | None]]:
        """By the options that name them."""
        return (
            ("--save_spec", self.save_spec),
            ("--junit", self.junit),
            ("--markdown", self.markdown),
            ("--plot", self.plot),
            *(("--export", one.file) for one in self.export),
        )

    @property
    def names_a_reporter(self) -> bool:
        return bool(
            self.local_reporter
            or self.remote_reporter
            or self.screen_reporter
            or self.junit
            or self.markdown
            or self.export
            or self.json
            or self.json_lines
        )


def refuse_shared_files(files: Iterable[tuple[str, Path | None]]) -> None:
    """``files``: what is written, by the options that name it.

    Raises:
        UsageError: two of them are the same file.
    """
    known: dict[Path, str] = {}
    for name, file in files:
        if file is None:
            continue
        if other := known.get(file.resolve()):
            raise UsageError(f"{other} and {name} both write {file}: give each a file of its own")
        known[file.resolve()] = name


def access_token(options: HarnessOptions) -> str | None:
    return options.remote_access_token or os.environ.get(TOKEN_VARIABLE) or None


def mask_secrets(argv: Sequence[str], token: str | None) -> tuple[str, ...]:
    """A command line that may be recorded: without the token, wherever it was."""
    masked: list[str] = []
    hide_next = False
    for argument in argv:
        if hide_next:
            shown, hide_next = MASK, False
        elif argument == TOKEN_OPTION:
            shown, hide_next = argument, True
        elif argument.startswith(TOKEN_OPTION + "="):
            shown = f"{TOKEN_OPTION}={MASK}"
        else:
            shown = argument.replace(token, MASK) if token else argument
        masked.append(shown)
    return tuple(masked)
