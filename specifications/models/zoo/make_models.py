"""Makes the same net, with the same weights, in the format of every framework, and its specification.

    python specifications/models/zoo/make_models.py DIRECTORY [--net squeezenet] [--format onnx]

Needs torch; for ONNX also onnx and onnxscript, for OpenVINO openvino. The converters to TensorFlow Lite and
ExecuTorch bring gigabytes with them: ``--litert_python`` and ``--executorch_python`` name a Python that has
litert-torch or executorch. A format whose packages are missing is left out, and is reported.

The specification of each net lies beside its files, as ``NET.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CAFFE2 = HERE.parent / "caffe2"
SMALL = HERE / "small_squeezenet"
IMAGE = (3, 224, 224)
IMAGE_FILE = CAFFE2 / "golden/image_224.npy"
SEED = 20180301
TOLERANCE = {"atol": 1e-5, "rtol": 1e-3}
BATCH = "batch"
"""The name of the dimension that a test chooses."""
TFLITE = """
import sys, torch, litert_torch
model = torch.export.unflatten(torch.export.load(sys.argv[1])).eval()
shape = [int(size) for size in sys.argv[3].split(",")]
litert_torch.convert(model, (torch.zeros(shape),)).export(sys.argv[2])
"""
EXECUTORCH = """
import sys, torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
exported = torch.export.load(sys.argv[1])
lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
open(sys.argv[2], "wb").write(lowered.buffer)
"""


@dataclass(frozen=True)
class Net:
    name: str
    shape: tuple[int, ...]
    """Of one input, without the batch."""
    module: Callable[[], Any]
    caffe2: Path | None = None
    """The directory of its Caffe2 files."""
    init_net: str = "synthetic_init_net.pb"


def of_caffe2(name: str, shape: tuple[int, ...] = IMAGE, init_net: str = Net.init_net) -> Net:
    directory = CAFFE2 / name
    return Net(name, shape, lambda: caffe2_module(directory, init_net), directory, init_net)


def caffe2_module(directory: Path, init_net: str = Net.init_net) -> Any:
    from caffe2_module import Caffe2Module

    return Caffe2Module(directory / init_net, directory / "predict_net.pb")


def small_squeezenet() -> Any:
    """An eighth of SqueezeNet's channels, and ten classes: small enough to be committed in every format."""
    import zoo_nets
    from synthetic_weights import synthetic_init_net

    predict = zoo_nets.squeezenet(narrowing=8, classes=10)
    SMALL.mkdir(exist_ok=True)
    for name, builder in (("predict_net", predict), ("synthetic_init_net", synthetic_init_net(predict))):
        (SMALL / f"{name}.pb").write_bytes(builder.net.SerializeToString(deterministic=True))
    return caffe2_module(SMALL)


def encoder() -> Any:
    """A transformer's encoder (Vaswani et al., 2017): 4 layers of 256, 4 heads, over 128 embedded words."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


NETS = {
    one.name: one
    for one in (
        of_caffe2("lenet", (1, 28, 28), "init_net.pb"),
        of_caffe2("squeezenet"),
        of_caffe2("mobilenet_v2"),
        of_caffe2("resnet50"),
        Net("small_squeezenet", IMAGE, small_squeezenet, SMALL),
        Net("encoder", (128, 256), encoder),
    )
}


@dataclass(frozen=True)
class Making:
    """One net on its way into its formats."""

    net: Net
    directory: Path
    module: Any
    exported: Path
    """As a torch.export package, which every other format is made of."""
    pythons: Mapping[str, str]

    @property
    def input(self) -> str:
        return getattr(self.module, "input", "data")

    @property
    def output(self) -> str:
        return getattr(self.module, "output", "answer")

    def path(self, suffix: str) -> Path:
        return self.directory / f"{self.net.name}{suffix}"

    @property
    def example(self) -> Any:
        import torch

        return torch.zeros((1, *self.net.shape))


def make_pytorch(making: Making) -> dict[str, Path]:
    return {"model": making.exported}


def make_onnx(making: Making) -> dict[str, Path]:
    import torch

    path = making.path(".onnx")
    torch.onnx.export(
        making.module,
        (making.example,),
        str(path),
        dynamo=True,
        external_data=False,
        input_names=[making.input],
        output_names=[making.output],
        dynamic_shapes=({0: torch.export.Dim(BATCH)},),
        verbose=False,
    )
    return {"model": path}


def make_openvino(making: Making) -> dict[str, Path]:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] - it would report the conversion
    import openvino

    onnx = making.path(".onnx")
    model = openvino.convert_model(onnx if onnx.exists() else make_onnx(making)["model"])
    path = making.path(".xml")
    openvino.save_model(model, path, compress_to_fp16=False)
    return {"model": path, "weights": path.with_suffix(".bin")}


def make_tflite(making: Making) -> dict[str, Path]:
    return {"model": _by_other_python(making, TFLITE, making.pythons["tflite"], ".tflite")}


def make_executorch(making: Making) -> dict[str, Path]:
    return {"model": _by_other_python(making, EXECUTORCH, making.pythons["executorch"], ".pte")}


def _by_other_python(making: Making, code: str, python: str, suffix: str) -> Path:
    import torch

    path = making.path(suffix)
    with tempfile.TemporaryDirectory() as directory:
        exported = Path(directory) / "fixed.pt2"
        torch.export.save(torch.export.export(making.module, (making.example,)), exported)
        shape = ",".join(map(str, making.example.shape))
        done = subprocess.run([python, "-c", code, exported, path, shape], capture_output=True, check=False)
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stderr)
        done.check_returncode()
    return path


def copy_caffe2(making: Making) -> dict[str, Path]:
    if making.net.caffe2 is None:
        raise NotInThisFormatError("Caffe2 has no such operators")
    return {
        "init": making.net.caffe2 / making.net.init_net,
        "predict": making.net.caffe2 / "predict_net.pb",
    }


class NotInThisFormatError(Exception):
    pass


@dataclass(frozen=True)
class Format:
    make: Callable[[Making], dict[str, Path]]
    packages: tuple[str, ...] = ()


FORMATS = {
    "pytorch": Format(make_pytorch),
    "onnx": Format(make_onnx, ("onnx", "onnxscript")),
    "openvino": Format(make_openvino, ("openvino", "onnx", "onnxscript")),
    "tflite": Format(make_tflite),
    "executorch": Format(make_executorch),
    "caffe2": Format(copy_caffe2),
}


def why_not(name: str, pythons: Mapping[str, str | None]) -> str:
    """Why a format cannot be made here; empty: it can."""
    if name in pythons:
        return "" if pythons[name] else f"--{'litert' if name == 'tflite' else name}_python names no Python"
    missing = [one for one in FORMATS[name].packages if importlib.util.find_spec(one) is None]
    return f"pip install {' '.join(missing)} has what it needs" if missing else ""


def make(net: Net, directory: Path, formats: Sequence[str], pythons: Mapping[str, str]) -> Path:
    """Returns the specification."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    module = net.module().eval().requires_grad_(requires_grad=False)
    example = (torch.zeros((2, *net.shape)),)
    batch = ({0: torch.export.Dim(BATCH, max=1024)},)
    exported = directory / f"{net.name}.pt2"
    package = torch.export.export(module, example, dynamic_shapes=batch)
    package.example_inputs = None  # as large as the net itself
    torch.export.save(package, exported)
    making = Making(net, directory, module, exported, pythons)
    files: dict[str, dict[str, Path]] = {}
    for name in formats:
        try:
            files[name] = FORMATS[name].make(making)
        except NotInThisFormatError as error:
            print(f"  {name}: not made: {error}")
        else:
            print(f"  {name}: {', '.join(path.name for path in files[name].values())}")
    if "pytorch" not in files:
        exported.unlink()
    return write_specification(making, files)


def write_specification(making: Making, files: Mapping[str, Mapping[str, Path]]) -> Path:
    """With a test of the answer, computed here with 64 bits, and a test of the delay."""
    import numpy
    import torch

    net, directory = making.net, making.directory
    input_file = IMAGE_FILE
    if net.shape != IMAGE:
        input_file = directory / f"{net.name}_input.npy"
        numpy.save(input_file, numpy.random.default_rng(SEED).standard_normal((1, *net.shape), numpy.float32))
    data = torch.from_numpy(numpy.load(input_file)).float()
    expected = making.module.double()(data.double())
    making.module.float()
    lines = (f"{value:.9g}\n" for value in expected.flatten().tolist())
    (directory / f"{net.name}_output.txt").write_text("".join(lines))
    shape = [list(data.shape)]
    model = {
        "name": net.name,
        "description": "The same net with the same weights in every format; made by make_models.py",
        "formats": {
            name: {"files": {key: file(path, directory) for key, path in made.items()}}
            for name, made in files.items()
        },
    }
    inputs = {making.input: {"shapes": shape, "type": "float"}}
    tests: list[dict[str, Any]] = [
        {
            "identifier": "golden",
            "metric": "error",
            "iter": 1,
            "inputs": inputs,
            "input_files": {making.input: location(input_file, directory)},
            "output_files": {making.output: f"{net.name}_output.txt"},
            "tolerance": TOLERANCE,
        },
        {"identifier": "delay", "metric": "delay", "iter": 50, "warmup": 5, "inputs": inputs},
    ]
    path = directory / f"{net.name}.json"
    path.write_text(json.dumps({"model": model, "tests": tests}, indent=2) + "\n")
    return path


def file(path: Path, directory: Path) -> dict[str, str]:
    content = path.read_bytes()
    digests = {name: hashlib.new(name, content).hexdigest() for name in ("md5", "sha256")}
    return {"filename": path.name, "location": location(path, directory), **digests}


def location(path: Path, directory: Path) -> str:
    """Relative where both lie among the specifications, so that what is committed fits every checkout."""
    if path.parent == directory or directory.is_relative_to(HERE):
        return os.path.relpath(path, directory)
    return str(path)


def main() -> None:
    sys.path.insert(0, str(CAFFE2))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="is made, with what it lies in")
    parser.add_argument("--net", action="append", choices=tuple(NETS), help="again for each; all by default")
    parser.add_argument("--format", action="append", choices=tuple(FORMATS), help="likewise")
    parser.add_argument("--litert_python", help="a Python that has litert-torch")
    parser.add_argument("--executorch_python", help="a Python that has executorch")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # exporters name every operator of packages that nobody needs here
    warnings.simplefilter("ignore")
    pythons = {"tflite": arguments.litert_python, "executorch": arguments.executorch_python}
    formats = []
    for name in arguments.format or FORMATS:
        reason = why_not(name, pythons)
        if reason:
            print(f"{name} is left out: {reason}")
        else:
            formats.append(name)
    for name in arguments.net or NETS:
        print(name)
        print(f"  {make(NETS[name], arguments.directory.resolve(), formats, pythons)}")


if __name__ == "__main__":
    main()
