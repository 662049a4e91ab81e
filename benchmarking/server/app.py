"""The application: what it is made of, and the endpoints that programs call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

import benchmarking
from benchmarking.dispatch.database import Database
from benchmarking.server import accounts, bodies, payloads, tables
from benchmarking.server.accounts import Access, Account, Auth, Scope
from benchmarking.server.admission import RefusedError
from benchmarking.server.browser import add_browser, answer_error
from benchmarking.server.ingest import Ingested, ingest
from benchmarking.server.lab.routes import add_lab
from benchmarking.server.live import Hub
from benchmarking.server.pages.recent import RecentPages
from benchmarking.server.pages.routes import add_pages
from benchmarking.server.projects import ProjectPaths, project_of
from benchmarking.server.store import MOST_CONNECTIONS, Store, is_disk_full
from benchmarking.server.triage import routes as triage_routes
from benchmarking.server.triage import webhook_routes
from benchmarking.server.triage.notices import NoticeSettings
from benchmarking.server.triage.service import Triage

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
"""What a client is asked to wait while the database does not answer."""
DISK_IS_FULL = (
    "The disk of the database is full. What is stored can still be read; results that come meanwhile stay"
    " where they are until there is space again."
)
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass
class Counters:
    """What this process has done since its start."""

    started: float = field(default_factory=time.time)
    accepted: int = 0
    known: int = 0
    refused: int = 0
    failed: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, **numbers: int) -> None:
        with self._lock:
            for name, number in numbers.items():
                setattr(self, name, getattr(self, name) + number)


def make_app(
    store: Store,
    access: Access | None = None,
    root_path: str = "",
    notices: NoticeSettings | None = None,
    lab: Database | None = None,
) -> FastAPI:
    """
    Args:
        store: its owner closes it, after the application has ended.
        lab: its devices and jobs have pages, too.
        root_path: the path under which a proxy serves the application.
    """
    app = FastAPI(
        title="mlbench",
        version=benchmarking.__version__,
        dependencies=[Depends(accounts.gate)],
        lifespan=_lifespan,
        docs_url=None,  # it loads scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
    )
    app.state.store = store
    app.state.access = access or Access()
    app.state.hub = Hub()
    app.state.recent_pages = RecentPages(lambda: app.state.hub.version)
    app.state.notices = notices or NoticeSettings()
    app.state.counters = Counters()
    app.state.large_bodies = asyncio.Lock()
    app.add_middleware(bodies.SmallBodies)
    app.add_middleware(ProjectPaths, root_path=root_path)
    app.add_exception_handler(DBAPIError, _database_failed)
    app.add_exception_handler(PoolTimeoutError, _database_failed)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(ClientDisconnect, _client_left)
    add_browser(app)
    app.include_router(api)
    add_pages(app)
    for routes in (triage_routes, webhook_routes):
        app.include_router(routes.data)
        app.include_router(routes.pages)
    if lab is not None:
        add_lab(app, lab)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Every request that waits for the database has a thread, and every thread a connection."""
    to_thread.current_default_thread_limiter().total_tokens = MOST_CONNECTIONS - 4
    with Triage(app.state.store, app.state.hub, app.state.notices):
        yield
    app.state.hub.close()


def _database_failed(request: Request, error: Exception) -> Response:
    logger.error("the database failed: %s", getattr(error, "orig", error))
    request.app.state.counters.add(failed=1)
    is_full = isinstance(error, DBAPIError) and is_disk_full(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return answer_error(
        request, 503, DISK_IS_FULL if is_full else "The database does not answer; try again soon.", headers
    )


def _refused(request: Request, error: Exception) -> Response:
    request.app.state.counters.add(refused=1)
    return answer_error(request, 422, str(error))


def _client_left(request: Request, error: Exception) -> Response:
    """Nobody reads the answer of a request whose body ends early; without one the server would log a bug."""
    request.app.state.counters.add(refused=1)
    return Response(status_code=400)


# --- endpoints ----------------------------------------------------------------------------------------------

api = APIRouter()


@api.post("/api/v1/results")
async def post_results(request: Request) -> dict[str, int]:
    """Adds the results of a document that the harness writes with --json, as far as they are not known."""
    limit = bodies.LARGEST_BODY if _has_token(request) else bodies.LARGEST_ANONYMOUS_BODY
    body = await bodies.unpacked(request, limit)
    async with bodies.in_turn(request.app.state.large_bodies, body):
        done = await run_in_threadpool(_add, request, request.state.account, body)
    return {"accepted": done.accepted, "known": done.known}


@api.post("/api/v1/logs")
async def post_logs(request: Request) -> dict[str, int]:
    """Adds the results of a post of docs/contracts.md, section 5, whose token is in its body."""
    limit = bodies.LARGEST_BODY if _has_token(request) else bodies.LARGEST_ANONYMOUS_BODY
    body = await bodies.unpacked(request, limit)
    async with bodies.in_turn(request.app.state.large_bodies, body):
        return {"count": await run_in_threadpool(_add_logs, request, body)}


def _has_token(request: Request) -> bool:
    """Whether it was checked: without authentication, everybody on this machine is trusted."""
    return request.state.account is not accounts.NOBODY


def _add(request: Request, account: Account, body: bytes) -> Ingested:
    return _store(request, account, payloads.results_of_document(body))


def _add_logs(request: Request, body: bytes) -> int:
    post = payloads.read_post(body)
    account: Account = request.state.account
    if request.app.state.access.auth is not Auth.NONE and account is accounts.NOBODY:
        found = accounts.account_of_token(request.app.state.store, post.access_token or "")
        if found is None:
            raise HTTPException(401, "A token is needed.")
        account = found
    accounts.check_project(account, request)
    if not account.scope.includes(Scope.WRITE):
        raise HTTPException(403, f"This needs the scope {Scope.WRITE}.")
    _store(request, account, post.results)
    return post.count


def _store(request: Request, account: Account, given: Any) -> Ingested:
    state = request.app.state
    done = ingest(state.store, given, project=project_of(request), source=account.name)
    state.counters.add(accepted=done.accepted, known=done.known)
    if done.accepted:
        state.hub.publish("results")
    return done


@api.get("/health")
def health(request: Request) -> dict[str, str]:
    """Whether the server and its database answer."""
    with request.app.state.store.reading() as connection:
        connection.execute(select(1))
    return {"status": "ok", "version": benchmarking.__version__}


@api.get("/metrics")
def metrics(request: Request) -> Response:
    """What the server has done, for Prometheus (OpenMetrics)."""
    counters: Counters = request.app.state.counters
    with request.app.state.store.reading() as connection:
        # The highest id: counting a million rows takes a while.
        stored = {
            table.name: connection.scalar(select(func.coalesce(func.max(table.c.id), 0)))
            for table in (tables.results, tables.series, tables.commits)
        }
    text = [
        *_metric(
            "mlbench_results",
            "counter",
            "Results that were sent.",
            {
                f'_total{{outcome="{name}"}}': getattr(counters, name)
                for name in ("accepted", "known", "refused")
            },
        ),
        *_metric(
            "mlbench_database_failures",
            "counter",
            "Requests that the database failed.",
            {"_total": counters.failed},
        ),
        *_metric(
            "mlbench_stored",
            "gauge",
            "Rows of the database.",
            {f'{{table="{name}"}}': number for name, number in stored.items()},
        ),
        *_metric(
            "mlbench_streams", "gauge", "Open pages that are live.", {"": request.app.state.hub.streams}
        ),
        *_metric("mlbench_start_time_seconds", "gauge", "When the server started.", {"": counters.started}),
        "# EOF\n",
    ]
    return PlainTextResponse("\n".join(text), media_type=OPEN_METRICS)


def _metric(name: str, kind: str, what: str, values: dict[str, float]) -> list[str]:
    return [
        f"# TYPE {name} {kind}",
        f"# HELP {name} {what}",
        *(f"{name}{key} {one}" for key, one in values.items()),
    ]
