"""How many faults do the tests notice? A random sample of mutants, each tried by the tests of its line.

    python benchmarks/mutation_sample.py [--count 100] [--seed 1] [--workers 1] [--end_to_end]

The mutants are Cosmic Ray's, from every module outside the frameworks: a module is drawn by its number of
lines, then a place in it, then a mutation of that place. They are tried in a clone of what is committed,
so the working tree stays as it is. Which tests execute a line is measured first (``tests_of_lines.py``);
they are tried quick ones first. Lines outside functions are executed when a module is imported: they are
tried by the tests of their room and by all that execute something of their module. With ``--end_to_end``,
also later, a mutant that the unit and contract tests missed is tried by the end-to-end tests of its line.

Each outcome is a line of ``measured/mutants_seed_N.jsonl``, and a sample that was interrupted goes on with
the commit that it began with. What survives is recorded as a difference: a reader decides whether it is a
fault that ought to be noticed, or the same program in other words, and writes the reason into its line as
``"equivalent"``; a test that was written since is named as ``"noticed_later_by"``, and changes no count.
What no test notices is also shown to the type checker, which CI runs as well; its findings are counted apart,
``"types"``. ``--summary`` counts.

``--since COMMIT`` takes over what was measured with that commit: only tests whose files differ are run again.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import multiprocessing
import os
import queue
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.tests_of_lines import (  # noqa: E402
    TestsOfLines,
    carried_over,
    changed_tests,
    load,
    measure,
    united,
)

FRAMEWORKS = Path("benchmarking/frameworks")
LEFT_OUT = ("core/ReplaceBinaryOperator_BitOr",)
"""Operators whose mutants are nearly always equivalent: ``X | None`` in annotations is not evaluated."""
ON_DEVICES = "tests/contract/test_platform_contract.py"
QUICK_TESTS = (
    *("tests/unit", "tests/contract", "--ignore=tests/unit/docs", "--ignore=tests/unit/specifications"),
    *("--ignore=tests/unit/frameworks", f"--ignore={ON_DEVICES}"),
    "--deselect=tests/unit/test_architecture.py",
)
END_TO_END_TESTS = (
    *("tests/e2e", "--ignore=tests/e2e/test_gpu_benchmark.py", "--ignore=tests/e2e/test_real_caffe2.py"),
    *("--ignore=tests/e2e/test_wheel.py", "--ignore=tests/e2e/test_robustness.py", ON_DEVICES),
    *("-k", "not arm64"),  # devices that are emulated, and run the same code as others
)
DIFF_HEADS = ("--", "++", "@@")
ARCHITECTURE = "tests/unit/test_architecture.py"
TESTS_OF_DECLARATIONS = (
    *(
        f"{ARCHITECTURE}::test_dataclasses_are_frozen",
        f"{ARCHITECTURE}::test_what_is_read_from_json_is_frozen",
    ),
    f"{ARCHITECTURE}::test_methods_without_a_body_have_to_be_defined_by_each_subclass",
    f"{ARCHITECTURE}::test_arguments_of_our_functions_have_their_names",
    f"{ARCHITECTURE}::test_the_page_of_limits_is_current",
    "tests/unit/docs/test_options_docs.py::test_the_tables_are_current",
)
"""They read the sources, or what is declared in them, and execute no line of a module."""
SECONDS_FOR_A_MUTANT = 60
"""Of tests, by what they took without it; those that take longest are left out beyond."""
NO_END = "no end"
TEST_LIMIT_S = 60
"""For one test on a machine that nobody else uses; the longer, the more processes want to run."""
PROCESSES = multiprocessing.get_context("forkserver")
"""Every mutant gets a new process that has these modules already, as importing them takes seconds."""
PROCESSES.set_forkserver_preload(
    [
        *(
            "__main__",
            "_pytest.assertion.rewrite",
            "hypothesis.extra.numpy",
            "git",
            "jsonschema",
            "junitparser",
        ),
        *("numpy", "psutil", "pydantic", "pytest_cov.plugin", "pytest_timeout", "requests", "rich.console"),
        *("scipy.special", "scipy.stats", "tabulate", "tenacity", "xdist.plugin"),
    ]
)

Outcome = dict[str, Any]
"""A line of the record."""


@dataclass(frozen=True)
class Mutant:
    module: Path
    """Relative to the root of the repository."""
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


def draw(root: Path, count: int, seed: int) -> list[Mutant]:
    sources = {
        path.relative_to(root): path.read_text(encoding="utf-8")
        for path in sorted((root / "benchmarking").rglob("*.py"))
        if FRAMEWORKS not in path.relative_to(root).parents
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
            mutant = generator.choice([mutant for mutant in known[module] if mutant.place == place])
            if compiles(mutated(sources[module], mutant)):
                drawn.append(mutant)
            known[module] = [mutant for mutant in known[module] if mutant.place != place]
    return drawn


def mutated(source: str, mutant: Mutant) -> str:
    code: str = MutationVisitor.mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    return code


def compiles(source: str) -> bool:
    """Not where a ``*`` of a signature was taken for a product."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def described(mutant: Mutant) -> Outcome:
    return {
        "module": str(mutant.module),
        "line": mutant.place[0][0],
        "operator": mutant.operator.removeprefix("core/"),
        "occurrence": mutant.occurrence,
    }


def lines_of(source: str, mutant: Mutant) -> tuple[Sequence[int], bool]:
    """The lines of the mutant's statement (for a block, those of its head), and whether they are in a
    function.
    """
    ((first, column), _) = mutant.place
    lines: Sequence[int] = (first,)
    in_function = False
    for node in ast.walk(ast.parse(source)):  # outer statements come before inner ones
        if not isinstance(node, ast.stmt) or not node.lineno <= first <= (node.end_lineno or 0):
            continue
        body = getattr(node, "body", None)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if body and (first, column) >= (body[0].lineno, body[0].col_offset):
            in_function |= is_function
            lines = (first,)
        else:
            lines = range(node.lineno, (body[0].lineno - 1 if body else node.end_lineno or first) + 1)
    return lines, in_function


def room_of(module: Path) -> str:
    """The directory of a module's tests: ``driver/clock.py`` has ``tests/unit/driver``."""
    parts = module.relative_to("benchmarking").with_suffix("").parts
    return f"tests/unit/test_{parts[0]}" if len(parts) == 1 else f"tests/unit/{Path(*parts[:-1])}/"


def tests_for(measured: TestsOfLines, source: str, mutant: Mutant) -> list[str]:
    """Quick tests first, among them those of the room, else in their own order: they share fixtures."""
    lines, in_function = lines_of(source, mutant)
    found = measured.executing(mutant.module, lines)
    room = room_of(mutant.module)
    if not in_function:
        found |= measured.executing(mutant.module, range(1, source.count("\n") + 2))
        found |= {test for test in measured.seconds if test.startswith(room)}
    if not found and not in_function:
        names = {part.partition("_")[0] for part in mutant.module.with_suffix("").parts[1:]}
        found = {
            test for test in measured.seconds if names & {*Path(test.partition("::")[0]).stem.split("_")}
        }
    chosen, total = [], 0.0
    for test in sorted(found, key=measured.seconds.__getitem__):
        total += measured.seconds[test]
        if total <= SECONDS_FOR_A_MUTANT:
            chosen.append(test)
    order = {test: number for number, test in enumerate(measured.seconds)}
    own = sorted(
        chosen, key=lambda test: (measured.seconds[test] > 1, not test.startswith(room), order[test])
    )
    return own if in_function else [*TESTS_OF_DECLARATIONS, *own]


def run_pytest(clone: Path, arguments: Sequence[str], output: str) -> None:
    """In a process of its own, as ``python -m pytest`` would."""
    os.setsid()
    os.chdir(clone)
    sys.path[:] = [str(clone), *(one for one in sys.path if ROOT not in (Path(one), Path(one).parent))]
    for name in [one for one in sys.modules if one.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]
    stream = os.open(output, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(stream, descriptor)
    # What never ends uses CPU time, however busy the machine is.
    resource.setrlimit(resource.RLIMIT_CPU, (3 * SECONDS_FOR_A_MUTANT, 4 * SECONDS_FOR_A_MUTANT))
    status = pytest.main([*arguments])
    sys.stdout.flush()
    os._exit(status)


def complaint_about_types(clone: Path, changes: Mapping[Path, str]) -> str | None:
    """The first line of the type checker with these files changed."""
    with changed_in(changes):
        command = [sys.executable, "-m", "mypy", "--no-error-summary"]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise RuntimeError(f"the type checker could not be run: {done.stderr}")
    return done.stdout.partition("\n")[0] if done.returncode else None


@contextmanager
def changed_in(changes: Mapping[Path, str]) -> Iterator[None]:
    originals = {path: path.read_text(encoding="utf-8") for path in changes}
    try:
        for path, text in changes.items():
            path.write_text(text, encoding="utf-8")
        yield
    finally:
        for path, text in originals.items():
            path.write_text(text, encoding="utf-8")


def noticed_by(clone: Path, tests: Sequence[str], changes: Mapping[Path, str]) -> str | None:
    """The first test that fails with these files changed, or how pytest ended."""
    if not tests:
        return None
    with changed_in(changes):
        return first_failure(clone, tests)


def patience() -> float:
    """So many times longer than on an idle machine may anything take."""
    return 3 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def first_failure(clone: Path, tests: Sequence[str]) -> str | None:
    chosen, output = clone.with_suffix(".tests"), clone.with_suffix(".output")
    chosen.write_text("\n".join(tests), encoding="utf-8")
    output.write_text("", encoding="utf-8")
    options = ("-q", "-x", "-n0", "-p", "no:cacheprovider", "--tb=no")
    limits = (f"--timeout={TEST_LIMIT_S * patience():.0f}", f"@{chosen}")
    process = PROCESSES.Process(target=run_pytest, args=(clone, (*options, *limits), str(output)))
    process.start()
    process.join(5 * SECONDS_FOR_A_MUTANT * patience())
    if process.pid is not None and process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return NO_END
    if process.exitcode == -signal.SIGXCPU:
        return NO_END
    if process.exitcode in (0, 5):
        return None
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    failed = [line.split(" ", 1)[1] for line in lines if line.startswith(("FAILED", "ERROR"))]
    if failed:
        return failed[0][:200]
    if process.exitcode == 1 or not lines:
        raise RuntimeError(f"pytest could not be run: {' '.join(lines)}")
    return f"status {process.exitcode}: {' '.join(lines[-3:])[-200:]}"


def attempt(clone: Path, mutant: Mutant, outcome: Outcome, stages: dict[str, TestsOfLines]) -> Outcome:
    """The outcome with the stages that it lacked."""
    path = clone / mutant.module
    original = path.read_text(encoding="utf-8")
    changed = mutated(original, mutant)
    for name in [name for name in stages if name not in outcome]:
        tests = tests_for(stages[name], original, mutant)
        outcome = {**outcome, name: len(tests)}
        while by := noticed_by(clone, tests, {path: changed}):
            function = by.partition("[")[0].partition(" - ")[0]
            again = [function] if function.startswith("tests/") else tests
            is_repeated = by == NO_END or noticed_by(clone, again, {path: changed})
            if is_repeated and not noticed_by(clone, again, {}):
                return {**outcome, "outcome": "noticed", "by": by}
            tests = [test for test in tests if test not in again and not test.startswith(f"{function}::")]
    # The name of the other exception is in no module: that it is unknown says nothing.
    if "ExceptionReplacer" not in mutant.operator and (
        complaint := complaint_about_types(clone, {path: changed})
    ):
        outcome = {**outcome, "types": complaint}
    lines = difflib.unified_diff(original.splitlines(), changed.splitlines(), n=0, lineterm="")
    return {
        **outcome,
        "outcome": "survived",
        "difference": [one for one in lines if one[:2] not in DIFF_HEADS],
    }


def workspace_of(commit: str) -> Path:
    return Path(tempfile.gettempdir()) / f"mutants-{commit[:12]}"


def measured_tests(
    clone: Path, name: str, tests: Sequence[str], arguments: argparse.Namespace
) -> TestsOfLines:
    directory = clone.parent / name
    if not arguments.since:
        measure(clone, directory, tests, arguments.workers)
        return load(clone, directory)
    old = workspace_of(arguments.since)
    ignored = tuple(one.removeprefix("--ignore=") for one in tests if one.startswith("--ignore="))
    rooms = tuple(one for one in tests if one.startswith("tests/"))
    found = changed_tests(old / "clone_0", clone)
    changed = [one for one in found if one.startswith(rooms) and not one.startswith(ignored)]
    if changed:
        measure(clone, directory, changed, arguments.workers)
    kept = carried_over(load(old / "clone_0", old / name), old / "clone_0", clone)
    return united(kept, load(clone, directory)) if changed else kept


def clone_of(commit: str, workspace: Path, number: int) -> Path:
    clone = workspace / f"clone_{number}"
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", "--shared", "--no-checkout", ROOT, clone], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--force", "--detach", commit], cwd=clone, check=True)
    return clone


def summary(outcomes: Sequence[Outcome]) -> str:
    tried = [one for one in outcomes if "outcome" in one]
    noticed = sum(one["outcome"] == "noticed" for one in tried)
    equivalent = sum(one["outcome"] == "survived" and "equivalent" in one for one in tried)
    faults = len(tried) - equivalent
    typed = sum(one["outcome"] == "survived" and "types" in one and "equivalent" not in one for one in tried)
    shares = [f"{count / faults:.0%}" if faults else "" for count in (noticed, noticed + typed)]
    return (
        f"{noticed} of {faults} noticed ({shares[0]}; with the {typed} that only the type checker reports"
        f" {shares[1]}); {equivalent} more are the same program in other words"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="how many mutants are tried at once")
    parser.add_argument("--end_to_end", action="store_true", help="survivors meet the end-to-end tests, too")
    parser.add_argument("--since", help="take over what this commit was measured with")
    parser.add_argument("--summary", action="store_true", help="only count what is recorded")
    arguments = parser.parse_args()

    record = ROOT / f"benchmarks/measured/mutants_seed_{arguments.seed}.jsonl"
    if record.exists():
        head, *outcomes = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    else:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        head, outcomes = {"commit": commit.stdout.strip(), "seed": arguments.seed}, []
    if arguments.summary:
        print(summary(outcomes))
        return

    workspace = workspace_of(head["commit"])
    workspace.mkdir(exist_ok=True)
    clones: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for number in range(arguments.workers):
        clones.put(clone_of(head["commit"], workspace, number))
    first = workspace / "clone_0"
    chosen = {"quick": QUICK_TESTS, **({"end_to_end": END_TO_END_TESTS} if arguments.end_to_end else {})}
    stages = {}
    for name, tests in chosen.items():
        stages[name] = measured_tests(first, name, tests, arguments)

    mutants = draw(first, arguments.count, arguments.seed)
    outcomes += [described(mutant) for mutant in mutants[len(outcomes) :]]

    def attempted(number: int) -> tuple[int, Outcome]:
        clone = clones.get()
        try:
            return number, attempt(clone, mutants[number], outcomes[number], stages)
        finally:
            clones.put(clone)

    left = [
        number
        for number, one in enumerate(outcomes)
        if one.get("outcome") != "noticed" and "equivalent" not in one and not {*stages} <= {*one}
    ]
    with ThreadPoolExecutor(arguments.workers) as pool:
        for number, outcome in pool.map(attempted, left):
            outcomes[number] = outcome
            record.write_text("".join(json.dumps(one) + "\n" for one in [head, *outcomes]), encoding="utf-8")
            print(f"[{number + 1}/{arguments.count}] {json.dumps(outcome)}", flush=True)
    print(summary(outcomes))


if __name__ == "__main__":
    main()
