"""Starts a program of this installation from any directory, for example ``start_program.py harness``.

It is called by its path, with ``-P``, so that it works in a checkout and when installed, and never imports
another ``benchmarking``.
"""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])

if __name__ == "__main__":
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)
    from benchmarking import start

    {"harness": start.harness, "mlbench": start.mlbench}[sys.argv.pop(1)]()
