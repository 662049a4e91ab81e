"""FLOPs of operators, whatever their runtime calls them."""

import pytest

from benchmarking.frameworks.kit import flops
from benchmarking.frameworks.kit.costs import TensorFacts


def tensors(*shapes):
    return [TensorFacts(f"t{at}", shape, 4, False) for at, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "expected"),
    [
        ("conv2d", [(1, 3, 8, 8), (4, 3, 3, 3), (4,)], (1, 4, 8, 8), 2 * 256 * 27),
        ("linear", [(5, 3), (2, 3), (2,)], (5, 2), 2 * 5 * 3 * 2),
        ("addmm", [(2,), (5, 3), (3, 2)], (5, 2), 2 * 5 * 3 * 2),
        ("mm", [(5, 3), (3, 2)], (5, 2), 2 * 5 * 3 * 2),
        ("bmm", [(4, 5, 3), (4, 3, 2)], (4, 5, 2), 4 * 2 * 5 * 3 * 2),
        ("scaled_dot_product_attention", [(2, 4, 8, 16), (2, 4, 10, 16), (2, 4, 10, 32)], (2, 4, 8, 32), 640 * 101),
        ("max_pool2d", [(1, 3, 8, 8)], (1, 3, 4, 4), 192),
        ("layer_norm", [(5, 3), (3,), (3,)], (5, 3), 7 * 15),
        ("silu", [(5, 3)], (5, 3), 4 * 15),
        ("view", [(5, 3)], (3, 5), 0),
    ],
)  # fmt: skip
def test_operators_of_torch_are_counted(kind, inputs, output, expected):
    assert flops.count(kind, tensors(*inputs), tensors(output)) == expected
