"""What people decide about a regression, from a form or a request, to the database."""

from __future__ import annotations

from benchmarking.errors import UsageError
from benchmarking.server.store import Store
from benchmarking.server.triage import records
from benchmarking.server.triage.life import (
    Acknowledged,
    Annotated,
    Closed,
    Confirmed,
    Decision,
    Regression,
    Reopened,
    State,
    after,
)
from benchmarking.server.triage.records import Change

DECISIONS = ("confirm", "acknowledge", "reopen", "annotate", State.FIXED, State.EXPECTED, State.IGNORED)


def decision(name: str, *, owner: str = "", reason: str = "", note: str = "", link: str = "") -> Decision:
    """
    Raises:
        UsageError: there is no such decision.
    """
    match name:
        case "confirm":
            return Confirmed()
        case "acknowledge":
            return Acknowledged(owner)
        case "reopen":
            return Reopened()
        case "annotate":
            return Annotated(note, link)
        case State.FIXED | State.EXPECTED | State.IGNORED:
            return Closed(State(name), reason)
    raise UsageError(f"a decision is one of {', '.join(DECISIONS)}")


def decide(store: Store, project: int, number: int, made: Decision, change: Change) -> Regression | None:
    """The regression after the decision; None if there is no such regression.

    Raises:
        UsageError: the decision lacks something.
    """
    with store.writing() as connection:
        placed = records.one(connection, project, number)
        if placed is None:
            return None
        decided = after(placed.regression, made)
        records.save(connection, project, placed, decided, change)
    return decided
