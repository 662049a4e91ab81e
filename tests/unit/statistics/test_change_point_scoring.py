"""How benchmarks/change_points.py scores, on answers that are known."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.change_points import Annotated, consensus, matches, old_rule, perfherder, score

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("annotations", "points"),
    [
        ([], ()),
        ([[7]], (7,)),
        ([[7], []], ()),
        ([[7], [12], []], (9,)),
        ([[7], [13], []], ()),
        ([[7, 50], [8, 90], [9, 51], [], []], (8,)),
        ([[7, 50], [8, 50], [50], []], (7, 50)),
        ([[7, 8, 9], []], ()),
    ],
)
def test_a_consensus_is_what_half_of_the_annotators_marked(annotations, points):
    assert consensus(annotations) == points


@pytest.mark.parametrize(
    ("found", "wanted", "count"),
    [([10], [15], 1), ([10], [16], 0), ([10], [8, 12], 1), ([10, 11], [10], 1), ([5, 14], [9, 10], 2)],
)
def test_each_point_is_matched_once_within_the_margin(found, wanted, count):
    assert matches(found, wanted) == count


def test_the_score():
    data = {
        "changed": Annotated((1.0,) * 100, (), (10, 50)),
        "quiet": Annotated((1.0,) * 500, (), ()),
    }
    result = score({"changed": [11, 80], "quiet": [3]}, data)
    assert (result.precision, result.recall, result.false_alarms) == (1 / 3, 0.5, 2.0)
    assert result.f1 == pytest.approx(2 * (1 / 3 * 0.5) / (1 / 3 + 0.5))


def test_the_rules_it_is_compared_with():
    noise = [(number * 7) % 5 / 10 for number in range(60)]
    step = [value + (10 if number >= 30 else 0) for number, value in enumerate(noise)]
    assert 30 in old_rule(step, spread=1)
    (found,) = perfherder(step)
    assert found == 30
    assert perfherder(noise) == []


def test_without_the_data_it_says_so(tmp_path):
    argv = [sys.executable, "benchmarks/change_points.py", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"there is no {tmp_path}")
    assert done.stderr.count("\n") == 1
