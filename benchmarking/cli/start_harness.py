"""Starts ``harness.py`` of this very installation, whatever the current directory: what the loop runs.

It is called by its path, with ``-P``; so it works in a checkout and installed, and no other ``benchmarking``
that lies about is taken for it.
"""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])

if __name__ == "__main__":
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)
    from benchmarking.start import harness

    harness()
