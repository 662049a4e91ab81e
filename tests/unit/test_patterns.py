"""Every regular expression takes time that is linear in the text: most of them read what others wrote."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "benchmarking"
LENGTH = 300_000
"""In characters; a quadratic pattern takes many minutes."""


def patterns() -> set[tuple[str | bytes, str]]:
    """Every pattern, and how it is used: ``match``, ``fullmatch`` or anything that searches."""
    sources = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    return {one for source in sources if "import re\n" in source for one in _patterns_of(ast.parse(source))}


def _patterns_of(tree: ast.Module) -> Iterator[tuple[str | bytes, str]]:
    nodes = [*ast.walk(tree)]
    calls = [
        (node.func.value.id, node.func.attr, node)
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    ]
    compiled = {
        id(node.value): node.targets[0].id
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for owner, method, call in calls:
        if owner != "re" or not call.args or not isinstance(call.args[0], ast.Constant):
            continue
        pattern = call.args[0].value
        if method == "compile":
            yield from ((pattern, how) for name, how, _ in calls if name == compiled.get(id(call)))
        else:
            yield pattern, method


def texts(pattern: str) -> Iterator[str]:
    """What a pattern may match for long and then not: its own characters and words, repeated."""
    words = set(re.findall(r"[A-Za-z_]{2,}[^\\()\[\]{}|?*+^$]*", pattern))
    pieces = words | set(re.sub(r"[\\A-Z]", "", pattern)) | {" ", "\n", "a", "0", "x - a (", "\0", "a b"}
    for piece in sorted(pieces):
        repeated = piece * (LENGTH // len(piece))
        yield repeated
        yield from (f"{word}{repeated}" for word in sorted(words)[:2])


PATTERNS = sorted(patterns(), key=repr)


@pytest.mark.parametrize(("pattern", "method"), PATTERNS)
def test_a_long_text_is_searched_at_once(pattern, method):
    compiled = re.compile(pattern)
    for text in texts(pattern if isinstance(pattern, str) else pattern.decode("latin-1")):
        subject = text if isinstance(pattern, str) else text.encode()
        if method in ("match", "fullmatch"):
            getattr(compiled, method)(subject)
        else:
            sum(1 for _ in compiled.finditer(subject))


def test_every_pattern_is_found():
    assert {method for _, method in PATTERNS} >= {"match", "fullmatch", "search", "sub", "findall"}
    assert len(PATTERNS) > 25
