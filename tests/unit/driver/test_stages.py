"""What runs after what."""

import pytest

from benchmarking.driver.stages import Stage, next_stage

FIRST = Stage()
VERIFY = Stage("verify", ("NET_DELAY", "conv"))


@pytest.mark.parametrize(
    ("done", "regressed", "following"),
    [
        (FIRST, (), None),
        (FIRST, ("conv",), Stage("verify", ("conv",))),
        (FIRST, ("NET_DELAY", "conv"), VERIFY),
        (VERIFY, (), None),
        (VERIFY, ("conv",), Stage("regress", ("conv",))),
        (VERIFY, ("conv", "NET_DELAY", "relu"), Stage("regress", ("conv", "NET_DELAY"))),
        (VERIFY, ("relu",), None),  # nothing has verified it
        (Stage("regress", ("conv",)), ("conv",), None),
    ],
)
def test_what_comes_next(done, regressed, following):
    assert next_stage(done, regressed) == following
