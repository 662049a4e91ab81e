"""PyTorch's command line."""

import pytest

from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.pytorch.pytorch import PyTorch
from tests.support.cases import case

FRAMEWORK = PyTorch()


@pytest.mark.parametrize("allowed", [False, True])
def test_code_in_a_file_is_run_only_if_the_user_allows_it(allowed):
    one = case("pytorch", ("model",))
    invocation = Invocation(one, ("program",), {"model": "/net.pt"}, {}, allow_code=allowed)
    argv = FRAMEWORK.compose(invocation).argv
    assert ("--allow_code" in argv) == allowed
    assert argv[argv.index("--model") + 1] == "/net.pt"


def test_a_specification_cannot_allow_it():
    one = case("pytorch", ("model",), commands={"pytorch": {"allow_code": "true"}})
    (fault,) = FRAMEWORK.check(one)
    assert fault.json_path == "$.tests[0].commands.pytorch.allow_code"
