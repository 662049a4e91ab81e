"""What is known of a PyTorch file before torch loads it, and which files are not loaded at all."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.pytorch.program import model_file

LENET = Path(__file__).parents[4] / "specifications/models/pytorch/lenet/lenet.pt2"


@pytest.fixture(scope="module")
def records():
    with zipfile.ZipFile(LENET) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def archive_of(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"net/{name}", b"")
    return str(path)


def test_the_signature_is_that_of_the_graph():
    signature = model_file.read(str(LENET)).signature
    (data,) = signature.inputs
    assert (signature.model, data.name, data.type, data.shape[1:]) == ("lenet", "data", "float", (1, 28, 28))
    assert isinstance(data.shape[0], str)
    assert signature.outputs == ("softmax",)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["data.pkl", "code/__torch__.py", "constants.pkl"], model_file.TORCHSCRIPT),
        (["models/model.json", "data/weights/weight_0"], model_file.EXPORTED),
        (["data/aotinductor/model/x.wrapper.so"], model_file.AOT_INDUCTOR),
        (["models/model.json", "data/aotinductor/model/x.wrapper.so"], model_file.AOT_INDUCTOR),
    ],
)
def test_kinds_of_files(tmp_path, names, kind):
    assert model_file.kind(archive_of(tmp_path / "net.pt", names)) == kind


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"\x80\x02}q\x00.", "is not a PyTorch model"),
        (LENET.read_bytes()[:100_000], "is not a PyTorch model"),
        (["word/document.xml"], "is not a PyTorch model, though it is a zip archive"),
        (["data.pkl", "data/0"], "contains no program, because torch.save writes none: export the model"),
    ],
)
def test_what_is_not_a_model_is_one_line(tmp_path, content, message):
    path = tmp_path / "net.pt"
    if isinstance(content, list):
        archive_of(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        model_file.kind(str(path))
    assert "\n" not in str(caught.value)


def test_a_damaged_archive_is_one_line(tmp_path):
    content = bytearray(LENET.read_bytes())
    at = content.index(b"models/model.json") + 500
    content[at : at + 100] = bytes(100)
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged: [^\n]+$"):
        model_file.read(str(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_each_compression_is_one_line(tmp_path, compression):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("net/models/model.json", bytes(range(256)) * 40)
    content = path.read_bytes()
    at = content.index(b"model.json") + len("model.json") + 12
    path.write_bytes(content[:at] + b"\xa5" * 28 + content[at + 28 :])
    with pytest.raises(ModelError, match=r"net\.pt2 is damaged: "):
        model_file.read(str(path))


def test_json_that_is_too_deep_is_one_line():
    with pytest.raises(ModelError, match=r"net.pt2 is damaged: extra/a.json: .*recursion"):
        model_file.require_plain("net.pt2", {"extra/a.json": b"[" * 100_000})


def test_a_package_without_code_passes(records):
    model_file.require_plain("net.pt2", records)


def graph_with(records, change):
    model = json.loads(records["models/model.json"])
    change(model, model["graph_module"]["graph"])
    return records | {"models/model.json": json.dumps(model).encode()}


def set_target(target):
    return lambda model, graph: graph["nodes"][0].update(target=target)


def set_expression(text):
    def change(model, graph):
        (size,) = [one for one in graph["tensor_values"]["data"]["sizes"] if "as_expr" in one]
        size["as_expr"]["expr_str"] = text

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_target("torch.os.system"), "the operator torch.os.system"),
        (set_target("torch.ops.load_library"), "the operator torch.ops.load_library"),
        (set_target("torch.ops.aten.from_file.default"), "the operator torch.ops.aten.from_file"),
        (set_target("torch.ops.aten.__class__.mro"), "the operator torch.ops.aten.__class__"),
        (set_target("torch.ops.mine.op.default"), "the operator torch.ops.mine.op"),
        (set_target("_operator.call"), "the operator _operator.call"),
        (set_expression("__import__('os').system('id')"), "the expression"),
        (set_expression("Symbol('x y')"), "the expression"),
        (set_expression("Integer(('os',).__class__)"), "the expression"),
        (set_expression("(lambda: 0)()"), "the expression"),
        (set_expression("open"), "the expression"),
        (set_expression("(" * 5000), "the expression"),
        (lambda model, graph: graph["nodes"][0].update(name="x=__import__('os')"), "the name"),
        (lambda model, graph: graph["tensor_values"].update({"x;y": {}}), "the name 'x;y'"),
        (lambda model, graph: model.update(extra={"as_operator": "torch.os.system"}), "the operator torch.os"),
        (lambda model, graph: model["graph_module"]["module_call_graph"][0]["signature"].update(in_spec="default_factory_module"), "a defaultdict"),
    ],
)  # fmt: skip
def test_a_graph_that_could_run_code_is_refused(records, change, message):
    with pytest.raises(ModelError) as caught:
        model_file.require_plain("net.pt2", graph_with(records, change))
    assert message in str(caught.value)
    assert "--allow_code" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s0', integer=True))",
        "FloorDiv(Add(Symbol('u0'), Integer(-1)), Integer(2))",
        "2*s0 + 1",
        "s0 >= 2",
    ],
)
def test_expressions_of_symbols_pass(records, text):
    model_file.require_plain("net.pt2", graph_with(records, set_expression(text)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data/constants/opaque_obj_0", b""),
        ("data/constants/custom_obj_0", b""),
        ("data/weights/model.pt", b""),
        ("data/weights/model_weights_config.json", b'{"config": {"w": {"path_name": "weight_0", "use_pickle": true}}}'),
    ],
)  # fmt: skip
def test_a_package_with_pickles_is_refused(records, name, content):
    with pytest.raises(ModelError, match="pickled"):
        model_file.require_plain("net.pt2", records | {name: content})


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"graph_module": {}}', b"[" * 100_000])
def test_a_damaged_graph_is_one_line(content):
    with pytest.raises(
        ModelError, match=r"^--model: net\.pt2 is not a torch\.export package that can be read"
    ):
        model_file.parse("net.pt2", content)


def tree(*children, kind="builtins.tuple", context="null"):
    return {"type": kind, "context": context, "children_spec": list(children)}


LEAF = {"type": None, "context": None, "children_spec": []}


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (LEAF, ("output",)),
        (tree(LEAF, LEAF), ("output_0", "output_1")),
        (tree(LEAF, LEAF, kind="builtins.dict", context='["a", "b"]'), ("a", "b")),
        (tree(tree(LEAF, LEAF), kind="builtins.dict", context='["a"]'), ("a.0", "a.1")),
        (tree(tree(LEAF, kind="builtins.dict", context='["a"]'), LEAF), ("output_0.a", "output_1")),
    ],
)
def test_outputs_have_the_names_of_their_places(spec, names):
    assert model_file.output_names(json.dumps([1, spec])) == names


def file_with(*shapes, ranges):
    inputs = tuple(model_file.TensorSignature(f"x{at}", "float", shape) for at, shape in enumerate(shapes))
    return model_file.ExportedFile(model_file.Signature("net", inputs, ()), ranges, [])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2, 2), ""),
        ((16, 16), ""),
        ((1, 1), "'x0' has the shape [1, 3]: dimension 0 (s0) has to be 2 to 16"),
        ((17, 17), "'x0' has the shape [17, 3]: dimension 0 (s0) has to be 2 to 16"),
        ((2, 3), "'x1' has the shape [3, 3]: dimension 0 (s0) has to be the same as that of 'x0', 2"),
    ],
)
def test_dimensions_are_held_to_their_ranges(sizes, message):
    file = file_with(("s0", 3), ("s0", 3), ranges={"s0": (2, 16)})
    inputs = {f"x{at}": np.zeros((size, 3)) for at, size in enumerate(sizes)}
    if not message:
        file.require_ranges(inputs)
        return
    with pytest.raises(ModelError) as caught:
        file.require_ranges(inputs)
    assert message in str(caught.value)


def test_a_range_without_an_end():
    file = file_with(("s0",), ranges={"s0": (4, None)})
    file.require_ranges({"x0": np.zeros(10**6)})
    with pytest.raises(ModelError, match="has to be 4 to any"):
        file.require_ranges({"x0": np.zeros(3)})


def test_pickles_are_not_even_looked_into(tmp_path):
    """The reader of the harness takes names and JSON alone."""
    buffer = io.BytesIO()
    pickle.dump({"a": 1}, buffer)
    path = tmp_path / "net.pt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="is not a PyTorch model"):
        model_file.read(str(path))
