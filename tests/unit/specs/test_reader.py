import copy
import json
import os
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarking.errors import FAULTS_SHOWN, LONGEST_FAULT, SpecificationError
from benchmarking.specs import reader
from benchmarking.specs.expand import expand
from benchmarking.specs.reader import MOST_FAULTS, read_benchmarks
from tests.unit.specs.test_later_form import LATER

VALID = {
    "model": {
        "name": "tiny",
        "format": "caffe2",
        "files": {
            "init": {"filename": "init_net.pb", "location": "init_net.pb", "md5": "0" * 32},
            "predict": {"filename": "predict_net.pb", "location": "http://host/p.pb", "md5": "a" * 32},
        },
    },
    "tests": [
        {
            "identifier": "{ID}",
            "metric": "delay",
            "iter": 3,
            "warmup": 1,
            "inputs": {"data": {"shapes": [[1, 3], [2, 3]], "type": "float"}},
            "commands": {"caffe2": {"run_individual": "true"}},
        }
    ],
}


def changed(path, value, spec=VALID):
    """``spec`` with one value replaced, added, or removed (``...``)."""
    spec = copy.deepcopy(spec)
    target = spec
    for part in path[:-1]:
        target = target[part]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return spec


def faults_of(tmp_path, text, name="b.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecificationError) as caught:
        expand(read_benchmarks(path), None)
    return [str(fault).removeprefix(str(tmp_path) + "/") for fault in caught.value.faults]


def test_a_valid_file_is_read(tmp_path):
    path = tmp_path / "b.json"
    path.write_text("\ufeff" + json.dumps(VALID), encoding="utf-8")
    (loaded,) = read_benchmarks(path)
    assert loaded.spec.model.name == "tiny"
    assert loaded.spec.tests[0].inputs["data"].shapes == [[1, 3], [2, 3]]


MODEL, FILES, TEST = ("model",), ("model", "files", "init"), ("tests", 0)


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ((*MODEL, "name"), ..., "b.json: $.model.name: the key 'name' is missing"),
        ((*MODEL, "name"), 7, "b.json: $.model.name: a string is expected, not 7"),
        ((*MODEL, "nmae"), "x", "b.json: $.model.nmae: unknown key 'nmae'; did you mean 'name'?"),
        (
            (*FILES, "md5"),
            "abc",
            'b.json: $.model.files.init.md5: "abc" is not 32 hexadecimal digits',
        ),
        (
            (*FILES, "sha265"),
            "x",
            "b.json: $.model.files.init.sha265: unknown key 'sha265'; did you mean 'sha256'?",
        ),
        ((*TEST, "iter"), "3", 'b.json: $.tests[0].iter: a whole number is expected, not "3"'),
        ((*TEST, "iter"), True, "b.json: $.tests[0].iter: a whole number is expected, not true"),
        ((*TEST, "iter"), 1.0, "b.json: $.tests[0].iter: a whole number is expected, not 1.0"),
        ((*TEST, "iter"), 0, "b.json: $.tests[0].iter: 0: should be greater than or equal to 1"),
        (
            (*TEST, "iter"),
            10**10,
            "b.json: $.tests[0].iter: 10000000000: should be less than or equal to 1000000000",
        ),
        (
            (*TEST, "itr"),
            3,
            "b.json: $.tests[0].itr: unknown key 'itr'; did you mean 'iter'?",
        ),
        (
            (*TEST, "metric"),
            "speed",
            "b.json: $.tests[0].metric: \"speed\": should be 'delay', 'error', 'power' or 'accuracy'",
        ),
        (
            (*TEST, "inputs", "data", "shapes"),
            [[1, "x"]],
            'b.json: $.tests[0].inputs.data.shapes[0][1]: a whole number is expected, not "x"',
        ),
        (
            (*TEST, "inputs", "data", "shapes"),
            [],
            "b.json: $.tests[0].inputs.data.shapes: []: list should have at least 1 item after validation, not 0",
        ),
        (
            (*TEST, "inputs"),
            {},
            "b.json: $.tests[0].inputs: {}: dictionary should have at least 1 item after validation, not 0",
        ),
        (
            (*MODEL, "name"),
            "../../x",
            'b.json: $.model.name: "../../x" is not a plain name; it becomes part of a file\'s path',
        ),
        (
            (*FILES, "filename"),
            "..",
            'b.json: $.model.files.init.filename: ".." is not a plain name; it becomes part of a file\'s path',
        ),
        (
            (*MODEL, "format"),
            "a\0b",
            'b.json: $.model.format: "a\\u0000b" contains a control character; it becomes part of a file\'s path',
        ),
        (
            (*TEST, "commands"),
            {"caffe2": {"a b": "c"}},
            'b.json: $.tests[0].commands.caffe2.a b: "a b" is not an option\'s name: letters, digits, _ and -',
        ),
        (
            (*TEST, "commands"),
            {"caffe2": {"a": "\0"}},
            "b.json: $.tests[0].commands.caffe2.a: a program's argument cannot contain a NUL",
        ),
        (
            (*TEST, "inputs"),
            ...,
            "b.json: $.tests[0].inputs: missing: neither the test nor the model has inputs",
        ),
        (
            (*TEST, "metric"),
            "error",
            "b.json: $.tests[0].output_files: missing: the metric error compares with golden outputs",
        ),
        (
            (*TEST, "tolerance"),
            {"atol": 1.0},
            "b.json: $.tests[0].tolerance: only the metric error uses it; remove it",
        ),
        (
            (*FILES, "location"),
            "//models/x",
            "b.json: $.model.files.init.location: '//models/x' is relative to --root_model_dir, which is not given",
        ),
        (
            (*TEST, "identifier"),
            "same",
            "b.json: $.tests[0].identifier: the identifier 'same' already names the case of b.json $.tests[0]; add {ID} to it, or choose another identifier",
        ),
    ],
)
def test_each_fault_is_reported_with_its_place_and_remedy(tmp_path, monkeypatch, path, value, fault):
    monkeypatch.chdir(tmp_path)
    text = json.dumps(changed(path, value))
    found = [one.replace(str(tmp_path) + "/", "") for one in faults_of(tmp_path, text)]
    assert found == [fault]


TOLERANCE = (*TEST, "tolerance")
EMPTY = "should have at least 1 item after validation, not 0"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ((*TEST, "iter"), 0, "greater than or equal to 1"),
        ((*TEST, "iter"), 10**9 + 1, "less than or equal to 1000000000"),
        ((*TEST, "warmup"), -1, "greater than or equal to 0"),
        ((*TEST, "warmup"), 10**9 + 1, "less than or equal to 1000000000"),
        ((*TEST, "inputs", "data", "shapes"), [[1, -1]], "greater than or equal to 0"),
        ((*TEST, "inputs", "data", "shapes"), [[10**9 + 1]], "less than or equal to 1000000000"),
        (TOLERANCE, {"atol": -1e-9}, "greater than or equal to 0"),
        (TOLERANCE, {"rtol": -1e-9}, "greater than or equal to 0"),
        ((*TEST, "identifier"), "", "at least 1 character"),
        ((*MODEL, "name"), "", "at least 1 character"),
        ((*MODEL, "format"), "", "at least 1 character"),
        ((*MODEL, "files"), {}, EMPTY),
        (("tests",), [], EMPTY),
    ],
)
def test_what_is_beyond_its_bounds_is_refused(tmp_path, path, value, problem):
    (fault,) = faults_of(tmp_path, json.dumps(changed(path, value)))
    assert fault.endswith(problem)


def test_what_is_at_its_bounds_is_taken(tmp_path):
    spec = changed((*TEST, "warmup"), 10**9)
    spec["tests"][0] |= {"iter": 10**9, "inputs": {"data": {"shapes": [[0, 10**9]]}}}
    (tmp_path / "b.json").write_text(json.dumps(spec))
    assert [case.iterations for case in expand(read_benchmarks(tmp_path / "b.json"), None)] == [10**9]


def test_all_faults_of_all_files_come_at_once(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(changed(("model", "name"), 1)))
    (tmp_path / "two.json").write_text(json.dumps(changed(("tests", 0, "iter"), None)))
    suite = {"meta": {"grp": "x"}, "benchmarks": ["one.json", "two.json", "missing.json"]}
    faults = faults_of(tmp_path, json.dumps(suite), "suite.json")
    assert faults == [
        "suite.json: $.meta.grp: unknown key 'grp'; did you mean 'group'?",
        "one.json: $.model.name: a string is expected, not 1",
        "two.json: $.tests[0].iter: a whole number is expected, not null",
        f"there is no file '{tmp_path}/missing.json'",
    ]


def test_a_suites_meta_goes_to_each_model_and_the_models_own_wins(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(VALID))
    (tmp_path / "two.json").write_text(
        json.dumps(changed(("model", "group"), "own") | {"tests": VALID["tests"]})
    )
    suite = {"meta": {"group": "suites", "kind": "cnn"}, "benchmarks": ["one.json", "two.json"]}
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    one, two = read_benchmarks(tmp_path / "suite.json")
    assert (one.spec.model.group, one.spec.model.kind) == ("suites", "cnn")
    assert (two.spec.model.group, two.spec.model.kind) == ("own", "cnn")
    assert json.loads((tmp_path / "one.json").read_text()) == VALID


def test_a_suite_in_a_suite_is_refused(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps({"benchmarks": ["b.json"]}))
    (fault,) = faults_of(tmp_path, json.dumps({"benchmarks": ["b.json"]}))
    assert "itself a suite" in fault


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b'{\n "model": ,}', "line 2, column 11"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"model": NaN}', "NaN is not a JSON number"),
        (b'{"model": {"name": 1, "name": 2}}', 'the key "name" is given twice'),
        (b"[" * 200_000, "nested deeper than 100 levels"),
        (b"[]", "neither a benchmark"),
        (b"{}", "neither a benchmark"),
        (b'"\\ud800"', "half of a character"),
        (b'{"model": 1e999}', "the number 1e999 is too large"),
        (b'{"model": ' + b"9" * 5000 + b"}", "is too large"),
    ],
)
def test_files_that_are_not_specifications(tmp_path, text, part):
    (fault,) = faults_of(tmp_path, text)
    assert part in fault


def test_what_cannot_be_a_specification_is_never_read(tmp_path):
    (tmp_path / "huge.json").write_bytes(b" " * (17 * 2**20))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name, part in {
        "/dev/zero": "not a regular file",
        "fifo": "not a regular file",
        "link": "not a regular file",
        "loop": "cannot be read",
        "a" * 5000: "cannot be read",
        ".": "directory",
        "huge.json": "larger",
        "missing.json": "there is no file '",
        "a\0b": "cannot be read",
    }.items():
        with pytest.raises(SpecificationError, match=part):
            read_benchmarks(tmp_path / name)
        (tmp_path / "suite.json").write_text(json.dumps({"benchmarks": [name]}))
        with pytest.raises(SpecificationError, match=part):
            read_benchmarks(tmp_path / "suite.json")


@pytest.mark.parametrize("count", [1, 2, FAULTS_SHOWN])
def test_faults_that_can_all_be_shown_are_the_whole_message(tmp_path, count):
    (tmp_path / "b.json").write_text(
        json.dumps({"benchmarks": [f"{number}.json" for number in range(count)]})
    )
    with pytest.raises(SpecificationError) as caught:
        read_benchmarks(tmp_path / "b.json")
    assert str(caught.value).splitlines() == [
        f"there is no file '{tmp_path}/{number}.json'" for number in range(count)
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"benchmarks": [f"{number}.json" for number in range(30_000)]},
        {"benchmarks": ["one.json"] * 30_001},
        VALID | {"tests": [VALID["tests"][0] | {"iter": "x"}] * 30_000},
        VALID | {"tests": [VALID["tests"][0] | {f"key {number}": 1 for number in range(30_000)}]},
        VALID | {"tests": [{}] * 100_000},
    ],
)
def test_of_very_many_faults_the_first_are_shown(tmp_path, spec):
    file = tmp_path / "b.json"
    file.write_text(json.dumps(spec))
    with pytest.raises(SpecificationError) as caught:
        read_benchmarks(file)
    assert len(caught.value.faults) in (30_000, 30_001, MOST_FAULTS)
    *lines, rest = str(caught.value).splitlines()
    assert lines == [str(fault) for fault in caught.value.faults[:FAULTS_SHOWN]]
    assert rest == f"... and {len(caught.value.faults) - FAULTS_SHOWN:,} more faults"


def test_a_file_of_millions_of_values_is_refused_before_they_are_checked(tmp_path):
    text = f'{{"benchmarks": [{"0," * 3_000_000}0]}}'
    assert faults_of(tmp_path, text) == ["b.json: not a specification: more than 500,000 values"]


@pytest.mark.parametrize(
    "spec",
    [
        {"benchmarks": ["\x1b[31m\u202e\nx"]},
        {"benchmarks": ["x" * 100_000]},
        {"meta": {"\x1b]0;x\x07": "y"}, "benchmarks": ["x"]},
        {"benchmarks": ["suite.json", "\x1b[2J/../suite.json"]},
        changed(("model", "\x1b[31m\n"), 1),
        changed(("model", "x" * 1_000_000), 1),
        changed(("model", "name"), "\x9b31m" * 1_000_000),
        changed(("tests", 0, "metric"), "\u2066"),
        changed(("tests", 0, "commands"), {"\x1b[31m": {"\x07": "\0"}}),
        changed(("tests", 0, "input_files"), {"\x1b[31m": "x"}),
    ],
)
def test_a_fault_is_a_short_and_harmless_line(tmp_path, spec):
    file = tmp_path / "suite.json"
    file.write_text(json.dumps(spec))
    with pytest.raises(SpecificationError) as caught:
        expand(read_benchmarks(file), None)
    lines = str(caught.value).split("\n")
    assert len(lines) == len(caught.value.faults)
    assert all(line.isprintable() and len(line) <= LONGEST_FAULT for line in lines)


def test_a_benchmark_that_is_listed_twice(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(VALID))
    faults = faults_of(tmp_path, json.dumps({"benchmarks": ["one.json", "./one.json"]}), "suite.json")
    assert faults == ['suite.json: $.benchmarks[1]: "./one.json" is listed twice: also as $.benchmarks[0]']


def test_a_key_that_is_given_twice_among_very_many(tmp_path):
    keys = ", ".join(f'"{number}": 1' for number in [*range(300_000), 7])
    (fault,) = faults_of(tmp_path, f"{{{keys}}}")
    assert fault == 'b.json: not JSON: the key "7" is given twice in one object'


ONE_FILE = {"model": {"filename": "m", "location": "m", "md5": "0" * 32}}
SEVERAL = {
    "model": {"name": "tiny", "formats": {"onnx": {"files": ONE_FILE}, "tflite": {"files": ONE_FILE}}},
    "tests": VALID["tests"],
}


MADE = {
    "model": VALID["model"],
    "tests": [
        VALID["tests"][0]
        | {
            "inputs": {
                "drawn": {
                    "shapes": [[]],
                    "type": "float",
                    "random": {"distribution": "normal", "minimum": 0, "maximum": 1, "seed": 1},
                },
                "picture": {
                    "shapes": [[1, 3, 8, 8]],
                    "image": {"layout": "NCHW", "mean": [0.5], "std": [0.5], "white": 1},
                },
            },
            "input_files": {"picture": "cat.png"},
        }
    ],
}
"""With values that are made of what a test says."""


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ({"format": "onnx"}, "$.model.files: the key 'files' is missing"),
        ({"files": ONE_FILE}, "$.model.format: the key 'format' is missing"),
        (
            SEVERAL["model"] | {"format": "onnx"},
            "$.model.format: a model with 'formats' has no 'format' of its own: move it into 'formats'",
        ),
        (
            SEVERAL["model"] | {"files": ONE_FILE},
            "$.model.files: a model with 'formats' has no 'files' of its own: move it into 'formats'",
        ),
        (
            {"formats": {}},
            "$.model.formats: {}: dictionary should have at least 1 item after validation, not 0",
        ),
        (
            {"formats": {"..": {"files": ONE_FILE}}},
            """$.model.formats...: ".." is not a plain name; it becomes part of a file's path""",
        ),
        (
            {"formats": {"onnx": {"file": ONE_FILE, "files": ONE_FILE}}},
            "$.model.formats.onnx.file: unknown key 'file'; did you mean 'files'?",
        ),
        (
            {"formats": {"onnx": {"files": {"model": ONE_FILE["model"] | {"location": "//m"}}}}},
            "$.model.formats.onnx.files.model.location: '//m' is relative to --root_model_dir, which is not given",
        ),
    ],
)
def test_a_model_has_one_format_or_several(tmp_path, model, fault):
    spec = {"model": {"name": "tiny"} | model, "tests": VALID["tests"]}
    assert faults_of(tmp_path, json.dumps(spec)) == [f"b.json: {fault}"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), spec=st.sampled_from([VALID, SEVERAL, LATER, MADE]), value=json_values)
def test_a_wrong_value_anywhere_is_a_fault_or_fine_but_never_a_crash(tmp_path_factory, data, spec, value):
    path = data.draw(st.sampled_from([one for one in places(spec) if one]))
    file = tmp_path_factory.mktemp("specs") / "b.json"
    file.write_text(json.dumps(changed(path, value, spec)))
    try:
        cases = expand(read_benchmarks(file), tmp_path_factory.getbasetemp())
    except SpecificationError as error:
        assert error.faults
        assert all(fault.file and fault.json_path.startswith("$") and fault.message for fault in error.faults)
    else:
        assert cases


@settings(max_examples=200, deadline=None)
@given(text=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_fault_never_a_crash(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("specs") / "b.json"
    file.write_bytes(text)
    with pytest.raises(SpecificationError):
        read_benchmarks(file)


@settings(max_examples=200, deadline=None)
@given(name=st.text(alphabet=string.ascii_letters + "./\\'\";$ \0\n-", max_size=12))
def test_a_name_never_leaves_its_directory(tmp_path_factory, name):
    directory = tmp_path_factory.mktemp("specs")
    file = directory / "b.json"
    file.write_text(json.dumps(changed(("model", "name"), name)))
    try:
        (loaded,) = read_benchmarks(file)
    except SpecificationError:
        return
    assert (directory / loaded.spec.model.name).resolve().parent == directory.resolve()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *((one, "is not a plain name") for one in (".", "..", "a/b", "a\\b")),
        *((f"a{one}", "contains a control character") for one in "\0\x1f\x7f"),
        *((f"a{one}", None) for one in " ~\x80é."),
        ("\ud800", "is not valid text"),
        ("é" * 100, None),
        ("é" * 100 + "a", "is longer than 200 bytes"),
    ],
)
def test_what_is_a_part_of_a_path(name, problem):
    assert reader._name_problem(name) == problem
