"""Tables and colours; only this project's own styles reach the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from benchmarking.results.plain_text import plain_lines


class PlainConsole(Console):
    """Prints text unchanged: without interpreting markup, and without characters that could control a
    terminal.
    """

    def __init__(self, stream: TextIO | None = None, width: int | None = None) -> None:
        """``stream``: by default stdout. ``width``: by default that of the terminal."""
        super().__init__(file=stream, width=width, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain_lines(segment.text), segment.style)
