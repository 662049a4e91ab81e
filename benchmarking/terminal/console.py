"""Tables and colours; only this project's own styles reach the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from benchmarking.errors import StorageError
from benchmarking.results.plain_text import plain_lines
from benchmarking.terminal import streams

PIPED_WIDTH = 160
"""Wide enough for every table. A file or the log of a CI system is searched and scrolled (``less -S``), and a
column that was left out for the width of some terminal could not be brought back.
"""


def width_for(stream: TextIO) -> int | None:
    """None: the width of the terminal. For a pipe or a file, COLUMNS in the environment has precedence."""
    if stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else PIPED_WIDTH


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


def borderless_table(header_style: str = "dim", *, gap: int = 2, show_header: bool = True) -> Table:
    """Without columns and rows; columns are ``gap`` blanks apart."""
    return Table(
        box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style=header_style, show_header=show_header
    )


def show_table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> None:
    """Prints a table without lines, as wide as the terminal.

    Raises:
        UsageError, StorageError: as ``streams.show``.
    """
    stream = streams.standard_output()
    console = PlainConsole(stream, width_for(stream))
    table = borderless_table("bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    streams.show(rendered(console, table), is_styled=True)


def rendered(console: Console, *parts: RenderableType) -> str:
    """The parts below each other, as the console would print them, without the blanks that rich adds to short
    lines.

    Raises:
        StorageError: the console's stream takes nothing; rich writes an empty text to it in the end.
    """
    try:
        with console.capture() as capture:
            console.print(*parts, sep="\n")
    except OSError as error:
        raise StorageError(f"cannot write to stdout: {error.strerror or error}") from error
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
