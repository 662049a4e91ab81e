"""What a run does not need is not imported."""

import subprocess
import sys

import pytest

from benchmarking.frameworks.frameworks import FRAMEWORKS
from benchmarking.platforms.platforms import PLATFORMS

NAMES_ALONE = """
import sys
from benchmarking.cli import options
print(*sorted(one for one in sys.modules if one.startswith("benchmarking.") and one.count(".") > 2))
"""


@pytest.mark.parametrize("registry", [FRAMEWORKS, PLATFORMS], ids=["frameworks", "platforms"])
def test_a_class_has_the_name_that_it_is_found_by(registry):
    assert {name: one.name for name, one in registry.items()} == {name: name for name in registry}


def test_a_name_that_is_not_there():
    assert "nonesuch" not in FRAMEWORKS
    with pytest.raises(KeyError):
        FRAMEWORKS["nonesuch"]


def test_the_options_know_the_names_without_the_classes():
    done = subprocess.run([sys.executable, "-c", NAMES_ALONE], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
