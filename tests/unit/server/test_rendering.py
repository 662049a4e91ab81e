"""Whatever results contain is text on a page, in JSON and in a table."""

import csv
import io
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.server.pages.rendering import (
    Links,
    amount,
    csv_text,
    data_block,
    direction,
    environment,
    outside_link,
    render,
)

HOSTILE = "<script>alert(1)</script>\" onload='x' \x1b[31m\u202etxt"


@dataclass(frozen=True)
class Inner:
    sha: str


@dataclass(frozen=True)
class Row:
    name: str
    value: float | None
    inner: Inner = field(default_factory=lambda: Inner("a"))
    several: tuple[str, ...] = ()


def test_every_value_is_escaped_and_on_one_line():
    shown = environment().from_string('<p title="{{ one }}">{{ one }}</p>').render(one=HOSTILE)
    assert "<script>" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count('"') == 2


def test_lines_stay_lines():
    assert environment().from_string("{{ one|lines }}").render(one="a<\nb") == "a&lt;\nb"


def test_nothing_is_shown_as_nothing():
    assert environment().from_string("[{{ one }}]").render(one=None) == "[]"


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_data_survives_in_a_script_element_that_no_text_can_end(value):
    block = str(data_block(value))
    assert not {"<", ">", "&"} & set(block)
    assert json.loads(block) == value


def test_an_error_page_shows_the_message_as_text():
    page = render("error.html", Links(), heading=HOSTILE, message=HOSTILE)
    assert "<script>alert" not in page


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_a_cell_is_no_formula(text):
    rows = list(csv.DictReader(io.StringIO(csv_text([Row(text, -1.5)]))))
    assert not rows[0]["name"].lstrip().startswith(("=", "+", "-", "@"))
    assert float(rows[0]["value"]) == -1.5


def test_parts_of_a_row_are_columns():
    text = csv_text([Row("a", None, Inner("f00"), ("x", "y"))])
    assert text.splitlines() == ["name,value,inner_sha,several", "a,,f00,x; y"]
    assert csv_text([]).strip() == ""


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.org/1", "https://example.org/1"),
        ("http://example.org", "http://example.org"),
        ("javascript:alert(1)", ""),
        (" JaVaScRiPt:alert(1)", ""),
        ("data:text/html,x", ""),
        ("//example.org", ""),
        ("https://[", ""),
        (None, ""),
    ],
)
def test_links_lead_to_the_web(address, shown):
    assert outside_link(address) == shown


def test_addresses_are_below_the_prefix_of_a_proxy_and_quoted():
    links = Links("/benchmarks")
    assert links.page("matrix", device="", model="a&b") == "/benchmarks/matrix?model=a%26b"
    assert links.series("../x") == "/benchmarks/series/..%2Fx"
    assert links.static("pages.css").startswith("/benchmarks/static/pages.css?v=")


def test_amounts_and_directions():
    assert amount(1234.5, "us") == "1.23 ms"
    assert amount(12.0, "us") == "12.0 µs"
    assert amount(None, "us") == ""
    assert amount(0.00012345, "") == "0.000123"
    assert [direction(one) for one in (1.1, 0.9, 1.0, None)] == ["slower", "faster", "", ""]
    assert direction(1.1, lower_is_better=False) == "faster"


def test_a_page_fills_no_block_that_its_base_lacks():
    """What is in such a block would be shown nowhere."""
    known = environment().get_template("base.html").blocks.keys()
    for name in environment().list_templates(extensions=["html"]):
        template = environment().get_template(name)
        if template.blocks and name != "base.html":
            assert template.blocks.keys() <= known, name
