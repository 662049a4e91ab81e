"""The addresses of the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.staticfiles import StaticFiles

from benchmarking.errors import UsageError
from benchmarking.reporters import exports
from benchmarking.results.model import Result
from benchmarking.server import projects
from benchmarking.server.pages import graph
from benchmarking.server.pages.compare import SORTS, Comparison, compared
from benchmarking.server.pages.matrix import AXES, MatrixQuery, choices, heat, matrix_view
from benchmarking.server.pages.overview import (
    CommitPage,
    OverviewView,
    commit_before,
    commit_of,
    measured_at,
    overview_view,
    suggestions,
)
from benchmarking.server.pages.reading import ROWS_PER_PAGE, Reader, commit_view, reader_of
from benchmarking.server.pages.recent import kept_for_a_moment
from benchmarking.server.pages.rendering import (
    EMBEDDED,
    STATIC,
    Links,
    csv_answer,
    export_answer,
    exported_row,
    json_answer,
    links_of,
    page,
    render,
)
from benchmarking.server.pages.run import run_view, with_context
from benchmarking.server.pages.series import MOST_OVERLAYS, SeriesQuery, branches, neighbours, series_view
from benchmarking.server.pages.views import (
    ComparedRow,
    RunView,
    SeriesView,
    StripBar,
    Varying,
)
from benchmarking.server.projects import project_of
from benchmarking.server.triage.reading import RegressionQuery, regressions

LONGEST_TEXT = 200
SPANS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""The ends of the axis of a comparison."""
STRIP_WIDTH, STRIP_HEIGHT = 1240, 48


def bounded(request: Request) -> None:
    """Refuses addresses that no database takes, and that no link of ours has."""
    texts = (*request.path_params.values(), *(text for _, text in request.query_params.multi_items()))
    if any(len(str(one)) > LONGEST_TEXT or not str(one).isprintable() for one in texts):
        raise HTTPException(400, "The address is too long, or has characters that cannot be printed.")


data = APIRouter(dependencies=[Depends(bounded)])
"""Tables for programs, which the reference page lists with their docstrings."""
pages = APIRouter(dependencies=[Depends(bounded)], include_in_schema=False)
Text = Annotated[str, Query()]
Number = Annotated[int, Query(ge=0, le=2**53)]


@contextmanager
def reading(request: Request) -> Iterator[Reader]:
    """A connection for the time of one answer."""
    with request.app.state.store.reading() as connection:
        yield reader_of(connection, project_of(request))


def not_found(what: str) -> HTTPException:
    return HTTPException(404, f"There is no such {what}; it may have been removed.")


# --- overview -----------------------------------------------------------------------------------------------


@pages.get("/")
@kept_for_a_moment
def overview(request: Request) -> Response:
    with reading(request) as reader:
        view, names = overview_view(reader), projects.names(reader.connection)
    root, own = projects.server_root(request), request.state.account.project
    others = [(one, f"{projects.address_of(root, one)}/") for one in names if own in (None, one)]
    return page(request, "overview.html", here="", projects=others, **overview_context(view))


@data.get("/overview.json")
def overview_json(request: Request) -> Response:
    """What the overview shows: the newest commits, open regressions, what is slower, and the devices."""
    with reading(request) as reader:
        return json_answer(overview_view(reader))


@data.get("/overview.csv")
def overview_csv(request: Request) -> Response:
    """What is slower at the newest commit."""
    with reading(request) as reader:
        return csv_answer("slower", overview_view(reader).slower)


@dataclass(frozen=True)
class StripPlace:
    """A bar of the strip in the coordinates of its drawing."""

    bar: StripBar
    x: float
    width: float
    up: float
    down: float


def overview_context(view: OverviewView, has_regressions: bool = True) -> dict[str, Any]:
    return {
        "view": view,
        "bars": strip_places(view.strip),
        "has_regressions": has_regressions,
        "varying": Varying.of([one.name for one in view.slower]),
    }


def strip_places(strip: Sequence[StripBar]) -> list[StripPlace]:
    step = STRIP_WIDTH / max(len(strip), 20)
    most = max((max(one.slower, one.faster) for one in strip), default=0) or 1

    def height(count: int) -> float:
        return round(max(count / most * STRIP_HEIGHT, 4), 1) if count else 0

    return [
        StripPlace(
            one,
            round(number * step + step * 0.15, 1),
            round(step * 0.7, 1),
            height(one.slower),
            height(one.faster),
        )
        for number, one in enumerate(strip)
    ]


# --- commit -------------------------------------------------------------------------------------------------


def _commit_page(reader: Reader, sha: str) -> CommitPage:
    found = commit_of(reader, sha)
    if found is None:
        raise not_found("commit")
    commit = commit_view(found)
    return CommitPage(
        commit,
        commit_before(reader, commit, found.parent),
        regressions(reader, RegressionQuery("all", commits=(commit.sha,))),
        measured_at(reader, commit.sha),
    )


@data.get("/commit/{sha}.json")
def commit_json(request: Request, sha: str) -> Response:
    """A commit, by its hash or the beginning of it: its regressions, and the newest run of each series."""
    with reading(request) as reader:
        return json_answer(_commit_page(reader, sha))


@data.get("/commit/{sha}.csv")
def commit_csv(request: Request, sha: str) -> Response:
    """The newest run of each series at a commit."""
    with reading(request) as reader:
        return csv_answer("commit", _commit_page(reader, sha).rows)


@pages.get("/commit/{sha}")
@kept_for_a_moment
def commit(request: Request, sha: str, after: Text = "") -> Response:
    with reading(request) as reader:
        view = _commit_page(reader, sha)
    keys = [one.name.key for one in view.rows]
    first = keys.index(after) + 1 if after in keys else 0
    shown = view.rows[first : first + ROWS_PER_PAGE]
    has_more = first + ROWS_PER_PAGE < len(view.rows)
    links = links_of(request)
    next_page = f"{links.commit(view.commit.sha)}?after={shown[-1].name.key}" if has_more else ""
    return page(
        request,
        "commit.html",
        view=view,
        shown=shown,
        next_page=next_page,
        varying=Varying.of([one.name for one in view.rows]),
    )


# --- matrix -------------------------------------------------------------------------------------------------


def matrix_query(
    columns: Text = AXES[0],
    device: Text = "",
    framework: Text = "",
    backend: Text = "",
    against: Text = "",
    model: Text = "",
    after: Text = "",
) -> MatrixQuery:
    if columns not in AXES:
        raise HTTPException(400, f"columns is one of {', '.join(AXES)}")
    return MatrixQuery(
        columns,
        device if is_key(device) else "",
        framework,
        backend,
        against,
        model,
        after,
    )


def is_key(text: str) -> bool:
    """Whether it can be the number of a row."""
    return text.isascii() and text.isdecimal() and len(text) < 18


Matrix = Annotated[MatrixQuery, Depends(matrix_query)]


def _matrix_address(links: Links, asked: MatrixQuery, ending: str = "", after: str = "") -> str:
    return links.page(
        f"matrix{ending}",
        columns=asked.axis,
        device=asked.device,
        framework=asked.framework,
        backend=asked.backend,
        against=asked.reference,
        model=asked.model,
        after=after,
    )


@data.get("/matrix.json")
def matrix_json(request: Request, asked: Matrix) -> Response:
    """The newest value of each model on each backend, framework or device (columns); ``after`` is in the
    answer if there are more.
    """
    with reading(request) as reader:
        return json_answer(matrix_view(reader, asked))


@data.get("/matrix.csv")
def matrix_csv(request: Request, asked: Matrix) -> Response:
    """The newest values as a table: a line for each. The header ``Link`` names the next page if there are
    more.
    """
    with reading(request) as reader:
        view = matrix_view(reader, asked)
    following = _matrix_address(links_of(request), asked, ".csv", view.after) if view.after else ""
    cells = [MatrixCell.of(row, cell) for row in view.rows for cell in row.cells if cell]
    return csv_answer("matrix", cells, following)


@dataclass(frozen=True)
class MatrixCell:
    """A line of the matrix as a table for programs."""

    model: str
    detail: str
    column: str
    series: str
    value: float
    unit: str
    ratio: float | None
    tainted: bool

    @classmethod
    def of(cls, row: Any, cell: Any) -> MatrixCell:
        return cls(
            row.model, row.detail, cell.column, cell.key, cell.value, row.unit, cell.ratio, cell.tainted
        )


@pages.get("/matrix")
@kept_for_a_moment
def matrix(request: Request, asked: Matrix) -> Response:
    with reading(request) as reader:
        view = matrix_view(reader, asked)
        offered = choices(reader)
    links = links_of(request)
    return page(
        request,
        "matrix.html",
        here="matrix",
        view=view,
        asked=asked,
        axes=AXES,
        choices=offered,
        heat=heat,
        next_page=_matrix_address(links, asked, after=view.after) if view.after else "",
        json=_matrix_address(links, asked, ".json", asked.after),
        csv=_matrix_address(links, asked, ".csv", asked.after),
    )


# --- compare ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """An interval on the axis of a comparison, in the coordinates of its drawing."""

    x: float
    width: float
    middle: float


def place(row: ComparedRow, span: float) -> Place | None:
    """None without a ratio."""
    if row.ratio is None:
        return None

    def x(ratio: float) -> float:
        return round(82 + max(-1.0, min(1.0, (ratio - 1) / span)) * 78, 1)

    low, high = (row.ratio, row.ratio) if row.low is None or row.high is None else (row.low, row.high)
    return Place(x(low), round(x(high) - x(low), 1), x(row.ratio))


@data.get("/compare.json")
def compare_json(request: Request, a: Text, b: Text, device: Text = "", sort: Text = SORTS[0]) -> Response:
    """Two commits, branches, runs, devices, backends or frameworks: what both measured."""
    return json_answer(_compared(request, a, b, device).view(sort))


@data.get("/compare/export/{kind}")
def compare_export(request: Request, kind: str, a: Text, b: Text, device: Text = "") -> Response:
    """What B measured, in a format of other programs: ``bencher``, ``github_action_benchmark`` or
    ``open_metrics``.
    """
    return export_answer(kind, "compare", map(exported_row, _compared(request, a, b, device).view().rows))


@data.get("/compare.csv")
def compare_csv(request: Request, a: Text, b: Text, device: Text = "", sort: Text = SORTS[0]) -> Response:
    """What both measured as a table: a line for each series."""
    return csv_answer("compare", _compared(request, a, b, device).view(sort).rows)


def _compared(request: Request, a: str, b: str, device: str) -> Comparison:
    with reading(request) as reader:
        try:
            return compared(reader, a, b, device if is_key(device) else "")
        except UsageError as error:
            raise HTTPException(404, str(error)) from error


@pages.get("/compare")
@kept_for_a_moment
def compare(
    request: Request,
    a: Text = "",
    b: Text = "",
    device: Text = "",
    sort: Text = SORTS[0],
    after: Number = 0,
) -> Response:
    found, problem = None, ""
    with reading(request) as reader:
        offered, suggested = choices(reader), suggestions(reader)
        if a and b:
            try:
                found = compared(reader, a, b, device if is_key(device) else "")
            except UsageError as error:
                problem = str(error)
    view = found and found.view(sort, after, ROWS_PER_PAGE)
    span = next((one for one in SPANS if found and found.span <= one), SPANS[-1])
    links = links_of(request)
    asked = {"a": a, "b": b, "device": device, "sort": sort}
    has_more = found is not None and after + ROWS_PER_PAGE < found.size
    return page(
        request,
        "compare.html",
        200 if not problem else 404,
        here="compare",
        view=view,
        problem=problem,
        a=a,
        b=b,
        device=device,
        sort=sort,
        sorts=SORTS,
        choices=offered,
        suggestions=[
            *suggested,
            *((f"device:{key}", name) for key, name in offered.devices),
            *((f"backend:{one}", "") for one in offered.backends),
            *((f"framework:{one}", "") for one in offered.frameworks),
        ],
        counts=found and found.counts,
        total=found.size if found else 0,
        rows=[(one, place(one, span)) for one in view.rows] if view else [],
        varying=found and found.varying,
        span=f"{span:.0%}".rstrip("%"),
        next_page=links.page("compare", **asked, after=after + ROWS_PER_PAGE) if has_more else "",
        json=links.page("compare.json", **asked),
        csv=links.page("compare.csv", **asked),
        exports=[
            (one, links.page(f"compare/export/{one}", a=a, b=b, device=device)) for one in exports.FORMATS
        ],
    )


# --- series -------------------------------------------------------------------------------------------------


def series_query(
    request: Request,
    key: str,
    scale: Text = "",
    first: Annotated[str, Query(alias="from")] = "",
    to: Text = "",
    branch: Text = "",
) -> SeriesQuery:
    ends = int(first) if is_key(first) else None, int(to) if is_key(to) else None
    zoom = None if ends == (None, None) else ends
    overlays = dict.fromkeys(one for one in request.query_params.getlist("overlay") if one)
    return SeriesQuery(key, tuple(overlays)[:MOST_OVERLAYS], scale == "relative", zoom, branch)


Series = Annotated[SeriesQuery, Depends(series_query)]


def _series(reader: Reader, asked: SeriesQuery) -> SeriesView:
    view = series_view(reader, asked)
    if view is None:
        raise not_found("series")
    return view


@data.get("/series/{key}.json")
def series_json(request: Request, asked: Series) -> Response:
    """A series: its points, changes, and what differs besides the code; from and to are positions, branch is
    the name of one.
    """
    with reading(request) as reader:
        return json_answer(_series(reader, asked))


@data.get("/series/{key}.csv")
def series_csv(request: Request, asked: Series) -> Response:
    """The points of a series."""
    with reading(request) as reader:
        return csv_answer("series", _series(reader, asked).line.points)


@pages.get("/series/{key}")
@kept_for_a_moment
def series(request: Request, asked: Series, before: Text = "") -> Response:
    with reading(request) as reader:
        view = _series(reader, asked)
        others, of_branches = neighbours(reader, view.line.name), branches(reader, asked.key)
    newest_first = view.line.points[::-1]
    uids = [one.run for one in newest_first]
    first = uids.index(before) + 1 if before in uids else 0
    rows = newest_first[first : first + ROWS_PER_PAGE]
    links = links_of(request)
    path = f"series/{quote(asked.key, safe='')}"
    has_more = first + ROWS_PER_PAGE < len(newest_first)
    zoom = view.zoom or (None, None)
    own: dict[str, object] = {"branch": asked.branch, "from": zoom[0], "to": zoom[1]}
    drawn: dict[str, object] = {
        "overlay": list(asked.overlays),
        "scale": "relative" if asked.relative else "",
    }
    return page(
        request,
        "series.html",
        view=view,
        rows=rows,
        neighbours=others,
        branches=of_branches,
        overlay_keys=asked.overlays,
        next_page=links.series(asked.key, **drawn, **own, before=rows[-1].run) if has_more else "",
        whole=links.series(asked.key, **drawn, branch=asked.branch),
        json=links.page(f"{path}.json", **drawn, **own),
        csv=links.page(f"{path}.csv", **own),
        **graph_context(view, links),
    )


def graph_context(view: SeriesView, links: Links, remembers: bool = True) -> dict[str, Any]:
    return {
        "drawing": graph.drawing(view),
        "data": graph.graph_data(view, links.page("run/"), remembers=remembers),
    }


@pages.get("/embed/series/{key}")
def embedded_series(request: Request, asked: Series) -> Response:
    with reading(request) as reader:
        view = _series(reader, asked)
    links = links_of(request)
    text = render("embed.html", links, view=view, **graph_context(view, links, remembers=False))
    return Response(text, media_type="text/html; charset=utf-8", headers=EMBEDDED)


# --- run ----------------------------------------------------------------------------------------------------


def _result(request: Request, uid: str) -> Result:
    with reading(request) as reader:
        result: Result | None = request.app.state.store.result(uid, reader.project)
    if result is None:
        raise not_found("result")
    return result


def _run(request: Request, uid: str) -> RunView:
    view = run_view(_result(request, uid))
    with reading(request) as reader:
        return with_context(reader, view)


@data.get("/run/{uid}.json")
def run_json(request: Request, uid: str) -> Response:
    """A result with its operators, conditions, and the command that repeats it."""
    return json_answer(_run(request, uid))


@data.get("/run/{uid}/export/{kind}")
def run_export(request: Request, uid: str, kind: str) -> Response:
    """The net or the outputs of a result, in a format of other programs, as of a comparison."""
    return export_answer(kind, "run", exports.of_results([_result(request, uid)]))


@data.get("/run/{uid}.csv")
def run_csv(request: Request, uid: str) -> Response:
    """The net or the outputs, and the operators of a result."""
    view = _run(request, uid)
    return csv_answer("run", (*view.whole, *view.operators))


@pages.get("/run/{uid}")
def run(request: Request, uid: str) -> Response:
    address = links_of(request).run(uid)
    return page(
        request,
        "run.html",
        view=_run(request, uid),
        exports=[(one, f"{address}/export/{one}") for one in exports.FORMATS],
    )


# --- reference ----------------------------------------------------------------------------------------------


@pages.get("/reference")
def reference(request: Request) -> Response:
    return page(request, "reference.html", here="reference", endpoints=endpoints(request.app.openapi()))


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str
    what: str
    parameters: tuple[str, ...]


def _one_line(docstring: str) -> str:
    return " ".join(docstring.replace("``", "").split())


def endpoints(description: Mapping[str, Any]) -> list[Endpoint]:
    """What the application says of itself, without what only the pages need."""
    return [
        Endpoint(
            method.upper(),
            path,
            _one_line(operation.get("description") or operation.get("summary", "")),
            tuple(one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"),
        )
        for path, operations in sorted(description["paths"].items())
        for method, operation in operations.items()
    ]


def add_pages(app: FastAPI) -> None:
    """Adds the pages and what they load; ``app.state.store`` is read."""
    app.mount("/static", StaticFiles(directory=STATIC))
    app.include_router(data)
    app.include_router(pages)
