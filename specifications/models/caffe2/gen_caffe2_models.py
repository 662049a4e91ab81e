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
import math
import subprocess
from pathlib import Path

import numpy as np
import train_lenet
import zoo_nets
from net_builder import NetBuilder

HERE = Path(__file__).resolve().parent
NOISE_VALUES = 1009
"""A prime above every layer's number of outputs, so that no two rows of a layer are the same."""
LAST_LAYER_FACTOR = 0.02
"""Keeps softmax from saturating: every output value is to depend visibly on every layer."""
SQUEEZENET_GOLDEN_SHAPE = (1, 3, 64, 64)


def synthetic_init_net(parameters: dict[str, tuple[int, ...]]) -> NetBuilder:
    """Weights cut from one tiled piece of seeded noise and scaled as He et al. (2015) do; biases from it too.

    Nothing is drawn when the net runs and nothing is rounded but one product, so every engine gets the same.
    """
    noise = np.random.RandomState(20180301).standard_normal(NOISE_VALUES).astype(np.float32)
    init = NetBuilder("synthetic_weights", "", 0)
    largest = max(math.prod(shape) for shape in parameters.values())
    init.operator("GivenTensorFill", [], ["noise"], {"shape": [NOISE_VALUES], "values": noise.tolist()})
    tiles = -(-largest // NOISE_VALUES) + 1
    init.operator("Tile", ["noise"], ["tiled_noise"], {"tiles": tiles, "axis": 0})
    for number, (name, shape) in enumerate(parameters.items()):
        start = 37 * number % NOISE_VALUES
        count = math.prod(shape)
        fan_in = math.prod(shape[1:])
        scale = math.sqrt(2 / fan_in) if len(shape) > 1 else 0.05
        if name.startswith("conv10"):
            scale *= LAST_LAYER_FACTOR
        init.operator("Slice", ["tiled_noise"], ["piece"], {"starts": [start], "ends": [start + count]})
        init.operator("Reshape", ["piece"], ["piece", "old_shape"], {"shape": list(shape)})
        init.operator("ConstantFill", [], ["scale"], {"shape": [1], "value": scale})
        init.operator("Mul", ["piece", "scale"], [name], {"broadcast": 1})
    init.net.external_output.extend(parameters)
    return init


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digests = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    print(f"{path.relative_to(HERE)}: {len(content)} bytes\n  md5    {digests[0]}\n  sha256 {digests[1]}")


def write_net(path: Path, builder: NetBuilder) -> None:
    write(path, builder.net.SerializeToString(deterministic=True))


def as_text(values: np.ndarray) -> bytes:
    return "".join(f"{value:.9g}\n" for value in values.reshape(-1).tolist()).encode()


def write_squeezenet() -> None:
    directory = HERE / "squeezenet"
    predict = zoo_nets.squeezenet()
    write_net(directory / "predict_net.pb", predict)
    write_net(directory / "synthetic_init_net.pb", synthetic_init_net(predict.parameters))
    image = np.random.RandomState(7).uniform(-2, 2, SQUEEZENET_GOLDEN_SHAPE).round(2)
    write(directory / "golden/synthetic_input.txt", as_text(image))


def write_zoo_golden(caffe2_python: str, init_net: Path) -> None:
    image = np.random.RandomState(7).uniform(0, 255, (1, 3, 224, 224)).round()
    write(HERE / "squeezenet/golden/zoo_input.txt", as_text(image))
    model = HERE / "squeezenet"
    write_golden_outputs(caffe2_python, model, str(init_net.resolve()), "softmaxout", "1,3,224,224", ["zoo"])


def write_golden_outputs(
    caffe2_python: str, model: Path, init: str, blob: str, shape: str, names: list[str]
) -> None:
    """``names``: of pairs golden/<name>_input.txt, golden/<name>_output.txt."""
    for name in names:
        subprocess.run(
            [
                *(caffe2_python, str(HERE / "real_caffe2_output.py"), str(model / init)),
                *(str(model / "predict_net.pb"), str(model / f"golden/{name}_input.txt"), shape, blob),
                str(model / f"golden/{name}_output.txt"),
            ],
            check=True,
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
    write_squeezenet()
    write_net(HERE / "lenet/predict_net.pb", zoo_nets.lenet())
    if arguments.train_lenet:
        init, digits = train_lenet.train(zoo_nets.lenet())
        write_net(HERE / "lenet/init_net.pb", init)
        for number, digit in enumerate(digits):
            write(HERE / f"lenet/golden/digit_{number}_input.txt", as_text(digit))
    if arguments.caffe2_python:
        shape = ",".join(map(str, SQUEEZENET_GOLDEN_SHAPE))
        python = arguments.caffe2_python
        write_golden_outputs(
            python, HERE / "squeezenet", "synthetic_init_net.pb", "softmaxout", shape, ["synthetic"]
        )
        if arguments.zoo_squeezenet_init:
            write_zoo_golden(python, arguments.zoo_squeezenet_init)
        digit_names = [f"digit_{number}" for number in range(train_lenet.GOLDEN_DIGITS)]
        write_golden_outputs(python, HERE / "lenet", "init_net.pb", "softmax", "1,1,28,28", digit_names)


if __name__ == "__main__":
    main()
