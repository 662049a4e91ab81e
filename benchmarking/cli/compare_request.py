"""What was asked of ``mlbench compare``, as its kinds of comparisons read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarking.errors import UsageError

USUAL_BUILD_S = 3600.0

READING_OPTIONS = ("format", "pattern", "json_path", "unit", "net")
"""The options of the framework ``generic`` that say how the times of a program are read."""
MODEL_OPTIONS = (
    *("framework", "input", "threads", "backend", "shared_libs", "model_cache", "root_model_dir"),
    *("allow_code", "ab_mode"),
)
"""Those of ``mlbench run`` that need a model or a specification."""
HARNESS_OPTIONS = (
    *("timeout", "log_level", "when_busy", "affinity", "set_frequency", "cooldown"),
    *("ab_pairs", "max_pairs", "max_seconds", "minimum_effect", "target_change", "alpha", "beta"),
    *("clock", "canary", "fail_on", "seed"),
    *("screen_reporter", "operators", "local_reporter", "remote_reporter", "remote_access_token"),
    *("allow_http", "junit", "markdown", "export", "json"),
)
"""Those of ``mlbench run`` that every comparison has as well."""


@dataclass(frozen=True)
class Request:
    """The command line of a comparison."""

    names: tuple[str, ...]
    """The arguments that are not options."""
    options: Mapping[str, Any]
    """The options of ``HarnessOptions`` that were given, or that every comparison has."""
    reading: Mapping[str, str]
    """Those of ``READING_OPTIONS`` that were given."""
    base: str | None
    head: str | None
    """Environments or commits, if they are no arguments of their own."""
    python: str | None
    """Makes environments; None: the one that runs this."""
    repository: Path | None
    build: str
    """A command; empty: nothing is built."""
    build_timeout_s: float | None
    """None: ``USUAL_BUILD_S``."""
    command: tuple[str, ...]
    """All of it, for the record."""

    def refuse(self, names: Sequence[str], reason: str) -> None:
        """
        Raises:
            UsageError: one of these options was given.
        """
        for name in names:
            if name in self.options or name in self.reading:
                raise UsageError(f"--{name} {reason}")
