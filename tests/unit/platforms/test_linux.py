import pytest

from benchmarking.platforms.linux.linux import _directory
from benchmarking.platforms.remote.system import Answers

ANSWERS = Answers("home=/home/ann\ncache=/home/ann/.cache\n")


@pytest.mark.parametrize(
    ("chosen", "directory"),
    [
        (None, "/home/ann/.cache/ml-benchmark"),
        ("~", "/home/ann"),
        ("~/bench", "/home/ann/bench"),
        ("/srv/~/bench", "/srv/~/bench"),
        ("~bob/bench", "~bob/bench"),
    ],
)
def test_the_home_directory_in_remote_dir_is_that_of_the_machine(chosen, directory):
    assert _directory(chosen, ANSWERS) == directory
