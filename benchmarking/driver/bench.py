"""The objects that every measurement on a device needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarking.driver import conditions
from benchmarking.driver.plan import RunPlan
from benchmarking.files.model_cache import ModelCache
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs.process import Cancellation
from benchmarking.specs.expand import TestCase


@dataclass(frozen=True)
class Bench:
    """A device, and the plan of what is measured on it."""

    platform: PlatformBase
    plan: RunPlan
    cache: ModelCache
    cancellation: Cancellation

    def planned(self, plan: RunPlan) -> Bench:
        """The same device with another plan."""
        return replace(self, plan=plan)

    def read_conditions(self) -> conditions.Conditions:
        return conditions.read(self.platform)

    def watch(self, case: TestCase) -> conditions.Watch:
        """Called before a case: the user's limit for the wait takes precedence over the specification's.

        Raises:
            RunCancelledError: as ``Watch``.
        """
        limit_s = case.cooldown_s if self.plan.cooldown_s is None else self.plan.cooldown_s
        return conditions.Watch(
            self.platform, None if case.refusal is not None else limit_s, self.cancellation
        )
