"""The table of a model's operators."""

import pytest

from benchmarking.frameworks.kit import summary
from benchmarking.frameworks.kit.costs import OperatorFacts, TensorFacts


@pytest.mark.parametrize(
    ("flops", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (999_499, "999 k"),
        (999_600, "1 M"),
        (2_345_000_000_000, "2.35 T"),
    ],
)
def test_numbers_have_three_digits(flops, shown):
    line = summary.table([OperatorFacts("add", flops, (), ())]).splitlines()[1]
    assert [cell.strip() for cell in line.split("  ") if cell][-2] == shown


def test_weights_are_not_among_the_inputs_and_a_scalar_has_a_name():
    tensors = [TensorFacts("x", (2, 3), 4, False), TensorFacts("w", (3,), 4, True)]
    line = summary.table([OperatorFacts("add", 6, tensors, [TensorFacts("y", (), 4, False)])]).splitlines()[1]
    assert line.split() == ["add", "2x3", "scalar", "3", "6", "40"]
