"""Trains lenet on scikit-learn's handwritten digits (1,797 images of 8 x 8, scaled up to 28 x 28).

The weights are rounded to 8 bits, so that the file is a quarter of the size; training knows nothing of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from net_builder import NetBuilder
from sklearn.datasets import load_digits
from torch import nn

GOLDEN_DIGITS = 5
EPOCHS = 12
HELD_OUT = 297
"""The last images of the set are the test."""


def train(predict: NetBuilder) -> tuple[NetBuilder, list[np.ndarray]]:
    """The init net, and the first held-out digits as inputs; writes their labels and the accuracy beside."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    images = nn.functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train_images, train_labels = images[:-HELD_OUT], labels[:-HELD_OUT]
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train_images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train_images[batch]), train_labels[batch]).backward()
            optimizer.step()

    init = NetBuilder("lenet_weights", "", 0)
    with torch.no_grad():
        for (name, shape), parameter in zip(predict.parameters.items(), model.parameters(), strict=True):
            parameter.copy_(add_rounded(init, name, shape, parameter.numpy().reshape(shape)))
        predictions = model(images[-HELD_OUT:]).argmax(1)
    accuracy = float((predictions == labels[-HELD_OUT:]).float().mean())
    golden = images[-HELD_OUT:][:GOLDEN_DIGITS]
    facts = {"held_out_accuracy": accuracy, "labels": labels[-HELD_OUT:][:GOLDEN_DIGITS].tolist()}
    path = Path(__file__).resolve().parent / "lenet/golden/labels.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    print(f"lenet: {accuracy:.1%} of {HELD_OUT} held-out digits are right")
    return init, list(golden.numpy())


def add_rounded(init: NetBuilder, name: str, shape: tuple[int, ...], values: np.ndarray) -> torch.Tensor:
    """Adds operators that fill ``name`` with the values rounded to 255 steps; returns what they fill."""
    scale = np.float32(np.abs(values).max() / 127)
    steps = np.clip(np.rint(values / scale), -127, 127).astype(np.float32)
    content = (steps + 128).astype(np.uint8).tobytes()
    fill = "GivenTensorByteStringToUInt8Fill"
    init.operator(fill, [], ["bytes"], {"shape": list(shape), "values": [content]})
    init.operator("Cast", ["bytes"], ["steps"], {"to": 1})
    init.operator("ConstantFill", [], ["middle"], {"shape": [1], "value": -128.0})
    init.operator("Add", ["steps", "middle"], ["centred"], {"broadcast": 1})
    init.operator("ConstantFill", [], ["scale"], {"shape": [1], "value": float(scale)})
    init.operator("Mul", ["centred", "scale"], [name], {"broadcast": 1})
    return torch.from_numpy(steps * scale)
