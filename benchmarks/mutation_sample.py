"""How many faults the tests notice: a random sample of mutants, each tried by the tests that concern it.

    python benchmarks/mutation_sample.py [--count 100] [--seed 1] [--whole]

The mutants are Cosmic Ray's, from every module outside the Caffe2 program: a module is drawn by its number
of lines, then a place in it, then a mutation of that place. They are tried in a clone of what is committed,
so the working tree stays as it is. A mutant that survives the tests of its own room is tried by all unit
and contract tests; with ``--whole`` survivors are tried by the end-to-end tests as well. What survives is
shown as a difference: a reader decides whether it is a fault that ought to be noticed, or the same program
in other words.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
PROGRAM = Path("benchmarking/frameworks/caffe2/program")
TIMEOUT_S = 1800
LEFT_OUT = ("core/ReplaceBinaryOperator_BitOr",)
"""Operators whose mutants are nearly always the same program: ``X | None`` in annotations is not computed."""
BROAD_TESTS = ("tests/unit", "tests/contract", "--ignore=tests/unit/frameworks/caffe2/program")
END_TO_END_TESTS = ("tests/e2e",)


@dataclass(frozen=True)
class Mutant:
    module: Path
    """Relative to the root."""
    place: tuple[tuple[int, int], tuple[int, int]]
    """From line and column to line and column."""
    operator: str
    occurrence: int


def mutants_of(module: Path, source: str) -> Iterator[Mutant]:
    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        kind = get_operator(name)
        if name.startswith(LEFT_OUT) or kind.arguments():
            continue
        operator = kind()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        yield from (Mutant(module, place, name, number) for number, place in enumerate(places))


def draw(count: int, seed: int) -> list[Mutant]:
    sources = {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "benchmarking").rglob("*.py"))
        if PROGRAM not in path.relative_to(ROOT).parents
    }
    weights = [source.count("\n") for source in sources.values()]
    generator = random.Random(seed)
    drawn: list[Mutant] = []
    known: dict[Path, list[Mutant]] = {}
    while len(drawn) < count:
        (module,) = generator.choices(list(sources), weights)
        if module not in known:
            known[module] = list(mutants_of(module, sources[module]))
        if known[module]:
            place = generator.choice(sorted({mutant.place for mutant in known[module]}))
            drawn.append(generator.choice([mutant for mutant in known[module] if mutant.place == place]))
            known[module] = [mutant for mutant in known[module] if mutant.place != place]
    return drawn


def room_tests(clone: Path, module: Path) -> tuple[str, ...]:
    """The tests that lie where the module lies: ``driver/clock.py`` has ``tests/unit/driver``."""
    parts = module.relative_to("benchmarking").with_suffix("").parts
    if len(parts) == 1:
        candidates = [*(clone / "tests/unit").glob(f"test_{parts[0]}*.py")]
    else:
        candidates = [clone / "tests/unit" / Path(*parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]
    found = next((path for path in candidates if path.exists()), None)
    return () if found is None else (str(found.relative_to(clone)),)


def notices(clone: Path, tests: Sequence[str], workers: int) -> bool:
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-x", f"--numprocesses={workers}", "-p", "no:cacheprovider"),
        *("--deselect=tests/unit/test_architecture.py", *tests),
    ]
    try:
        done = subprocess.run(command, cwd=clone, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode not in (0, 5)


def difference(clone: Path) -> str:
    command = ["git", "diff", "--unified=2", "--no-color"]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="pytest's processes")
    parser.add_argument("--whole", action="store_true", help="survivors meet the end-to-end tests, too")
    arguments = parser.parse_args()

    stages = [BROAD_TESTS, *([END_TO_END_TESTS] if arguments.whole else [])]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        clone = Path(directory) / "clone"
        subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, clone], check=True)
        for number, mutant in enumerate(draw(arguments.count, arguments.seed), start=1):
            path = clone / mutant.module
            original = path.read_text(encoding="utf-8")
            operator = get_operator(mutant.operator)()
            mutated = MutationVisitor.mutate_code(original, operator, mutant.occurrence)
            path.write_text(mutated, encoding="utf-8")
            tries = [room_tests(clone, mutant.module), *stages]
            is_noticed = any(notices(clone, tests, arguments.workers) for tests in tries if tests)
            outcomes["noticed" if is_noticed else "survived"] += 1
            print(f"[{number}/{arguments.count}] {mutant.module} {mutant.operator}: ", end="")
            print("noticed" if is_noticed else f"survived\n{difference(clone)}", flush=True)
            path.write_text(original, encoding="utf-8")
    print(f"seed {arguments.seed}: {outcomes['noticed']} of {outcomes.total()} noticed")


if __name__ == "__main__":
    main()
