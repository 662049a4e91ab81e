import pytest

from benchmarking.server.triage.findings import Located
from benchmarking.server.triage.grouping import Place, Placed, place, worst
from benchmarking.server.triage.life import Indicator, IndicatorKey, Regression, Source

NET, OTHER = IndicatorKey(1, "NET_DELAY"), IndicatorKey(2, "NET_DELAY")


def indicator(key=NET, source=Source.VERDICT, after=1.1):
    return Indicator(key, source, 1.0, after)


def placed(row, commit, *indicators):
    return Placed(row, commit, Regression({one.key: one for one in indicators}))


ADVICE = indicator(source=Source.STEP)
OTHER_ADVICE = indicator(OTHER, Source.STEP)
CREEP = indicator(source=Source.CREEP)

PLACES = {
    "the first of its commit": (Located(10, indicator()), [], Place(None)),
    "of the same commit": (Located(10, indicator()), [placed(1, 10, indicator(OTHER))], Place(1)),
    "a change point near a commit": (
        Located(10, ADVICE, (11, 9)),
        [placed(1, 9, indicator(OTHER))],
        Place(1),
    ),
    "a change point of the same series first": (
        Located(10, ADVICE, (11, 9)),
        [placed(1, 11, indicator(OTHER)), placed(2, 9, indicator())],
        Place(2),
    ),
    "the nearest of two": (
        Located(10, ADVICE, (11, 9, 12)),
        [placed(1, 12, indicator(OTHER)), placed(2, 9, indicator(OTHER))],
        Place(2),
    ),
    "the same commit rather than a near one": (
        Located(10, ADVICE, (11,)),
        [placed(1, 11, indicator()), placed(2, 10, indicator(OTHER))],
        Place(2),
    ),
    "a change point far away": (Located(10, ADVICE, (11, 9)), [placed(1, 7, indicator())], Place(None)),
    "a verdict has its own commit": (
        Located(10, indicator(), (11, 9)),
        [placed(1, 9, indicator(OTHER))],
        Place(None),
    ),
    "a verdict locates advice on its series": (
        Located(10, indicator(), (11, 9)),
        [placed(1, 9, ADVICE, OTHER_ADVICE)],
        Place(1, is_moved=True),
    ),
    "a verdict does not move another verdict": (
        Located(10, indicator(), (11, 9)),
        [placed(1, 9, ADVICE, indicator(OTHER))],
        Place(None),
    ),
    "a creep that grew": (Located(20, CREEP), [placed(1, 10, CREEP)], Place(1)),
    "a creep of another series": (
        Located(20, CREEP),
        [placed(1, 10, indicator(OTHER, Source.CREEP))],
        Place(None),
    ),
    "a step is not a creep": (Located(20, CREEP), [placed(1, 10, ADVICE)], Place(None)),
}


@pytest.mark.parametrize(("located", "known", "expected"), PLACES.values(), ids=PLACES)
def test_where_an_indicator_belongs(located, known, expected):
    assert place(located, known) == expected


def test_the_worst_is_the_largest_change_in_either_direction():
    indicators = [indicator(after=1.1), indicator(OTHER, after=0.5)]
    assert worst(Regression({one.key: one for one in indicators})) == 0.5
    assert worst(Regression()) is None
