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


def test_a_test_that_is_not_run_leaves_the_files_of_the_others(tmp_path):
    inputs = {"data": shapes([1])}
    refused, run = cases_of(tmp_path, {"metric": "power", "inputs": inputs}, {"inputs": inputs})
    assert refused.refusal
    assert refused.identifier == "0"
    assert run.refusal is None
    assert run.model_files == {"init": Location(str(tmp_path / "n.pb"))}


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


IMAGE = {"shapes": [[1, 3, 8, 8]], "image": {"layout": "NCHW"}}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"type": "int64"}, "random.minimum: missing: whole numbers are drawn from a range"),
        ({"type": "int64", "minimum": 0, "maximum": 2**63}, "random.maximum: int64_t holds values from"),
        (
            {"type": "uint8", "minimum": -1, "maximum": 5},
            "random.minimum: uint8_t holds values from 0 to 255",
        ),
        (
            {"type": "int8", "minimum": 0, "maximum": 1.5},
            "random.maximum: a whole number is expected, not 1.5",
        ),
        (
            {"type": "int", "distribution": "normal", "minimum": 0, "maximum": 5},
            "random.distribution: whole numbers",
        ),
        ({"type": "string"}, "random: there are no random values of the type string"),
        ({"type": "float16", "deviation": 70000}, "random.deviation: float16 holds values from"),
        ({"minimum": 2}, "random.maximum: 1 is less than the minimum 2"),
        ({"type": "double", "minimum": -1e308, "maximum": 1e308}, "random.maximum: the range is wider"),
        ({"deviation": -1}, "random.deviation: -1: should be greater than or equal to 0"),
        ({"seed": 2**32}, "random.seed: 4294967296: should be less than 4294967296"),
        ({"shapes": [[2**15, 2**14]]}, "shapes[0]: at most 268,435,456 random values are generated"),
    ],
)
def test_random_values_that_cannot_be(tmp_path, given, fault):
    spec = {"shapes": [[2]], "type": "float", "random": {}}
    spec |= {key: value for key, value in given.items() if key in spec}
    spec["random"] = {key: value for key, value in given.items() if key not in spec}
    with pytest.raises(SpecificationError) as caught:
        cases_of(tmp_path, {"inputs": {"data": spec}})
    assert any(
        f"{one.json_path}: {one.message}".startswith(f"$.tests[0].inputs.data.{fault}")
        for one in caught.value.faults
    )


@pytest.mark.parametrize(
    ("given", "image", "fault"),
    [
        ({"shapes": [[3, 8, 8]]}, {}, "shapes[0]: 3 dimensions do not fit NCHW"),
        ({"shapes": [[2, 3, 8, 8]]}, {}, "shapes[0]: a file is one image: the first dimension has to be 1"),
        ({"shapes": [[1, 4, 8, 8]]}, {}, "shapes[0]: an image has 1 or 3 channels, not 4"),
        ({"shapes": [[1, 3, 10**9, 10**9]]}, {}, "shapes[0]: an image has from 1 to 67,108,864 pixels"),
        ({"shapes": [[1, 3, 0, 8]]}, {}, "shapes[0]: an image has from 1"),
        ({}, {"mean": [1, 2]}, "shapes[0]: 3 channels, but 2 numbers for mean"),
        ({"type": "uint8"}, {"white": 1}, "image.white: pixels are fed unchanged"),
        ({"type": "int8"}, {}, "image: int8_t cannot hold the values of pixels"),
        ({"type": "bool"}, {}, "image: an image cannot be fed as bool"),
        ({}, {"std": [0]}, "image.std[0]: 0: should be greater than 0"),
        ({"random": {}}, {}, "random: the test has a file for this input: remove one of them"),
    ],
)
def test_images_that_do_not_fit(tmp_path, given, image, fault):
    spec = IMAGE | given | {"image": IMAGE["image"] | image}
    with pytest.raises(SpecificationError) as caught:
        cases_of(tmp_path, {"inputs": {"data": spec}, "input_files": {"data": "cat.png"}})
    assert any(
        f"{one.json_path}: {one.message}".startswith(f"$.tests[0].inputs.data.{fault}")
        for one in caught.value.faults
    )


def test_an_image_fits_an_input_that_holds_its_pixels(tmp_path):
    test = {"inputs": {"data": IMAGE | {"type": "uint8"}}, "input_files": {"data": "cat.png"}}
    (case,) = cases_of(tmp_path, test)
    assert case.inputs[0].image is not None


def test_an_image_needs_a_file(tmp_path):
    with pytest.raises(SpecificationError, match="the test has no input_files for this input"):
        cases_of(tmp_path, {"inputs": {"data": IMAGE}})
    (case,) = cases_of(tmp_path, {"inputs": {"data": IMAGE}, "input_files": {"data": "cat.png"}})
    assert case.inputs[0].image.layout == "NCHW"
    assert case.inputs[0].is_given


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
