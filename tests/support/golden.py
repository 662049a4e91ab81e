"""Golden files: output for users, compared with the expected output. UPDATE_GOLDEN=1 writes them again."""

import os
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


def check(text, name):
    path = DATA / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
