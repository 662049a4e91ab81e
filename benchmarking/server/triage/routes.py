"""The addresses of regressions, devices and searches: pages, tables for programs, feeds, and the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from benchmarking.errors import UsageError
from benchmarking.reporters import numbers
from benchmarking.server.accounts import ProtectedForm, Scope, check_form, form_token, require
from benchmarking.server.pages.reading import ROWS_PER_PAGE
from benchmarking.server.pages.rendering import HEADERS, Links, csv_answer, json_answer, links_of, page
from benchmarking.server.pages.routes import bounded, is_key, not_found, reading
from benchmarking.server.triage import feeds, notices, records
from benchmarking.server.triage.decisions import decide, decision
from benchmarking.server.triage.life import OPEN, Source
from benchmarking.server.triage.reading import (
    FILTERS,
    NEWEST_RESULTS,
    RegressionQuery,
    counts,
    devices,
    regression,
    regressions,
    search,
)
from benchmarking.server.triage.reading import events as read_events
from benchmarking.server.triage.records import change_of
from benchmarking.server.triage.views import EventView, Hit, RegressionPage, RegressionView

MOST_COMMITS = 100
FEED_ENTRIES = 50
SHORTEST_SEARCH = 2

data = APIRouter(dependencies=[Depends(bounded)])
"""Tables for programs, which the reference page lists with their docstrings."""
pages = APIRouter(dependencies=[Depends(bounded)], include_in_schema=False)
Text = Annotated[str, Query()]


# --- regressions --------------------------------------------------------------------------------------------


def regression_query(
    request: Request,
    show: Text = FILTERS[0],
    owner: Text = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> RegressionQuery:
    commits = tuple(dict.fromkeys(request.query_params.getlist("commit")))
    if len(commits) > MOST_COMMITS:
        raise HTTPException(400, f"at most {MOST_COMMITS} commits")
    # Who asks for a commit wants to know all that is known of it.
    usual = "all" if commits and "show" not in request.query_params else show
    if usual not in FILTERS:
        raise HTTPException(400, f"show is one of {', '.join(FILTERS)}")
    return RegressionQuery(usual, owner, commits, before)


Asked = Annotated[RegressionQuery, Depends(regression_query)]


@pages.get("/regressions")
def regressions_page(request: Request, asked: Asked) -> Response:
    with reading(request) as reader:
        rows = regressions(reader, asked, ROWS_PER_PAGE + 1)
        number = counts(reader)
    is_admin = request.state.account.scope.includes(Scope.ADMIN)
    number["open"], number["all"] = sum(number[one] for one in OPEN), number.total()
    links = links_of(request)
    shown, has_more = rows[:ROWS_PER_PAGE], len(rows) > ROWS_PER_PAGE
    return page(
        request,
        "regressions.html",
        here="regressions",
        asked=asked,
        filters=[(one, number[one]) for one in FILTERS],
        rows=shown,
        is_admin=is_admin,
        next_page=_address(links, asked, before=shown[-1].id) if has_more else "",
        json=_address(links, asked, ".json", asked.before),
        csv=_address(links, asked, ".csv", asked.before),
    )


@pages.get("/regressions.json")
@data.get("/api/v1/regressions")
def regressions_json(request: Request, asked: Asked) -> Response:
    """The regressions, the last opened first. ``show`` is a state, ``open`` or ``all``; ``commit`` may be
    given several times; ``before`` is in the answer if there are more.
    """
    with reading(request) as reader:
        rows = regressions(reader, asked, ROWS_PER_PAGE + 1)
    shown, has_more = rows[:ROWS_PER_PAGE], len(rows) > ROWS_PER_PAGE
    return json_answer({"regressions": shown, "before": shown[-1].id if has_more else None})


@data.get("/regressions.csv")
def regressions_csv(request: Request, asked: Asked) -> Response:
    """The same as a table. The header ``Link`` names the next page if there are more."""
    with reading(request) as reader:
        rows = regressions(reader, asked, ROWS_PER_PAGE + 1)
    shown, has_more = rows[:ROWS_PER_PAGE], len(rows) > ROWS_PER_PAGE
    following = _address(links_of(request), asked, ".csv", shown[-1].id) if has_more else ""
    return csv_answer("regressions", shown, following)


def _address(links: Links, asked: RegressionQuery, ending: str = "", before: int | None = None) -> str:
    query = {"show": asked.show, "owner": asked.owner, "commit": list(asked.commits)}
    return links.page(f"regressions{ending}", **query, before=before)


@data.get("/regressions.atom")
def regressions_feed(request: Request) -> Response:
    """What happened to regressions, as an Atom feed."""
    base = str(request.base_url).rstrip("/")
    with reading(request) as reader:
        found = [
            (event, known.regression)
            for event in read_events(reader, kinds=notices.KINDS, limit=FEED_ENTRIES)
            if event.regression is not None and (known := regression(reader, event.regression)) is not None
        ]
    entries = [_entry(event, one, base) for event, one in found]
    text = feeds.atom("Regressions", f"{base}/regressions", f"{base}/regressions.atom", entries)
    return Response(text, media_type="application/atom+xml", headers=HEADERS)


def _entry(event: EventView, one: RegressionView, base: str) -> feeds.Entry:
    return feeds.Entry(
        address=f"{base}/regressions/{one.id}",
        number=event.id,
        time=event.time,
        title=f"{event.kind}: {one.commit.subject or one.commit.sha[:12]}",
        text=notices.sentence(event, one, base),
        author=event.actor,
    )


@data.get("/badge.svg")
def badge(request: Request) -> Response:
    """The number of open regressions, as a picture for a README."""
    with reading(request) as reader:
        number = counts(reader)
    count = sum(number[one] for one in OPEN)
    text = numbers.counted(count, "open regression") if count else "no open regressions"
    picture = feeds.badge("performance", text, is_good=not count)
    return Response(picture, media_type="image/svg+xml", headers={**HEADERS, "Cache-Control": "no-cache"})


def _number(number: str) -> int:
    """
    Raises:
        HTTPException: 404, it is no number of a row.
    """
    if not is_key(number):
        raise HTTPException(404, "This is not a number; the link is mistyped.")
    return int(number)


Number = Annotated[int, Depends(_number)]


@pages.get("/regressions/{number}.json")
@data.get("/api/v1/regressions/{number}")
def regression_json(request: Request, number: Number) -> Response:
    """A regression with its indicators and what happened to it."""
    return json_answer(_regression(request, number))


@pages.get("/regressions/{number}")
def regression_page(request: Request, number: Number) -> Response:
    with reading(request) as reader:
        found = regression(reader, number)
        successor = records.merged_into(reader.connection, reader.project, number) if found is None else None
    if successor is not None:
        return RedirectResponse(links_of(request).page(f"regressions/{successor}"), 301, headers=HEADERS)
    return _shown(request, _regression(request, number))


def _regression(request: Request, number: int) -> RegressionPage:
    with reading(request) as reader:
        found = regression(reader, number)
    if found is None:
        raise not_found("regression")
    return found


def _shown(request: Request, view: RegressionPage, problem: str = "", status: int = 200) -> Response:
    by_strength = sorted(view.indicators, key=lambda one: -Source(one.source).strength)
    last_good = next((one.last_good for one in by_strength if one.last_good), None)
    return page(
        request,
        "regression.html",
        status,
        here="regressions",
        view=view,
        last_good=last_good,
        problem=problem,
        form_token=form_token(request),
        user=request.state.account.name,
    )


class Decided(BaseModel):
    """A decision, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: str
    owner: str = ""
    reason: str = ""
    note: str = ""
    link: str = ""


class DecisionForm(ProtectedForm, Decided):
    """The fields of all forms of a regression."""


@pages.post("/regressions/{number}")
def decide_by_form(request: Request, number: Number, form: Annotated[DecisionForm, Form()]) -> Response:
    check_form(request, form.token)
    try:
        _decide(request, number, form)
    except UsageError as error:
        return _shown(request, _regression(request, number), f"Nothing was changed: {error}.", 400)
    return RedirectResponse(links_of(request).page(f"regressions/{number}"), 303, headers=HEADERS)


@data.post("/api/v1/regressions/{number}")
def decide_by_request(request: Request, number: Number, asked: Decided) -> Response:
    """Decides about a regression: ``confirm``, ``acknowledge`` with an ``owner``, ``fixed``, ``expected`` or
    ``ignored`` with a ``reason``, ``reopen``, ``annotate`` with a ``note`` and a ``link``. Needs the scope
    triage.
    """
    try:
        _decide(request, number, asked)
    except UsageError as error:
        raise HTTPException(400, str(error)) from error
    return json_answer(_regression(request, number))


def _decide(request: Request, number: int, asked: Decided) -> None:
    """
    Raises:
        UsageError: the decision lacks something.
    """
    account = require(request, Scope.TRIAGE)
    made = decision(asked.decision, owner=asked.owner, reason=asked.reason, note=asked.note, link=asked.link)
    with reading(request) as reader:
        project = reader.project
    state = request.app.state
    if decide(state.store, project, number, made, change_of(account.name)) is None:
        raise not_found("regression")
    state.hub.publish("regressions")


# --- devices and searches -----------------------------------------------------------------------------------


@pages.get("/devices")
def devices_page(request: Request) -> Response:
    with reading(request) as reader:
        rows = devices(reader)
    return page(request, "devices.html", here="devices", rows=rows, newest=NEWEST_RESULTS)


@data.get("/devices.json")
def devices_json(request: Request) -> Response:
    """The devices: facts, newest conditions, and how many of their newest results are tainted."""
    with reading(request) as reader:
        return json_answer({"devices": devices(reader)})


@data.get("/devices.csv")
def devices_csv(request: Request) -> Response:
    """The same as a table."""
    with reading(request) as reader:
        return csv_answer("devices", devices(reader))


@pages.get("/search")
def search_page(request: Request, q: Text = "") -> Response:
    query = q.strip()
    return page(request, "search.html", query=query, hits=_hits(request, query))


@data.get("/search.json")
def search_json(request: Request, q: Text = "") -> Response:
    """What contains the text ``q``: models, commits, devices, regressions."""
    return json_answer({"hits": _hits(request, q.strip())})


def _hits(request: Request, query: str) -> Sequence[Hit]:
    if len(query) < SHORTEST_SEARCH:
        return ()
    with reading(request) as reader:
        return search(reader, query)


# --- what happens -------------------------------------------------------------------------------------------


@pages.get("/events")
async def stream(request: Request) -> Response:
    """Server-sent events: ``results`` or ``regressions``, when they have changed."""
    found = request.app.state.hub.listen()
    if found is None:
        return Response("too many streams", 503, headers={**HEADERS, "Retry-After": "60"})
    headers = {**HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(found, media_type="text/event-stream", headers=headers)
