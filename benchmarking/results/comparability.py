"""Decides which runs may be compared with each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarking.results.model import Fact

PROGRAM_SETTINGS = ("engine", "backend", "optimize", "threads")
"""The program's facts about its settings, which no commit under test changes."""
PROGRAM_VERSIONS = ("program_version", "engine_version", "python", "numpy")
"""The versions of a program's environment. The two programs of an A/B run may differ in them, because that
can be the change.
"""
DEVICE_SETTINGS = ("cpu_model", "logical_cores", "usable_cores", "cpu_governor", "cpu_quota_cores")


def settings(program: Mapping[str, Fact]) -> str:
    """``engine torch, threads 1``: the settings of the program, as far as it reports them."""
    return ", ".join(f"{name} {program[name]}" for name in PROGRAM_SETTINGS if name in program)


def differences(
    one: Mapping[str, Fact], other: Mapping[str, Fact], names: tuple[str, ...] = PROGRAM_SETTINGS
) -> tuple[str, ...]:
    """``threads 1 and 2``: the named facts that both have and in which they differ."""
    return tuple(
        f"{name} {one[name]} and {other[name]}"
        for name in names
        if name in one and name in other and one[name] != other[name]
    )
