"""Which commit is measured, what it is compared with, and where a regression comes from."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.continuous.bisection import bisect, threshold
from benchmarking.continuous.control import control_candidates, week_start
from benchmarking.continuous.history_choice import comparable_commits
from benchmarking.continuous.schedule import make_schedule
from benchmarking.continuous.state import Run, RunStatus
from benchmarking.repos.repo_base import Revision

DAY = 86_400
MONDAY = 1772409600
"""2026-03-02, 00:00 UTC."""


def revision(number, time=MONDAY):
    return Revision(f"{number:040x}", time, "Ann <ann@example.org>", f"commit {number}")


def numbers(revisions):
    return [int(one.commit, 16) for one in revisions]


# --- weeks --------------------------------------------------------------------------------------------------


@given(st.integers(0, 4_000_000_000))
def test_a_week_begins_on_monday_in_utc(moment):
    start = datetime.fromtimestamp(week_start(moment), UTC)
    assert (start.weekday(), start.hour, start.minute, start.second) == (0, 0, 0, 0)
    assert 0 <= moment - week_start(moment) < 7 * DAY


class Line:
    """A branch of the given times, for what only asks for the chain."""

    def __init__(self, *times):
        self.revisions = [revision(number, time) for number, time in enumerate(times)]

    def chain(self, start):
        return reversed(self.revisions[: int(start, 16) + 1])

    def candidates(self, number, base=None):
        chosen = None if base is None else self.revisions[base]
        return numbers(control_candidates(self, self.revisions[number], chosen))


@pytest.mark.parametrize(
    ("times", "treatment", "base", "expected"),
    [
        ((-DAY, 0, DAY, 2 * DAY), 3, None, [1, 2]),
        ((0, DAY, 2 * DAY), 2, None, [0, 1]),  # the repository is younger than the week
        ((-DAY, 0), 1, None, [0]),  # the first of its week: its parent
        ((0,), 0, None, []),  # the root
        ((-DAY, 0, DAY, 2 * DAY), 3, 2, [2]),  # the base is later than the week's first
        ((-DAY, 0, DAY, 2 * DAY), 3, 0, [1, 2]),  # the week's first is later than the base
        ((0, DAY, 2 * DAY, 3 * DAY), 1, 3, [0]),  # the base is younger than the treatment
        ((0, DAY, 2 * DAY), 2, 2, [0, 1]),  # the treatment itself is the base
        ((-8 * DAY, 2 * DAY), 1, None, [0]),  # the week has no earlier commit
    ],
)
def test_the_control(times, treatment, base, expected):
    assert Line(*(MONDAY + time for time in times)).candidates(treatment, base) == expected


def test_a_base_beside_the_branch_counts_by_its_time():
    line = Line(MONDAY, MONDAY + 2 * DAY, MONDAY + 3 * DAY)
    beside = revision(99, MONDAY + DAY)
    assert numbers(control_candidates(line, line.revisions[2], beside)) == [99, 1]
    as_late = revision(99, MONDAY + 3 * DAY)
    assert numbers(control_candidates(line, line.revisions[2], as_late)) == [99]
    no_later_than_the_first = revision(99, MONDAY)
    assert numbers(control_candidates(line, line.revisions[2], no_later_than_the_first)) == [0, 1]


# --- the schedule -------------------------------------------------------------------------------------------


def schedule(count, done=(), **options):
    return make_schedule(
        [revision(one) for one in range(count)], lambda one: int(one.commit, 16) in done, **options
    )


def test_oldest_first_and_the_cursor_behind_what_is_done():
    found = schedule(5, done={0, 1, 3}, cursor="x")
    assert numbers(found.pending) == [2, 4]
    assert found.cursor == revision(1).commit
    assert found.skipped == ()


def test_every_third_commit_from_the_first():
    found = schedule(8, cursor=None, step=3)
    assert numbers(found.pending) == [0, 3, 6]
    assert numbers(found.skipped) == [1, 2, 4, 5]


def test_every_third_commit_behind_the_cursor():
    found = schedule(8, cursor="x", step=3)
    assert numbers(found.pending) == [2, 5]
    assert found.cursor == "x"


def test_what_is_newer_than_the_last_step_is_named_or_measured():
    found = schedule(8, cursor="x", step=3)
    assert numbers(found.behind_step) == [6, 7]
    found = schedule(8, cursor="x", step=3, newest=True)
    assert numbers(found.pending) == [2, 5, 7]
    assert numbers(found.skipped) == [0, 1, 3, 4, 6]
    assert found.behind_step == ()


def test_too_many_wait():
    found = schedule(6, cursor="x", max_pending=2)
    assert numbers(found.pending) == [5, 4]
    assert numbers(found.skipped) == [0, 1, 2, 3]
    assert found.cursor == revision(3).commit


@given(
    count=st.integers(0, 30),
    done=st.sets(st.integers(0, 29)),
    step=st.integers(1, 5),
    max_pending=st.none() | st.integers(1, 5),
    begins=st.booleans(),
    newest=st.booleans(),
)
def test_nothing_is_lost_and_nothing_is_done_twice(count, done, step, max_pending, begins, newest):
    cursor = None if begins else "x"
    found = schedule(count, done, cursor=cursor, step=step, max_pending=max_pending, newest=newest)
    pending, skipped = set(numbers(found.pending)), set(numbers(found.skipped))
    assert not pending & (skipped | done)
    assert not skipped & done
    if max_pending is not None:
        assert len(pending) <= max_pending
    if found.cursor not in (None, "x"):
        behind = set(range(int(found.cursor, 16) + 1))
        assert behind <= done | skipped
    behind_step = set(numbers(found.behind_step))
    assert set(range(count)) <= done | skipped | pending | behind_step
    assert not behind_step & (pending | skipped)
    if newest:
        assert not behind_step


# --- bisection ----------------------------------------------------------------------------------------------


@given(count=st.integers(1, 200), data=st.data())
def test_the_first_bad_commit_is_found(count, data):
    culprit = data.draw(st.integers(0, count - 1))
    asked = []

    def is_bad(one):
        asked.append(one)
        return int(one.commit, 16) >= culprit

    found = bisect([revision(one) for one in range(count)], is_bad)
    assert numbers([found.culprit]) == [culprit]
    assert found.note == ""
    assert len(asked) <= math.ceil(math.log2(count)) + 1


@given(count=st.integers(1, 40), data=st.data())
def test_commits_that_cannot_be_measured_are_named(count, data):
    culprit = data.draw(st.integers(0, count - 1))
    broken = data.draw(st.sets(st.integers(0, max(0, count - 2)))) - {count - 1}

    def is_bad(one):
        number = int(one.commit, 16)
        return None if number in broken else number >= culprit

    found = bisect([revision(one) for one in range(count)], is_bad)
    named = numbers([found.culprit])[0]
    suspects = [one for one in broken if revision(one).short in found.note] + [named]
    assert named >= culprit
    assert named not in broken
    assert named == culprit or culprit in range(min(suspects), named + 1)


def test_only_commits_that_may_be_the_culprit_are_named_beside_it():
    """1 cannot be measured, and lies before one that is good; 4 and 6 lie just before the culprit, and behind."""
    commits = [Revision(f"{number:012}", 0, "", "") for number in range(8)]

    def is_bad(one):
        number = commits.index(one)
        return None if number in (1, 4, 6) else number >= 5

    found = bisect(commits, is_bad)
    assert (found.culprit, found.note) == (
        commits[5],
        "or one of 000000000004, which could not be measured",
    )
    assert bisect(commits[:3], lambda one: None if one == commits[0] else one == commits[2]).note == ""


def test_the_threshold_is_half_way():
    assert threshold(4.0) == pytest.approx(2.0)
    assert threshold(math.inf) == 1.0


# --- the history --------------------------------------------------------------------------------------------


def test_the_history_has_the_same_regressions_between():
    """Control of all is commit 0; commit 5 made it slower."""
    chain = [revision(one) for one in range(9, -1, -1)]
    runs = {
        one.commit: Run("host", one, RunStatus.MEASURED, control=revision(0).commit)
        for one in chain[1:]
        if one != chain[-1]
    }
    culprits = [revision(5).commit]
    control = revision(0).commit
    assert numbers(comparable_commits(chain, runs, control, culprits)) == [8, 7, 6, 5]
    assert numbers(comparable_commits(chain, runs, revision(6).commit, culprits)) == [4, 3, 2, 1]
    assert numbers(comparable_commits(chain, runs, control, [])) == [8, 7, 6, 5, 4, 3, 2, 1]


def test_the_limits_of_a_history():
    chain = [revision(one) for one in range(30, -1, -1)]
    oldest = chain[-1].commit
    runs = {one.commit: Run("host", one, RunStatus.MEASURED, control=oldest) for one in chain}
    assert numbers(comparable_commits(chain, runs, oldest, [])) == [*range(29, 9, -1)]
    # The commit itself, and the control, make no difference between it and those before.
    for culprit in (chain[0].commit, oldest):
        assert numbers(comparable_commits(chain, runs, oldest, [culprit])) == [*range(29, 9, -1)]
    # A control that lies beyond what is searched is before every known regression.
    beyond = {one.commit: Run("host", one, RunStatus.MEASURED, control="f" * 40) for one in chain}
    culprit = chain[3].commit
    assert numbers(comparable_commits(chain, beyond, "f" * 40, [culprit])) == [29, 28, 27]
    between = beyond | {chain[1].commit: Run("host", chain[1], RunStatus.MEASURED, control=chain[3].commit)}
    assert numbers(comparable_commits(chain, between, "f" * 40, [culprit])) == [28, 27]
    assert numbers(comparable_commits(chain, between, oldest, [culprit])) == [28, 27]


def test_the_history_has_only_what_was_measured_against_something():
    chain = [revision(one) for one in (3, 2, 1)]
    runs = {
        chain[1].commit: Run("host", chain[1], RunStatus.BUILD_FAILED, control=chain[2].commit),
        chain[2].commit: Run("host", chain[2], RunStatus.MEASURED),
    }
    assert comparable_commits(chain, runs, chain[2].commit, []) == []
