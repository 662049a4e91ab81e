"""Chooses the earlier runs by which a commit's difference to its control may be judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from benchmarking.continuous.state import COMPARABLE, Run
from benchmarking.repos.repo_base import Revision

COMMITS = 20
"""The number of newest suitable runs; older runs say little about today's machine."""
REACH = 2000
"""The number of commits that are searched, regardless of the age of the repository."""


def comparable_commits(
    chain: Iterable[Revision],
    runs: Mapping[str, Run],
    control: str,
    culprits: Collection[str],
) -> list[Revision]:
    """Newest first: the earlier commits whose difference to their control should be like that of this commit.

    They have the same known regressions (``culprits``) between themselves and their control. A control from
    before a regression makes every later commit look slow, while a control from after it makes none look
    slow.

    Args:
        chain: the commit that is to be judged, its first parent, that one's ...
        runs: what is known of them, by commit.
        control: of the commit that is to be judged.
    """
    near = list(islice(chain, REACH))
    positions = {one.commit: number for number, one in enumerate(near)}
    marks = sorted(positions[one] for one in culprits if one in positions)

    def between(newer: int, older: int) -> list[int]:
        return [mark for mark in marks if newer <= mark < older]

    def position(commit: str) -> int:
        return positions.get(commit, len(near))

    here = between(1, position(control))
    found = []
    for number, revision in enumerate(near[1:], start=1):
        run = runs.get(revision.commit)
        if run is None or run.control is None or run.status not in COMPARABLE:
            continue
        if between(number, position(run.control)) == here:
            found.append(revision)
    return found[:COMMITS]
