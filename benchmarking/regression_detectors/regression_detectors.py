"""Which detectors judge which metric."""

from __future__ import annotations

from benchmarking.regression_detectors.change_point_detector import ChangePointDetector
from benchmarking.regression_detectors.delay_detector import DelayDetector
from benchmarking.regression_detectors.error_detector import ErrorDetector
from benchmarking.regression_detectors.regression_detector_base import RegressionDetectorBase

DETECTORS: tuple[type[RegressionDetectorBase], ...] = (DelayDetector, ChangePointDetector, ErrorDetector)
"""The first of a metric is its default."""


def detector_names() -> tuple[str, ...]:
    """Of the metrics for which there is a choice."""
    metrics = [one.metric for one in DETECTORS]
    return tuple(one.name for one in DETECTORS if metrics.count(one.metric) > 1)


def make_detector(metric: str, name: str | None = None) -> RegressionDetectorBase:
    """The one of that name, or the metric's default where the metric has none of that name.

    Raises:
        KeyError: nothing judges the metric.
    """
    detectors = [one for one in DETECTORS if one.metric == metric]
    if not detectors:
        raise KeyError(metric)
    return next((one for one in detectors if one.name == name), detectors[0])()
