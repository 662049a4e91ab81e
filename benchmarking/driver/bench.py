"""What everything that is measured on a device needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarking.driver import conditions
from benchmarking.driver.plan import RunPlan
from benchmarking.files.model_cache import ModelCache
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs.process import Cancellation


@dataclass(frozen=True)
class Bench:
    """A device, and what shall be measured on it."""

    platform: PlatformBase
    plan: RunPlan
    cache: ModelCache
    cancellation: Cancellation

    def planned(self, plan: RunPlan) -> Bench:
        """The same device with another plan."""
        return replace(self, plan=plan)

    def read_conditions(self) -> conditions.Conditions:
        return conditions.read(self.platform)

    def watch(self) -> conditions.Watch:
        """Raises:
        RunCancelledError: as ``Watch``.
        """
        return conditions.Watch(self.platform, self.plan.cooldown_s, self.cancellation)
