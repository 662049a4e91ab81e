"""Chooses the older commit with which a commit is compared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, takewhile

from benchmarking.repos.repo_base import RepoBase, Revision

DAY_S = 86_400
MONDAY = 3
"""Days from a Monday to 1970-01-01, a Thursday."""


def week_start(commit_time: int) -> int:
    """Monday, 00:00 UTC, of the week of ``commit_time``; Unix seconds."""
    days = commit_time // DAY_S
    return (days - (days + MONDAY) % 7) * DAY_S


def control_candidates(repo: RepoBase, treatment: Revision, base: Revision | None) -> Iterator[Revision]:
    """The control first, then the commits that may replace it if it cannot be built, from older to newer.

    The control is the first commit of the treatment's week, or ``base`` if that is later (and older than the
    treatment). If the treatment itself is the first commit of its week, it is compared with its parent:
    compared with itself it would never be found slower. The root has no candidates.
    """
    start = week_start(treatment.commit_time)
    older = repo.chain(treatment.commit)
    next(older)  # the treatment itself
    parent = next(older, None)
    if parent is None:
        return
    if parent.commit_time < start:
        week = [parent]
    else:
        week = list(takewhile(lambda one: one.commit_time >= start, chain([parent], older)))[::-1]
    if base is not None and _is_between(week[0], base, treatment):
        yield base
        week = [one for one in week if one.commit_time > base.commit_time]
    yield from week


def _is_between(first: Revision, base: Revision, treatment: Revision) -> bool:
    return base.commit != treatment.commit and first.commit_time < base.commit_time <= treatment.commit_time
