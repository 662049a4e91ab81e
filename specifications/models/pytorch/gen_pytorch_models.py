"""Writes the PyTorch models of this directory from the Caffe2 models: the same nets and weights.

    python gen_pytorch_models.py

Needs the packages torch and protobuf. Running it again gives the same bytes with the same version of torch.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import net_file  # noqa: E402

HERE = Path(__file__).resolve().parent
CAFFE2 = HERE.parent / "caffe2"


class LeNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 20, 5)
        self.conv2 = torch.nn.Conv2d(20, 50, 5)
        self.pool = torch.nn.MaxPool2d(2, 2)
        self.fc3 = torch.nn.Linear(800, 500)
        self.pred = torch.nn.Linear(500, 10)

    def forward(self, data: torch.Tensor) -> dict[str, torch.Tensor]:
        """``data``: (N, 1, 28, 28); probabilities of the ten digits: (N, 10)."""
        hidden = self.pool(self.conv2(self.pool(self.conv1(data))))
        hidden = torch.relu(self.fc3(hidden.flatten(1)))
        return {"softmax": torch.softmax(self.pred(hidden), 1)}


def weights(init_net: Any) -> dict[str, torch.Tensor]:
    """Of an init net in which six operators make a weight: fill, cast, fill, add, fill, multiply."""
    made = {}
    operators = list(init_net.op)
    for fill, _, middle, _, scale, product in zip(*(operators[start::6] for start in range(6)), strict=True):
        values = {argument.name: argument for argument in fill.arg}
        steps = np.frombuffer(values["values"].strings[0], np.uint8).reshape(list(values["shape"].ints))
        weight = (steps.astype(np.float32) + number(middle)) * number(scale)
        name, _, kind = product.output[0].rpartition("_")
        made[f"{name}.{'weight' if kind == 'w' else 'bias'}"] = torch.from_numpy(weight)
    return made


def number(fill: Any) -> np.float32:
    return np.float32(next(argument.f for argument in fill.arg if argument.name == "value"))


def lenet() -> torch.export.ExportedProgram:
    model = LeNet()
    model.load_state_dict(weights(net_file.read(str(CAFFE2 / "lenet/init_net.pb"), "init_net")))
    batch = torch.export.Dim("batch", min=1, max=1024)
    data = torch.zeros(2, 1, 28, 28)
    return torch.export.export(model.eval(), (data,), dynamic_shapes={"data": {0: batch}})


def write(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compressed, without the paths of this machine, and the same bytes each time."""
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory) / path.name
        torch.export.save(program, written)
        with zipfile.ZipFile(written) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for name in sorted(archive.namelist()):
                content = archive.read(name)
                if name.endswith("models/model.json"):
                    content = without_paths(content)
                target.writestr(
                    zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED, 9
                )


def without_paths(content: bytes) -> bytes:
    model = json.loads(content)
    for node in model["graph_module"]["graph"]["nodes"]:
        node["metadata"].pop("stack_trace", None)
    return json.dumps(model, sort_keys=True).encode()


def main() -> None:
    path = HERE / "lenet/lenet.pt2"
    path.parent.mkdir(exist_ok=True)
    write(lenet(), path)
    content = path.read_bytes()
    print(f"{path.relative_to(HERE)}: {len(content)} bytes")
    print(f"  md5    {hashlib.md5(content).hexdigest()}\n  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
