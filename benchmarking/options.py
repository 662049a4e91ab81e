"""The options of the programs as frozen objects; ``to_argv`` gives arguments that parse to the same."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from benchmarking.results.model import RunType

TOKEN_VARIABLE = "BENCHMARK_REMOTE_ACCESS_TOKEN"  # noqa: S105 - the variable's name
"""The environment variable that holds the access token where the option is not given."""

TOKEN_OPTION = "--remote_access_token"  # noqa: S105 - the option's name
MASK = "***"

BLOCKS = 6
"""Of several backends, where nothing else is said: the interval of a ratio then covers 95 %."""
BACKEND_TOLERANCE = 1e-3
"""How far an output may be from the reference's where nothing else is said, in parts of its largest value."""

Reboot = Literal["commit", "run"]
"""Before the first case of a run, or before each."""
WhenBusy = Literal["wait", "fail"]
"""What to do when somebody else uses a device."""
ABMode = Literal["auto", "iteration", "process"]
"""What alternates: single iterations where both programs can, else whole processes; one of the two only."""
ClockChoice = Literal["auto", "cpu", "wall", "device"]
FailOn = Literal["regressed", "inconclusive", "never"]
"""Which verdicts are to be seen in the exit status."""
OperatorWord = Literal["all", "by_type"]
OPERATOR_WORDS: tuple[OperatorWord, ...] = get_args(OperatorWord)
OperatorChoice = int | OperatorWord
"""The slowest ones, this many; or all of them, or one row for each type."""
Strictness = Literal["warn", "require"]
"""What becomes of a device that is in no good health: it is warned of, or not used."""


@dataclass(frozen=True, kw_only=True)
class HarnessOptions:
    """Every option of ``harness.py``, by its name."""

    benchmark_file: Path
    framework: str = "caffe2"
    platform: str = "host"
    info: str | None = None
    """JSON text, or ``@file``."""
    model_cache: Path | None = None
    root_model_dir: Path | None = None
    program: Path | None = None
    shared_libs: tuple[str, ...] = ()
    backend: str | None = None
    """One, several with commas between, or ``all``."""
    reference_backend: str | None = None
    """None: ``default``, or the first."""
    blocks: int | None = None
    """None: ``BLOCKS``."""
    backend_tolerance: float | None = None
    """In parts of an output's largest value; None: ``BACKEND_TOLERANCE``."""
    plot: Path | None = None
    devices: tuple[str, ...] = ()
    excluded_devices: tuple[str, ...] = ()
    android_dir: str | None = None
    remote_dir: str | None = None
    remote_python: str = "python3"
    remove_staged: bool = False
    affinity: str | None = None
    """Cores (``0-3,6``) or a mask (``0xf``)."""
    set_frequency: str | None = None
    """Kilohertz, ``min`` or ``max``."""
    cooldown: float | None = None
    """Seconds to wait at most."""
    reboot: Reboot | None = None
    when_busy: WhenBusy = "wait"
    recovery_limit: float = 120.0
    """Seconds that a lost device has to come back."""
    health_check: Strictness | None = None
    timeout: float = 300.0
    """Seconds that one run of the program may take."""
    run_type: RunType | None = None
    regressed_types: tuple[str, ...] = ()
    ab_mode: ABMode = "auto"
    ab_pairs: int | None = None
    """None: until there is a verdict."""
    max_pairs: int = 40
    max_seconds: float = 120.0
    """Of one test's comparison."""
    minimum_effect: float = 0.01
    target_change: float = 0.03
    alpha: float = 0.01
    beta: float = 0.05
    clock: ClockChoice = "auto"
    canary: Literal["on", "off"] = "on"
    fail_on: FailOn = "regressed"
    seed: int | None = None
    detector: str | None = None
    """Of ``regression_detectors.py``; None: pairs are judged by themselves."""
    local_reporter: Path | None = None
    remote_reporter: str | None = None
    remote_access_token: str | None = field(default=None, repr=False)
    allow_http: bool = False
    screen_reporter: bool = False
    operators: OperatorChoice | None = None
    """None: the slowest five on the screen, and none in Markdown."""
    junit: Path | None = None
    markdown: Path | None = None
    json: bool = False
    validate: bool = False
    log_level: str = "info"

    def to_argv(self) -> tuple[str, ...]:
        """Without the access token: that goes through ``child_environment``."""
        return _to_argv(self)

    def child_environment(self) -> Mapping[str, str]:
        """What a child that gets ``to_argv`` needs in its environment besides."""
        return {TOKEN_VARIABLE: self.remote_access_token} if self.remote_access_token else {}

    @property
    def names_a_reporter(self) -> bool:
        return bool(
            self.local_reporter
            or self.remote_reporter
            or self.screen_reporter
            or self.junit
            or self.markdown
            or self.json
        )


@dataclass(frozen=True, kw_only=True)
class RepoDriverOptions:
    """Every option of ``repo_driver.py``, by its name."""

    exec_dir: Path
    repo_dir: Path | None = None
    repo: str | None = None
    remote_repository: str | None = None
    branch: str | None = None
    commit: str | None = None
    commit_file: Path | None = None
    base_commit: str | None = None
    regression: bool = False
    step: int = 1
    max_pending: int | None = None
    merged_commits: bool = False
    retry_failed: bool = False
    framework: str = "caffe2"
    frameworks_dir: Path | None = None
    platforms: tuple[str, ...] = ("host",)
    build_timeout: float = 6 * 3600.0
    """Seconds."""
    same_host: bool = False
    once: bool = False
    interval: float | None = None
    """Seconds."""
    status_file: Path | None = None
    run_timeout: float = 24 * 3600.0
    """Seconds."""
    status: bool = False
    notify: tuple[str, ...] = ()
    log_file: Path | None = None
    log_level: str = "info"
    harness_arguments: tuple[str, ...] = ()
    """Passed on as they are."""

    def to_argv(self) -> tuple[str, ...]:
        return _to_argv(self)


def _to_argv(options: HarnessOptions | RepoDriverOptions) -> tuple[str, ...]:
    argv: list[str] = []
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name in ("remote_access_token", "harness_arguments") or value == one.default:
            continue
        if value is True:
            argv.append(f"--{one.name}")
        else:
            argv.append(f"--{one.name}={_option_text(one.name, value)}")
    return (*argv, *getattr(options, "harness_arguments", ()))


def _option_text(name: str, value: object) -> str:
    if name == "regressed_types":
        return json.dumps(value)
    if name == "notify" and isinstance(value, tuple):
        return shlex.join(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)


def access_token(options: HarnessOptions) -> str | None:
    return options.remote_access_token or os.environ.get(TOKEN_VARIABLE) or None


def mask_secrets(argv: Sequence[str], token: str | None) -> tuple[str, ...]:
    """A command line that may be recorded: the token is gone, wherever it stood."""
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
