"""Parts of a net on memory that was laid out once: whatever reads, overwrites or joins, the values are right."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarking.frameworks.caffe2.program.caffe2_benchmark import messages
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine import (
    allocator,
    compiled,
    onednn_library,
)
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.engine import TorchEngine
from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.onednn_library import (
    Layout,
    Library,
    OnednnError,
)


@pytest.fixture(autouse=True)
def _onednn_here():
    try:
        Library(1)
    except OnednnError as error:
        pytest.skip(str(error))


class Net:
    def __init__(self, shape=(1, 8, 9, 9)):
        self.shape = shape
        self.random = np.random.RandomState(0)
        self.net, self.init = messages.NetDef(), messages.NetDef()

    def weight(self, *shape):
        name = f"w{len(self.init.op)}"
        definition = self.init.op.add(type="GivenTensorFill", output=[name])
        definition.arg.add(name="shape", ints=shape)
        definition.arg.add(name="values", floats=self.random.uniform(-0.5, 0.5, np.prod(shape)).tolist())
        return name

    def add(self, type_, inputs, outputs, **arguments):
        definition = self.net.op.add(type=type_, input=inputs.split(), output=outputs.split())
        for name, value in arguments.items():
            definition.arg.add(name=name, i=value)

    def conv(self, x, y, channels=8, outputs=8, kernel=3, group=1, **arguments):
        weight = self.weight(outputs, channels // group, kernel, kernel)
        pad = {} if {"pad_t", "pad"} & {*arguments} else {"pad": kernel // 2}
        inputs = f"{x} {weight} {self.weight(outputs)}"
        self.add("Conv", inputs, y, kernel=kernel, group=group, **pad, **arguments)

    def loaded(self, optimize, wanted=(), threads=1):
        x = np.random.RandomState(1).standard_normal(self.shape).astype(np.float32)
        engine = TorchEngine(threads=threads, seed=0, backend="default", optimize=optimize)
        return engine.load(self.init, self.net, {"x": x}, frozenset(wanted))

    def require_same(self, *wanted, together, threads=1):
        plain, fused = self.loaded("none"), self.loaded("fuse", wanted, threads)
        assert "not_compiled_together" not in fused.facts
        assert fused.facts["operators_compiled_together"] == together
        plain.run()
        for _ in range(3):
            fused.run()
            for name in wanted:
                np.testing.assert_allclose(fused.output(name), plain.output(name), rtol=1e-4, atol=1e-5)
        return {name: one.kernel for name, one in fused.observe().kernels.items()}


def joined(*readers, ways=2, outputs=8):
    net = Net()
    names = [f"way{number}" for number in range(ways)]
    for name in names:
        net.conv("x", name, outputs=outputs)
    net.add("Concat", " ".join(names), "both sizes")
    for reader in readers:
        reader(net)
    return net


def test_what_reads_a_concatenation_once_reads_its_parts():
    def pooled(net):
        net.add("MaxPool", "both", "pooled", kernel=3, stride=2)

    def convolved(net):
        net.conv("pooled", "y", channels=16)

    kernels = joined(pooled, convolved).require_same("y", together=5)
    assert kernels["ID_2_Concat_both"] == "none"
    assert kernels["ID_4_Conv_y"].startswith("onednn:")


@pytest.mark.parametrize("ways", [2, 5])
def test_relu_of_a_concatenation(ways):
    net = joined(lambda net: net.add("Relu", "both", "r"), ways=ways)
    net.add("Sigmoid", "r", "s")
    net.require_same("s", together=ways + 2)


def test_a_concatenation_that_is_read_twice_is_in_memory():
    net = joined(
        lambda net: net.conv("both", "a", channels=16), lambda net: net.conv("both", "b", channels=16)
    )
    net.add("Sum", "a b", "y")
    kernels = net.require_same("y", together=5)
    assert kernels["ID_2_Concat_both"] == "onednn:jit:uni"


def test_a_concatenation_whose_inputs_are_read_again_is_in_memory():
    net = joined(lambda net: net.conv("both", "a", channels=16))
    net.add("Sum", "way0 a", "y")  # it would overwrite way0
    kernels = net.require_same("y", together=4)
    assert kernels["ID_2_Concat_both"] == "onednn:jit:uni"


@pytest.mark.parametrize("wanted", ["both", "way1", "sizes"])
def test_a_concatenation_that_is_wanted(wanted):
    net = joined(lambda net: net.conv("both", "y", channels=16))
    net.require_same(wanted, "y", together=2 if wanted == "sizes" else 4)


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_concatenations_along_other_axes(axis):
    net = Net()
    net.conv("x", "a")
    net.conv("x", "b")
    net.add("Concat", "a b", "both sizes", axis=axis)
    net.conv("both", "y")
    net.require_same("y", together=4)


def test_one_blob_twice():
    net = Net()
    net.conv("x", "a")
    net.add("Concat", "a a", "both sizes")
    net.conv("both", "b", channels=16)
    net.add("Sum", "b b", "y")
    net.require_same("y", together=4)


def test_a_sum_overwrites_only_what_nobody_reads_any_more():
    net = Net()
    net.conv("x", "shortcut")
    net.conv("shortcut", "a")
    net.add("Sum", "a shortcut", "s")  # part of the convolution: overwrites the shortcut
    net.conv("s", "b")
    net.add("Sum", "b s", "t")  # s is read again
    net.conv("s", "c")
    net.add("Sum", "c t", "y")
    net.require_same("y", together=4)
    net.require_same("shortcut", "s", "t", "y", together=4)


def test_a_convolution_that_is_added_to_what_it_reads():
    net = Net()
    net.conv("x", "a")
    net.conv("a", "b")
    net.add("Sum", "b a", "y")
    net.require_same("y", together=2)


def test_a_blob_from_outside_is_never_overwritten():
    net = Net()
    net.conv("x", "a")
    net.add("Sum", "a x", "s")
    net.add("Relu", "s", "r")
    net.conv("r", "y")
    loaded = net.loaded("fuse")
    before = loaded.output("x").copy()
    for _ in range(2):
        loaded.run()
    np.testing.assert_array_equal(loaded.output("x"), before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2},
        {"dilation": 2},
        {"group": 4},
        {"group": 8},
        {"pad_t": 0, "pad_l": 1, "pad_b": 2, "pad_r": 0},
        {"kernel": 5, "stride": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("threads", [1, 2])
def test_windows(arguments, threads):
    net = Net((2, 8, 9, 10))
    net.conv("x", "a", **arguments)
    net.conv("a", "y", kernel=1)
    net.require_same("y", together=2, threads=threads)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel": 3, "stride": 2},
        {"kernel": 3, "stride": 2, "legacy_pad": 3},
        {"kernel": 2, "stride": 2, "pad": 1},
        {"global_pooling": 1},
    ],
    ids=str,
)
def test_pooling(kind, arguments):
    net = Net((2, 8, 10, 9))
    net.conv("x", "a")
    net.add(kind, "a", "p", **arguments)
    net.conv("p", "y")
    net.require_same("y", together=3)


def test_a_fully_connected_layer_reads_images_in_the_order_of_the_net():
    net = Net((3, 8, 4, 5))
    net.conv("x", "a")
    net.add("FC", f"a {net.weight(7, 160)} {net.weight(7)}", "f")
    net.add("Relu", "f", "r")
    net.add("FC", f"r {net.weight(2, 7)} {net.weight(2)}", "y")
    net.require_same("y", together=4)


@pytest.mark.parametrize("slopes", [1, 8])
def test_slopes(slopes):
    net = Net()
    net.conv("x", "a")
    net.add("PRelu", f"a {net.weight(slopes)}", "p")
    net.conv("p", "y")
    net.require_same("y", together=3)


@pytest.mark.parametrize(
    ("shape", "arguments", "together"),
    [
        ((2, 8, 1, 1), {}, 3),
        ((2, 8, 1, 1), {"axis": 0}, 2),
        ((2, 8, 4, 5), {"axis": 3}, 2),  # channels lie between its values
        ((2, 8, 4, 5), {}, 2),  # of each image as a whole
    ],
)
def test_softmax(shape, arguments, together):
    net = Net(shape)
    net.conv("x", "a")
    net.conv("a", "b")
    net.add("Softmax", "b", "y", **arguments)
    net.require_same("y", together=together)


def test_an_input_may_move_and_lie_in_another_way():
    """What the part reads is at another address in each run."""
    net = Net()
    net.add("Sigmoid", "x", "s")
    net.conv("s", "a")
    net.conv("a", "y")
    plain, fused = net.loaded("none"), net.loaded("fuse")
    random = np.random.RandomState(5)
    for number in range(4):
        values = torch.from_numpy(random.standard_normal(net.shape).astype(np.float32))
        if number % 2:
            values = values.contiguous(memory_format=torch.channels_last)
        for loaded in (plain, fused):
            loaded._workspace["x"] = values
            loaded.run()
        np.testing.assert_allclose(fused.output("y"), plain.output("y"), rtol=1e-4, atol=1e-5)


def test_a_result_that_was_taken_stays_as_it_is():
    net = Net()
    net.conv("x", "a")
    net.conv("a", "y")
    loaded = net.loaded("fuse")
    loaded.run()
    first = loaded.output("y")
    kept = first.copy()
    loaded._workspace["x"] = torch.zeros(net.shape)
    loaded.run()
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(loaded.output("y"), kept)


WHEN = st.tuples(st.integers(1, 2000), st.integers(0, 12), st.integers(0, 12))


@settings(max_examples=200, deadline=None)
@given(st.lists(WHEN, max_size=12))
def test_no_two_share_memory_at_one_time(needs):
    memories = []
    for count, one, other in needs:
        memory = compiled._Memory(count)
        memory.first, memory.last = sorted((one, other))
        memories.append(memory)
    placed, size = compiled._places(memories)
    assert len(placed) == len(memories)
    for number, (memory, place) in enumerate(placed):
        assert place % 64 == 0
        assert place + 4 * memory.count <= size
        for other, start in placed[:number]:
            apart = start + 4 * other.count <= place or place + 4 * memory.count <= start
            assert apart or other.last < memory.first or memory.last < other.first


def test_memory_is_used_again():
    chain = []
    for number in range(10):
        memory = compiled._Memory(1000)
        memory.first, memory.last = number, number + 1
        chain.append(memory)
    assert compiled._places(chain)[1] == 2 * allocator.aligned(4000)


def test_pieces_of_large_pages():
    pages = allocator.LargePages()
    pieces = [pages.take(size) for size in (1, 64, 0, 100_000, 40 << 20, 5)]
    for number, piece in enumerate(pieces):
        assert piece.data_ptr() % allocator.ALIGNMENT == 0
        piece.fill_(number)
    assert [len(piece) for piece in pieces] == [1, 64, 0, 100_000, 40 << 20, 5]
    assert all((piece == number).all() for number, piece in enumerate(pieces))


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_no_large_pages(monkeypatch, error):
    class Memory(mmap.mmap):
        def madvise(self, *_):
            raise error

    monkeypatch.setattr(allocator.mmap, "mmap", Memory)
    assert len(allocator.LargePages().take(10)) == 10


def test_layouts():
    assert Layout.dense((2, 3, 4)).strides == (12, 4, 1)
    assert Layout.dense(()).strides == ()
    assert Layout.channels_innermost((2, 3, 4, 5)).strides == (60, 1, 15, 3)
    assert Layout.channels_innermost((2, 3)).strides == (3, 1)


def test_where_the_library_may_be(monkeypatch):
    """Installed by pip for this environment or for one user, by conda, or by the system."""
    package, *others = onednn_library._places()
    assert Path(package).is_file()
    assert others == [str(Path(sys.prefix, "lib", "libdnnl.so.3")), "libdnnl.so.3"]
    monkeypatch.setattr(onednn_library, "_PACKAGE", "nobody-has-this")
    assert list(onednn_library._places()) == others


def test_a_library_that_is_too_old(monkeypatch):
    monkeypatch.setattr(onednn_library, "_LEAST_VERSION", (4, 0))
    with pytest.raises(OnednnError, match=r"^oneDNN 3\.\d+\.\d+ is too old; install 3.1 or newer$"):
        Library(1)


def test_a_library_whose_threads_cannot_be_limited(monkeypatch):
    monkeypatch.setattr(onednn_library, "_OPENMP", 77)
    with pytest.raises(OnednnError, match="was built without OpenMP"):
        Library(1)


def test_what_onednn_refuses_is_an_error():
    library = Library(1)
    layout = Layout.channels_innermost((1, 8, 5, 5))
    with pytest.raises(OnednnError, match="oneDNN answers with status 2"):  # invalid arguments
        library.pooling(onednn_library.MAX, layout, layout, [1, 1], [3, 3], [(0, 0), (0, 0)])
    with pytest.raises(OnednnError, match="no fast kernel"):
        library.relu(Layout((1, 8, 5, 5), (4000, 500, 90, 7)))
