"""Model files in place of specifications: what is fed, which files belong together, what is wrong."""

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from benchmarking.cli import harness, model_files  # noqa: E402
from benchmarking.cli.options import HarnessOptions, shapes_of  # noqa: E402
from benchmarking.errors import UsageError  # noqa: E402
from benchmarking.frameworks.frameworks import make_framework  # noqa: E402
from benchmarking.specs.expand import expand  # noqa: E402
from benchmarking.specs.reader import read_benchmarks  # noqa: E402
from tests.support import onnx_models  # noqa: E402

ZOO = Path(__file__).parents[3] / "specifications/models/zoo/small_squeezenet"
INT64, UINT8 = onnx.TensorProto.INT64, onnx.TensorProto.UINT8


def saved(directory, *inputs, name="net"):
    """A model that gives back its first input."""
    nodes = [onnx.helper.make_node("Identity", [inputs[0].name], ["y"])]
    path = directory / f"{name}.onnx"
    onnx.save(onnx_models.model(nodes, list(inputs), [onnx_models.tensor("y", None)]), path)
    return path


def fed(path, shapes=()):
    (loaded,) = model_files.benchmarks([path], shapes=dict(shapes))
    return {name: one.shapes[0] for name, one in loaded.spec.model.inputs.items()}


@pytest.mark.parametrize(
    ("shape", "type_", "filled"),
    [
        ([1, 3, 64, 64], onnx_models.FLOAT, [1, 3, 64, 64]),
        (["batch", 3, "height", "width"], onnx_models.FLOAT, [1, 3, 224, 224]),
        (["batch", 1, None, None], onnx_models.FLOAT, [1, 1, 224, 224]),
        (["batch", "h", "w", 3], UINT8, [1, 224, 224, 3]),
        ([None, None, None, None], onnx_models.FLOAT, [1, 3, 224, 224]),
        ([-1, 3, -1, -1], onnx_models.FLOAT, [1, 3, 224, 224]),
        (["batch", "sequence"], INT64, [1, 128]),
        (["batch", "sequence", 64], onnx_models.FLOAT, [1, 128, 64]),
        (["batch", "features"], onnx_models.FLOAT, [1, 1]),
        ([], onnx_models.FLOAT, []),
    ],
)
def test_what_a_file_leaves_open_is_filled_in(tmp_path, shape, type_, filled):
    assert fed(saved(tmp_path, onnx_models.tensor("x", shape, type_))) == {"x": filled}


def test_what_is_filled_in_is_said_with_the_option_that_changes_it(tmp_path, caplog):
    caplog.set_level("INFO")
    path = saved(tmp_path, onnx_models.tensor("x", ["batch", 3, "h", "h"]))
    assert fed(path) == {"x": [1, 3, 224, 224]}
    assert (
        "input x: 1x3x224x224, where the file leaves open: batch, h, h (--input x:1,3,224,224 changes that)"
        in caplog.text
    )
    caplog.clear()
    assert fed(path, {"x": (2, 3, 32, 32)}) == {"x": [2, 3, 32, 32]}
    assert not caplog.text


def test_dimensions_of_the_same_name_have_the_same_size(tmp_path):
    inputs = [
        onnx_models.tensor("ids", ["batch", "sequence"], INT64),
        onnx_models.tensor("bias", ["batch", "sequence"]),
    ]
    path = saved(tmp_path, *inputs)
    assert fed(path) == {"ids": [1, 128], "bias": [1, 128]}
    (loaded,) = model_files.benchmarks([path], shapes={})
    drawn = {name: one.random for name, one in loaded.spec.model.inputs.items()}
    assert (drawn["ids"].minimum, drawn["ids"].maximum) == (0, 1)
    assert drawn["bias"].distribution == "normal"
    (case,) = expand([loaded], None)
    assert not make_framework("onnxruntime").check(case)


def test_a_given_size_holds_for_dimensions_of_the_same_name(tmp_path):
    inputs = [
        onnx_models.tensor("state", [2, "batch", 128]),
        onnx_models.tensor("x", ["batch", "sequence"]),
    ]
    path = saved(tmp_path, *inputs)
    assert fed(path, {"x": (3, 576)}) == {"state": [2, 3, 128], "x": [3, 576]}


def test_files_of_different_formats_are_one_model(tmp_path):
    names = ("pt2", "onnx", "xml", "tflite")
    paths = [ZOO / f"small_squeezenet.{name}" for name in names]
    paths += [ZOO / "synthetic_init_net.pb", ZOO / "predict_net.pb"]
    other = saved(tmp_path, onnx_models.tensor("x", [2]))
    first, second = model_files.benchmarks([*paths, other], shapes={}, threads=2)
    model = first.spec.model
    assert model.format_names == ("pytorch", "onnx", "openvino", "tflite", "caffe2")
    assert set(model.formats["openvino"].files) == {"model", "weights"}
    assert set(model.formats["caffe2"].files) == {"init", "predict"}
    assert list(model.inputs) == ["data"]  # ONNX Runtime insists on the name; others take it in its order
    assert (second.spec.model.name, second.spec.model.format_names) == ("net", ("onnx",))
    options = first.spec.tests[0].options
    assert options["onnxruntime"] == {"run_individual": True, "threads": 2}
    assert "generic" not in options


def test_what_is_saved_is_a_specification(tmp_path):
    loaded = model_files.benchmarks([ZOO / "small_squeezenet.onnx"], shapes={})
    model_files.save(loaded, tmp_path / "saved.json")
    (again,) = read_benchmarks(tmp_path / "saved.json")
    assert again.spec == loaded[0].spec
    with pytest.raises(UsageError, match=r"--save_spec: cannot write .*: it is a directory; give a file$"):
        model_files.save(loaded, tmp_path)
    with pytest.raises(UsageError, match="--save_spec: cannot write"):
        model_files.save(loaded, tmp_path / "nonesuch/saved.json")


def test_a_saved_specification_can_be_moved_with_its_model(tmp_path):
    (tmp_path / "here/models").mkdir(parents=True)
    path = saved(tmp_path / "here/models", onnx_models.tensor("x", [2]))
    model_files.save(model_files.benchmarks([path], shapes={}), tmp_path / "here/saved.json")
    (tmp_path / "here").rename(tmp_path / "there")
    (again,) = read_benchmarks(tmp_path / "there/saved.json")
    (case,) = expand([again], None)
    assert case.model_files["model"].path == tmp_path / "there/models/net.onnx"


def test_several_models_are_saved_as_a_suite(tmp_path):
    paths = [saved(tmp_path, onnx_models.tensor("x", [2]), name=name) for name in ("one", "two")]
    model_files.save(model_files.benchmarks(paths, shapes={}), tmp_path / "both.json")
    assert [one.spec.model.name for one in read_benchmarks(tmp_path / "both.json")] == ["one", "two"]
    assert {path.name for path in tmp_path.glob("*.json")} == {"both.json", "both_1.json", "both_2.json"}


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x:1,3", {"x": (1, 3)}),
        ("serving_default_x:0:1,2;y:", {"serving_default_x:0": (1, 2), "y": ()}),
    ],
)
def test_shapes(text, shapes):
    assert shapes_of(text) == shapes


@pytest.mark.parametrize(
    ("name", "content", "argv", "message"),
    [
        ("net.onnx", b"nonsense", [], "net.onnx is not an ONNX model"),
        ("net.tflite", b"", [], "net.tflite is not a TensorFlow Lite model"),
        ("net.pt2", b"PK", [], "net.pt2"),
        ("net.pb", b"x", [], "net.pb does not describe its inputs: add --input NAME:1,3,224,224"),
        ("net.pb", b"x", ["--input", "x:1"], "none of the frameworks can run it"),
        ("net.pte", b"x", ["--input", "x:1"], "net.pte is not an ExecuTorch program"),
        ("net.onnx", None, [], "there is no file '"),
        (None, None, ["--input", "y:1"], "--input: there is no input 'y'; known are x"),
        (None, None, ["--input", "x"], "argument --input: 'x' is not NAME:SIZE,..."),
        (
            "a.json",
            b"{}",
            ["--threads", "2"],
            "--threads needs a model file, as in mlbench run model.onnx",
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, capsys, name, content, argv, message):
    path = saved(tmp_path, onnx_models.tensor("x", [2])) if name is None else tmp_path / name
    if content is not None:
        path.write_bytes(content)
    try:
        status = harness.main([str(path), *argv, "--validate"], "mlbench run", takes_files=True)
    except SystemExit as error:
        status = error.code
    assert status == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_any_number_of_dimensions_has_to_be_said(tmp_path):
    path = saved(tmp_path, onnx_models.tensor("x", None))
    with pytest.raises(UsageError, match="the input 'x' has any number of dimensions: add --input x:1,3"):
        fed(path)
    assert fed(path, {"x": (5,)}) == {"x": [5]}


@pytest.mark.parametrize(
    ("argv", "framework", "max_seconds"),
    [
        (["net.onnx"], "all", 20.0),
        (["net.onnx", "--framework", "caffe2", "--max_seconds", "5"], "caffe2", 5.0),
        (["net.json"], HarnessOptions.framework, HarnessOptions.max_seconds),
    ],
)
def test_a_model_file_runs_on_all_frameworks_for_a_short_time(argv, framework, max_seconds):
    from benchmarking.cli import harness_arguments

    options = harness_arguments.parse(argv, "mlbench run", takes_files=True)
    assert (options.framework, options.max_seconds) == (framework, max_seconds)


def test_a_file_of_another_format_belongs_to_the_model_before_it(tmp_path):
    names = ("a.onnx", "b.onnx", "b.tflite", "c.tflite", "c_init.pb", "c_predict.pb")
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.touch()
    found = model_files._grouped(paths)
    shown = [
        {name: {key: file.name for key, file in files.items()} for name, files in one.items()}
        for one in found
    ]
    assert shown == [
        {"onnx": {"model": "a.onnx"}},
        {"onnx": {"model": "b.onnx"}, "tflite": {"model": "b.tflite"}},
        {"tflite": {"model": "c.tflite"}, "caffe2": {"init": "c_init.pb", "predict": "c_predict.pb"}},
    ]
