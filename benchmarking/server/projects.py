"""Several projects on one server, kept apart: each has all addresses again, below ``/p/NAME``."""

from __future__ import annotations

import re

from fastapi import Request
from sqlalchemy import Connection, insert, select
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarking.errors import UsageError
from benchmarking.server import tables

DEFAULT_PROJECT = "default"
"""Its addresses are those without a project."""
PREFIX = "/p/"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PATH = re.compile(rf"{PREFIX}({NAME.pattern})(/.*)?")
_PROJECT, _SERVER_ROOT = "mlbench.project", "mlbench.server_root"


class ProjectPaths:
    """Takes the project from the path: everything behind it is served as if a proxy had added it."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        """
        Args:
            root_path: what a proxy has added indeed, whether it sends it on or not.
        """
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = self.root_path or scope.get("root_path", "").rstrip("/")
        scope = {**scope, "root_path": root}
        found = _PATH.fullmatch(scope.get("path", "").removeprefix(root))
        if found is not None:
            name, rest = found.groups()
            own_root = f"{root}{PREFIX}{name}"
            own = {"root_path": own_root, "path": f"{own_root}{rest or '/'}", _PROJECT: name}
            scope = {**scope, **own, _SERVER_ROOT: root}
        await self.app(scope, receive, send)


def project_of(request: Request) -> str:
    return str(request.scope.get(_PROJECT, DEFAULT_PROJECT))


def server_root(request: Request) -> str:
    """The prefix of all addresses, without that of the project."""
    return str(request.scope.get(_SERVER_ROOT, request.scope.get("root_path", ""))).rstrip("/")


def path_in_project(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", "").rstrip("/"))


def address_of(root: str, project: str) -> str:
    """Of the overview of a project, without a slash at its end."""
    return root if project == DEFAULT_PROJECT else f"{root}{PREFIX}{project}"


def names(connection: Connection) -> list[str]:
    return list(connection.scalars(select(tables.projects.c.name).order_by(tables.projects.c.name)))


def row_of(connection: Connection, name: str) -> int:
    """The row of the project, which is added if there is none.

    Raises:
        UsageError: no address can have this name.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"a project is named with letters, digits and ._-, not {name[:40]!r}")
    found = connection.scalar(select(tables.projects.c.id).where(tables.projects.c.name == name))
    if found is not None:
        return int(found)
    done = connection.execute(insert(tables.projects), {"name": name})
    return int((done.inserted_primary_key or (0,))[0])
