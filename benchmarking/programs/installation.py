"""The programs of this installation, as children of another of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import benchmarking


def own_program(name: Literal["harness", "mlbench"]) -> tuple[str, ...]:
    """The beginning of its command line, for any current directory."""
    script = Path(benchmarking.__file__).with_name("cli") / "start_program.py"
    return (sys.executable, "-P", str(script), name)
