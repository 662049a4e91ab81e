"""Models by backends, frameworks or devices: the newest value of each, relative to a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from benchmarking.server import tables
from benchmarking.server.pages.reading import SERIES_COLUMNS, Reader, is_shown
from benchmarking.server.pages.views import Cell, MatrixRow, MatrixView

AXES = ("backend", "framework", "device")
MODELS_PER_PAGE = 50
HEAT = (1.05, 1.2, 1.45, 1.8)
"""The ratios from which on a cell has the next of four tones."""

_series, _devices = tables.series, tables.devices


@dataclass(frozen=True)
class MatrixQuery:
    """What an address of the page asks for; empty: all, or the first."""

    axis: str = AXES[0]
    device: str = ""
    """A device's key."""
    framework: str = ""
    backend: str = ""
    reference: str = ""
    model: str = ""
    after: str = ""
    """The last model of the page before."""


@dataclass(frozen=True)
class Choices:
    """What there is to choose from."""

    devices: tuple[tuple[str, str], ...]
    """Key and name."""
    frameworks: tuple[str, ...]
    backends: tuple[str, ...]


def matrix_view(reader: Reader, asked: MatrixQuery) -> MatrixView:
    conditions = [_series.c.project_id == reader.project, is_shown(), _series.c.last_value.is_not(None)]
    if asked.device and asked.axis != "device":
        conditions.append(_series.c.device_id == int(asked.device))
    if asked.framework and asked.axis != "framework":
        conditions.append(_series.c.framework == asked.framework)
    if asked.backend and asked.axis != "backend":
        conditions.append(_series.c.backend == asked.backend)
    if asked.model:
        conditions.append(_series.c.net == asked.model)
    columns = reader.rows(
        select(*_column_of(asked.axis)).join(_devices).where(*conditions).distinct().order_by("heading")
    )
    models = select(_series.c.net).where(*conditions, _series.c.net > asked.after).distinct()
    names = [row.net for row in reader.rows(models.order_by(_series.c.net).limit(MODELS_PER_PAGE + 1))]
    shown = names[:MODELS_PER_PAGE]
    rows = reader.rows(
        select(
            *SERIES_COLUMNS,
            *_column_of(asked.axis),
            _series.c.last_value,
            _series.c.last_time,
            _series.c.last_tainted,
        )
        .join(_devices)
        .where(*conditions, _series.c.net.in_(shown))
        .order_by(_series.c.net, _series.c.identifier, _series.c.key)
    )
    headings = [row.heading for row in columns]
    reference = asked.reference if asked.reference in headings else next(iter(headings), "")
    return MatrixView(
        tuple(headings),
        reference,
        tuple(_rows(rows, asked.axis, headings, reference)),
        shown[-1] if len(names) > MODELS_PER_PAGE else None,
    )


def choices(reader: Reader) -> Choices:
    own = [_series.c.project_id == reader.project, is_shown()]
    devices = reader.rows(
        select(_devices.c.id, _devices.c.name).join(_series).where(*own).distinct().order_by(_devices.c.name)
    )
    pairs = reader.rows(select(_series.c.framework, _series.c.backend).where(*own).distinct())
    return Choices(
        tuple((str(row.id), row.name) for row in devices),
        tuple(sorted({row.framework for row in pairs})),
        tuple(sorted({row.backend for row in pairs if row.backend})),
    )


def heat(ratio: float | None) -> str:
    """The class of a cell's tone; empty: about equal."""
    if ratio is None or ratio <= 0:
        return ""
    tone = sum(max(ratio, 1 / ratio) >= one for one in HEAT)
    return f"{'slower' if ratio > 1 else 'faster'}-{tone}" if tone else ""


def _column_of(axis: str) -> list[Any]:
    if axis == "device":
        return [_devices.c.name.label("heading")]
    return [_series.c[axis].label("heading")]


def _rows(rows: Sequence[Any], axis: str, headings: Sequence[str], reference: str) -> Sequence[MatrixRow]:
    """One for each model, and for each combination of the properties that are not the columns."""
    others = [
        one for one in ("identifier", "framework", "backend", "device_name") if not one.startswith(axis)
    ]
    kept = [one for one in others if len({getattr(row, one) for row in rows}) > 1]
    grouped: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        cells = grouped.setdefault((row.net, row.unit, *(getattr(row, one) for one in kept)), {})
        if row.heading not in cells or row.last_time >= cells[row.heading].last_time:
            cells[row.heading] = row
    return [
        MatrixRow(
            model,
            " · ".join(one for one in detail if one),
            unit,
            tuple(_cell(cells, one, reference) for one in headings),
        )
        for (model, unit, *detail), cells in grouped.items()
    ]


def _cell(cells: dict[str, Any], heading: str, reference: str) -> Cell | None:
    row, base = cells.get(heading), cells.get(reference)
    if row is None:
        return None
    ratio = row.last_value / base.last_value if base is not None and base.last_value else None
    return Cell(heading, row.series_key, row.last_value, ratio, row.last_tainted)
