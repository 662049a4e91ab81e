"""The examples of the documentation as modules, so that they go through the same tests as the real thing."""

import re
import types
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def module_of(document):
    """The only Python block of a document, executed."""
    (code,) = re.findall(
        r"```python\n(.*?)```", (DOCS / document).read_text(encoding="utf-8"), flags=re.DOTALL
    )
    module = types.ModuleType(document.removesuffix(".md"))
    exec(compile(code, document, "exec"), module.__dict__)
    return module
