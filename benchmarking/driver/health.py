"""Detects devices that became slower or faster than usual, by a short reference computation."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from benchmarking.driver.settings import Strictness
from benchmarking.errors import DeviceError
from benchmarking.files import atomic_file
from benchmarking.platforms.platform_base import PlatformBase

KEPT = 50
"""The number of readings in a device's history."""
NEEDED = 5
"""With fewer readings than this, the health of a device is unknown."""
LEAST_BAND = 0.15
"""Relative to the median: the deviation that every device may have."""
BAND_DEVIATIONS = 4.0
"""In median absolute deviations, scaled to standard deviations of a normal distribution (1.4826)."""

logger = logging.getLogger(__name__)


class Health(StrEnum):
    GOOD = "good"
    UNKNOWN = "unknown"
    BAD = "bad"


@dataclass(frozen=True)
class Diagnosis:
    health: Health
    reference_s: float
    typical_s: float | None
    """The median of the history."""

    def __str__(self) -> str:
        text = f"health {self.health}: the reference took {self.reference_s * 1e3:.0f} ms"
        return text if self.typical_s is None else f"{text}, usually {self.typical_s * 1e3:.0f} ms"


def judge(history: Sequence[float], newest_s: float) -> Diagnosis:
    """``history`` is the seconds of earlier references, in any order. Pure."""
    if len(history) < NEEDED:
        return Diagnosis(Health.UNKNOWN, newest_s, None)
    median = statistics.median(history)
    deviation = 1.4826 * statistics.median(abs(one - median) for one in history)
    band = max(LEAST_BAND * median, BAND_DEVIATIONS * deviation)
    health = Health.GOOD if abs(newest_s - median) <= band else Health.BAD
    return Diagnosis(health, newest_s, median)


@dataclass(frozen=True)
class HealthCheck:
    directory: Path
    """The directory of the histories, one file per device."""
    strictness: Strictness = "warn"

    def run(self, platform: PlatformBase) -> Diagnosis:
        """Raises:
        DeviceError: the device does not answer, or is bad and ``strictness`` is ``require``.
        """
        diagnosis = self.diagnose(platform)
        if diagnosis.health is Health.BAD:
            text = f"{platform.device.name} is not as fast or slow as usual: {diagnosis}"
            if self.strictness == "require":
                raise DeviceError(text)
            logger.warning("%s", text)
        return diagnosis

    def diagnose(self, platform: PlatformBase) -> Diagnosis:
        """Raises:
        DeviceError: the device does not answer.
        """
        reference_s = platform.reference_s()
        path = self.directory / f"{sha256(platform.device.hash.encode()).hexdigest()[:16]}.json"
        history = _read(path)
        diagnosis = judge([seconds for _, seconds in history], reference_s)
        # A reading outside the band stays outside, however often it repeats.
        if diagnosis.health is not Health.BAD:
            self._write(path, [*history, (time.time(), reference_s)][-KEPT:])
        return diagnosis

    def _write(self, path: Path, history: list[tuple[float, float]]) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            atomic_file.write_text(path, json.dumps(history))
        except OSError as error:
            logger.warning("the history of a device's health cannot be kept in %s: %s", path, error)


def _read(path: Path) -> list[tuple[float, float]]:
    """A damaged file counts as an empty history."""
    try:
        return [(float(moment), float(seconds)) for moment, seconds in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
