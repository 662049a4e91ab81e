"""Who may do what: tokens, users whom a proxy names, and what a browser has to prove before it changes
anything.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from benchmarking.errors import UsageError
from benchmarking.server.projects import path_in_project, project_of, row_of
from benchmarking.server.store import Store
from benchmarking.server.tables import events, projects, sessions, tokens, users

COOKIE = "mlb_session"
SESSION_S = 14 * 86400
USED_INTERVAL_S = 3600
"""How exactly the last use of a token and the last visit of a user are known."""
_PREFIX_BYTES, _SECRET_BYTES, _SESSION_BYTES = 5, 24, 32
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/health", "/login", "/logout", "/api/v1/logs")
"""Paths that need no account; the last finds its token in its body."""


class Scope(StrEnum):
    """Each includes those before it."""

    READ = "read"
    WRITE = "write"
    """Send results."""
    TRIAGE = "triage"
    """Decide about regressions."""
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(other)


class Auth(StrEnum):
    NONE = "none"
    TOKEN = "token"  # noqa: S105 - a way to authenticate, no password
    PROXY = "proxy"


@dataclass(frozen=True)
class Account:
    name: str
    scope: Scope
    is_ambient: bool = False
    """A browser sends what identifies it with every request, wherever that comes from."""
    project: str | None = None
    """The only one that it is for; None: all."""
    has_session: bool = False
    """Its browser remembers a token."""


@dataclass(frozen=True)
class Access:
    auth: Auth = Auth.NONE
    public: bool = False
    """Whether everybody may read."""
    proxy_header: str = "X-Forwarded-User"
    proxy_networks: Sequence[IPv4Network | IPv6Network] = ()
    """The addresses from which the header is believed."""
    proxy_scope: Scope = Scope.TRIAGE
    """Of a user who is seen for the first time."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    """Without authentication: the only names by which the server answers, so that no other site can make a
    browser ask it under a name of its own.
    """
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs the forms of those who have no session."""


NOBODY = Account("anonymous", Scope.READ)


# --- tokens -------------------------------------------------------------------------------------------------


_TOKENS = select(tokens, projects.c.name.label("project")).outerjoin(projects)


def create_token(
    connection: Connection,
    name: str,
    scope: Scope,
    lifetime_s: int | None = None,
    actor: str = "command line",
    project: str | None = None,
) -> str:
    """The new token, which only its owner knows from now on: the database has its hash.

    Args:
        project: the only one that it is for; None: all.

    Raises:
        UsageError: no project can have this name.
    """
    prefix, secret = secrets.token_hex(_PREFIX_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    token, now = f"mlb_{prefix}_{secret}", int(time.time())
    values = {
        "prefix": prefix,
        "sha256": _hash(token),
        "name": name,
        "scope": scope,
        "project_id": None if project is None else row_of(connection, project),
        "created": now,
        "expires": None if lifetime_s is None else now + lifetime_s,
    }
    connection.execute(insert(tokens).values(values))
    audit(connection, actor, "token_created", {"name": name, "scope": scope, "prefix": prefix})
    return token


def revoke_token(connection: Connection, prefix: str, actor: str = "command line") -> None:
    """
    Raises:
        UsageError: there is no such token.
    """
    done = connection.execute(update(tokens).where(tokens.c.prefix == prefix).values(revoked=True))
    if not done.rowcount:
        raise UsageError(f"there is no token {prefix}; mlbench serve token list shows them")
    audit(connection, actor, "token_revoked", {"prefix": prefix})


def account_of_token(store: Store, token: str) -> Account | None:
    """None if it is unknown, revoked or expired."""
    parts = token.split("_", 2)
    if len(parts) != 3 or len(token) > 200 or not token.isprintable() or not token.isascii():
        return None
    with store.reading() as connection:
        row = connection.execute(_TOKENS.where(tokens.c.prefix == parts[1])).first()
    if row is None or not hmac.compare_digest(row.sha256, _hash(token)):
        return None
    return _account_of_row(store, row)


def _account_of_row(store: Store, row: Row[Any]) -> Account | None:
    """None if the token is not valid any more."""
    now = int(time.time())
    if row.revoked or (row.expires is not None and row.expires <= now):
        return None
    if now - (row.last_used or 0) > USED_INTERVAL_S:
        # Who may read can read while nothing can be written, for instance because the disk is full.
        with suppress(DBAPIError), store.writing() as connection:
            connection.execute(update(tokens).where(tokens.c.id == row.id).values(last_used=now))
    return Account(row.name, Scope(row.scope), project=row.project)


def audit(connection: Connection, actor: str, kind: str, detail: dict[str, str]) -> None:
    text = json.dumps(detail)
    values = {"time": int(time.time()), "actor": actor, "kind": kind, "detail": text}
    connection.execute(insert(events).values(values))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# --- requests -----------------------------------------------------------------------------------------------


def gate(request: Request) -> None:
    """Admits a request, or refuses it; every route depends on it.

    Raises:
        HTTPException: 401, 403 or 421.
    """
    access: Access = request.app.state.access
    if access.auth is Auth.NONE and (request.url.hostname or "") not in access.hosts:
        raise HTTPException(421, "This server does not answer by this name.")
    account = _account(request, access)
    request.state.account = account or NOBODY
    is_safe = request.method in _SAFE
    if not is_safe and (account is None or account.is_ambient):
        _check_origin(request)
    if path_in_project(request.scope) in _OPEN:
        return
    needed = _needed(request)
    if account is None and not (access.public and needed is Scope.READ):
        raise HTTPException(401, "A token is needed.", {"WWW-Authenticate": "Bearer"})
    if not request.state.account.scope.includes(needed):
        raise HTTPException(403, f"This needs the scope {needed}.")
    check_project(request.state.account, request)


def check_project(account: Account, request: Request) -> None:
    """
    Raises:
        HTTPException: 403, the account is for another project.
    """
    if account.project not in (None, project_of(request)):
        raise HTTPException(403, f"This token is for the project {account.project}.")


def require(request: Request, scope: Scope) -> Account:
    """The account of the request.

    Raises:
        HTTPException: 403, it may not do this.
    """
    account: Account = request.state.account
    if not account.scope.includes(scope):
        raise HTTPException(403, f"This needs the scope {scope}.")
    return account


def _needed(request: Request) -> Scope:
    if request.method in _SAFE:
        return Scope.READ
    return Scope.WRITE if path_in_project(request.scope) == "/api/v1/results" else Scope.TRIAGE


def _account(request: Request, access: Access) -> Account | None:
    if access.auth is Auth.NONE:
        return Account("local", Scope.ADMIN, is_ambient=True)
    store: Store = request.app.state.store
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return account_of_token(store, token.strip())
    if access.auth is Auth.PROXY:
        return _account_of_proxy(request, access, store)
    session = request.cookies.get(COOKIE, "")
    return _account_of_session(store, session) if session else None


def _account_of_proxy(request: Request, access: Access, store: Store) -> Account | None:
    name = request.headers.get(access.proxy_header, "").strip()
    if not name or len(name) > 200 or not name.isprintable() or not _is_from_proxy(request, access):
        return None
    now = int(time.time())
    with store.reading() as connection:
        row = connection.execute(select(users).where(users.c.name == name)).first()
    if row is None or now - row.last_seen > USED_INTERVAL_S:
        with suppress(DBAPIError), store.writing() as connection:
            if connection.execute(select(users.c.id).where(users.c.name == name)).first() is None:
                values = {"name": name, "scope": access.proxy_scope, "last_seen": now}
                connection.execute(insert(users).values(values))
                audit(connection, "proxy", "user_added", {"name": name, "scope": access.proxy_scope})
            else:
                connection.execute(update(users).where(users.c.name == name).values(last_seen=now))
    return Account(name, Scope(row.scope) if row else access.proxy_scope, is_ambient=True)


def _is_from_proxy(request: Request, access: Access) -> bool:
    """By the address of the connection itself: no header says where a request comes from."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    return any(address in one for one in access.proxy_networks)


# --- browsers -----------------------------------------------------------------------------------------------


def begin_session(store: Store, token: str) -> str:
    """The content of the cookie of somebody who has given this valid token. It ends with the token."""
    session, now = secrets.token_urlsafe(_SESSION_BYTES), int(time.time())
    row = select(tokens.c.id).where(tokens.c.sha256 == _hash(token)).scalar_subquery()
    with store.writing() as connection:
        connection.execute(delete(sessions).where(sessions.c.created < now - SESSION_S))
        values = {"digest": _hash(session), "token_id": row, "created": now}
        connection.execute(insert(sessions).values(values))
    return session


def end_session(store: Store, session: str) -> None:
    with store.writing() as connection:
        connection.execute(delete(sessions).where(sessions.c.digest == _hash(session)))


def _account_of_session(store: Store, session: str) -> Account | None:
    is_valid = sessions.c.digest == _hash(session), sessions.c.created >= int(time.time()) - SESSION_S
    with store.reading() as connection:
        query = _TOKENS.join(sessions, sessions.c.token_id == tokens.c.id).where(*is_valid)
        row = connection.execute(query).first()
    account = _account_of_row(store, row) if row else None
    return account and replace(account, is_ambient=True, has_session=True)


def form_token(request: Request) -> str:
    """For a hidden field of each form that changes something; empty if this account may change nothing."""
    account: Account = request.state.account
    if not account.scope.includes(Scope.TRIAGE):
        return ""
    access: Access = request.app.state.access
    session = request.cookies.get(COOKIE, "") if access.auth is Auth.TOKEN else ""
    key = session.encode() or access.key
    return hmac.new(key, f"form {account.name}".encode(), hashlib.sha256).hexdigest()


class ProtectedForm(BaseModel):
    """The fields that a form of this server has in common with all others; a field that is unknown is an
    error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: Annotated[str, Field(max_length=200)] = ""
    """For ``check_form``."""


def check_form(request: Request, token: str) -> Account:
    """The account that sent a form.

    Raises:
        HTTPException: 403, the form is none that this server has shown to this account.
    """
    expected = form_token(request)
    if not expected or not hmac.compare_digest(expected.encode(), token.encode("utf-8", "replace")):
        raise HTTPException(403, "This form is from another session; load the page again.")
    account: Account = request.state.account
    return account


def _check_origin(request: Request) -> None:
    """Browsers say from which site a request comes; other programs say nothing."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    try:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("Host")
    except ValueError:
        is_own = False
    if not is_own or site not in ("same-origin", "none"):
        raise HTTPException(403, "A page of another site sent this.")
