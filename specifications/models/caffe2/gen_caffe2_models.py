"""Writes the models of this directory that are not downloaded; running it twice gives the same bytes.

    python gen_caffe2_models.py                                    nets and golden inputs
    python gen_caffe2_models.py --train_lenet                      lenet's weights too (torch, scikit-learn)
    python gen_caffe2_models.py --caffe2_python PATH/TO/python3.9  golden outputs too, by real Caffe2

``--zoo_squeezenet_init FILE`` adds the golden files of squeezenet.json, whose weights (the zoo's init_net.pb)
are not committed here.

Real Caffe2 is in torch 1.10.2, for Python 3.6 to 3.9: ``pip install torch==1.10.2 'numpy<1.24'
'protobuf<3.21' future six``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import train_lenet
import zoo_nets
from net_builder import NetBuilder
from synthetic_weights import synthetic_init_net

HERE = Path(__file__).resolve().parent

IMAGE_MEAN = [104.0, 117.0, 124.0]
STYLIZER_NOISE = {
    "__CAFFE2_STYLIZER_NOISE__": (np.random.RandomState(11).standard_normal(491).round(1) * 5).tolist()
}
"""Real Caffe2 draws it with a generator of its own where it is not given."""

ANCHORS = [side for anchor in zoo_nets.detection.ANCHORS for side in anchor]


@dataclass(frozen=True)
class SyntheticModel:
    """A net and what its made-up weights need for activations and outputs of a sensible size."""

    build: Callable[[], NetBuilder]
    gain: float = 1.0
    last_gain: float = 0.1
    given: Mapping[str, list[float]] = field(default_factory=dict)


MODELS = [
    SyntheticModel(zoo_nets.squeezenet, last_gain=0.02),
    SyntheticModel(zoo_nets.shufflenet, gain=0.6, last_gain=0.2),
    SyntheticModel(zoo_nets.mobilenet_v2, gain=0.7, last_gain=0.3),
    SyntheticModel(zoo_nets.resnet50, gain=0.5),
    SyntheticModel(zoo_nets.densenet121, gain=0.7),
    SyntheticModel(zoo_nets.bvlc_googlenet, gain=0.75, last_gain=0.06),
    SyntheticModel(zoo_nets.inception_v1, gain=0.75, last_gain=0.06),
    SyntheticModel(zoo_nets.inception_v2, gain=0.62, last_gain=0.2),
    SyntheticModel(zoo_nets.bvlc_alexnet),
    SyntheticModel(zoo_nets.bvlc_reference_caffenet),
    SyntheticModel(zoo_nets.bvlc_reference_rcnn_ilsvrc13),
    SyntheticModel(zoo_nets.vgg16, last_gain=0.25),
    SyntheticModel(zoo_nets.vgg16_true, last_gain=0.04),
    SyntheticModel(zoo_nets.vgg19, last_gain=0.08),
    SyntheticModel(
        zoo_nets.style_transfer, gain=0.85, last_gain=0.7, given={"mean": IMAGE_MEAN, **STYLIZER_NOISE}
    ),
    SyntheticModel(zoo_nets.faster_rcnn_head, gain=0.3, last_gain=1.0, given={"anchor": ANCHORS}),
]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digests = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    print(f"{path.relative_to(HERE)}: {len(content)} bytes\n  md5    {digests[0]}\n  sha256 {digests[1]}")


def write_net(path: Path, builder: NetBuilder) -> None:
    write(path, builder.net.SerializeToString(deterministic=True))


def as_text(values: np.ndarray) -> bytes:
    return "".join(f"{value:.9g}\n" for value in values.reshape(-1).tolist()).encode()


def as_npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def write_synthetic_model(model: SyntheticModel) -> None:
    directory = HERE / model.build.__name__
    predict = model.build()
    write_net(directory / "predict_net.pb", predict)
    init = synthetic_init_net(predict, model.gain, model.last_gain, model.given)
    write_net(directory / "synthetic_init_net.pb", init)


def write_golden_inputs() -> None:
    write(HERE / "golden/image_224.npy", as_npy(patchwork(3, 224, 224).round().astype(np.int8)))
    small = np.random.RandomState(7).uniform(-2, 2, (1, 3, 64, 64)).round(2)
    write(HERE / "squeezenet/golden/synthetic_input.txt", as_text(small))
    features = HERE / "faster_rcnn_head/golden"
    write(features / "features.npy", as_npy(patchwork(32, 14, 14).round().astype(np.int8)))
    write(features / "im_info.txt", as_text(np.array([224, 224, 1])))
    pixels = (128 + 32 * patchwork(4, 64, 48)).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    write(HERE / "style_transfer/golden/synthetic_input.npy", as_npy(np.ascontiguousarray(pixels)))


def patchwork(channels: int, height: int, width: int) -> np.ndarray:
    """Squares of several sizes, of normal noise each, one over the other: shape (1, channels, height, width).

    The values' standard deviation is about 2. Noise of one size alone would fade in the first poolings.
    """
    random = np.random.RandomState(7)
    image = np.zeros((1, channels, height, width))
    for side in (1, 4, 16, 32):
        rows, columns = -(-height // side), -(-width // side)
        squares = random.standard_normal((1, channels, rows, columns))
        image += np.kron(squares, np.ones((1, 1, side, side)))[:, :, :height, :width]
    return image


def write_zoo_golden(caffe2_python: str, init_net: Path) -> None:
    image = np.random.RandomState(7).uniform(0, 255, (1, 3, 224, 224)).round()
    write(HERE / "squeezenet/golden/zoo_input.txt", as_text(image))
    write_golden_outputs(caffe2_python, HERE / "squeezenet/squeezenet.json", str(init_net.resolve()))


def write_golden_outputs(caffe2_python: str, specification: Path, *init_net: str) -> None:
    subprocess.run(
        [caffe2_python, str(HERE / "real_caffe2_output.py"), str(specification), *init_net], check=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--train_lenet", action="store_true", help="train lenet and write its weights and inputs"
    )
    parser.add_argument("--caffe2_python", metavar="PYTHON", help="an interpreter that has real Caffe2")
    parser.add_argument(
        "--zoo_squeezenet_init", type=Path, metavar="FILE", help="the zoo's squeezenet weights"
    )
    arguments = parser.parse_args()
    if arguments.zoo_squeezenet_init and not arguments.caffe2_python:
        parser.error("--zoo_squeezenet_init needs --caffe2_python")
    for model in MODELS:
        write_synthetic_model(model)
    write_golden_inputs()
    write_net(HERE / "lenet/predict_net.pb", zoo_nets.lenet())
    if arguments.train_lenet:
        init, digits = train_lenet.train(zoo_nets.lenet())
        write_net(HERE / "lenet/init_net.pb", init)
        for number, digit in enumerate(digits):
            write(HERE / f"lenet/golden/digit_{number}_input.txt", as_text(digit))
    if arguments.caffe2_python:
        for specification in sorted([*HERE.glob("*/*_synthetic.json"), HERE / "lenet/lenet.json"]):
            write_golden_outputs(arguments.caffe2_python, specification)
        if arguments.zoo_squeezenet_init:
            write_zoo_golden(arguments.caffe2_python, arguments.zoo_squeezenet_init)


if __name__ == "__main__":
    main()
