import json
import math
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from benchmarking.cli.argument_types import exports
from benchmarking.errors import ExitStatus, ReporterError
from benchmarking.records.series import series_of
from benchmarking.reporters.exports import (
    FORMATS,
    LONGEST_NAME,
    Exported,
    ExportReporter,
    content,
    of_results,
    of_series,
    write,
)
from benchmarking.reporters.reporter_base import RunSummary
from benchmarking.reporters.settings import EXPORT_FORMATS, Export
from benchmarking.results.model import Interval
from tests.support import golden
from tests.support.sample_results import (
    AB,
    DELAY,
    ERROR,
    FAILED,
    FELL_BACK,
    JUDGED,
    NASTY,
    NOT_CONFIRMED,
    VERIFIED,
    having,
)

BENCHER_SCHEMA = {
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {
                        key: {"type": "number"} for key in ("value", "lower_value", "upper_value")
                    },
                    "required": ["value"],
                }
            },
        }
    },
}
GITHUB_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            **{key: {"type": "string"} for key in ("name", "unit", "range", "extra")},
            "value": {"type": "number"},
        },
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
INTERVAL = Interval(12400.0, 12800.0, 0.95)
RESULTS = (
    having(
        DELAY,
        types=(replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, median_interval=INTERVAL)),),
    ),
    JUDGED,
    VERIFIED,
    FELL_BACK,
    ERROR,
    FAILED,
    replace(NASTY, failure=None),
)


def read(kind, text):
    """What the other program understands.

    Raises:
        Exception: it does not.
    """
    if kind == "open_metrics":
        assert text.endswith("# EOF\n")
        families = text_string_to_metric_families(text)
        return [sample.value for family in families for sample in family.samples]
    document = json.loads(text)
    validate(document, BENCHER_SCHEMA if kind == "bencher" else GITHUB_SCHEMA)
    if kind == "bencher":
        return [measure["value"] for one in document.values() for measure in one.values()]
    return [one["value"] for one in document]


SUFFIXES = {"open_metrics": "txt"}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_files(kind):
    text = content(kind, of_results(RESULTS)).decode()
    assert read(kind, text)
    golden.check(text, f"reporters/export_{kind}.{SUFFIXES.get(kind, 'json')}")


def test_a_test_that_failed_after_it_was_measured_is_left_out():
    assert of_results([replace(DELAY, failure=FAILED.failure)]) == []


def test_the_verdict_is_that_of_both_stages():
    """The numbers are those of the first, which measured everything."""
    second = having(NOT_CONFIRMED, identifier=JUDGED.test.identifier)
    (alone,), (verified,) = of_results([JUDGED]), of_results([JUDGED, second])
    assert alone.note.startswith("regressed: +3.11 %")
    assert verified.note.startswith("inconclusive: not confirmed")
    assert replace(verified, note="") == replace(alone, note="")


def test_an_error_that_is_gone_has_a_ratio():
    (entry,) = json.loads(content("github_action_benchmark", [Exported({"net": "a"}, "", 0.0, ratio=0.0)]))
    assert entry["extra"] == "treatment/control 0"


def test_every_format_can_be_chosen():
    assert set(EXPORT_FORMATS) == set(FORMATS)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_file_is_valid_at_any_time(tmp_path, kind):
    file = tmp_path / "file"
    reporter = ExportReporter(Export(kind, file))
    reporter.begin()
    counts = [len(read(kind, file.read_text()))]
    for result in (DELAY, FAILED, AB):
        reporter.report(result)
        reporter.save()
        counts.append(len(read(kind, file.read_text())))
    reporter.finish(RunSummary(ExitStatus.OK, 1.0))
    assert counts[:3] == [0, 1, 1]
    assert counts[3] == (3 if kind == "open_metrics" else 2)
    assert reporter.destination == f"{kind} in {file}"


@pytest.mark.parametrize("kind", FORMATS)
def test_values_that_are_not_finite_are_left_out(kind):
    values = [
        Exported({"net": name}, "us", value) for name, value in (("a", math.nan), ("b", math.inf), ("c", 1.0))
    ]
    assert len(read(kind, content(kind, values).decode())) == 1


@given(
    st.lists(
        st.builds(
            Exported,
            st.dictionaries(
                st.sampled_from(("net", "test", "type", "device", "framework", "backend")),
                st.text(),
                min_size=1,
            ),
            st.sampled_from(("us", "")),
            st.floats(),
            ratio=st.none() | st.floats(),
            note=st.text(),
        ),
        max_size=5,
    ),
    st.sampled_from(sorted(FORMATS)),
)
def test_any_text_and_any_number(values, kind):
    read(kind, content(kind, values).decode())


def test_names_are_not_too_long_for_bencher():
    (name,) = json.loads(content("bencher", [Exported({"net": "x" * 5000}, "us", 1.0)]))
    assert len(name) == LONGEST_NAME


def test_the_newest_commit_of_each_series():
    older = having(
        DELAY,
        types=(replace(DELAY.types[0], summary=replace(DELAY.types[0].summary, p50=1.0)),),
        commit_time=1,
    )
    (one,) = of_series(series_of([having(DELAY, types=DELAY.types[:1]), older]))
    assert one.value == DELAY.types[0].summary.p50


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(ReporterError, match="--export: cannot write"):
        write([Export("bencher", tmp_path / "none/x")], [])


def test_the_option(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert exports("bencher:~/b.json, open_metrics:a:b") == (
        Export("bencher", Path("/home/ann/b.json")),
        Export("open_metrics", Path("a:b")),
    )


@pytest.mark.parametrize("text", ["", "bencher", "bencher:", "benchr:x", "bencher:x,", "bencher=x"])
def test_what_is_no_export(text):
    with pytest.raises(ArgumentTypeError):
        exports(text)
