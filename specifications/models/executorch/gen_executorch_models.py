"""Writes the LeNet of the other frameworks as an ExecuTorch program, and its specification beside it.

    python gen_executorch_models.py DIRECTORY

Needs the packages executorch, torch and protobuf.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

MODELS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(MODELS / "pytorch"))

import gen_pytorch_models  # noqa: E402


def specification() -> dict[str, object]:
    """That of the torch.export package, with golden files named by their whole paths."""
    source = MODELS / "pytorch/lenet/lenet.json"
    spec = json.loads(source.read_text(encoding="utf-8"))
    spec["model"]["format"] = "executorch"
    spec["model"]["files"] = {"model": {"filename": "lenet.pte", "location": "lenet.pte"}}
    for test in spec["tests"]:
        for kind in ("input_files", "output_files"):
            for name, paths in test.get(kind, {}).items():
                test[kind][name] = [str((source.parent / path).resolve()) for path in paths]
        if "commands" in test:
            test["commands"] = {"executorch": test["commands"]["pytorch"]}
            test["inputs"]["data"]["shapes"] = [[1, 1, 28, 28], [8, 1, 28, 28]]
    return spec


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    lowered = to_edge_transform_and_lower(gen_pytorch_models.lenet(), partitioner=[XnnpackPartitioner()])
    (directory / "lenet.pte").write_bytes(lowered.to_executorch().buffer)
    (directory / "lenet.json").write_text(json.dumps(specification(), indent=2) + "\n", encoding="utf-8")
    print(directory / "lenet.json")


if __name__ == "__main__":
    main()
