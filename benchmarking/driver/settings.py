"""The words of a run's settings, and what holds where a setting is not given."""

from __future__ import annotations

from typing import Literal

BLOCKS = 6
"""Of a comparison of backends by whole processes: the interval of a ratio then covers 95 %."""
ITERATION_BLOCKS = 12
"""The largest number of blocks of a comparison by single iterations, whose blocks are shorter."""
USUAL_TIMEOUT_S = 300.0
"""How long a run of a program may take, where neither the user nor the specification says it."""

Reboot = Literal["commit", "run"]
"""Before the first test of a run, or before each test."""
WhenBusy = Literal["wait", "fail"]
"""What happens when somebody else uses a device."""
ABMode = Literal["auto", "iteration", "process"]
"""What alternates: single iterations where both programs can, else whole processes; or one of the two."""
ClockChoice = Literal["auto", "cpu", "wall", "device"]
FailOn = Literal["regressed", "inconclusive", "never"]
"""Which verdicts the exit status shows."""
Strictness = Literal["warn", "require"]
"""What happens to a device in poor health: a warning, or it is not used."""
