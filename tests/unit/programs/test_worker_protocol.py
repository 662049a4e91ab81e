"""Reading the answers of programs, valid and invalid."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarking.bounds import LONGEST_WARNING, MOST_WARNINGS
from benchmarking.errors import ProgramError, ProgramOutputError
from benchmarking.programs.worker_protocol import (
    IterationSample,
    OperatorTimes,
    WorkerEnded,
    WorkerError,
    WorkerForks,
    WorkerReady,
    read,
    read_as,
)

COUNT = st.integers(0, 2**63)
TIME = st.integers(0, 2**53) | st.floats(0, 1e15)
FACTS = st.dictionaries(
    st.text(), st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.floats(-1e9, 1e9)
)
LATER = st.dictionaries(st.text().map(lambda name: f"later {name}"), st.integers() | st.text())
"""Keys that a later protocol may add."""

SAMPLES = st.fixed_dictionaries(
    {"wall_ns": st.floats(min_value=1e-3, max_value=1e15) | st.integers(1, 2**53)},
    optional={
        "cpu_ns": TIME | st.none(),
        "involuntary_switches": COUNT | st.none(),
        "run_delay_ns": TIME | st.none(),
        "operators": st.dictionaries(st.text(), TIME),
    },
)
READY = st.fixed_dictionaries(
    {"protocol": st.just(1), "ready": st.just(True)},
    optional={
        "pid": st.integers(0, 2**31 - 1),
        "rss_bytes": COUNT | st.none(),
        "wall_resolution_ns": TIME,
        "cpu_resolution_ns": TIME,
        "operators": st.lists(st.text()),
        "operators_later": st.booleans(),
        "peak_rss_bytes": COUNT | st.none(),
        "load_ns": TIME | st.none(),
        "first_ns": TIME | st.none(),
        "facts": FACTS,
        "warnings": st.lists(st.text()),
        "kernels": st.dictionaries(
            st.text(), st.fixed_dictionaries({"kernel": st.text(), "own": st.booleans()})
        ),
        "costs": st.dictionaries(
            st.text(), st.fixed_dictionaries({"parameters": COUNT, "flops": COUNT, "bytes": COUNT})
        ),
    },
)


@given(SAMPLES, LATER)
def test_a_sample_is_what_was_written(sample, later):
    answer = read_as(json.dumps({**sample, **later}), IterationSample)
    assert answer.model_dump(exclude_unset=True) == sample
    for name in ("cpu_ns", "involuntary_switches", "run_delay_ns", "operators"):
        assert getattr(answer, name) == sample.get(name)


@given(READY, LATER)
def test_ready_is_what_was_written(ready, later):
    answer = read_as(json.dumps({**ready, **later}).encode() + b"\r\n", WorkerReady)
    assert answer.model_dump(exclude_unset=True) == ready


def test_the_other_answers():
    assert read('{"protocol": 1, "forks": true, "pid": 7}') == WorkerForks(protocol=1, forks=True, pid=7)
    assert read('{"ended": true}') == WorkerEnded(ended=True)
    assert read('{"operators": {"a": [1, 2.5]}}') == OperatorTimes(operators={"a": [1, 2.5]})
    assert read('{"protocol": 1, "error": "no"}') == WorkerError(error="no")
    assert read('{"ready": true, "error": "no"}') == WorkerError(error="no")


def test_answers_cannot_be_changed():
    sample = read('{"wall_ns": 5}')
    with pytest.raises(ValueError, match="frozen"):
        sample.wall_ns = 6


@given(st.text() | st.binary())
@example("[" * 100_000)
@example('{"wall_ns": ' + "9" * 5000 + "}")
def test_anything_is_an_answer_or_garbage_with_evidence(line):
    try:
        read(line)
    except ProgramOutputError as error:
        assert "\n" not in str(error)
        assert error.evidence.startswith("--- its answer ---\n")
        assert len(error.evidence) < 1100


@pytest.mark.parametrize(
    "line",
    [
        *("", "[]", "7", "null", "{}", "{", '{"wall_ns": 5} {"wall_ns": 5}', '{"run": true}'),
        *('{"wall_ns": 0}', '{"wall_ns": -1}', '{"wall_ns": "5"}', '{"wall_ns": true}', '{"wall_ns": null}'),
        *('{"wall_ns": NaN}', '{"wall_ns": Infinity}', '{"wall_ns": 1e999}'),
        *('{"wall_ns": 1e19}', '{"wall_ns": 1e-320}', '{"wall_ns": ' + "9" * 400 + "}"),
        '{"wall_ns": 5, "involuntary_switches": ' + "9" * 30 + "}",
        *('{"wall_ns": 5, "operators": {"\\ud800": 1}}', '{"error": "\\ud800"}'),
        *(
            '{"protocol": 1, "ready": true, "pid": 2147483648}',
            '{"protocol": 1, "forks": true, "pid": 1e400}',
        ),
        '{"protocol": 1, "ready": true, "facts": {"x": ' + "9" * 400 + "}}",
        '{"protocol": 1, "ready": true, "facts": {"x": 1e999}}',
        '{"wall_ns": 5, "later": ' + "[" * 300 + "]" * 300 + "}",
        *('{"wall_ns": 5, "cpu_ns": -1}', '{"wall_ns": 5, "cpu_ns": false}'),
        *('{"wall_ns": 5, "involuntary_switches": 0.5}', '{"wall_ns": 5, "operators": {"a": "x"}}'),
        *('{"wall_ns": 5, "operators": ["a"]}', '{"protocol": 2, "ready": true}', '{"ready": true}'),
        *('{"protocol": 1, "ready": false}', '{"protocol": 1}'),
        '{"protocol": 1, "ready": true, "kernels": {"ID_0_Conv_c": {"kernel": "gemm"}}}',
        '{"protocol": 1, "ready": true, "costs": {"NET_DELAY": {"parameters": 1, "flops": -2, "bytes": 3}}}',
        *('{"ended": false}', '{"error": 3}', '{"protocol": 1, "forks": "yes"}'),
        "[I observer.cc:1] Caffe2Observer NET_DELAY - 5 (us)",
    ],
)
def test_garbage(line):
    with pytest.raises(ProgramOutputError, match="does not follow the worker protocol") as caught:
        read(line)
    assert line[:1000] in caught.value.evidence


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"error": "\x1b[31m\n\u202e" * 1000}),
        json.dumps({"wall_ns": 5, "operators": {"\x1b[31m\n\u202e" * 1000: "x"}}),
        json.dumps({"protocol": 1, "ready": True, "facts": {"x": 10**40}}),
    ],
)
def test_the_message_about_an_answer_is_one_short_line_without_control_characters(line):
    with pytest.raises(ProgramError) as caught:
        read_as(line, IterationSample)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100


def test_another_answer_than_the_one_that_is_expected():
    with pytest.raises(ProgramOutputError, match="WorkerEnded instead of IterationSample"):
        read_as('{"ended": true}', IterationSample)
    with pytest.raises(ProgramError, match="the program reports: out of paper") as caught:
        read_as('{"error": "out of paper"}', IterationSample)
    assert not isinstance(caught.value, ProgramOutputError)
    assert "out of paper" in caught.value.evidence


READY_LEAST = {"protocol": 1, "ready": True}


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("pid", 0, 2**31 - 1),
        ("rss_bytes", 0, 2**64 - 1),
        ("peak_rss_bytes", 0, 2**64 - 1),
        ("load_ns", 0, 10**18),
        ("first_ns", 0, 10**18),
        ("wall_resolution_ns", 0, 10**18),
    ],
)
def test_numbers_have_bounds(name, least, most):
    for value in (least, most):
        assert getattr(read(json.dumps({**READY_LEAST, name: value})), name) == value
    for value in (least - 1, most + (1 if isinstance(most, int) and most != 10**18 else 1000)):
        with pytest.raises(ProgramOutputError, match=name):
            read(json.dumps({**READY_LEAST, name: value}))


@pytest.mark.parametrize("value", [1 - 2**64, 2**64 - 1, True, "x", None, 0.5])
def test_what_a_fact_may_be(value):
    assert read(json.dumps({**READY_LEAST, "facts": {"a": value}})).facts == {"a": value}


@pytest.mark.parametrize("value", [[], {}, [1]])
def test_what_no_fact_is(value):
    with pytest.raises(ProgramOutputError, match="facts"):
        read(json.dumps({**READY_LEAST, "facts": {"a": value}}))


@pytest.mark.parametrize(("wall_ns", "is_one"), [(1e-3, True), (9e-4, False), (1e18, True), (2e18, False)])
def test_how_long_an_iteration_may_be(wall_ns, is_one):
    line = json.dumps({"wall_ns": wall_ns})
    if is_one:
        assert read(line).wall_ns == wall_ns
    else:
        with pytest.raises(ProgramOutputError, match="wall_ns"):
            read(line)


def test_what_a_program_leaves_out():
    ready = read(json.dumps(READY_LEAST))
    assert ready.model_dump() == {
        **READY_LEAST,
        **dict.fromkeys(("pid", "rss_bytes", "peak_rss_bytes", "load_ns", "first_ns")),
        **dict.fromkeys(("wall_resolution_ns", "cpu_resolution_ns")),
        "operators": [],
        "operators_later": False,
        "facts": {},
        "kernels": {},
        "costs": {},
        "warnings": [],
    }
    assert (ready.start_facts, ready.shown_warnings) == ({}, ())
    some = {**READY_LEAST, "load_ns": 1.5, "first_ns": 0.0, "warnings": ["a\x1b", "b" * 5000] + ["c"] * 1000}
    ready = read(json.dumps(some))
    assert ready.start_facts == {"load_ns": 1.5, "first_ns": 0.0}
    assert ready.shown_warnings[:2] == ("a?", "b" * LONGEST_WARNING)
    assert len(ready.shown_warnings) == MOST_WARNINGS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "not a JSON object"),
        ("{}", "without any of error, ready, forks, ended, wall_ns, operators"),
        (
            '{"wall_ns": 0, "cpu_ns": -1}',
            (
                "wall_ns: Input should be greater than or equal to 0.001; "
                "cpu_ns: Input should be greater than or equal to 0"
            ),
        ),
        ('{"ended": true}', "WorkerEnded instead of WorkerReady"),
    ],
)
def test_what_is_said_of_another_answer(line, message):
    with pytest.raises(ProgramOutputError) as raised:
        read_as(line, WorkerReady)
    assert str(raised.value) == f"the program's answer does not follow the worker protocol: {message}"
    assert raised.value.evidence == f"--- its answer ---\n{line}"


def test_three_faults_are_enough_and_an_answer_is_shown_in_part():
    many = {"wall_ns": 0, "cpu_ns": -1, "run_delay_ns": -1, "device_ns": -1, "x": "y" * 2000}
    with pytest.raises(ProgramOutputError) as raised:
        read(json.dumps(many))
    assert str(raised.value).count("; ") == 2
    assert len(raised.value.evidence) == len("--- its answer ---\n") + 1000
    with pytest.raises(ProgramOutputError) as raised:
        read(b" \r\n")
    assert raised.value.evidence == "--- its answer ---\n(an empty line)"
    with pytest.raises(ProgramError) as raised:
        read_as(json.dumps({"error": "no\n" + "x" * 2000}), WorkerReady)
    assert str(raised.value) == f"the program reports: no?{'x' * 997}"
