"""Samples as they are stored: small, and exactly what was measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.server import packing
from benchmarking.server.packing import SAMPLES

LARGEST = 2**31 - 1
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
ARRAYS = st.one_of(
    st.lists(st.integers(-(2**33), 2**33), max_size=5),
    st.lists(st.integers(-(2**33), 2**33).map(lambda value: value / 1000), max_size=5),
    st.lists(FLOATS, max_size=5),
)


@given(st.lists(st.lists(ARRAYS, min_size=len(SAMPLES), max_size=len(SAMPLES)), max_size=3))
def test_samples_come_back_as_they_are(samples):
    found = list(packing._unpacked_samples(packing._packed_samples(samples)))
    named = [dict(zip(SAMPLES, arrays, strict=True)) for arrays in samples]
    assert found == [{name: values for name, values in one.items() if values} for one in named]


@pytest.mark.parametrize(
    ("values", "kind", "size"),
    [
        ((), "", 0),
        ((1, LARGEST, -LARGEST), "i", 4),
        ((1, LARGEST + 1), "f", 8),
        ((1, -LARGEST - 1), "f", 8),
        ((0.001, LARGEST / 1000), "n", 4),
        ((0.001, -LARGEST / 1000), "n", 4),
        ((0.001, (LARGEST + 1) / 1000), "f", 8),
        ((0.0001,), "f", 8),
        ((math.pi,), "f", 8),
    ],
)
def test_the_kind_of_an_array(values, kind, size):
    found, content = packing._packed_array(values)
    assert (found, len(content)) == (kind, size * len(values))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.text(max_size=3), "p50": st.floats(0, 1e6, width=32)},
            optional={
                "summary": st.fixed_dictionaries({"p90": st.floats(0, 1e6, width=32), "n": st.integers(0, 9)})
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_rows_come_back_with_seven_digits(rows):
    found = list(packing._rows(packing._columns(rows)))
    assert [{**one, "p50": 0, "summary": one.get("summary", {}).keys()} for one in found] == [
        {**one, "p50": 0, "summary": one.get("summary", {}).keys()} for one in rows
    ]
    for one, other in zip(found, rows, strict=True):
        assert one["p50"] == pytest.approx(other["p50"], rel=1e-6)
        if "summary" in other:
            assert one["summary"]["p90"] == pytest.approx(other["summary"]["p90"], rel=1e-6)
            assert one["summary"]["n"] == other["summary"]["n"]
