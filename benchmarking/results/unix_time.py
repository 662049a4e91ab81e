"""Unix seconds as dates, including years that ``datetime`` does not support, because repositories contain
them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from annotated_types import Ge, Le

FIRST_SECOND = -62_135_596_800
"""The beginning of the year 1."""
LAST_SECOND = 2**53
"""The last second that every reader of JSON represents exactly; in the year 285,428,751."""
UnixSeconds = Annotated[int, Ge(FIRST_SECOND), Le(LAST_SECOND)]
_CYCLE_YEARS = 400
"""The number of seconds after which the calendar repeats."""
_CYCLE_S = 146_097 * 86_400


def bounded(seconds: int) -> int:
    """The nearest moment that files and databases can represent."""
    return max(FIRST_SECOND, min(LAST_SECOND, seconds))


def year_month_day(seconds: float) -> tuple[int, int, int]:
    """In UTC."""
    year, within = _year(seconds)
    return year, within.month, within.day


def day(seconds: float) -> str:
    """``2026-03-02``, in UTC."""
    return f"{_year(seconds)[0]:04}-{_year(seconds)[1]:%m-%d}"


def minute(seconds: float) -> str:
    """``2026-03-02 09:00``, in UTC."""
    return f"{day(seconds)} {_year(seconds)[1]:%H:%M}"


def second(seconds: float) -> str:
    """``2026-03-02 09:00:00``, in UTC."""
    return f"{day(seconds)} {_year(seconds)[1]:%H:%M:%S}"


def _year(seconds: float) -> tuple[int, datetime]:
    """The year, and the same moment in a year that ``datetime`` supports."""
    cycles, rest = divmod(seconds, _CYCLE_S)
    within = datetime.fromtimestamp(rest, UTC)
    return within.year + int(cycles) * _CYCLE_YEARS, within
