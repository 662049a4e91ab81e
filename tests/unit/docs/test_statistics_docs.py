"""docs/statistics.md says what the code does: its example, its looks, its defaults, its sources."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarking.statistics.sequential import FALSE_ALARMS_PER_RUN, SequentialPlan

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/statistics.md").read_text(encoding="utf-8")


def test_the_example_prints_what_it_says():
    (example, output) = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", TEXT, flags=re.DOTALL).groups()
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == output, done.stderr


def test_the_table_of_looks():
    rows = re.findall(r"^\| (\d+) \| (0[.\d]*) \| (0[.\d]+) \|$", TEXT, flags=re.MULTILINE)
    documented = [(int(pairs), float(alpha), float(beta)) for pairs, alpha, beta in rows]
    looks = SequentialPlan().looks
    assert documented == [(look.pairs, round(look.alpha, 4), round(look.beta, 4)) for look in looks]


def test_the_defaults():
    rows = re.findall(r"^\| `(\w+)` \| ([.\d]+) \|", TEXT, flags=re.MULTILINE)
    defaults = vars(SequentialPlan())
    assert {name: float(value) for name, value in rows} == {
        name: defaults[name] for name in defaults if name != "unchanged_from"
    }


def test_the_guarantees():
    plan = SequentialPlan()
    assert f"alpha = {100 * plan.alpha:g} %" in TEXT
    assert f"2 alpha² = {100 * 2 * plan.alpha**2:g} %" in TEXT
    assert f"is confirmed | {100 * FALSE_ALARMS_PER_RUN:g} %" in TEXT
    assert f"from 6 tests on, to {100 * plan.for_run(50).alpha:.1f} % for 50 tests" in TEXT.replace("\n", " ")
    assert plan.for_run(5).alpha == plan.alpha > plan.for_run(6).alpha


def test_every_source_is_listed_and_used():
    body, sources = TEXT.split("## Sources\n")
    listed = re.findall(r"^(\d+)\. ", sources, flags=re.MULTILINE)
    assert listed == [str(number) for number in range(1, len(listed) + 1)]
    assert set(re.findall(r"\[(\d+)\]", body)) == set(listed)
