"""Reports how a program ended."""

from __future__ import annotations

from benchmarking.errors import ProgramExitError, ProgramTimeoutError
from benchmarking.programs.command import Outcome
from benchmarking.results.plain_text import plain

_SHOWN_CHARACTERS = 1000


def require_success(outcome: Outcome, program_name: str = "") -> None:
    """``program_name``: the name that the program prints before its errors, which are then in the message.

    Raises:
        ProgramTimeoutError: it was killed after too long.
        ProgramExitError: it ended with another status than 0.
    """
    if outcome.timed_out:
        limit = outcome.command.timeout_s
        raise ProgramTimeoutError(
            f"the program ran longer than {limit:g} s and was killed; --timeout sets the limit",
            outcome.tail(),
        )
    if outcome.exit_code:
        how = (
            f"was ended by signal {-outcome.exit_code}"
            if outcome.exit_code < 0
            else f"ended with exit status {outcome.exit_code}"
        )
        _, found, said = f"\n{outcome.stderr}".rpartition(f"\n{program_name}: error: ")
        reason = plain(said.split("\n", 1)[0].strip()[:_SHOWN_CHARACTERS]) if found else ""
        raise ProgramExitError(f"the program {how}{f': {reason}' if reason else ''}", outcome.tail())
