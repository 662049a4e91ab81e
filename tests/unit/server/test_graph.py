"""The graph of a series, for the script and without one."""

import math

import pytest

from benchmarking.server.pages.graph import HEIGHT, LEFT, WIDTH, drawing, graph_data
from benchmarking.server.pages.views import (
    BreakView,
    ChangeView,
    CommitView,
    LineView,
    PointView,
    SeriesName,
    SeriesView,
)

NAME = SeriesName("k", "lenet", "delay-0", "delay", "NET_DELAY", "caffe2", "mkl", "Pixel", "h", "", "us")


def commit(number):
    return CommitView(
        f"{number:040x}", 1_700_000_000 + 86_400 * number, 100 + number, subject=f"Change {number}"
    )


def point(number, value, **others):
    given = {
        "commit": commit(number),
        "value": value,
        "low": value * 0.99,
        "high": value * 1.01,
        "ratio": 1.02,
        "ratio_low": 1.01,
        "ratio_high": 1.03,
        "control": "c",
        "verdict": "unchanged",
        "tainted": (),
        "run": f"run{number}",
    }
    return PointView(**{**given, **others})


def view(*points, **others):
    return SeriesView(LineView(NAME, tuple(points)), **others)


def decoded(series):
    """As pages.js does it."""
    x, value, xs, values = 0, 0, [], []
    for step, times in series["steps"]:
        for _ in range(times):
            x += step
            xs.append(x)
    for step in series["values"]:
        value += step
        values.append(value * series["quantum"])
    return xs, values


def test_the_numbers_for_the_script_are_those_of_the_points():
    values = [3540.0, 3551.7, 3888.1, 3890.0, 12.5]
    places = [0, 1, 2, 5, 9]
    data = graph_data(view(*(point(n, v) for n, v in zip(places, values, strict=True))), "/run/")
    series = data["series"][0]
    xs, found = decoded(series)
    assert xs == [100 + one for one in places]
    assert found == pytest.approx(values, abs=3551.7 / 2000)
    quantum = series["quantum"]
    assert [v - q * quantum for v, q in zip(values, series["control"], strict=True)] == pytest.approx(
        [v / 1.02 for v in values], abs=quantum
    )
    assert data["commits"]["subjects"][-1] == "Change 9"
    assert series["runs"] == [f"run{one}" for one in places]


def test_verdicts_and_taints_have_their_places():
    data = graph_data(
        view(
            point(0, 10.0, verdict=""),
            point(1, 10.0, verdict="regressed", tainted=("load",)),
            point(2, 10.0, verdict="known"),
        ),
        "/run/",
    )
    assert data["series"][0]["verdicts"] == "1 1r1k"
    assert data["series"][0]["tainted"] == [1]


def test_what_is_not_a_number_is_not_drawn():
    data = graph_data(view(point(0, math.inf), point(1, 2.0, low=None, high=None, ratio=None)), "/run/")
    series = data["series"][0]
    assert series["runs"] == ["run1"]
    assert (series["low"], series["high"], series["control"]) == (None, None, None)


def test_the_control_is_marked_where_it_changes_seldom():
    steady = [point(n, 10.0, control="a" if n < 6 else "b") for n in range(12)]
    assert graph_data(view(*steady), "")["controls"] == [106]
    follows = [point(n, 10.0, control=str(n)) for n in range(12)]
    assert graph_data(view(*follows), "")["controls"] == []


def test_the_drawing_stays_within_its_frame():
    points = [point(n, 100.0 + n, tainted=("load",) if n == 3 else ()) for n in range(10)]
    change = ChangeView("step", commit(4), commit(5), 100.0, 110.0)
    outside = ChangeView("step", commit(400), commit(401), 100.0, 90.0)
    drawn = drawing(view(*points, changes=(change, outside), breaks=(BreakView(commit(6), "torch 1 → 2"),)))
    coordinates = [
        tuple(map(float, pair.split(",")))
        for path in (*drawn.lines, drawn.band, drawn.control)
        for pair in path.split()
    ]
    assert all(LEFT <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in coordinates)
    assert [one.label for one in drawn.changes] == ["▲ +10.0 %"]
    assert [one.style for one in drawn.changes] == ["slower"]
    assert len(drawn.tainted) == 1
    assert len(drawn.horizontal) >= 3
    assert drawn.vertical[0].label == "2023-11-14"


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1e-9, 2e-9], [1e90, 2e90]])
def test_any_values_can_be_drawn(values):
    points = [point(n, v) for n, v in enumerate(values)]
    assert drawing(view(*points)) is not None
    assert graph_data(view(*points), "")["series"][0]["quantum"] > 0


def test_without_points_there_is_no_drawing():
    assert drawing(view()) is None
    assert graph_data(view(), "")["commits"]["positions"] == []


def test_lines_of_different_sizes_are_drawn_relative_to_their_medians():
    slow = LineView(NAME, tuple(point(n, 1000.0 + n) for n in range(5)))
    both = SeriesView(
        slow, overlays=(LineView(NAME, tuple(point(n, 1.0 + n / 1000) for n in range(5))),), relative=True
    )
    one, other = ([float(pair.split(",")[1]) for pair in path.split()] for path in drawing(both).lines)
    assert one == pytest.approx(other, abs=1)
