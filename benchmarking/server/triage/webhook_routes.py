"""Webhooks: their page, with what was delivered lately and a test, and the same for programs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import or_, select

from benchmarking.errors import UsageError
from benchmarking.programs.process import Cancellation
from benchmarking.server import projects
from benchmarking.server.accounts import ProtectedForm, Scope, check_form, form_token, require
from benchmarking.server.pages.reading import Reader
from benchmarking.server.pages.rendering import HEADERS, json_answer, links_of, page
from benchmarking.server.pages.routes import bounded, not_found, reading
from benchmarking.server.projects import project_of
from benchmarking.server.tables import deliveries, webhooks
from benchmarking.server.triage import notices, records
from benchmarking.server.triage.records import change_of
from benchmarking.server.triage.routes import Number
from benchmarking.server.triage.views import DeliveryView, WebhookView

data = APIRouter(dependencies=[Depends(bounded)])
pages = APIRouter(dependencies=[Depends(bounded)], include_in_schema=False)


class Webhook(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    kinds: tuple[str, ...] = ()
    """The events to send; empty: all."""


class WebhookForm(ProtectedForm):
    url: str = ""
    kinds: tuple[str, ...] = ()


class ActionForm(ProtectedForm):
    action: str


# --- the page -----------------------------------------------------------------------------------------------


@pages.get("/webhooks")
def webhooks_page(request: Request) -> Response:
    require(request, Scope.ADMIN)
    return _page(request)


@pages.post("/webhooks")
def add_by_form(request: Request, form: Annotated[WebhookForm, Form()]) -> Response:
    check_form(request, form.token)
    try:
        _add(request, Webhook(url=form.url.strip(), kinds=form.kinds))
    except UsageError as error:
        return _page(request, f"Nothing was added: {error}.", 400)
    return RedirectResponse(links_of(request).page("webhooks"), 303, headers=HEADERS)


@pages.post("/webhooks/{number}")
def act_by_form(request: Request, number: Number, form: Annotated[ActionForm, Form()]) -> Response:
    check_form(request, form.token)
    if form.action == "remove":
        _remove(request, number)
    elif form.action == "test":
        _test(request, number)
    else:
        raise HTTPException(400, "The action is test or remove.")
    return RedirectResponse(links_of(request).page("webhooks"), 303, headers=HEADERS)


def _page(request: Request, problem: str = "", status: int = 200) -> Response:
    with reading(request) as reader:
        rows = _webhooks(reader)
    return page(
        request,
        "webhooks.html",
        status,
        here="regressions",
        rows=rows,
        kinds=notices.KINDS,
        problem=problem,
        form_token=form_token(request),
    )


# --- for programs -------------------------------------------------------------------------------------------


@data.get("/api/v1/webhooks")
def webhooks_json(request: Request) -> Response:
    """The webhooks with their newest deliveries. Needs the scope admin, as do the next three."""
    require(request, Scope.ADMIN)
    with reading(request) as reader:
        return json_answer({"webhooks": _webhooks(reader)})


@data.post("/api/v1/webhooks", status_code=201)
def add_webhook(request: Request, asked: Webhook) -> Response:
    """Adds an address to which ``{"text": ...}`` is sent when the state of a regression changes."""
    try:
        row = _add(request, asked)
    except UsageError as error:
        raise HTTPException(400, str(error)) from error
    return json_answer(_webhook(request, row))


@data.post("/api/v1/webhooks/{number}/test")
def test_webhook(request: Request, number: Number) -> Response:
    """Sends a text to a webhook at once, and answers with what became of it (``deliveries``)."""
    _test(request, number)
    return json_answer(_webhook(request, number))


@data.delete("/api/v1/webhooks/{number}")
def remove_webhook(request: Request, number: Number) -> Response:
    """Removes a webhook."""
    _remove(request, number)
    return json_answer({"removed": number})


# --- what they do -------------------------------------------------------------------------------------------


def _webhooks(reader: Reader) -> Sequence[WebhookView]:
    """Those of the project, and those of all projects."""
    of_project = or_(webhooks.c.project_id.is_(None), webhooks.c.project_id == reader.project)
    rows = reader.rows(select(webhooks).where(of_project).order_by(webhooks.c.id))
    query = select(deliveries).where(deliveries.c.webhook_id.in_([one.id for one in rows]))
    delivered = defaultdict(list)
    for one in reader.rows(query.order_by(deliveries.c.id.desc())):
        delivered[one.webhook_id].append(DeliveryView(one.time, one.kind, one.text, one.problem))
    return [_view(one, delivered[one.id]) for one in rows]


def _view(row: Any, delivered: Sequence[DeliveryView]) -> WebhookView:
    return WebhookView(
        row.id,
        notices.shown_url(row.url),
        tuple(json.loads(row.kinds)),
        row.failures,
        row.last_error,
        tuple(delivered),
    )


def _webhook(request: Request, number: int) -> WebhookView:
    """
    Raises:
        HTTPException: 404, there is none with this number in the project.
    """
    with reading(request) as reader:
        found = next((one for one in _webhooks(reader) if one.id == number), None)
    if found is None:
        raise not_found("webhook")
    return found


def _add(request: Request, asked: Webhook) -> int:
    """
    Raises:
        UsageError: no webhook can be like this.
    """
    actor = require(request, Scope.ADMIN)
    url = notices.check_url(asked.url)
    if set(asked.kinds) - set(notices.KINDS):
        raise UsageError(f"the kinds of events are {', '.join(notices.KINDS)}")
    with request.app.state.store.writing() as connection:
        project = projects.row_of(connection, project_of(request))
        return records.add_webhook(connection, url, asked.kinds, change_of(actor.name), project)


def _remove(request: Request, number: int) -> None:
    actor = require(request, Scope.ADMIN)
    _webhook(request, number)
    with request.app.state.store.writing() as connection:
        if not records.remove_webhook(connection, number, change_of(actor.name)):
            raise not_found("webhook")


def _test(request: Request, number: int) -> None:
    require(request, Scope.ADMIN)
    _webhook(request, number)
    state = request.app.state
    with Cancellation() as cancellation:
        notices.Notices(state.store, state.notices, cancellation).test(number, project_of(request))
