"""Finds the commit that caused a regression among the commits that were skipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarking.repos.repo_base import Revision


@dataclass(frozen=True)
class Narrowed:
    culprit: Revision
    note: str = ""
    """The reason why it may be another commit."""


def threshold(bad_ratio: float) -> float:
    """A slower commit than this has the regression: half way, on a logarithmic scale, to the bad commit.

    Both ratios are relative to the same good commit, so 1 is a commit without the regression.
    """
    return 1.0 if math.isinf(bad_ratio) else math.sqrt(bad_ratio)


def bisect(commits: Sequence[Revision], is_bad: Callable[[Revision], bool | None]) -> Narrowed:
    """``commits``: the commits after the good commit, oldest first; the last is bad.

    ``is_bad`` returns None for a commit that cannot be measured; its neighbours are then tried. It is called
    about log2(len(commits)) times.
    """
    good, bad = -1, len(commits) - 1
    unknown: set[int] = set()
    while True:
        open_numbers = [number for number in range(good + 1, bad) if number not in unknown]
        if not open_numbers:
            break
        middle = (good + bad) / 2
        number = min(open_numbers, key=lambda one: abs(one - middle))
        answer = is_bad(commits[number])
        if answer is None:
            unknown.add(number)
        elif answer:
            bad = number
        else:
            good = number
    others = [commits[number].short for number in sorted(unknown) if good < number < bad]
    note = f"or one of {', '.join(others)}, which could not be measured" if others else ""
    return Narrowed(commits[bad], note)
