"""Tables that fit the screen: if it is too narrow, the least important columns are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from benchmarking.terminal.console import borderless_table

GAP = 2
COMFORTABLE_NAME = 24
"""Columns are left out before names get shorter than this."""
LEAST_NAME = 8
ALWAYS = 100
"""The importance of a column that is never left out."""
ELLIPSIS = "..."


@dataclass(frozen=True)
class Column:
    title: str
    cells: tuple[Text, ...]
    matters: int = ALWAYS
    """Columns with the smallest number are left out first."""
    is_name: bool = False
    """A name is shortened if there is not enough room; everything else is shown completely or not at all."""
    folds: bool = False
    """For names: continue in the next line; otherwise the middle is left out."""
    right: bool | None = None
    """The alignment; None: left for names, right for everything else."""
    keeps_place: bool = False
    """Whether the column is shown even if all its cells are empty."""
    short_title: str = ""
    """Used if the other title does not fit."""

    @property
    def is_right(self) -> bool:
        return not self.is_name if self.right is None else self.right

    @property
    def width(self) -> int:
        """The width of the whole content."""
        return max(cell_len(self.title), self.least_width)

    @property
    def least_width(self) -> int:
        """The width with the short title."""
        title = self.short_title or self.title
        return max([cell_len(title), *(cell_len(cell.plain) for cell in self.cells)])

    @property
    def is_empty(self) -> bool:
        return not any(cell.plain for cell in self.cells)


def texts(cells: Sequence[str], style: str = "") -> tuple[Text, ...]:
    return tuple(Text(cell, style) for cell in cells)


def fitted(
    columns: Sequence[Column], width: int, *, header_style: str = "dim", show_header: bool = True
) -> Table:
    shown = _chosen([one for one in columns if not one.is_empty or one.is_name or one.keeps_place], width)
    widths = _widths(shown, width)
    table = borderless_table(header_style, gap=GAP, show_header=show_header)
    for column, own in zip(shown, widths, strict=True):
        title = column.title if cell_len(column.title) <= own else column.short_title or column.title
        table.add_column(
            shortened(title, own) if not column.folds else title,
            justify="right" if column.is_right else "left",
            width=own,
            no_wrap=not column.folds,
            overflow="fold",
        )
    for number in range(max((len(one.cells) for one in shown), default=0)):
        table.add_row(*(_cell(one, number, own) for one, own in zip(shown, widths, strict=True)))
    return table


def shortened(text: str, width: int) -> str:
    """Leaves out the middle if the text is too wide, because names differ at their ends."""
    if cell_len(text) <= width:
        return text
    text = text if len(text) <= 2 * width else text[:width] + text[-width:]
    room = max(width - len(ELLIPSIS), 0)
    head, tail = room // 2, room - room // 2
    while head + tail > 0 and cell_len(text[:head] + text[len(text) - tail :]) > room:  # wide characters
        head, tail = (head - 1, tail) if head >= tail else (head, tail - 1)
    return (text[:head] + ELLIPSIS + text[len(text) - tail :])[: max(width, 1)]


def _cell(column: Column, number: int, width: int) -> Text:
    cell = column.cells[number]
    if not column.is_name or column.folds or cell_len(cell.plain) <= width:
        return cell
    return Text(shortened(cell.plain, width), cell.style)


def _chosen(columns: Sequence[Column], width: int) -> list[Column]:
    chosen = list(columns)
    while _needed(chosen) > width:
        candidates = [one for one in chosen if one.matters < ALWAYS]
        if not candidates:
            break
        chosen.remove(min(candidates, key=lambda one: one.matters))
    return chosen


def _needed(columns: Sequence[Column]) -> int:
    widths = [min(one.least_width, COMFORTABLE_NAME) if one.is_name else one.width for one in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Names get the width that the other columns leave; the longest names are shortened."""
    widths = [one.width for one in columns]
    names = [index for index, one in enumerate(columns) if one.is_name]
    while names and sum(widths) + GAP * (len(widths) - 1) > width:
        longest = max(names, key=lambda index: widths[index])
        if widths[longest] <= LEAST_NAME:
            break
        widths[longest] -= 1
    return widths
