import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.bounds import (
    DEEPEST_JSON,
    OutOfBoundsError,
    number,
    open_regular,
    parse_json,
    read_file,
    whole_number,
)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    )
)
def test_what_json_can_say_is_read_as_it_is(value):
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "[1e400]", '{"a": ' + "9" * 401 + "}"),
        *("9" * 5000, "1" + "0" * 309, "[" * 5000 + "]" * 5000, "[" * 100_000, '{"a":' * 20_000),
        "[" * (DEEPEST_JSON + 1) + "]" * (DEEPEST_JSON + 1),
    ],
)
def test_what_is_beyond_a_bound_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"too large|nested deeper|is not a JSON number|is not a number"):
        parse_json(text)


@pytest.mark.parametrize("text", ['"\\ud800"', b'"\\udfff"', '{"\\ud83d": 1}', '"\ud800"'])
def test_half_a_character_is_refused(text):
    with pytest.raises(OutOfBoundsError, match="half of a character"):
        parse_json(text)


def test_escaped_characters_are_read():
    assert parse_json('"\\ud83d\\ude00 \\u00e4"') == "\U0001f600 \u00e4"


def test_an_object_can_be_refused():
    def refuse(pairs):
        raise ValueError(f"no {pairs[0][0]}")

    with pytest.raises(ValueError, match=r"^no a$"):
        parse_json('{"a": 1}', make_object=refuse)


def test_nesting_up_to_the_limit_is_read():
    assert parse_json("[" * DEEPEST_JSON + "]" * DEEPEST_JSON)


def test_only_regular_files_within_the_limit_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "file", 5) == b"12345"
    assert read_file(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OutOfBoundsError, match="larger than 4 bytes"):
        read_file(tmp_path / "file", 4)
    for other in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(OutOfBoundsError, match="not a regular file"):
            read_file(other, 5)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, 5)


def test_what_is_refused_is_closed_again(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises((OSError, OutOfBoundsError)):
            open_regular(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("text", "whole", "decimal"),
    [
        *(("12", 12, 12.0), ("-3\n", -3, -3.0), ("9" * 18, 10**18 - 1, 1e18), ("1.5", None, 1.5)),
        *(("9" * 19, None, 1e19), ("9" * 5000, None, None), ("", None, None), ("-", None, None)),
        *(("nan", None, None), ("inf", None, None), ("1e999", None, None), ("\u00b2", None, None)),
        ("--1", None, None),
    ],
)
def test_numbers_in_texts(text, whole, decimal):
    assert whole_number(text) == whole
    assert number(text) == decimal
