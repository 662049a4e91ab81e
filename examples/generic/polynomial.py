#!/usr/bin/env python3
"""A benchmark program that the platform knows nothing of: it evaluates a polynomial, and prints its times."""

import argparse
import time
from pathlib import Path


def value(coefficients: list[float], x: float) -> float:
    result = 0.0
    for coefficient in coefficients:
        result = result * x + coefficient
    return result


def numbers(path: str) -> list[float]:
    return [float(word) for word in Path(path).read_text(encoding="utf-8").split()]


parser = argparse.ArgumentParser()
parser.add_argument("--coefficients", required=True)
parser.add_argument("--points", required=True)
parser.add_argument("--runs", type=int, default=1)
parser.add_argument("--save")
options = parser.parse_args()

coefficients, points = numbers(options.coefficients), numbers(options.points)
values = []
for _ in range(options.runs):
    start = time.perf_counter()
    values = [value(coefficients, x) for x in points * 100]
    print(f"took {(time.perf_counter() - start) * 1e6:.3f} us")
if options.save:
    Path(options.save).write_text("".join(f"{one}\n" for one in values[: len(points)]), encoding="utf-8")
