"""Which values of a compiled part oneDNN must neither overwrite nor compute together with others."""

import pytest

from benchmarking.frameworks.caffe2.program.caffe2_benchmark.torch_engine.overwriting import Node, to_keep

X = 0


def conv(reads, result):
    return Node("aten::conv2d", (reads,), result)


def depthwise(reads, result):
    return Node("aten::conv2d", (reads,), result, is_grouped=True)


def relu(reads, result):
    return Node("aten::relu", (reads,), result)


def add(one, other, result):
    return Node("aten::add", (one, other), result)


def pool(reads, result):
    return Node("aten::max_pool2d", (reads,), result)


RESIDUAL = [conv(X, 1), conv(1, 2), conv(2, 3), add(3, 1, 4)]
CASES = {
    "one after the other": ([conv(X, 1), relu(1, 2), conv(2, 3), pool(3, 4)], set()),
    "two convolutions read it": ([conv(X, 1), conv(1, 2), conv(1, 3)], set()),
    "sums of separate blobs": ([conv(X, 1), conv(X, 2), add(1, 2, 3), relu(3, 4)], set()),
    "a residual connection, maybe one group, but several kernels": (RESIDUAL, set()),
    "a residual connection around one convolution": ([conv(X, 1), conv(1, 2), relu(2, 3), add(3, 1, 4)], {1}),
    "around a pointwise and a depthwise convolution": (
        [conv(X, 1), conv(1, 2), relu(2, 3), depthwise(3, 4), add(4, 1, 5)],
        {1},
    ),
    "around these and another convolution": (
        [conv(X, 1), conv(1, 2), relu(2, 3), depthwise(3, 4), conv(4, 5), add(5, 1, 6)],
        set(),
    ),
    "of an input of the part": ([conv(X, 1), conv(1, 2), add(2, X, 3)], set()),
    "read once more, in no particular order": ([*RESIDUAL, conv(1, 5)], {1}),
    "read before the sum, in another group": (
        [conv(X, 1), conv(1, 2), pool(2, 3), conv(2, 4), conv(4, 5), add(5, 1, 6)],
        set(),
    ),
    "read before a sum whose group reads another blob twice": (
        [conv(X, 1), conv(1, 2), conv(2, 3), conv(2, 4), add(3, 4, 5), add(5, 1, 6)],
        {1, 5, 6},
    ),
    "read before the sum, several groups ago": (
        [conv(X, 1), conv(1, 2), conv(2, 3), conv(2, 4), add(3, 4, 5), conv(5, 6), conv(5, 7), add(6, 1, 8)],
        set(),
    ),
    "a blob twice, and a sum with another one": ([conv(1, 2), add(2, 1, 3), add(3, X, 4)], {3, 4}),
    "the other one comes from a chain of its own": (
        [relu(X, 2), conv(1, 3), add(2, 3, 4), add(4, 1, 5)],
        {2, 3, 4},
    ),
    "a sum of a blob with itself": ([conv(X, 1), add(1, 1, 2), conv(2, 3)], set()),
    "a sum of a blob with itself and another": ([add(X, X, 1), add(1, 2, 3)], {1, 3}),
    "a sum of what was pooled": ([pool(X, 1), add(1, X, 2)], {1}),
    "Relu of what was pooled": ([pool(X, 1), relu(1, 2)], {1}),
}


@pytest.mark.parametrize(("nodes", "kept"), CASES.values(), ids=CASES.keys())
def test_to_keep(nodes, kept):
    assert to_keep(nodes) == kept
