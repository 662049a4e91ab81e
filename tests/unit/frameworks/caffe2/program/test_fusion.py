"""--optimize fuse gives the same outputs as the net operator by operator, with fewer operators."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.errors import NetError
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine

CHANNELS = 6
SHAPE = (2, CHANNELS, 7, 7)


class Builder:
    """A net whose blobs all have the same shape, and its weights."""

    def __init__(self, seed=0):
        self.random = np.random.RandomState(seed)
        self.net = messages.NetDef(name="net")
        self.init = messages.NetDef(name="init")

    def weight(self, *shape, low=-0.5):
        name = f"w{len(self.init.op)}"
        values = self.random.uniform(low, 0.5 if low < 0 else 2, shape).astype(np.float32)
        definition = self.init.op.add(type="GivenTensorFill", output=[name])
        definition.arg.add(name="shape", ints=shape)
        definition.arg.add(name="values", floats=values.reshape(-1).tolist())
        return name

    def add(self, type_, inputs, output, more_outputs=(), **arguments):
        definition = self.net.op.add(type=type_, input=inputs, output=[output, *more_outputs])
        for name, value in arguments.items():
            if isinstance(value, str):
                definition.arg.add(name=name, s=value.encode())
            else:
                definition.arg.add(name=name, i=value)
        return output

    def conv(self, x, y, bias=True, group=1, **arguments):
        inputs = [x, self.weight(CHANNELS, CHANNELS // group, 3, 3)]
        inputs += [self.weight(CHANNELS)] if bias else []
        return self.add("Conv", inputs, y, kernel=3, pad=1, group=group, **arguments)

    def normalize(self, x, y):
        parameters = [self.weight(CHANNELS) for _ in range(3)] + [self.weight(CHANNELS, low=0.5)]
        return self.add("SpatialBN", [x, *parameters], y, is_test=1)

    def per_channel(self, type_, x, y):
        return self.add(type_, [x, self.weight(CHANNELS)], y, broadcast=1, axis=1)

    def run(self, optimize, wanted=(), times=2):
        engine = TorchEngine(threads=1, seed=0, backend="builtin", optimize=optimize)
        x = np.random.RandomState(1).standard_normal(SHAPE).astype(np.float32)
        loaded = engine.load(self.init, self.net, {"x": x}, frozenset(wanted))
        for _ in range(times):
            loaded.run()
        return loaded

    def require_same(self, output, wanted=()):
        plain, fused = self.run("none"), self.run("fuse", wanted)
        for name in (output, *wanted):
            np.testing.assert_allclose(fused.output(name), plain.output(name), rtol=1e-4, atol=1e-5)
        return list(fused.operator_names)


def test_everything_behind_a_convolution_becomes_part_of_it():
    net = Builder()
    net.conv("x", "c", bias=False)
    net.normalize("c", "n")
    net.per_channel("Mul", "n", "m")
    net.per_channel("Add", "m", "n")
    net.add("Relu", ["n"], "n")
    assert net.require_same("n") == ["ID_0_Conv+SpatialBN+Mul+Add+Relu_n"]


def test_a_residual_block():
    net = Builder()
    net.conv("x", "shortcut")
    net.conv("x", "a")
    net.normalize("a", "a")
    net.add("Relu", ["a"], "a")
    net.conv("a", "b")
    net.normalize("b", "b_n")
    net.add("Sum", ["b_n", "shortcut"], "b_n")
    net.add("Relu", ["b_n"], "b_n")
    assert net.require_same("b_n") == [
        "ID_0_Conv_shortcut",
        "ID_1_Conv+SpatialBN+Relu_a",
        "ID_4_Conv+SpatialBN+Sum+Relu_b_n",
    ]


def test_factors_and_offsets_without_a_convolution_become_one():
    net = Builder()
    net.normalize("x", "n")
    net.per_channel("Mul", "n", "m")
    net.per_channel("Add", "m", "a")
    net.add("Relu", ["a"], "a")
    net.conv("a", "c")
    assert net.require_same("c") == ["ID_0_SpatialBN+Mul+Add_a", "ID_3_Relu_a", "ID_4_Conv_c"]


def test_affine_channels_are_factors_and_offsets():
    net = Builder()
    net.conv("x", "c")
    net.add("AffineChannel", ["c", net.weight(CHANNELS), net.weight(CHANNELS)], "a")
    assert net.require_same("a") == ["ID_0_Conv+AffineChannel_a"]


def test_what_is_wanted_is_not_fused_away():
    net = Builder()
    net.conv("x", "c")
    net.add("Relu", ["c"], "r")
    assert net.require_same("r") == ["ID_0_Conv+Relu_r"]
    assert net.require_same("r", wanted=["c"]) == ["ID_0_Conv_c", "ID_1_Relu_r"]
    with pytest.raises(NetError, match="there is no blob 'c'"):
        net.run("fuse").output("c")


def test_outputs_of_the_net_stay():
    net = Builder()
    net.conv("x", "c")
    net.add("Relu", ["c"], "r")
    net.net.external_output.append("c")
    net.run("fuse").output("c")


def test_a_result_that_is_read_twice_stays():
    net = Builder()
    net.conv("x", "c")
    net.add("Relu", ["c"], "r")
    net.add("Sum", ["r", "c"], "s")
    net.require_same("s")


def test_a_sum_of_one_blob_with_itself():
    net = Builder()
    net.conv("x", "c")
    net.add("Sum", ["c", "c"], "s")
    net.add("Relu", ["s"], "s")
    net.require_same("s")


def test_dropout_is_left_out_and_constants_are_computed_once():
    net = Builder()
    weight = net.weight(CHANNELS, CHANNELS, 3, 3)
    net.add("Negative", [weight], "negative")
    net.add("Conv", ["x", "negative"], "c", kernel=3, pad=1)
    net.add("Dropout", ["c"], "c", ["mask"], is_test=1)
    net.add("Relu", ["c"], "c")
    assert net.require_same("c") == ["ID_1_Conv+Dropout+Relu_c"]


def test_weights_that_are_computed_once_are_weights():
    net = Builder()
    net.add("Negative", [net.weight(CHANNELS, CHANNELS, 3, 3)], "negative")
    net.add("Conv", ["x", "negative"], "c", kernel=3, pad=1)
    (convolution,) = net.run("fuse").operators()
    assert [(one.name, one.is_weight) for one in convolution.inputs] == [("x", False), ("negative", True)]


@pytest.mark.parametrize("type_", ["Dropout", "SpatialBN"])
def test_what_only_training_does_is_refused(type_):
    net = Builder()
    net.conv("x", "c")
    more = [net.weight(CHANNELS, low=0.5) for _ in range(4)] if type_ == "SpatialBN" else []
    net.add(type_, ["c", *more], "d")
    for optimize in ("none", "fuse"):
        with pytest.raises(NetError, match=f"operator 1, {type_} 'd': only is_test = 1 is supported"):
            net.run(optimize)


@pytest.mark.parametrize("shape", [(2, CHANNELS, 1, 1), (1, CHANNELS, 7, 7), (2, CHANNELS, 7, 1)])
def test_a_sum_within_a_convolution_repeats_nothing(shape):
    net = Builder()
    net.conv("x", "c")
    net.add("Sum", ["c", net.weight(*shape)], "s")
    for optimize in ("none", "fuse"):
        with pytest.raises(NetError, match="Sum 's', failed: the inputs have different shapes"):
            net.run(optimize)


def test_an_argument_of_the_file_is_not_that_of_the_fused_convolution():
    net = Builder()
    net.conv("x", "c", relu=1)
    net.add("Sum", ["c", "x"], "s")
    assert net.require_same("s") == ["ID_0_Conv+Sum_s"]


def test_channels_last_stays_as_it_is():
    net = Builder()
    weight = net.weight(CHANNELS, 3, 3, 7)
    net.add("Conv", ["x", weight], "c", kernel=3, pad=1, order="NHWC")
    net.add("Relu", ["c"], "r")
    assert len(net.require_same("r")) == 2


def test_a_net_that_writes_over_its_input_is_run_as_it_is():
    net = Builder()
    net.add("Relu", ["x"], "x")
    loaded = net.run("fuse")
    assert loaded.facts["not_fused"] == "the net overwrites its inputs or weights"
    assert loaded.warnings == [
        "--optimize fuse leaves the net as it is: the net overwrites its inputs or weights"
    ]
    np.testing.assert_array_equal(loaded.output("x"), net.run("none").output("x"))


KINDS = ("conv", "conv_without_bias", "grouped", "normalize", "Mul", "Add", "Relu", "Sum", "Dropout", "Pool")
KINDS += ("AveragePool", "PRelu", "Concat")
STEPS = st.lists(
    st.tuples(st.sampled_from((*KINDS, "Reshape")), st.integers(0, 3), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=12,
)


# A blob that a pointwise operator reads, and a Sum after it.
READ_AGAIN = [(kind, 0, 0, False) for kind in ("conv", "conv", "Relu", "Pool")] + [("Sum", 0, 2, False)]


# A residual connection whose blob is read once more, by a convolution or by a pooling.
RESIDUAL = [("conv", 0, 0, False)] * 3 + [("Sum", 0, 2, False)]
READ_AFTER_SUM = [
    [*RESIDUAL, ("conv", 3, 0, False), ("Sum", 0, 1, False)],
    [*RESIDUAL, ("Pool", 3, 0, False), ("conv", 1, 0, False), ("Sum", 0, 1, False)],
]


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
@example(steps=READ_AGAIN)
@example(steps=READ_AFTER_SUM[0])
@example(steps=READ_AFTER_SUM[1])
def test_any_net_gives_the_same(steps):
    """Blobs are read, written again and written in place in any order."""
    net = Builder(3)
    blobs = ["x"]
    for number, (kind, first, second, in_place) in enumerate(steps):
        source, other = blobs[-1 - first % len(blobs)], blobs[-1 - second % len(blobs)]
        target = source if in_place and source != "x" else f"b{number}"
        if kind.startswith("conv"):
            net.conv(source, target if target != source else f"b{number}", bias=kind == "conv")
        elif kind == "grouped":
            net.conv(source, target if target != source else f"b{number}", group=2)
        elif kind == "normalize":
            net.normalize(source, target)
        elif kind in ("Mul", "Add"):
            net.per_channel(kind, source, target)
        elif kind == "Relu":
            net.add(kind, [source], target)
        elif kind == "Sum":
            net.add(kind, [source, other], target if other != target else f"b{number}")
        elif kind == "Dropout":
            net.add(kind, [source], target, [f"mask{number}"], is_test=1)
        elif kind == "Pool":
            net.add("MaxPool", [source], f"b{number}", kernel=3, pad=1)
        elif kind == "AveragePool":
            net.add("AveragePool", [source], f"b{number}", kernel=3, pad=1)
        elif kind == "PRelu":
            net.add("PRelu", [source, net.weight(CHANNELS)], target)
        elif kind == "Concat":
            net.add("Concat", [source, other], f"both{number}", [f"sizes{number}"])
            weight = net.weight(CHANNELS, 2 * CHANNELS, 1, 1)
            net.add("Conv", [f"both{number}", weight], f"b{number}", kernel=1)
        else:
            net.add("Flatten", [source], f"flat{number}", axis=2)
            definition = net.net.op.add(
                type="Reshape", input=[f"flat{number}"], output=[f"b{number}", f"old{number}"]
            )
            definition.arg.add(name="shape", ints=SHAPE)
        blobs.append(str(net.net.op[-1].output[0]))
    plain, fused = net.run("none"), net.run("fuse", wanted=[blobs[-1]])
    assert "not_compiled_together" not in fused.facts
    reference = plain.output(blobs[-1])
    np.testing.assert_allclose(
        fused.output(blobs[-1]), reference, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(reference).max()))
    )
