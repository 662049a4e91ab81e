"""The page's code is the code."""

import re
from pathlib import Path

from tests.support.doc_examples import DOCS

ROOT = Path(__file__).parents[3]


def test_the_code_of_onnx_runtime_is_its_own():
    text = (DOCS / "writing_a_framework.md").read_text(encoding="utf-8")
    shown = re.findall(r"This is `([^`]*)`:\n\n```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(shown) == 3
    for path, code in shown:
        assert code == (ROOT / path).read_text(encoding="utf-8"), f"copy {path} to the page again"
