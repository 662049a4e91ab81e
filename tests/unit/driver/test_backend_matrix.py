"""Which backends a device has, and whether two answers are the same."""

import time
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarking.driver import metrics
from benchmarking.driver.arms import ReadyArm
from benchmarking.driver.backend_matrix import LOOKS, _Enough, _explained
from benchmarking.driver.lineup import choose, of_engine
from benchmarking.driver.plan import ManyBackends
from benchmarking.errors import CaseError, ProgramError, ToleranceError
from benchmarking.frameworks.framework_base import BackendStatus
from benchmarking.programs.workers import NoWorkersError

STATUSES = (
    BackendStatus("eigen", available=False, reason="no Caffe2", engine="torch"),
    BackendStatus("nnpack", available=True, engine="torch"),
    BackendStatus("default", available=True, engine="torch"),
    BackendStatus("nnpack", available=False, reason="no Caffe2", engine="native"),
    BackendStatus("cuda", available=False, reason="no CUDA here", engine="torch"),
    BackendStatus("cuda", available=False, reason="no Caffe2", engine="native"),
    BackendStatus("mkl", available=False, engine="torch"),
)


def test_all_are_those_that_one_of_the_engines_has():
    found = choose(ManyBackends(), STATUSES)
    assert (found.chosen, found.reference, found.missing) == (("nnpack", "default"), "default", {})
    assert found.unavailable == {
        "eigen": "no Caffe2",
        "cuda": "engine torch: no CUDA here; engine native: no Caffe2",
        "mkl": "the program gives no reason",
    }


def test_a_test_that_names_an_engine_has_the_backends_of_that_engine_only():
    statuses = (*STATUSES, BackendStatus("mine", available=True))
    assert of_engine(ManyBackends(), statuses, None).chosen == ("nnpack", "default", "mine")
    of_torch = of_engine(ManyBackends(), statuses, "torch")
    assert of_torch.chosen == ("nnpack", "default", "mine")
    assert of_torch.unavailable["cuda"] == "no CUDA here"
    assert of_engine(ManyBackends(), statuses, "native").chosen == ("mine",)  # of a program without engines
    with pytest.raises(ProgramError, match="none on this device: nnpack: no Caffe2"):
        of_engine(ManyBackends(), STATUSES, "native")
    named = of_engine(ManyBackends(("nnpack", "default")), STATUSES, "native")
    assert named.missing == {"nnpack": "no Caffe2"}
    assert of_engine(ManyBackends(("a", "b")), None, "native").chosen == ("a", "b")


def test_without_a_default_the_first_is_the_reference():
    assert choose(ManyBackends(), STATUSES[:2]).reference == "nnpack"
    assert choose(ManyBackends(("mkl", "x")), ()).reference == "mkl"


def test_what_was_named_runs_unless_it_is_known_to_be_missing():
    found = choose(ManyBackends(("cuda", "unheard-of", "nnpack")), STATUSES)
    assert found.chosen == ("cuda", "unheard-of", "nnpack")
    assert found.missing == {"cuda": "engine torch: no CUDA here; engine native: no Caffe2"}
    assert found.unavailable == {}


def test_a_missing_reference_is_reported_like_a_named_backend():
    found = choose(ManyBackends(reference="cuda"), STATUSES)
    assert (found.chosen, found.reference) == (("cuda", "nnpack", "default"), "cuda")
    assert found.missing == {"cuda": "engine torch: no CUDA here; engine native: no Caffe2"}
    assert "cuda" not in found.unavailable
    assert "it has nnpack, default" in choose(ManyBackends(reference="x"), STATUSES).missing["x"]


def test_no_backend_at_all():
    with pytest.raises(ProgramError, match="none on this device: eigen: no Caffe2"):
        choose(ManyBackends(), STATUSES[:1])
    with pytest.raises(ProgramError, match="lists none at all"):
        choose(ManyBackends(), ())


def check(output, expected, fraction=1e-3):
    outputs, golden = ({"out": np.asarray(one, np.float64)} for one in (output, expected))
    metrics.check_answer(outputs, golden, fraction, "the reference's")


VALUES = arrays.arrays(
    np.float64,
    st.integers(1, 20),
    elements=st.floats(-1e6, 1e6).filter(lambda one: abs(one) > 1e-9 and one != round(one)),
)


@given(VALUES, st.floats(1e-6, 0.1), st.data())
def test_an_answer_is_right_up_to_the_tolerance_and_wrong_beyond(expected, fraction, data):
    allowed = fraction * np.abs(expected).max()
    index = data.draw(st.integers(0, expected.size - 1))
    near, far = expected.copy(), expected.copy()
    near[index] += 0.99 * allowed
    far[index] -= 1.01 * allowed
    check(expected, expected, fraction)
    check(near, expected, fraction)
    with pytest.raises(ToleranceError, match=f"the worst is number {index}: "):
        check(far, expected, fraction)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([0.5, np.nan], [0.5, 1.0]),
        ([0.5, np.inf], [0.5, 1.0]),
        ([0.5, 1.0], [0.5, np.nan]),
        ([0.5, 1.0], [0.5, np.inf]),
        ([0.5, -np.inf], [0.5, np.inf]),
        ([1.1e-8], [0.0]),
        ([-1.0, 0.0], [0.0, 0.0]),
        ([np.nan], [0.0]),
        ([0.0, 1e-12], [np.inf, 1e-20]),  # such small values are no rounding errors of themselves
        ([3.0], [4.0]),
        ([99.0], [100.5]),
        ([98.0, 255.0], [100.0, 255.0]),
    ],
)
def test_wrong_answers(output, expected):
    with pytest.raises(ToleranceError):
        check(output, expected)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([0.5, np.nan, np.inf], [0.5, np.nan, np.inf]),
        ([0.0], [0.0]),
        ([1e-12, -0.9e-8], [0.0, 0.0]),  # as of a ReLU that lets nothing pass
        ([1e-12, np.nan], [1e-300, np.nan]),
        ([99.0, 255.0], [100.0, 254.0]),
    ],
)
def test_right_answers(output, expected):
    check(output, expected)


def test_whoever_allows_no_deviation_gets_none_from_zeros_either():
    check([0.0], [0.0], fraction=0.0)
    with pytest.raises(ToleranceError):
        check([1e-12], [0.0], fraction=0.0)


def test_another_number_of_values():
    outputs, expected = {"out": np.zeros(1)}, {"out": np.zeros(2)}
    with pytest.raises(CaseError) as caught:
        metrics.answer_errors(outputs, expected, "the backend default's")
    assert str(caught.value) == "the output 'out' has 1 values, but the backend default's has 2"
    for arms in ((outputs, {}), (expected, outputs)):
        with pytest.raises(CaseError) as caught:
            metrics.error_results(*arms, expected, {"out": "/models/\x1b[31mgolden.txt"})
        assert str(caught.value) == (
            "the output 'out' has 1 values, but the golden file /models/?[31mgolden.txt has 2"
        )


def blocks_taken(enough, **scatter):
    """How many a comparison takes in which the log ratios of each arm scatter by so much."""
    random = Random(1)
    taken = 1
    while not enough({arm: {"NET_DELAY": random.gauss(0, how)} for arm, how in scatter.items()}):
        taken += 1
    return taken


@pytest.mark.parametrize(
    ("scatter", "taken"),
    [({"a": 0.001, "b": 0.001}, 6), ({"a": 0.001, "b": 0.1}, 12), ({}, 6), ({"a": float("nan")}, 6)],
)
def test_a_comparison_takes_as_many_blocks_as_make_all_its_ratios_exact(scatter, taken):
    assert blocks_taken(_Enough(12, "phone", LOOKS, 60.0), **scatter) == taken


def test_a_comparison_ends_with_its_time_but_not_before_its_intervals_can_cover_95_percent():
    assert blocks_taken(_Enough(12, "phone", LOOKS, 0.0), a=0.1) == LOOKS[0]


def test_a_number_of_blocks_that_was_asked_for_is_taken():
    assert blocks_taken(_Enough(3, "phone"), a=0.1) == 3
    assert blocks_taken(_Enough(20, "phone"), a=0.0) == 20


def test_news_come_ever_later(monkeypatch, caplog):
    caplog.set_level("INFO")
    now = iter([0.0, 9.9, 10.0, 14.9, 15.0, 22.4, 22.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    enough = _Enough(7, "phone")
    for _ in range(6):
        enough({"a": [0.1]})
    assert [record.getMessage() for record in caplog.records] == [
        f"  phone: {done} of 7 blocks after {elapsed_s:.0f} s"
        for done, elapsed_s in ((2, 10.0), (4, 15.0), (6, 22.5))
    ]


class Arm(ReadyArm):
    """Of which only a whole process runs, and may fail."""

    def __init__(self, error=None):
        object.__setattr__(self, "error", error)

    def run(self):
        if self.error is not None:
            raise self.error


def test_a_program_that_fails_anyway_is_not_blamed_for_being_no_worker():
    no_workers, crash, other = NoWorkersError("no worker"), ProgramError("it crashes"), CaseError("other")
    assert _explained(Arm(crash), no_workers) is crash
    assert _explained(Arm(crash), other) is other
    with pytest.raises(NoWorkersError) as caught:
        _explained(Arm(), no_workers)
    assert caught.value is no_workers
