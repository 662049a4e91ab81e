"""Documents of results: written, read back, of older and newer versions, and their schema."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from benchmarking.errors import ExitStatus
from benchmarking.records.tree import FAILURES_DIRECTORY, META_FILE, History, Selection
from benchmarking.reporters.json_reporter import JsonReporter
from benchmarking.results import documents
from benchmarking.results.documents import Document, NewerVersionError
from benchmarking.results.model import NET_DELAY, ErrorStatistics, Kernel, Result, TypeResult
from tests.support import golden
from tests.support.sample_results import DELAY, ERROR, RUNS

SAMPLES = Path(__file__).parents[2] / "data" / "results" / "version_1"
"""What the program wrote before results had ids: parts of a real run, and of results made by hand."""
SAMPLE_TREE = SAMPLES / "tree"


def printed(name):
    results, summary = RUNS[name]
    stream = io.StringIO()
    reporter = JsonReporter(stream)
    for result in results:
        reporter.report(result)
    reporter.finish(summary)
    return stream.getvalue()


def written(value):
    view = {
        Document: documents.document_json,
        Result: documents.result_json,
        TypeResult: documents.type_json,
    }[type(value)]
    return json.loads(documents.dumps(view(value)))


def missing(old, new, place="$"):
    """Where ``new`` lacks a value of ``old``, or has another."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in old
            for found in (missing(old[key], new[key], f"{place}.{key}") if key in new else [f"{place}.{key}"])
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for number, pair in pairs for found in missing(*pair, f"{place}[{number}]")]
    return [] if (type(old), old) == (type(new), new) else [place]


# --- there and back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in RUNS if "nasty" not in name])
def test_what_json_prints_is_read_back(name):
    results, summary = RUNS[name]
    document = documents.read(Document, printed(name))
    assert document.results == results
    assert (document.exit_status, document.problems) == (summary.exit_status, summary.problems)
    assert isinstance(document.exit_status, ExitStatus)


@pytest.mark.parametrize("name", ["nasty", "nasty_backends"])
def test_names_that_files_cannot_hold_are_read_back_as_they_were_written(name):
    text = printed(name)
    assert documents.dumps(written(documents.read(Document, text))) == text


def test_a_result_of_very_many_operators_is_read_back():
    count = documents.MOST_MEMBERS + 1
    kernels = {f"ID_{number}_Conv_a": Kernel("jit", own=number % 2 == 0) for number in range(count)}
    result = replace(DELAY, program=replace(DELAY.program, kernels=kernels))
    assert documents.result_of(written(result)) == result
    assert documents.read(Result, documents.dumps(documents.result_json(result))) == result


@pytest.mark.parametrize(
    "kernel", [{}, {"name": 1, "own": True}, {"name": "a", "own": "yes"}, {"name": "a"}, 1]
)
def test_an_object_of_very_many_other_members_is_refused(kernel):
    """One that is not a kernel is enough: each could be a fault, and each fault takes memory."""
    kernels = {str(number): {"name": "jit", "own": True} for number in range(documents.MOST_MEMBERS)}
    value = written(DELAY)
    value["meta"]["kernels"] = {**kernels, "last": kernel}
    with pytest.raises(ValueError, match="more than 2,500 members"):
        documents.read(Result, json.dumps(value))


def test_numbers_that_json_does_not_have():
    odd = ErrorStatistics(3, math.inf, math.nan, -math.inf, 0.5)
    text = documents.dumps(documents.type_json(replace(ERROR.types[0], error=odd)))
    back = documents.read(TypeResult, text).error
    assert (back.max_absolute, back.root_mean_square) == (math.inf, -math.inf)
    assert math.isnan(back.max_relative)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda meta: meta.pop("platform_hash"), "platform_hash: Field required"),
        (lambda meta: meta.update(run_type="none"), "run_type: Input should be"),
        (lambda meta: meta.update(commit_time=10**18), "commit_time: Input should be less than"),
    ],
)
def test_a_fault_is_named_with_its_place(change, fault):
    value = written(DELAY)
    change(value["meta"])
    with pytest.raises(ValueError, match=f"^meta: {fault}"):
        documents.read(Result, documents.dumps(value))


def test_a_fault_in_a_document_is_named_with_its_place():
    value = json.loads(printed("judged"))
    value["results"][2]["meta"]["sampling"]["level"] = "none"
    with pytest.raises(ValueError, match=r"^results: 2: meta: sampling: level: Input should be"):
        documents.read(Document, json.dumps(value))
    value["results"][1]["meta"]["device"] = []
    with pytest.raises(ValueError, match=r"^results: 1: meta: device: Input should be"):
        documents.read(Document, json.dumps(value))


@pytest.mark.parametrize("content", [b"", "\n", "null", "[]", "{", "[" * 100_000, '{"meta": 1}'], ids=repr)
def test_other_text_than_a_document_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"\w"):
        documents.read(Document, content)


# --- of other versions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_a_document_of_an_older_version_is_read_whole(path):
    old = json.loads(path.read_text())
    new = written(documents.read(Document, path.read_bytes()))
    assert missing(old, new) == []


def test_a_tree_of_an_older_version_is_read_whole():
    files = [path for path in SAMPLE_TREE.rglob("*.*") if path.suffix in (".txt", ".json")]
    for path in [one for one in files if one.name != "evidence.txt"]:
        content = path.read_bytes()
        if path.name == META_FILE:
            new = documents.meta_json(documents.read_meta(content))
        else:
            new = written(documents.read(Result if path.name == "failure.json" else TypeResult, content))
        assert missing(json.loads(content), json.loads(documents.dumps(new))) == [], path
    assert any(FAILURES_DIRECTORY in path.parts for path in files)


def test_a_tree_of_an_older_version_is_a_history(caplog):
    runs = list(History(SAMPLE_TREE).saved(Selection(operators=True)))
    assert caplog.text == ""
    assert sorted((run.test.net, run.test.backend, run.test.metric) for run in runs) == [
        ("a b/c", None, "delay"),
        ("lenet", None, "delay"),
        ("lenet", None, "error"),
        ("squeezenet", "nnpack", "delay"),
    ]
    (lenet,) = [run for run in runs if (run.test.net, run.test.metric) == ("lenet", "delay")]
    assert len(lenet.types) == 9
    assert lenet.types[0].type == NET_DELAY
    assert lenet.types[0].decision is not None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Document, json.loads(printed("passed")) | {"layout_version": 99}),
        (Result, {"meta": {"layout_version": 99}}),
    ],
)
def test_a_newer_version_is_refused_with_a_remedy(kind, value):
    with pytest.raises(NewerVersionError, match=r"layout 99, .* up to 1\); update this program"):
        documents.read(kind, json.dumps(value))


def test_keys_that_a_later_version_adds_do_no_harm():
    value = written(DELAY)
    value["meta"]["new"] = value["types"][0]["new"] = value["new"] = {"a": 1}
    assert documents.read(Result, json.dumps(value)) == DELAY


# --- the schema ---------------------------------------------------------------------------------------------


def test_the_schema_is_that_of_the_types():
    golden.check(documents.dumps(documents.schema()), "../../docs/result.schema.json")


@pytest.mark.parametrize("name", RUNS)
def test_what_json_prints_is_as_the_schema_says(name):
    jsonschema.validate(json.loads(printed(name)), documents.schema())


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_what_older_versions_printed_is_as_the_schema_says(path):
    jsonschema.validate(json.loads(path.read_text()), documents.schema())


@pytest.mark.parametrize(
    "value",
    [
        {"results": [1] * 1000},
        {"results": [{"meta": {}, "types": [1] * 1000}]},
        {"results": [{"meta": {"command": [{}] * 1000}, "types": [{"values": ["x"] * 1000}]}]},
    ],
)
def test_a_list_is_refused_at_its_first_fault(value):
    with pytest.raises(ValueError, match="results: 0") as caught:
        documents.read(Document, json.dumps(value))
    assert caught.value.__cause__.error_count() < 60


@pytest.mark.parametrize("content", ["", " \n\t", b"", b" \n"])
def test_nothing_is_no_document(content):
    with pytest.raises(ValueError, match=r"^it is empty$"):
        documents.read(Document, content)


def test_what_json_cannot_say_is_not_written(monkeypatch):
    monkeypatch.setattr(documents, "jsonable", lambda value: value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        documents.dumps({"a": math.nan})
