from dataclasses import replace

import pytest

from benchmarking.records.series import Point, in_order, levels, series_of
from benchmarking.results.model import Verdict
from tests.support.sample_results import AB, DELAY, ERROR, JUDGED, NOT_CONFIRMED, PASSED, having, on_device


def saved(result=DELAY, **changes):
    run = {
        "name": "device",
        "net": "net",
        "identifier": "0",
        "commit": "c0",
        "commit_time": 0,
        "types": result.types,
    }
    return having(PASSED, **run | changes)


def point(number, ratio, control):
    return Point(f"c{number}", number, 100.0, ratio, None, f"c{control}", control)


def test_different_tests_are_different_series():
    runs = [
        saved(),
        *(
            saved(**{name: "other"})
            for name in ("name", "framework", "net", "metric", "identifier", "backend")
        ),
        on_device(saved(), "device", "other"),
    ]
    series = series_of(runs)
    assert len(series) == 8 * len(DELAY.types)
    assert len({one.key for one in series}) == len(series)
    assert all(len(one.points) == 1 for one in series)


def test_of_a_commit_the_last_normal_run_counts_and_a_confirmation_marks_it():
    newer = replace(DELAY, types=(replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, p50=7.0)),))
    confirmed = replace(DELAY, types=(replace(DELAY.types[0], regressed=True),))
    runs = [saved(commit="c1", commit_time=1), saved(), saved(newer), saved(confirmed, run_type="regress")]
    series = next(one for one in series_of(runs) if one.key.type == "NET_DELAY")
    assert [one.commit for one in series.points] == ["c0", "c1"]
    assert [one.verdict for one in series.points] == [Verdict.REGRESSED, None]
    assert series.points[0].value == 7.0


def test_a_suspicion_has_the_verdict_of_its_own_verification():
    verification = saved(NOT_CONFIRMED, run_type="verify")

    def verdict(*runs):
        return next(one for one in series_of(runs) if one.key.type == "NET_DELAY").points[0].verdict

    assert verdict(saved(JUDGED)) is Verdict.REGRESSED
    assert verdict(saved(JUDGED), verification) is Verdict.INCONCLUSIVE
    assert verdict(saved(JUDGED), verification, saved(JUDGED)) is Verdict.REGRESSED
    assert verdict(saved(JUDGED), saved(DELAY, run_type="verify")) is Verdict.REGRESSED


def test_what_earlier_commits_already_were_is_known():
    first = JUDGED.types[0]
    known = replace(JUDGED, types=(replace(first, known=True),))
    assert series_of([saved(known)])[0].points[0].verdict == "known"
    confirmed = saved(replace(JUDGED, types=(replace(first, regressed=True),)), run_type="regress")
    assert series_of([saved(known), confirmed])[0].points[0].verdict == "regressed"


def test_runs_without_a_known_commit_are_distinguished_by_their_times():
    runs = [saved(commit="interactive", commit_time=time) for time in (5, 7, 6, 7)]
    assert [one.commit_time for one in series_of(runs)[0].points] == [5, 6, 7]


def test_a_commit_that_was_only_confirmed_is_not_a_point():
    assert series_of([saved(run_type="verify")]) == []


def test_commits_are_in_the_order_of_their_repository():
    def at(name, time, position=None):
        return Point(name, time, 1.0, position=position)

    one_second = [at("b", 5, 2), at("c", 5, 3), at("a", 5, 1)]
    assert [one.commit for one in in_order(one_second)] == ["a", "b", "c"]
    odd = [at("newest", 0, 4), at("first", 5, 1), at("from 2100", 4_102_444_800, 2), at("third", 6, 3)]
    assert [one.commit for one in in_order(odd)] == ["first", "from 2100", "third", "newest"]
    mixed = [at("unknown later", 7), at("b", 6, 2), at("unknown", 5), at("a", 5, 1), at("c", 8, 3)]
    order = ["a", "unknown", "b", "unknown later", "c"]
    assert [one.commit for one in in_order(mixed)] == order
    assert [one.commit for one in in_order(mixed[::-1])] == order


def test_commits_with_one_position_are_in_the_order_of_their_times():
    """Of two repositories, say."""
    early, late = (
        Point(name, time, 1.0, None, None, None, None, position=1) for name, time in (("a", 10), ("b", 20))
    )
    assert in_order([late, early]) == [early, late]


def test_the_position_is_that_of_the_saved_run():
    runs = [saved(commit=name, position=position) for name, position in (("x", 2), ("y", 1))]
    assert [one.commit for one in series_of(runs)[0].points] == ["y", "x"]


def test_what_is_compared():
    delay = next(one for one in series_of([saved(AB)]) if one.key.type == "NET_DELAY")
    (error,) = (
        one for one in series_of([saved(ERROR, metric="error")]) if one.key.type == ERROR.types[0].type
    )
    assert delay.points[0].ratio == AB.types[0].comparison.ratio
    assert error.points[0].value == ERROR.types[0].error.max_absolute
    assert error.points[0].ratio is None


def test_without_a_control_the_values_are_the_levels():
    points = [Point("a", 0, 5.0), Point("b", 1, float("nan")), Point("c", 2, 6.0)]
    found = levels(points)
    assert (found.values, found.links, found.is_ratio) == ((5.0, 6.0), (), False)
    assert [one.commit for one in found.points] == ["a", "c"]


def test_where_the_newest_has_a_ratio_those_without_one_are_left_out():
    found = levels([Point("c8", 8, 5.0), point(10, 1.5, 9), point(11, 1.2, 9)])
    assert found.values == (1.5, 1.2)
    assert found.is_ratio
    assert levels([point(10, 1.5, 9), Point("c11", 11, 5.0)]).values == (100.0, 5.0)


def test_ratios_to_several_controls_become_ratios_to_the_first():
    """A step of a half at c3 is gone from the ratios when c5 is the control, but not from the levels."""
    points = [
        point(1, 1.0, 0),
        point(2, 1.0, 0),
        point(3, 1.5, 0),
        point(4, 1.5, 0),
        point(5, 1.0, 4),  # the first of a week, against its parent
        point(6, 1.0, 5),
        point(7, 2.0, 5),
    ]
    found = levels(points)
    assert found.values == pytest.approx((1.0, 1.0, 1.5, 1.5, 1.5, 1.5, 3.0))
    assert found.links == (4, 5)


def test_impossible_values_are_not_levels():
    values = (0.0, -1.0, 1e99, 1e101, float("inf"), float("nan"))
    assert levels([Point(str(one), 0, one) for one in values]).values == (0.0, 1e99)
    ratios = (0.0, -1.0, 0.5, 1e101, float("inf"), 1.0)
    assert levels([point(number, one, 0) for number, one in enumerate(ratios)]).values == (0.5, 1.0)


def test_ratios_of_ratios_stay_numbers():
    values = levels([point(number, 1e90, number - 1) for number in range(1, 9)]).values
    assert all(value <= 1e100 for value in values)


def test_a_control_of_the_time_of_a_commit_has_its_level():
    points = [point(1, 1.5, 0), Point("c2", 2, 1.0, 1.2, None, "gone", 1)]
    assert levels(points).values == pytest.approx((1.5, 1.8))


def test_a_control_without_a_run_of_its_own_has_the_level_of_the_one_before_it():
    found = levels([point(1, 1.5, 0), point(3, 1.0, 2), point(4, 1.2, 2)])
    assert found.values == pytest.approx((1.5, 1.5, 1.8))
