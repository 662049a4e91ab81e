"""How wide tables are."""

import io
from types import SimpleNamespace

import pytest

from benchmarking.terminal.console import PIPED_WIDTH, width_for


@pytest.mark.parametrize(
    ("columns", "width"),
    [(None, PIPED_WIDTH), ("100", 100), ("", PIPED_WIDTH), ("0", PIPED_WIDTH), ("x", PIPED_WIDTH)],
)
def test_what_is_piped_is_wide_unless_the_environment_says_how_wide(monkeypatch, columns, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert width_for(io.StringIO()) == width
    assert width_for(SimpleNamespace(isatty=lambda: True)) is None
