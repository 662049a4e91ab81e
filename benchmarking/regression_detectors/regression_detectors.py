"""The table of detectors for each metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarking.registry import Registry

if TYPE_CHECKING:
    from benchmarking.regression_detectors.regression_detector_base import RegressionDetectorBase

DETECTORS: dict[str, Registry[RegressionDetectorBase]] = {
    "delay": Registry(
        {
            "p50_p90": "benchmarking.regression_detectors.delay_detector:DelayDetector",
            "change_points": "benchmarking.regression_detectors.change_point_detector:ChangePointDetector",
        }
    ),
    "error": Registry({"error": "benchmarking.regression_detectors.error_detector:ErrorDetector"}),
}
"""Of each metric; the first is its default."""


def detector_names() -> tuple[str, ...]:
    """The detectors of the metrics with a choice."""
    return tuple(name for detectors in DETECTORS.values() if len(detectors) > 1 for name in detectors)


def make_detector(metric: str, name: str | None = None) -> RegressionDetectorBase:
    """The detector of that name, or the metric's default where the metric has none of that name.

    Raises:
        KeyError: nothing judges the metric.
    """
    detectors = DETECTORS[metric]
    return detectors[name if name and name in detectors else next(iter(detectors))]()
