"""The values of a run's settings, and their defaults."""

from __future__ import annotations

from typing import Literal

BLOCKS = 6
"""For a comparison of backends by whole processes: the interval of a ratio then covers 95 %."""
ITERATION_BLOCKS = 12
"""The largest number of blocks of a comparison by single iterations, whose blocks are shorter."""
USUAL_TIMEOUT_S = 300.0
"""How long a run of a program may take, where neither the user nor the specification says it."""

Reboot = Literal["commit", "run"]
"""Before the first test of a run, or before each test."""
WhenBusy = Literal["wait", "fail"]
"""The reaction if somebody else uses a device."""
ABMode = Literal["auto", "iteration", "process"]
"""What alternates: single iterations if both programs support them, otherwise whole processes; or one of the
two.
"""
ClockChoice = Literal["auto", "cpu", "wall", "device"]
FailOn = Literal["regressed", "inconclusive", "never"]
"""The verdicts that the exit status reflects."""
Strictness = Literal["warn", "require"]
"""The reaction to a device in poor health: a warning, or it is not used."""
