"""Objects that the programs create from their options before anything runs."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarking.cli.argument_types import core_mask
from benchmarking.cli.options import TOKEN_VARIABLE, HarnessOptions
from benchmarking.files.user import user_directory

if TYPE_CHECKING:
    from benchmarking.files.made_directories import MadeDirectories
    from benchmarking.platforms.platform_base import PlatformOptions
    from benchmarking.programs.process import Cancellation


MadeKind = Literal["environments", "commits", "repositories"]
"""What comparisons make and keep."""


def default_results() -> Path:
    """The directory in which the harness saves results by default."""
    return user_directory("data") / "results"


def made_directories(kind: MadeKind) -> MadeDirectories:
    """In the user's cache directory."""
    from benchmarking.files.made_directories import MadeDirectories

    return MadeDirectories(user_directory("cache") / kind)


def platform_options(options: HarnessOptions, cancellation: Cancellation) -> PlatformOptions:
    from benchmarking.platforms.host import facts
    from benchmarking.platforms.platform_base import PlatformOptions

    name = re.sub(r"[^\w.-]", "", platform.node()) or "machine"
    return PlatformOptions(
        secrets=(TOKEN_VARIABLE,),
        android_dir=options.android_dir or PlatformOptions.android_dir,
        remote_dir=options.remote_dir,
        remote_python=options.remote_python,
        affinity_mask=core_mask(options.affinity) if options.affinity else None,
        frequency=options.set_frequency,
        recovery_limit_s=options.recovery_limit,
        remove_staged=options.remove_staged,
        cancellation=cancellation,
        state_directory=user_directory("state"),
        owner=f"{name}-{facts.machine_hash()}",
    )
