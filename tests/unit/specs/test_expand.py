import json
from pathlib import Path

import pytest

from benchmarking.errors import SpecificationError
from benchmarking.specs.expand import expand
from benchmarking.specs.location import Location, resolve
from benchmarking.specs.reader import read_benchmarks

FILE = {"filename": "n.pb", "location": "n.pb", "md5": "0" * 32}


def cases_of(tmp_path, *tests, root_model_dir=None, **model):
    base = {"name": "tiny", "format": "caffe2", "files": {"init": FILE}}
    defaults = {"identifier": "{ID}", "metric": "delay", "iter": 1, "warmup": 0}
    spec = {"model": base | model, "tests": [defaults | test for test in tests]}
    (tmp_path / "b.json").write_text(json.dumps(spec))
    return expand(read_benchmarks(tmp_path / "b.json"), root_model_dir)


def shapes(*all_shapes, type="float"):
    return {"shapes": list(all_shapes), "type": type}


def test_every_shape_is_a_case_numbered_over_the_file(tmp_path):
    cases = cases_of(
        tmp_path,
        {"inputs": {"data": shapes([1, 3], [2, 3])}, "identifier": "first-{ID}"},
        {"inputs": {"data": shapes([4, 3])}, "identifier": "second-{ID}"},
    )
    assert [case.identifier for case in cases] == ["first-0", "first-1", "second-2"]
    assert [case.inputs[0].shape for case in cases] == [(1, 3), (2, 3), (4, 3)]
    assert [case.json_path for case in cases] == ["$.tests[0]", "$.tests[0]", "$.tests[1]"]


def test_the_label_is_one_line_that_cannot_drive_a_terminal(tmp_path):
    (case,) = cases_of(tmp_path, {"inputs": {"data": shapes([1])}, "identifier": "a\n\x1b[2Jb"})
    assert case.label.endswith(" delay a??[2Jb")


def test_several_inputs_go_together(tmp_path):
    cases = cases_of(tmp_path, {"inputs": {"a": shapes([1], [2]), "b": shapes([3], [4], type="int")}})
    assert [[blob.shape for blob in case.inputs] for case in cases] == [[(1,), (3,)], [(2,), (4,)]]
    assert cases[0].inputs[1].type == "int"


def test_inputs_with_different_numbers_of_shapes_are_a_fault(tmp_path):
    with pytest.raises(SpecificationError, match=r"inputs\.b\.shapes: 1 shapes.*has 2"):
        cases_of(tmp_path, {"inputs": {"a": shapes([1], [2]), "b": shapes([3])}})


def test_the_models_inputs_are_the_default(tmp_path):
    cases = cases_of(tmp_path, {}, {"inputs": {"other": shapes([9])}}, inputs={"data": shapes([1, 3])})
    assert [case.inputs[0].name for case in cases] == ["data", "other"]


ERROR = {"metric": "error", "inputs": {"data": shapes([1, 2])}}


def test_the_ith_files_of_all_lists_belong_together(tmp_path):
    cases = cases_of(
        tmp_path,
        ERROR | {"input_files": {"data": ["i0", "i1"]}, "output_files": {"out": ["o0", "o1"], "aux": "same"}},
    )
    assert [Path(case.inputs[0].file.value).name for case in cases] == ["i0", "i1"]
    assert [Path(case.golden_files["out"].value).name for case in cases] == ["o0", "o1"]
    assert [Path(case.golden_files["aux"].value).name for case in cases] == ["same", "same"]
    assert all(case.inputs[0].shape == (1, 2) for case in cases)


@pytest.mark.parametrize(
    "more",
    [
        {"input_files": {"data": ["i0", "i1"]}, "output_files": {"out": ["o0"]}},
        {
            "inputs": {"data": shapes([1], [2], [3])},
            "input_files": {"data": ["i0", "i1"]},
            "output_files": {"out": ["o0", "o1"]},
        },
        {"input_files": {"nonesuch": "i0"}, "output_files": {"out": "o0"}},
    ],
)
def test_files_that_do_not_go_together_are_a_fault(tmp_path, more):
    with pytest.raises(SpecificationError):
        cases_of(tmp_path, ERROR | more)


@pytest.mark.parametrize(
    ("test", "model"),
    [
        ({"identifier": "{ID}" * 100_000, "inputs": {"data": shapes(*[[1]] * 1000)}}, {}),
        (
            {"inputs": {"data": shapes(*[[1]] * 10_000)}},
            {"commands": {"caffe2": {f"option{number}": "x" for number in range(10_000)}}},
        ),
        (
            ERROR
            | {
                "inputs": {f"data{number}": shapes([1]) for number in range(10_000)},
                "input_files": {"data0": ["x"] * 10_000},
                "output_files": {"out": "y"},
            },
            {},
        ),
    ],
    ids=["identifier", "options", "inputs"],
)
def test_few_lines_do_not_become_more_than_memory_holds(tmp_path, test, model):
    with pytest.raises(SpecificationError, match=r"\$\.tests\[0\]: 10*0 cases with so many inputs"):
        cases_of(tmp_path, test, **model)


def test_many_shapes_are_many_cases(tmp_path):
    assert len(cases_of(tmp_path, {"inputs": {"data": shapes(*[[1]] * 30_000)}})) == 30_000


def test_the_number_is_filled_in_everywhere(tmp_path):
    (case,) = cases_of(
        tmp_path,
        ERROR
        | {
            "input_files": {"data": "in_{ID}.txt"},
            "output_files": {"out": "out_{ID}.txt"},
            "commands": {"caffe2": {"tag": "run-{ID}"}},
        },
    )
    assert Path(case.inputs[0].file.value).name == "in_0.txt"
    assert case.commands["caffe2"]["tag"] == "run-0"


def test_the_tests_commands_win_over_the_models(tmp_path):
    (case,) = cases_of(
        tmp_path,
        {"inputs": {"data": shapes([1])}, "commands": {"caffe2": {"backend": "mkl"}, "other": {"x": 1}}},
        commands={"caffe2": {"backend": "eigen", "run_individual": True}},
    )
    assert case.commands == {"caffe2": {"backend": "mkl", "run_individual": True}, "other": {"x": 1}}


def test_a_model_in_several_formats_is_run_in_the_first_that_a_framework_can(tmp_path):
    formats = {
        name: {"files": {"model": FILE | {"location": f"model.{name}"}}} for name in ("onnx", "tflite")
    }
    spec = {
        "model": {"name": "tiny", "formats": formats},
        "tests": [{"identifier": "0", "metric": "delay", "iter": 1, "inputs": {"data": shapes([1])}}],
    }
    (tmp_path / "b.json").write_text(json.dumps(spec))
    (case,) = expand(read_benchmarks(tmp_path / "b.json"), None)
    assert (case.model.format, case.model.format_names) == ("onnx", ("onnx", "tflite"))
    for wanted, chosen in {("tflite", "onnx"): "tflite", ("caffe2",): "onnx", (): "onnx"}.items():
        one = case.in_first_format_of(wanted)
        assert one.model.format == chosen
        assert one.model.files_path == f"$.model.formats.{chosen}.files"
        assert one.model_files["model"].path == tmp_path / f"model.{chosen}"
        assert one.model.files["model"].location == f"model.{chosen}"
        assert one.in_first_format_of(["onnx"]) == case


def test_types_have_the_names_of_programs_and_those_of_numpy(tmp_path):
    names = {"float32": "float", "int8": "int8_t", "int32": "int", "int64": "int64_t", "uint8_t": "uint8_t"}
    inputs = {name: shapes([], type=name) for name in [*names, "bool", "string", "float16"]}
    (case,) = cases_of(tmp_path, {"inputs": inputs})
    assert [blob.type for blob in case.inputs] == [*names.values(), "bool", "string", "float16"]
    assert {blob.shape for blob in case.inputs} == {()}
    with pytest.raises(SpecificationError, match=r"inputs\.x\.type: \"flaot\": should be 'float', 'double'"):
        cases_of(tmp_path, {"inputs": {"x": shapes([1], type="flaot")}})


def test_locations(tmp_path):
    specification = tmp_path / "models" / "b.json"
    root = tmp_path / "root"
    assert resolve("https://host/x.pb", specification, None) == Location("https://host/x.pb")
    assert resolve("x.pb", specification, None).path == tmp_path / "models" / "x.pb"
    assert resolve("../x.pb", specification, None).path == tmp_path / "x.pb"
    assert resolve("/abs/x.pb", specification, None).path == Path("/abs/x.pb")
    assert resolve("//in/x.pb", specification, root).path == root / "in" / "x.pb"
    (tmp_path / "models").mkdir()
    (tmp_path / "models/loop").symlink_to("loop")
    for text, problem in {
        "loop/x": "is a loop of links$",
        "//x.pb": r"^'//x\.pb' is relative to --root_model_dir, which is not given$",
        "": "^'' is not a path$",
        "a\0b": r"^'a\\x00b' is not a path$",
    }.items():
        with pytest.raises(ValueError, match=problem):
            resolve(text, specification, None)
    with pytest.raises(ValueError, match="leaves"):
        resolve("//../x.pb", specification, root)
