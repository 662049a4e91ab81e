"""Which detector judges which metric."""

from __future__ import annotations

from benchmarking.regression_detectors.delay_detector import DelayDetector
from benchmarking.regression_detectors.error_detector import ErrorDetector
from benchmarking.regression_detectors.regression_detector_base import RegressionDetectorBase

DETECTORS: dict[str, type[RegressionDetectorBase]] = {
    DelayDetector.metric: DelayDetector,
    ErrorDetector.metric: ErrorDetector,
}


def make_detector(metric: str) -> RegressionDetectorBase:
    return DETECTORS[metric]()
