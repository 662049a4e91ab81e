"""The output of the loop: lines for people, events for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarking.continuous.state import Culprit, Run, RunStatus, Suspect
from benchmarking.errors import BenchmarkError
from benchmarking.reporters import numbers
from benchmarking.repos.repo_base import Revision
from benchmarking.results import unix_time
from benchmarking.results.plain_text import plain

SUBJECT_WIDTH = 60
SHOWN_SUSPECTS = 3
WORDS = {
    RunStatus.MEASURED: "ok",
    RunStatus.KNOWN: "known",
    RunStatus.INCONCLUSIVE: "inconclusive",
    RunStatus.REGRESSED: "REGRESSED",
    RunStatus.FAILED: "FAILED",
    RunStatus.BUILD_FAILED: "BUILD FAILED",
    RunStatus.SKIPPED: "skipped",
}
"""The words for a status in output for people."""


def run_line(run: Run, pending: int) -> str:
    """``3b8bfaf01234  host  built 1.2 s  measured 3.4 s  ok  4 left  Subject``, followed by any problems."""
    columns = (
        *(run.revision.short, run.platform),
        f"built {took(run.build_s) or 'before':>7}",
        f"measured {took(run.run_s):>7}" if run.run_s else f"{'not measured':>16}",
        *(f"{WORDS[run.status]:<12}", f"{pending:>3} left", subject(run.revision)),
    )
    details = run.detail.splitlines()[1:] if run.status is RunStatus.FAILED else run.detail.splitlines()
    if run.status is RunStatus.REGRESSED:
        details = [suspects_text(run.suspects)]
    if run.status in (RunStatus.MEASURED, RunStatus.KNOWN, RunStatus.INCONCLUSIVE):
        details = []
    return "\n".join(["  ".join(columns), *(f"    {line}" for line in details)])


def took(seconds: float) -> str:
    """``1.23 s``; empty if it was not done."""
    return numbers.duration(seconds * 1e6) if seconds else ""


def subject(revision: Revision) -> str:
    text = plain(revision.subject) or "(no subject)"
    return text if len(text) <= SUBJECT_WIDTH else text[: SUBJECT_WIDTH - 1] + "…"


def suspects_text(suspects: Sequence[Suspect]) -> str:
    """``MatMul +210.0 %, NET_DELAY +95.1 %``: the largest first."""
    largest = sorted(suspects, key=lambda one: -_size(one))
    shown = [_suspect(one) for one in largest[:SHOWN_SUSPECTS]]
    more = len(largest) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def _size(suspect: Suspect) -> float:
    return suspect.ratio if suspect.ratio is not None else 0.0


def _suspect(one: Suspect) -> str:
    if one.ratio is None:
        return plain(one.type)
    return f"{plain(one.type)} {'+infinite' if math.isinf(one.ratio) else numbers.percent(one.ratio)}"


def skipped(revisions: Sequence[Revision]) -> str:
    if len(revisions) == 1:
        return f"{revisions[0].short} is skipped"
    return f"{len(revisions)} commits are skipped: {revisions[0].short} to {revisions[-1].short}"


def behind_step(revisions: Sequence[Revision], step: int) -> str:
    count = "1 commit is" if len(revisions) == 1 else f"{len(revisions)} commits are"
    return f"{count} newer than the last step of {step}, and will be measured or skipped with the next one"


def culprit_lines(culprits: Sequence[Culprit]) -> Iterator[str]:
    """One paragraph per commit."""
    for found in _by_commit(culprits).values():
        first = found[0]
        yield (
            f"{first.revision.short} made {first.platform} slower: {plain(first.revision.subject)} "
            f"({plain(first.revision.author)}, {unix_time.minute(first.revision.commit_time)})"
        )
        good = f" compared with {first.good[:12]}" if first.good else ""
        yield f"    {suspects_text([one.suspect for one in found])}{good}"
        yield from (f"    {note}" for note in dict.fromkeys(one.note for one in found) if note)
        if first.regressed != first.revision.commit:
            yield f"    found by bisection from {first.regressed[:12]}"


def withdrawn(run: Run) -> str:
    """Of a run whose regression turned out to be that of a commit before."""
    head = f"{run.revision.short} on {run.platform}: the regression was known"
    return "\n".join([head, *(f"    {line}" for line in run.detail.splitlines()[1:])])


def put_off(platform: str, error: BenchmarkError, revision: Revision | None, delay_s: float) -> str:
    where = f"{platform}: {revision.short}" if revision else platform
    when = "" if math.isinf(delay_s) else f"; trying again in {delay_s:g} s"
    first, *rest = str(error).splitlines() or [""]
    evidence = getattr(error, "evidence", "").splitlines()
    return "\n".join([f"{where}: {first}{when}", *(f"    {line}" for line in (*rest, *evidence))])


# --- events -------------------------------------------------------------------------------------------------


def regression_event(run: Run, culprits: Sequence[Culprit]) -> dict[str, Any]:
    return {
        "event": "regression",
        "platform": run.platform,
        "confirmed_at": _commit(run.revision),
        "control_commit": run.control,
        "culprits": [
            {
                **_commit(found[0].revision),
                "good_commit": found[0].good,
                "notes": [note for note in dict.fromkeys(one.note for one in found) if note],
                "types": [_suspect_json(one.suspect) for one in found],
            }
            for found in _by_commit(culprits).values()
        ],
    }


FAULTS = {RunStatus.BUILD_FAILED: "build", RunStatus.FAILED: "test"}
"""The aspects of a commit that can begin to fail and work again."""


def change_events(before: Run | None, run: Run) -> Iterator[dict[str, Any]]:
    """The events for aspects that work again or begin to fail with ``run``, the platform's next run after
    ``before``.
    """
    was, now = (FAULTS.get(one.status) if one else None for one in (before, run))
    if was == now:
        return
    if was is not None:
        recovered = {"event": "works_again", "what": was, "platform": run.platform}
        yield {**recovered, "commit": _commit(run.revision)}
    if now is not None:
        failure = {"event": f"{now}_failure", "platform": run.platform, "message": run.detail}
        yield {**failure, "commit": _commit(run.revision)}


def recovery_event(what: str) -> dict[str, Any]:
    """Reports the end of a failure that ``failure_event`` reported."""
    return {"event": "works_again", "what": what, "platform": None, "commit": None}


def failure_event(what: str, message: str, revision: Revision | None) -> dict[str, Any]:
    """``what``: a platform, ``remote`` or ``everything``."""
    return {
        "event": "infrastructure_failure",
        "what": what,
        "message": message,
        "commit": _commit(revision) if revision else None,
    }


def _commit(revision: Revision) -> Mapping[str, Any]:
    return {
        "commit": revision.commit,
        "commit_time": revision.commit_time,
        "author": revision.author,
        "subject": revision.subject,
    }


def _suspect_json(suspect: Suspect) -> Mapping[str, Any]:
    ratio = suspect.ratio if suspect.ratio is None or math.isfinite(suspect.ratio) else None
    return {"test": suspect.label, **asdict(suspect.key), "type": suspect.type, "ratio": ratio}


def _by_commit(culprits: Iterable[Culprit]) -> dict[tuple[str, str], list[Culprit]]:
    """Groups by commit and platform."""
    found: dict[tuple[str, str], list[Culprit]] = {}
    for one in culprits:
        found.setdefault((one.revision.commit, one.platform), []).append(one)
    return found
