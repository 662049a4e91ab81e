"""What is read of OpenVINO's own files, and which files are tried at all."""

import pytest

from benchmarking.frameworks.kit.errors import ModelError
from benchmarking.frameworks.openvino.program import ir_file, model_file
from tests.support import tflite_models

IR = """<?xml version="1.0"?>
<net name="tiny" version="11">
  <layers>
    <layer id="0" name="x" type="Parameter" version="opset1"/>
    <layer id="1" name="sum" type="Const" version="opset1">
      <output><port id="0" precision="FP32" names="y,alias"/></output>
    </layer>
    <layer id="2" name="y/sink_port_0" type="Result" version="opset1"/>
  </layers>
  <edges><edge from-layer="1" from-port="0" to-layer="2" to-port="0"/></edges>
</net>
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model" / "tiny.xml"
    path.parent.mkdir()
    path.write_text(IR)
    return path


def test_what_a_model_gives_and_where_its_weights_are(model):
    weights = model.with_suffix(".bin")
    weights.touch()
    assert ir_file.read(str(model), "") == ("tiny", ("alias",), str(weights))
    assert ir_file.read(str(model), "/elsewhere.bin").weights == "/elsewhere.bin"


def test_a_model_without_constants_needs_no_weights(model):
    model.write_text(IR.replace('type="Const"', 'type="Relu"'))
    assert ir_file.read(str(model), "").weights == ""


def test_weights_that_are_missing_are_one_line(model):
    with pytest.raises(
        ModelError, match=r"^--weights is missing: .*tiny.xml has no weights next to it, in .*tiny.bin$"
    ):
        ir_file.read(str(model), "")


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname"])
def test_weights_elsewhere_are_refused(model, target):
    (model.parent.parent / "secret").touch()
    model.with_suffix(".bin").symlink_to(target)
    with pytest.raises(ModelError, match=r"keeps weights in .*; they have to be in its directory"):
        ir_file.read(str(model), "")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "<a/>",
        IR[:300],
        IR.replace("<net", '<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net'),
    ],
)
def test_anything_else_is_one_line(model, content):
    model.write_text(content)
    with pytest.raises(ModelError) as caught:
        ir_file.read(str(model), "")
    assert str(caught.value).startswith(f"--model: {model} is not an OpenVINO model: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "cp037", "latin-1", "nonsense"])
def test_an_encoding_that_would_hide_declarations_is_refused(model, encoding):
    head = f'<?xml version="1.0"{" " * 500}encoding="{encoding}"?>'
    inside = IR.partition("?>")[2].replace("Const", "Relu")
    text = f'{head}<!DOCTYPE net [<!ENTITY a "x">]>{inside}'
    model.write_bytes(text.encode("utf-16") if encoding == "utf-16" else f"{head}{inside}".encode())
    with pytest.raises(ModelError, match="it is in another encoding than UTF-8"):
        ir_file.read(str(model), "")


@pytest.mark.parametrize("head", ['<?xml version="1.0" encoding="UTF-8"?>', "\ufeff", ""])
def test_utf_8_is_read_however_it_is_declared(model, head):
    model.write_bytes((head + IR.partition("?>")[2].strip().replace("Const", "Relu")).encode())
    assert ir_file.read(str(model), "").outputs == ("alias",)


def test_other_kinds_of_files_are_not_tried(tmp_path):
    path = tmp_path / "model.pb"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"is neither an \.xml, an \.onnx nor a \.tflite file$"):
        model_file.read(str(path), "")
    with pytest.raises(ModelError, match=r"^--weights: .* contains its weights"):
        model_file.read(str(tflite_models.LENET), str(path))


@pytest.mark.parametrize("name", ["missing.xml", "missing.onnx", "missing.tflite"])
def test_a_missing_file_is_one_line(tmp_path, name):
    with pytest.raises(ModelError, match=r"cannot read .*: No such file"):
        model_file.read(str(tmp_path / name), "")
