"""All series in one file that needs no server: for a build's artifacts, or for a mail."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from markupsafe import Markup
from sqlalchemy import select

from benchmarking.server import tables
from benchmarking.server.pages.graph import Spark, line_data, marks_data, spark
from benchmarking.server.pages.overview import overview_view
from benchmarking.server.pages.reading import SERIES_COLUMNS, Reader
from benchmarking.server.pages.rendering import STATIC, Links, render
from benchmarking.server.pages.routes import overview_context
from benchmarking.server.pages.series import SeriesQuery, series_view
from benchmarking.server.pages.views import CommitView, PointView, SeriesName, SeriesView, Varying

_STYLES = ("vendored/uplot-1.6.32.min.css", "pages.css")
_SCRIPTS = ("vendored/uplot-1.6.32.min.js", "pages.js")


@dataclass(frozen=True)
class ReportLinks(Links):
    """Within the file; what it does not contain has no address."""

    is_live: ClassVar[bool] = False

    def page(self, path: str, **query: object) -> str:
        return "#"

    def series(self, key: str, **query: object) -> str:
        return f"#series-{key}"


@dataclass(frozen=True)
class Inline:
    """A file of our own within the page, and the hash by which the page's policy allows it."""

    text: Markup
    policy: str

    @classmethod
    def of(cls, name: str) -> Inline:
        text = (STATIC / name).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return cls(Markup(text), f"'sha256-{digest}'")  # noqa: S704 - a file of this package


@dataclass(frozen=True)
class ReportRow:
    """A series in the table of all."""

    name: SeriesName
    newest: PointView
    change: float | None
    """The ratio of its newest change."""
    spark: Spark | None


def report_html(reader: Reader, title: str) -> str:
    """The report of a project.

    Args:
        title: what the report is about.
    """
    views = _numbered([one for one in _all_series(reader) if one.line.points])
    commits = {one.commit.position: one.commit for view in views for one in view.line.points}
    styles, scripts = ([Inline.of(one) for one in names] for names in (_STYLES, _SCRIPTS))
    rows = [
        ReportRow(
            view.line.name,
            view.line.points[-1],
            view.changes[0].ratio if view.changes else None,
            spark([one.value for one in view.line.points]),
        )
        for view in views
    ]
    return render(
        "report.html",
        ReportLinks(),
        title=title,
        rows=rows,
        names=Varying.of([one.name for one in rows]),
        commits=len(commits),
        data=_data(views, [commits[one] for one in sorted(commits)]),
        styles=styles,
        scripts=scripts,
        **overview_context(overview_view(reader), has_regressions=False),
    )


def _all_series(reader: Reader) -> list[SeriesView]:
    series = tables.series
    query = (
        select(*SERIES_COLUMNS)
        .join(tables.devices)
        .where(series.c.project_id == reader.project)
        .order_by(*(series.c[one] for one in ("net", "metric", "identifier", "type", "key")))
    )
    views = [series_view(reader, SeriesQuery(row.series_key)) for row in reader.rows(query)]
    return [one for one in views if one is not None]


def _numbered(views: Sequence[SeriesView]) -> list[SeriesView]:
    """With one numbering of the commits for all series: by their positions, or, if one of them has none, by
    their times.
    """
    points = [point for view in views for point in view.line.points]
    commits = {one.commit.sha: one.commit for one in points}
    positions = [one.position for one in commits.values()]
    is_known = len({*positions}) == len(commits) and _are_ordered(views)
    ordered = sorted(commits.values(), key=lambda one: one.position if is_known else one.time)
    numbers = {one.sha: number for number, one in enumerate(ordered)}

    def renumbered(commit: CommitView) -> CommitView:
        return replace(commit, position=numbers.get(commit.sha, -1))

    return [
        replace(
            view,
            line=replace(
                view.line,
                points=tuple(replace(one, commit=renumbered(one.commit)) for one in view.line.points),
            ),
            changes=tuple(replace(one, first_bad=renumbered(one.first_bad)) for one in view.changes),
            breaks=tuple(replace(one, commit=renumbered(one.commit)) for one in view.breaks),
        )
        for view in views
    ]


def _are_ordered(views: Sequence[SeriesView]) -> bool:
    return all(
        before.commit.position < after.commit.position
        for view in views
        for before, after in pairwise(view.line.points)
    )


def _data(views: Sequence[SeriesView], commits: Sequence[CommitView]) -> dict[str, Any]:
    return {
        "commits": {
            "shas": [one.sha[:12] for one in commits],
            "times": [one.time for one in commits],
            "subjects": [one.subject for one in commits],
        },
        "series": {
            view.line.name.key: {
                "model": view.line.name.model,
                "where": view.line.name.where,
                "unit": view.line.name.unit,
                "line": line_data(view.line, has_links=False),
                **marks_data(view),
            }
            for view in views
        },
    }
