"""The examples of the documentation as modules, so that they go through the same tests as the real thing."""

import re
import types
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def python_blocks(document):
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def module_of(document):
    """The first Python block of a document, executed."""
    code, *_ = python_blocks(document)
    module = types.ModuleType(document.removesuffix(".md"))
    exec(compile(code, document, "exec"), module.__dict__)
    return module
