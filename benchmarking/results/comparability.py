"""Which runs may be judged against each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarking.results.model import Fact

PROGRAM_SETTINGS = ("engine", "backend", "optimize", "threads")
"""Of a benchmark program's facts: how it was told to run, which no commit under test changes."""
PROGRAM_VERSIONS = ("program_version", "engine_version", "python", "numpy")
"""What a program runs with. The two programs of an A/B run may differ in it, as that can be the change."""
DEVICE_SETTINGS = ("cpu_model", "logical_cores", "usable_cores", "cpu_governor", "cpu_quota_cores")


def settings(program: Mapping[str, Fact]) -> str:
    """``engine torch, threads 1``: how the program was told to run, as far as it says so."""
    return ", ".join(f"{name} {program[name]}" for name in PROGRAM_SETTINGS if name in program)


def differences(
    one: Mapping[str, Fact], other: Mapping[str, Fact], names: tuple[str, ...] = PROGRAM_SETTINGS
) -> tuple[str, ...]:
    """``threads 1 and 2``: the named facts that both have, and that differ."""
    return tuple(
        f"{name} {one[name]} and {other[name]}"
        for name in names
        if name in one and name in other and one[name] != other[name]
    )
