"""A test that ends its process, and what becomes of the others."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CRASHING = """
import os
from pathlib import Path

def test_before():
    pass

def test_crashes():
    if not Path("crashed").exists():
        Path("crashed").touch()
        os._exit(7)

def test_after():
    pass
"""


def test_a_process_that_ends_costs_one_test(tmp_path):
    # Its process has finished some files by then, and others are still to be done.
    for name in (*(f"a{number}" for number in range(10)), *(f"c{number}" for number in range(20))):
        (tmp_path / f"test_{name}.py").write_text("def test_passes(): pass\n")
    (tmp_path / "test_b.py").write_text(CRASHING)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.support.scheduling",
        "-n2",
        "--dist=loadfile",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--no-loadscope-reorder"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "crashed while running 'test_b.py::test_crashes'" in done.stdout
    assert "the process of gw0 ended: 7" in done.stdout or "the process of gw1 ended: 7" in done.stdout
    assert "\n1 failed, 33 passed" in done.stdout
