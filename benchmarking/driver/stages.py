"""Detect, verify, confirm: chooses the next stage from the findings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarking.results.model import RunType


@dataclass(frozen=True)
class Stage:
    """One run of a test, as a part of its session."""

    run_type: RunType = "benchmark"
    suspects: tuple[str, ...] = ()
    """The types that it measures; empty: all."""

    @property
    def is_last(self) -> bool:
        return self.run_type == "regress"


def next_stage(done: Stage, regressed: Sequence[str]) -> Stage | None:
    """The stage after a stage in which these types look regressed; None: the test is over.

    A suspected regression is verified, and what the verification shows again is confirmed. Regressions that
    only the verification shows are not confirmed, because nothing has verified them.
    """
    if done.is_last:
        return None
    if done.run_type == "benchmark":
        following = Stage("verify", tuple(regressed))
    else:
        following = Stage("regress", tuple(name for name in regressed if name in done.suspects))
    return following if following.suspects else None
