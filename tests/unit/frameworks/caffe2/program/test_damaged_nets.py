"""Nets with random faults: the result is always one clear line, never a traceback."""

import os
import random

import numpy as np
import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages, net_file
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError

from . import conformance

SEEDS = range(int(os.environ.get("CAFFE2_DAMAGED_SEEDS", "1")))
"""How often each case is damaged, in as many ways."""
NUMBERS = (-2, -1, 0, 1, 2, 3, 5, 100)
TYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")


def _change_argument(net, inputs, dice):
    for one in net.op:
        for argument in one.arg:
            if argument.HasField("i"):
                argument.i = dice.choice(NUMBERS)
            elif argument.HasField("f"):
                argument.f = dice.choice((-1.0, 0.0, 1e30, float("nan")))
            elif argument.HasField("s"):
                argument.s = dice.choice((b"\xff\xfe", b"", b"NHWC"))
            elif argument.ints:
                argument.ints[dice.randrange(len(argument.ints))] = dice.choice(NUMBERS)


def _leave_out_argument(net, inputs, dice):
    for one in net.op:
        if one.arg:
            del one.arg[dice.randrange(len(one.arg))]


def _exchange_kind_of_argument(net, inputs, dice):
    for one in net.op:
        for argument in one.arg:
            name = argument.name
            argument.Clear()
            argument.name = name
            if dice.random() < 0.5:
                argument.f = 0.5
            else:
                argument.ints.extend([1, 2])


def _exchange_inputs(net, inputs, dice):
    for one in net.op:
        names = list(one.input)
        dice.shuffle(names)
        one.input[:] = names


def _leave_out_input(net, inputs, dice):
    for one in net.op:
        if one.input:
            del one.input[-1]


def _change_shape(net, inputs, dice):
    name = dice.choice(sorted(inputs))
    shape = list(inputs[name].shape)
    if shape and dice.random() < 0.6:
        shape[dice.randrange(len(shape))] = dice.choice((0, 1, 2, 7))
    else:
        shape = [dice.choice((0, 1, 2, 3)) for _ in range(dice.randrange(6))]
    inputs[name] = (
        np.resize(inputs[name], shape) if inputs[name].size else np.zeros(shape, inputs[name].dtype)
    )


def _change_type(net, inputs, dice):
    name = dice.choice(sorted(inputs))
    inputs[name] = inputs[name].astype(dice.choice(TYPES))


def _change_value(net, inputs, dice):
    name = dice.choice(sorted(inputs))
    if inputs[name].dtype.kind in "fi":
        inputs[name] = np.full_like(inputs[name], dice.choice((-1, 0, 1, 100)))


DAMAGES = (
    _change_argument,
    _leave_out_argument,
    _exchange_kind_of_argument,
    _exchange_inputs,
    _leave_out_input,
    _change_shape,
    _change_type,
    _change_value,
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", conformance.INDEX, ids=lambda case: case["id"])
def test_a_damaged_net_is_an_error_that_names_the_operator_or_none_at_all(case):
    for seed in SEEDS:
        dice = random.Random(f"{case['id']} {seed}")
        content, inputs, outputs = conformance.read(case)
        net = messages.NetDef.FromString(content)
        damage = dice.choice(DAMAGES if inputs else DAMAGES[:3])
        damage(net, inputs, dice)
        for mode in ("all blobs fed", "weights", "fused"):
            try:
                loaded = conformance.load(net.SerializeToString(), inputs, outputs, mode, "builtin")
                loaded.run()
            except NetError as error:
                assert "operator " in str(error) or "net " in str(error), damage


@pytest.mark.parametrize(
    "piece", ["op { arg { nets { ", "op { arg { n { op { arg { nets {", "unknown { ", "x: ["]
)
def test_text_that_is_nested_without_end_is_not_a_net(tmp_path, piece):
    (tmp_path / "net.pbtxt").write_text(piece * 3000)
    with pytest.raises(NetError, match="neither as binary nor as text"):
        net_file.read(str(tmp_path / "net.pbtxt"), "net")
