from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.results import unix_time

YEAR_10000 = 253_402_300_800


@given(st.integers(unix_time.FIRST_SECOND, YEAR_10000 - 1))
def test_the_calendar_is_that_of_datetime(seconds):
    moment = datetime(1970, 1, 1, tzinfo=UTC).timestamp() + seconds
    expected = datetime.fromtimestamp(moment, UTC)
    assert unix_time.year_month_day(seconds) == (expected.year, expected.month, expected.day)
    assert unix_time.minute(seconds) == f"{expected.year:04}-{expected:%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("seconds", "day"),
    [
        (unix_time.FIRST_SECOND, "0001-01-01"),
        (-1, "1969-12-31"),
        (YEAR_10000, "10000-01-01"),
        (YEAR_10000 + 59 * 86_400, "10000-02-29"),
        (99_999_999_999_999, "3170843-11-07"),
        (unix_time.LAST_SECOND, "285428751-11-12"),
    ],
)
def test_days_beyond(seconds, day):
    assert unix_time.day(seconds) == day


def test_what_is_out_of_bounds_is_at_the_bound():
    assert unix_time.bounded(10**30) == unix_time.LAST_SECOND
    assert unix_time.bounded(-(10**30)) == unix_time.FIRST_SECOND
    assert unix_time.bounded(5) == 5
