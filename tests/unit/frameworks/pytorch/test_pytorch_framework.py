"""PyTorch's command line."""

import pytest

from benchmarking.errors import ProgramStartError
from benchmarking.frameworks.framework_base import Invocation
from benchmarking.frameworks.pytorch.pytorch import PyTorch
from benchmarking.specs.expand import InputBlob
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


def test_an_input_file_that_the_program_would_take_for_two_is_one_line():
    one = case("pytorch", ("model",), inputs=(InputBlob("x", (1,), "float"),))
    files = {"x": "/data/a,b/x.txt"}
    with pytest.raises(ProgramStartError, match=r"/data/a,b/x.txt cannot be named .*: move it"):
        FRAMEWORK.compose(Invocation(one, ("program",), {"model": "/net.pt"}, files))
