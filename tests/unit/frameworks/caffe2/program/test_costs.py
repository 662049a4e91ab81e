"""What operators cost, and the table of a net."""

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.kit import costs, summary


def net(*operators):
    result = messages.NetDef(name="costs")
    for type_, inputs, outputs, arguments in operators:
        definition = result.op.add(type=type_, input=inputs, output=outputs)
        for name, value in arguments.items():
            definition.arg.add(name=name, i=value)
    return result


def fill(name, *shape):
    definition = messages.OperatorDef(type="ConstantFill", output=[name])
    definition.arg.add(name="shape", ints=shape)
    definition.arg.add(name="value", f=0.5)
    return definition


def operators(predict, weights, inputs, optimize="none"):
    init = messages.NetDef(op=[fill(name, *shape) for name, shape in weights.items()])
    arrays = {name: np.ones(shape, dtype=np.float32) for name, shape in inputs.items()}
    engine = TorchEngine(threads=1, seed=0, backend="builtin", optimize=optimize)
    return engine.load(init, predict, arrays).operators()


@pytest.mark.parametrize(
    ("operator", "weights", "inputs", "expected"),
    [
        # 2 * 4 output channels * 6 * 6 places * 3 input channels * 3 * 3
        (
            ("Conv", ["x", "w", "b"], ["y"], {"kernel": 3}),
            {"w": (4, 3, 3, 3), "b": (4,)},
            {"x": (1, 3, 8, 8)},
            (108 + 4, 2 * 4 * 36 * 27, 4 * (192 + 108 + 4 + 144)),
        ),
        # In groups each output sees half of the inputs.
        (
            ("Conv", ["x", "w"], ["y"], {"kernel": 1, "group": 2}),
            {"w": (4, 2, 1, 1)},
            {"x": (2, 4, 5, 5)},
            (8, 2 * 2 * 4 * 25 * 2, 4 * (200 + 8 + 200)),
        ),
        (
            ("ConvTranspose", ["x", "w", "b"], ["y"], {"kernel": 2, "stride": 2}),
            {"w": (3, 5, 2, 2), "b": (5,)},
            {"x": (1, 3, 4, 4)},
            (65, 2 * 3 * 16 * 5 * 4, 4 * (48 + 65 + 5 * 64)),
        ),
        (
            ("FC", ["x", "w", "b"], ["y"], {}),
            {"w": (10, 24), "b": (10,)},
            {"x": (3, 2, 3, 4)},
            (250, 2 * 3 * 240, 4 * (72 + 250 + 30)),
        ),
        (("MatMul", ["x", "z"], ["y"], {}), {}, {"x": (3, 4), "z": (4, 5)}, (0, 2 * 60, 4 * (12 + 20 + 15))),
        (
            ("BatchMatMul", ["x", "z"], ["y"], {}),
            {},
            {"x": (7, 3, 4), "z": (7, 4, 5)},
            (0, 2 * 60 * 7, 4 * 7 * (12 + 20 + 15)),
        ),
        (
            ("MaxPool", ["x"], ["y"], {"kernel": 2, "stride": 2}),
            {},
            {"x": (1, 1, 4, 4)},
            (0, 16, 4 * (16 + 4)),
        ),
        (
            ("AveragePool", ["x"], ["y"], {"global_pooling": 1}),
            {},
            {"x": (1, 2, 4, 4)},
            (0, 32, 4 * (32 + 2)),
        ),
        (("Sum", ["x", "z", "x"], ["y"], {}), {}, {"x": (6,), "z": (6,)}, (0, 12, 4 * 24)),
        (("Relu", ["x"], ["y"], {}), {}, {"x": (2, 3)}, (0, 6, 48)),
        (("Flatten", ["x"], ["y"], {}), {}, {"x": (2, 3)}, (0, 0, 48)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and isinstance(value[0], str) else None,
)
def test_costs(operator, weights, inputs, expected):
    (one,) = operators(net(operator), weights, inputs)
    assert costs.cost(one) == expected


CONV = ("Conv", ["x", "w", "b"], ["c"], {"kernel": 3})
RELU = ("Relu", ["c"], ["r"], {})
WEIGHTS = {"w": (4, 3, 3, 3), "b": (4,)}
INPUTS = {"x": (1, 3, 8, 8)}


def test_fused_operators_cost_what_their_parts_do_and_move_less():
    apart = costs.total(operators(net(CONV, RELU), WEIGHTS, INPUTS))
    together = costs.total(operators(net(CONV, RELU), WEIGHTS, INPUTS, "fuse"))
    assert together.flops == apart.flops
    assert together.parameters == apart.parameters
    assert apart.bytes - together.bytes == 2 * 4 * 144


def test_shared_weights_are_parameters_once():
    twice = operators(net(CONV, ("Conv", ["x", "w", "b"], ["d"], {"kernel": 3})), WEIGHTS, INPUTS)
    assert costs.total(twice).parameters == 112
    assert [costs.cost(one).parameters for one in twice] == [112, 112]


def test_the_table():
    text = summary.table(operators(net(CONV, RELU, ("Flatten", ["r"], ["f"], {})), WEIGHTS, INPUTS))
    assert text.splitlines() == [
        "operator        inputs   outputs  parameters   FLOPs   bytes",
        "ID_0_Conv_c     1x3x8x8  1x4x6x6         112  7.78 k  1.79 k",
        "ID_1_Relu_r     1x4x6x6  1x4x6x6           0     144  1.15 k",
        "ID_2_Flatten_f  1x4x6x6  1x144             0       0  1.15 k",
        "all 3                                    112  7.92 k   4.1 k",
    ]
