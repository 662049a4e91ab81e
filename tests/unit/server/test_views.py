"""What is said of a device in one line."""

import pytest

from benchmarking.server.pages.matrix import heat
from benchmarking.server.pages.routes import is_key, place, strip_places
from benchmarking.server.pages.views import CommitView, ComparedRow, SeriesName, StripBar
from benchmarking.server.triage.views import DeviceView


@pytest.mark.parametrize(
    ("results", "failed", "tainted", "problem"),
    [
        (0, 0, 0, ""),
        (8, 0, 1, ""),
        (8, 0, 2, "2 of the newest 8 results are tainted"),
        (7, 0, 2, "2 of the newest 7 results are tainted"),
        (9, 0, 2, ""),
        (8, 3, 8, "8 of the newest 8 results are tainted"),
        (8, 4, 8, "4 of the newest 8 results failed"),
        (7, 4, 0, "4 of the newest 7 results failed"),
    ],
)
def test_the_problem_of_a_device(results, failed, tainted, problem):
    device = DeviceView("1", "d", "h", 1, results, tainted, failed, (), 0, 0, {}, {})
    assert device.problem == problem


@pytest.mark.parametrize(
    ("ratio", "tone"),
    [
        (1.04, ""),
        (1.05, "slower-1"),
        (1 / 1.05, "faster-1"),
        (1.2, "slower-2"),
        (1.45, "slower-3"),
        (1.8, "slower-4"),
        (0.1, "faster-4"),
        (0.0, ""),
        (-2.0, ""),
        (None, ""),
    ],
)
def test_the_tone_of_a_ratio(ratio, tone):
    assert heat(ratio) == tone


@pytest.mark.parametrize(
    ("ratio", "low", "high", "found"),
    [
        (1.0, None, None, (82.0, 0.0, 82.0)),
        (1.1, 1.0, 1.2, (82.0, 78.0, 121.0)),
        (1.1, 1.0, None, (121.0, 0.0, 121.0)),
        (3.0, 0.1, 9.0, (4.0, 156.0, 160.0)),
    ],
)
def test_where_an_interval_is_drawn(ratio, low, high, found):
    name = SeriesName(*"kmtdxfbnhs", "us")
    row = ComparedRow(name, 1.0, 1.0, None, None, False, False, "", "", ratio, low, high, "")
    where = place(row, 0.2)
    assert (where.x, where.width, where.middle) == found


def test_bars_of_the_newest_commits():
    bars = [StripBar(CommitView("a", 1, 1), slower, faster, 9) for slower, faster in ((12, 0), (6, 24))]
    assert [(one.x, one.width, one.up, one.down) for one in strip_places(bars)] == [
        (9.3, 43.4, 24.0, 0),
        (71.3, 43.4, 12.0, 48.0),
    ]
    # One of a thousand is seen.
    low = strip_places([StripBar(CommitView("a", 1, 1), 1000, 1, 1000)])[0]
    assert (low.up, low.down) == (48.0, 4)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("12", True), ("9" * 17, True), ("9" * 18, False), ("", False), ("-1", False), ("\u0663", False)],
)
def test_what_can_be_the_number_of_a_row(text, is_one):
    assert is_key(text) == is_one
