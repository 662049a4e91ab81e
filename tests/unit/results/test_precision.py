"""How precisely programs compute, and what follows for their answers."""

import pytest

from benchmarking.results import precision


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("f32", "f32"),
        ("bf16+f32", "bf16"),
        ("int8+bf16", "int8"),
        ("as in the model", ""),
        ("", ""),
        (16, ""),
        (None, ""),
    ],
)
def test_the_least_precise_of_those_that_are_reported_counts(told, known):
    assert precision.of({"precision": told}) == known
    assert precision.of({}) == ""


def test_what_is_less_precise_is_known_only_of_what_is_reported():
    assert precision.is_less("bf16", "f32")
    assert precision.is_less("bf16", "f16")
    assert not precision.is_less("f32", "f32")
    assert not precision.is_less("", "f32")
    assert precision.most_precise(["bf16", "", "int8"]) == "f32"
    assert precision.most_precise(["bf16", "int8"]) == "bf16"
    assert precision.most_precise(["f64", "f32"]) == "f64"


def test_the_tolerance_is_that_of_the_less_precise_of_two():
    assert precision.tolerance("f32", "bf16") == precision.tolerance("bf16", "") == 0.05
    assert precision.tolerance("", "") == 0.001
