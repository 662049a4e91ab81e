"""What only people with a browser need: pages about errors, and the page where they give their token."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from benchmarking.results.plain_text import json_words
from benchmarking.server import accounts
from benchmarking.server.accounts import Access, Auth
from benchmarking.server.pages.rendering import links_of, page
from benchmarking.server.projects import address_of, project_of, server_root

LONGEST_TARGET = 500
pages = APIRouter(include_in_schema=False)


@pages.get("/login")
def show_login(request: Request, then: str = "") -> Response:
    return page(request, "login.html", then=_target(then), wrong=False)


@pages.post("/login")
def login(request: Request, token: Annotated[str, Form()], then: Annotated[str, Form()] = "") -> Response:
    """Remembers the token in a cookie that scripts cannot read and other sites cannot send."""
    access: Access = request.app.state.access
    account = accounts.account_of_token(request.app.state.store, token.strip())
    if account is None or access.auth is not Auth.TOKEN:
        return page(request, "login.html", 403, then=_target(then), wrong=True)
    root = links_of(request).root
    if account.project not in (None, project_of(request)):
        root, then = address_of(server_root(request), account.project), ""
    answer = RedirectResponse(f"{root}/{_target(then)}", 303)
    answer.set_cookie(
        accounts.COOKIE,
        accounts.begin_session(request.app.state.store, token.strip()),
        max_age=accounts.SESSION_S,
        secure="https" in (request.url.scheme, request.headers.get("X-Forwarded-Proto")),
        httponly=True,
        samesite="strict",
    )
    return answer


@pages.post("/logout")
def logout(request: Request) -> Response:
    answer = RedirectResponse(links_of(request).page(""), 303)
    accounts.end_session(request.app.state.store, request.cookies.get(accounts.COOKIE, ""))
    answer.delete_cookie(accounts.COOKIE)
    return answer


def _target(then: str) -> str:
    """A page of this server, without the slash at its beginning."""
    is_own = re.fullmatch(r"[A-Za-z0-9/._-]*(\?[^\\\s]*)?", then) and "//" not in then
    return then.lstrip("/") if is_own and len(then) <= LONGEST_TARGET else ""


def answer_error(
    request: Request, status: int, message: str, headers: dict[str, str] | None = None
) -> Response:
    """For people a page, for programs JSON."""
    if "text/html" not in request.headers.get("Accept", ""):
        return JSONResponse({"detail": message}, status, headers)
    if status == HTTPStatus.NOT_FOUND and message == HTTPStatus.NOT_FOUND.phrase:
        message = "There is no such page; the link is old or mistyped."
    if status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        path = request.url.path.removeprefix(links_of(request).root).lstrip("/")
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{links_of(request).page('login')}?then={quote(path + query)}", 303)
    shown = page(request, "error.html", status, heading=HTTPStatus(status).phrase, message=message)
    shown.headers.update(headers or {})
    return shown


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return answer_error(request, error.status_code, str(error.detail), dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = ((".".join(map(str, one["loc"][1:])), json_words(one["msg"])) for one in error.errors())
    what = "; ".join(f"{place}: {fault}" if place else fault for place, fault in faults)
    return answer_error(request, 422, f"The request cannot be understood: {what}")


def add_browser(app: FastAPI) -> None:
    app.include_router(pages)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
