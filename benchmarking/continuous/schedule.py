"""Chooses the commits that are measured next, and those that are never measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarking.repos.repo_base import Revision


@dataclass(frozen=True)
class Schedule:
    pending: tuple[Revision, ...]
    """In the order in which they are measured."""
    skipped: tuple[Revision, ...]
    """Commits that are not measured."""
    cursor: str | None
    """Everything up to this commit is done; None: nothing is done."""
    behind_step: tuple[Revision, ...] = ()
    """Commits newer than the last step: neither pending nor skipped until there are more."""


def make_schedule(
    commits: Sequence[Revision],
    is_done: Callable[[Revision], bool],
    *,
    cursor: str | None,
    step: int = 1,
    max_pending: int | None = None,
    newest: bool = False,
) -> Schedule:
    """``commits``: the commits of the branch after ``cursor``, oldest first.

    Every ``step``-th commit is chosen, counted from ``cursor``; without a cursor the first is also chosen,
    and with ``newest`` the last. If more than ``max_pending`` commits wait, the oldest are dropped, and the
    others are measured newest first.
    """
    first = 0 if cursor is None else step - 1
    chosen = list(commits[first::step])
    if newest and commits and chosen[-1:] != [commits[-1]]:
        chosen.append(commits[-1])
    waiting = [one for one in chosen if not is_done(one)]
    dropped: list[Revision] = []
    if max_pending is not None:
        dropped = waiting[: max(0, len(waiting) - max_pending)]
        waiting = waiting[len(dropped) :][::-1]
    open_commits = {one.commit for one in waiting}
    finished = 0
    while finished < len(chosen) and chosen[finished].commit not in open_commits:
        finished += 1
    passed = {one.commit for one in dropped}
    last = 0
    if chosen:
        last = commits.index(chosen[-1]) + 1
        left_out = {one.commit for one in commits[:last]} - {one.commit for one in chosen}
        passed |= left_out
    return Schedule(
        pending=tuple(waiting),
        skipped=tuple(one for one in commits if one.commit in passed and not is_done(one)),
        cursor=chosen[finished - 1].commit if finished else cursor,
        behind_step=tuple(commits[last:]),
    )
