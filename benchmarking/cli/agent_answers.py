"""What ``mlbench mcp`` answers: JSON that stands alone, with a schema, and of bounded size.

The docstrings of the fields are the descriptions in the schema.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from benchmarking.errors import run_meaning
from benchmarking.records.series import series_of
from benchmarking.records.tree import History, Selection
from benchmarking.reporters import history_report, numbers
from benchmarking.results.documents import Document
from benchmarking.results.model import NET_DELAY, Result, Verdict, by_test
from benchmarking.results.plain_text import plain

MOST_TESTS, MOST_REGRESSIONS, MOST_TEXTS = 50, 100, 20
LONGEST_TEXT = 500

MEANINGS = {
    Verdict.REGRESSED: "Slower by more than chance explains; where it is confirmed, also on fresh pairs.",
    Verdict.IMPROVED: "Faster by more than chance explains.",
    Verdict.UNCHANGED: "A change of target_change or more, in either direction, is ruled out.",
    Verdict.INCONCLUSIVE: "Neither a change nor the absence of one could be shown: this is not 'unchanged'.",
    Verdict.NOT_COMPARABLE: "The two programs ran with different settings, so their times say nothing.",
}


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        """Texts on one line, short, and without half characters, which JSON lacks."""
        if isinstance(value, str):
            shown = plain(value)
            return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 3]}..."
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return [cls._bounded(one) for one in value[:MOST_TEXTS]]
        return value


class TestAnswer(Answer):
    """One test on one device, after all stages."""

    __test__ = False

    test: str
    """The model, the metric and the identifier of the test."""
    device: str
    framework: str
    backend: str | None
    outcome: str
    """passed, failed, regressed, improved, unchanged, inconclusive ..."""
    median_us: float | None
    """The median time of an iteration, in microseconds."""
    control_median_us: float | None
    """In a comparison: that of the base."""
    change: float | None
    """The change as a fraction: 0.05 is 5 % slower than the base."""
    change_low: float | None
    """The lower end of the confidence interval of the change."""
    change_high: float | None
    verdict: str | None
    """In a comparison: regressed, improved, unchanged, inconclusive or not comparable."""
    reason: str
    """How the verdict was reached; of a failed test, why it failed."""
    smallest_change: float | None
    """The smallest change, as a fraction, that this comparison would have found."""
    changed_operators: list[str]
    """The operators that changed, with their change."""
    doubts: list[str]
    """Warnings, and reasons why the conditions were unsuitable for measuring."""


class RunAnswer(Answer):
    run: str
    """The identifier of the run, for explain_verdict."""
    summary: str
    exit_status: int
    """0: fine; 5: a regression was confirmed; 3: a test failed; 4: a device failed."""
    meaning: str
    duration_s: float
    tests: list[TestAnswer]
    left_out: int
    """How many tests this answer has no room for."""
    problems: list[str]


class Stage(Answer):
    stage: str
    """benchmark: the first; verify, regress: on fresh pairs."""
    verdict: str
    reason: str
    pairs: int
    clock: str
    """The clock of the verdict, and why it was chosen."""


class Explanation(Answer):
    test: str
    device: str
    verdict: str
    meaning: str
    """The verdict in words."""
    stages: list[Stage]
    """In their order; a regression has to be shown in each."""
    smallest_change: float | None
    doubts: list[str]
    advice: str
    """What to do next."""


class ExplanationAnswer(Answer):
    run: str
    explanations: list[Explanation]
    left_out: int


class Regression(Answer):
    net: str
    metric: str
    identifier: str
    type: str
    """NET_DELAY, or the operator."""
    platform: str
    framework: str
    backend: str
    kind: str
    """step: the level changed between two commits; creep: it drifted in small steps; verdict: an A/B run
    confirmed it."""
    last_good: str
    """The newest commit before it; empty: unknown."""
    first_bad: str
    first_bad_time: int
    """Unix seconds."""
    change: float | None
    """As a fraction: 0.05 is 5 % slower."""
    p_value: float | None


class RegressionsAnswer(Answer):
    results: str
    """The directory of the saved results."""
    regressions: list[Regression]
    """The newest first."""
    left_out: int


class Probe(Answer):
    commit: str
    subject: str
    change: float | None
    """Against the good commit, as a fraction; null: it could not be measured."""
    verdict: str
    """Of the comparison; or the reason why there is none."""


class BisectAnswer(Answer):
    found: bool
    commit: str
    """The commit that made it slower; empty: none did."""
    subject: str
    author: str
    note: str
    """What makes the answer less certain, or why there is none."""
    change: float | None
    """From the good commit to the bad commit, as a fraction."""
    probes: list[Probe]
    """Every comparison, in its order."""


def run_answer(run: str, document: Document) -> RunAnswer:
    tests = [_test(stages) for stages in by_test(document.results)]
    counted: dict[str, int] = {}
    for one in tests:
        counted[one.outcome] = counted.get(one.outcome, 0) + 1
    return RunAnswer(
        run=run,
        summary=", ".join(f"{count} {outcome}" for outcome, count in counted.items()) or "no test ran",
        exit_status=int(document.exit_status),
        meaning=run_meaning(document.exit_status, has_results=bool(document.results)),
        duration_s=document.duration_s,
        tests=tests[:MOST_TESTS],
        left_out=max(0, len(tests) - MOST_TESTS),
        problems=list(document.problems),
    )


def _test(stages: Sequence[Result]) -> TestAnswer:
    last = stages[-1]
    net = last.net
    comparison = net.comparison if net else None
    interval = comparison.ratio_interval if comparison else None
    judged = net.judged if net else None
    summary, control = (net.judged_summary, net.judged_control_summary) if net else (None, None)
    return TestAnswer(
        test=last.test.name,
        device=last.device.name,
        framework=last.test.framework,
        backend=last.test.backend,
        outcome=str(last.outcome),
        median_us=summary.p50 if summary else None,
        control_median_us=control.p50 if control else None,
        change=comparison.ratio - 1 if comparison else None,
        change_low=interval.low - 1 if interval else None,
        change_high=interval.high - 1 if interval else None,
        verdict=str(judged.verdict) if judged else None,
        reason=last.failure.message if last.failure else judged.reason if judged else "",
        smallest_change=_smallest_change(stages),
        changed_operators=[
            f"{one.type} {numbers.change(one.comparison) if one.comparison else ''}".rstrip()
            for one in last.types
            if one.type != NET_DELAY and one.is_changed
        ],
        doubts=_doubts(stages),
    )


def _smallest_change(stages: Sequence[Result]) -> float | None:
    decisions = [net.decision for one in stages if (net := one.net) and net.decision]
    return decisions[-1].smallest_change if decisions else None


def _doubts(stages: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(text for one in stages for text in (*one.device.tainted, *one.warnings)))


def explanation_answer(run: str, document: Document) -> ExplanationAnswer:
    compared = [
        stages for stages in by_test(document.results) if any(one.net and one.net.judged for one in stages)
    ]
    return ExplanationAnswer(
        run=run,
        explanations=[_explanation(stages) for stages in compared[:MOST_TESTS]],
        left_out=max(0, len(compared) - MOST_TESTS),
    )


def _explanation(stages: Sequence[Result]) -> Explanation:
    judged = [(one, net.judged) for one in stages if (net := one.net) and net.judged]
    verdict = judged[-1][1].verdict
    return Explanation(
        test=stages[-1].test.name,
        device=stages[-1].device.name,
        verdict=str(verdict),
        meaning=MEANINGS[verdict],
        stages=[
            Stage(
                stage=stage.provenance.run_type,
                verdict=str(how.verdict),
                reason=how.reason,
                pairs=stage.sampling.pairs if stage.sampling else 0,
                clock=f"{stage.sampling.clock}: {stage.sampling.clock_reason}" if stage.sampling else "",
            )
            for stage, how in judged
        ],
        smallest_change=_smallest_change(stages),
        doubts=_doubts(stages),
        advice=_advice(verdict),
    )


def _advice(verdict: Verdict) -> str:
    return {
        Verdict.REGRESSED: "Find the commit with bisect, or look at changed_operators.",
        Verdict.IMPROVED: "Nothing has to be done.",
        Verdict.UNCHANGED: "Nothing; a lower target_change and more time rule out smaller changes.",
        Verdict.INCONCLUSIVE: "Repeat with a larger max_seconds or target_change, or on a quieter machine "
        "(mlbench doctor says what disturbs it).",
        Verdict.NOT_COMPARABLE: "Run both programs with the settings that the reason names.",
    }[verdict]


def regressions_answer(results: Path, selection: Selection) -> RegressionsAnswer:
    found: list[Regression] = []
    for one in series_of(History(results).saved(selection)):
        described = history_report.series_json(one)
        key = {
            name: described[name]
            for name in ("metric", "identifier", "type", "platform", "framework", "backend")
        }
        found += [
            Regression(
                net=described["net_name"],
                **key,
                kind=change["kind"],
                last_good=change["last_good"],
                first_bad=change["first_bad"],
                first_bad_time=change["first_bad_time"],
                change=_finite(change["ratio"] - 1),
                p_value=change["p_value"],
            )
            for change in described["changes"]
            if change["ratio"] > 1
        ]
        found += [
            Regression(
                net=described["net_name"],
                **key,
                kind="verdict",
                last_good=point.control_commit or "",
                first_bad=point.commit,
                first_bad_time=point.commit_time,
                change=None if point.ratio is None else _finite(point.ratio - 1),
                p_value=None,
            )
            for point in one.points
            if point.verdict == Verdict.REGRESSED
        ]
    found.sort(key=lambda one: -one.first_bad_time)
    return RegressionsAnswer(
        results=str(results),
        regressions=found[:MOST_REGRESSIONS],
        left_out=max(0, len(found) - MOST_REGRESSIONS),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
