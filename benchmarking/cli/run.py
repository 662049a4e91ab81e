"""``mlbench run FILE...``: ``harness.py`` with its benchmark files given without an option."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarking.cli import harness, harness_arguments
from benchmarking.cli.argument_types import Parser


def main(argv: Sequence[str], program: str) -> int:
    return harness.main(argv, program, takes_files=True)


def make_parser(program: str) -> Parser:
    return harness_arguments.make_parser(program, takes_files=True)
