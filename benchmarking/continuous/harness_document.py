"""What the harness found, read from the document that ``--json`` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarking.errors import ExitStatus
from benchmarking.results import documents
from benchmarking.results.model import NET_DELAY, Failure, FailureKind, TestKey, TypeResult, Verdict


@dataclass(frozen=True)
class MeasuredType:
    name: str
    ratio: float | None
    """Treatment over control, of the delays or of the largest errors; None without a control."""
    regressed: bool
    """The regression was confirmed."""


@dataclass(frozen=True)
class MeasuredTest:
    """One result of the harness."""

    key: TestKey
    label: str
    """Net, identifier and device: for people."""
    run_type: str
    failure: Failure | None
    types: tuple[MeasuredType, ...]
    is_inconclusive: bool
    """Whether the net became slower stayed open."""
    is_known: bool
    """It is slower than the control by no more than earlier commits already were."""


@dataclass(frozen=True)
class HarnessDocument:
    tests: tuple[MeasuredTest, ...]
    exit_status: ExitStatus
    """What the harness was to end with. The user's ``--fail_on`` may hide verdicts from it."""
    problems: tuple[str, ...]
    """Devices whose tests are missing, reporters that could not deliver."""

    @property
    def has_regression(self) -> bool:
        return any(one.regressed for test in self.tests for one in test.types)

    @property
    def has_bug(self) -> bool:
        return self.exit_status is ExitStatus.INTERNAL_ERROR or FailureKind.BUG in self._failures

    @property
    def misses_devices(self) -> bool:
        failures = self._failures
        kinds = (FailureKind.DEVICE, FailureKind.LOST)
        return self.exit_status is ExitStatus.DEVICE_FAILED or any(one in failures for one in kinds)

    @property
    def _failures(self) -> set[FailureKind]:
        return {test.failure.kind for test in self.tests if test.failure}


def read_document(text: str | bytes) -> HarnessDocument:
    """
    Raises:
        ValueError: it is not a complete document. The message is a part of a sentence.
    """
    if not text.strip():
        raise ValueError("it is empty")
    try:
        # Our own program's, not from outside: the command line in it may hold any path that there is.
        value = json.loads(text)
        return HarnessDocument(
            tests=tuple(_test(one) for one in value["results"]),
            exit_status=ExitStatus(value["exit_status"]),
            problems=tuple(map(str, value["problems"])),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not one of this program's ({type(error).__name__}: {error})") from error


def _test(value: Mapping[str, Any]) -> MeasuredTest:
    meta = value["meta"]
    types = [documents.read_type(one) for one in value["types"]]
    regressed = [one for one in types if one.verdict is Verdict.REGRESSED]
    return MeasuredTest(
        key=TestKey(
            net=str(meta["net_name"]),
            metric=str(meta["metric"]),
            identifier=str(meta["identifier"]),
            framework=str(meta["framework"]),
            backend=None if meta["backend"] is None else str(meta["backend"]),
            device=str(meta["platform_hash"]),
        ),
        label=f"{meta['net_name']} {meta['identifier']} on {meta['platform']}",
        run_type=str(meta["run_type"]),
        failure=_failure(value["failure"]),
        types=tuple(map(_type, types)),
        is_inconclusive=any(one.type == NET_DELAY and one.verdict is Verdict.INCONCLUSIVE for one in types),
        is_known=bool(regressed) and all(one.known for one in regressed),
    )


def _failure(value: Mapping[str, Any] | None) -> Failure | None:
    if value is None:
        return None
    return Failure(FailureKind(value["kind"]), str(value["error"]), str(value["message"]))


def _type(one: TypeResult) -> MeasuredType:
    return MeasuredType(
        name=one.type,
        ratio=one.comparison.ratio if one.comparison else _error_ratio(one),
        regressed=one.regressed,
    )


def _error_ratio(one: TypeResult) -> float | None:
    if one.error is None or one.control_error is None:
        return None
    treatment, control = one.error.max_absolute, one.control_error.max_absolute
    if treatment == control:
        return 1.0
    return math.inf if math.isnan(treatment) or control == 0 else treatment / control
