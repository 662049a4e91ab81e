"""The table of backends: its cells, its means, its JSON, its picture."""

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarking.errors import ReporterError, UsageError
from benchmarking.reporters import backend_plot, backend_table
from benchmarking.reporters.backend_plot import BackendPlotReporter
from benchmarking.results import documents
from benchmarking.results.model import BackendCell, Comparison, ErrorStatistics, Program
from tests.support.sample_results import (
    DELAY,
    RUNS,
    SAMPLING,
    UNAVAILABLE,
    on_backend,
    on_backends,
    on_device,
    on_frameworks,
)

RESULTS, SUMMARY = RUNS["backends"]


def test_each_device_has_its_table_and_each_test_its_row():
    elsewhere = [on_device(one, "phone", "feed") for one in on_backends("delay-0", 2.0)]
    first, second = backend_table.tables([DELAY, *RESULTS, *elsewhere])
    assert (first.device, second.device) == (DELAY.device.name, "phone")
    assert first.backends == ("default", "nnpack", "onednn", "vulkan", "opengl")
    assert [row.test.identifier for row in first.rows] == ["delay-0", "delay-1", "golden-0"]
    assert list(first.rows[2].entries) == ["default", "nnpack"]
    assert first.unavailable == UNAVAILABLE
    states = {name: entry.state for name, entry in second.rows[0].entries.items()}
    assert states == {
        **dict.fromkeys(("default", "nnpack", "onednn"), "measured"),
        "vulkan": "failed",
        "opengl": "wrong",
    }
    assert backend_table.tables([DELAY]) == []


def test_what_failed_or_answers_wrong_has_no_ratio():
    (table,) = backend_table.tables(RESULTS)
    entries = table.rows[0].entries
    assert entries["nnpack"].ratio.ratio == 1.24
    assert entries["opengl"].ratio is None
    assert entries["opengl"].cell.comparison.ratio == 8.03
    assert table.mean_ratio("nnpack") == pytest.approx(1.24)
    assert table.mean_ratio("opengl") is None


def test_it_says_how_the_backends_were_compared_and_which_by_another_clock():
    by_wall = replace(SAMPLING, clock="wall", clock_reason="2 threads compute")
    clocks = {"nnpack": SAMPLING, "onednn": SAMPLING, "vulkan": by_wall, "opengl": by_wall}
    results = [
        replace(one, sampling=replace(how, canary=""))
        for one in on_backends("delay-0", 1.0)
        for how in [clocks.get(one.test.backend, SAMPLING)]
    ]
    failed = [replace(one, failure=None) if one.test.backend == "opengl" else one for one in results]
    (row,) = backend_table.tables(failed)[0].rows
    assert row.how == [
        "12 blocks of 25 iterations in turn on core 1, 4.2 s, by CPU time: one thread computes all the time",
        "opengl by wall time: 2 threads compute",
    ]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_the_geometric_mean_is_that_of_all_tests_or_there_is_none(ratios):
    results = []
    for number, ratio in enumerate(ratios):
        cell = BackendCell("default", 6)
        results.append(on_backend("default", f"delay-{number}", 10.0, cell))
        compared = replace(cell, comparison=Comparison(6, ratio, None))
        results.append(on_backend("mkl", f"delay-{number}", 10.0 * ratio, compared))
    (table,) = backend_table.tables(results)
    assert table.mean_ratio("mkl") == pytest.approx(math.prod(ratios) ** (1 / len(ratios)))
    assert table.mean_ratio("default") is None
    lacking = on_backend("mkl", "delay-0", 10.0, BackendCell("default", 6))
    (table,) = backend_table.tables([*results, lacking])
    assert table.mean_ratio("mkl") is None


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0042, "0.0042x"), (0.123, "0.12x"), (1.244, "1.24x"), (12.34, "12.3x"), (250.0, "250x")],
)
def test_a_ratio_has_at_least_two_digits(ratio, text):
    assert backend_table.factor(ratio) == text


def test_the_json_has_what_the_table_shows():
    (table,) = backend_table.tables(RESULTS)
    value = json.loads(documents.dumps(backend_table.table_json(table)))
    assert value["reference"] == "default"
    assert [one["name"] for one in value["unavailable"]] == ["cuda", "eigen"]
    row = value["tests"][0]["backends"]
    assert row["nnpack"]["ratio"] == 1.24
    assert row["nnpack"]["ratio_low"] < 1.24 < row["nnpack"]["ratio_high"]
    assert (row["nnpack"]["own_operators"], row["nnpack"]["operators"]) == (1, 7)
    assert row["nnpack"]["max_absolute_error"] == 2.1e-6
    assert (row["opengl"]["state"], row["opengl"]["ratio"]) == ("wrong", None)
    assert row["vulkan"]["reason"].endswith("no GPU answers")


def test_frameworks_are_columns_of_the_same_row_and_what_computes_in_less_is_marked(tmp_path):
    results = RUNS["frameworks"][0]
    (table,) = backend_table.tables(results)
    assert table.backends == ("onnxruntime/default", "openvino/f32", "openvino/bf16")
    assert (len(table.rows), table.reference) == (1, "onnxruntime/default")
    value = json.loads(documents.dumps(backend_table.table_json(table)))
    assert [one["name"] for one in value["unavailable"]] == ["litert"]
    row = value["tests"][0]["backends"]
    coarse = row["openvino/bf16"]
    assert (coarse["framework"], coarse["backend"]) == ("openvino", "bf16")
    assert (coarse["precision"], coarse["less_precise_than"]) == ("bf16", "f32")
    assert row["openvino/f32"]["less_precise_than"] is None
    assert (coarse["state"], coarse["load_us"], coarse["first_us"]) == ("measured", 41_200.0, 1846.4)
    assert (coarse["peak_bytes"], coarse["p90"] > coarse["p50"]) == (121_634_816, True)
    content = drawn(tmp_path / "m.svg", results)
    texts = [one.text for one in ElementTree.fromstring(content).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("bf16, not f32") == 1


def test_tests_with_other_references_are_in_one_table():
    first, second = on_frameworks("delay-0")[:2], on_frameworks("delay-1")[1:]
    moved = [replace(one, cell=replace(one.cell, reference="openvino/f32")) for one in second]
    (table,) = backend_table.tables([*first, *moved])
    assert table.reference == "the reference"
    assert [[entry.is_reference for entry in row.entries.values()] for row in table.rows] == [
        [True, False],
        [True, False],
    ]


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_the_worst_error_is_never_hidden_by_a_smaller_one(worst):
    def error(size):
        return ErrorStatistics(1, size, size, size, 0.0)

    cell = BackendCell("default", 1, errors={"a": error(1.0), "b": error(worst), "c": error(2.0)})
    assert str(cell.max_absolute_error) == str(cell.max_relative_error) == str(worst)


def test_how_many_operators_were_the_backends_own():
    def told(**facts):
        program = Program(facts=facts)
        return backend_table.share(on_backend("x", "0", None, BackendCell("x", 1), program=program))

    assert told() == ""
    assert told(backend_operators=3) == ""
    assert told(backend_operators=3, operators=5) == "3 of 5"


def drawn(path, results):
    reporter = BackendPlotReporter(path)
    for one in results:
        reporter.report(one)
    reporter.finish(SUMMARY)
    return path.read_bytes()


def test_the_picture_of_an_earlier_run_is_gone_before_the_first_test(tmp_path):
    drawn(tmp_path / "m.svg", RESULTS)
    BackendPlotReporter(tmp_path / "m.svg").begin()
    assert not (tmp_path / "m.svg").exists()


def test_the_picture_shows_the_same_as_the_table(tmp_path):
    content = drawn(tmp_path / "m.svg", RESULTS)
    texts = [one.text for one in ElementTree.fromstring(content).iter("{http://www.w3.org/2000/svg}text")]
    assert any((one or "").endswith(", below 1 is faster") and len(one) < 50 for one in texts)  # not cut off
    for shown in ("reference", "1.24x", "[1.20, 1.29]", "error 2.1e-06", "1 of 7 operators", "15.6 ms"):
        assert shown in texts
    assert (texts.count("WRONG"), texts.count("failed")) == (2, 2)
    assert texts.count("not available") == 3 * len(UNAVAILABLE) + 3
    assert texts.count("cuda") == 1
    assert content == drawn(tmp_path / "again.svg", RESULTS)


def test_the_picture_of_any_names(tmp_path):
    content = drawn(tmp_path / "m.png", RUNS["nasty_backends"][0])
    assert content.startswith(b"\x89PNG")
    ElementTree.fromstring(drawn(tmp_path / "m.svg", RUNS["nasty_backends"][0]))


def test_faster_is_blue_slower_is_red_and_the_same_is_white():
    limit = math.log2(backend_plot.LEAST_SPREAD)
    colour_of = backend_plot.colours(limit)
    red, _, blue = colour_of(0.6)
    assert blue > red
    red, _, blue = colour_of(1.7)
    assert red > blue
    assert min(colour_of(1.0)) > 0.95
    assert colour_of(1000.0) == colour_of(backend_plot.LEAST_SPREAD)


def test_a_table_that_cannot_be_drawn_is_reported(tmp_path):
    with pytest.raises(UsageError, match="--plot"):
        BackendPlotReporter(tmp_path / "missing/m.svg")
    with pytest.raises(ReporterError, match="nothing to draw"):
        drawn(tmp_path / "m.svg", [DELAY])
    many = [on_backend("x", str(number), 1.0, BackendCell("x", 1)) for number in range(151)]
    with pytest.raises(ReporterError, match="151 tests"):
        drawn(tmp_path / "m.svg", many)
    assert list(tmp_path.iterdir()) == []
