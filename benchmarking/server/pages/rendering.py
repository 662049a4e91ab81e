"""Templates, links, and the answers made of them: HTML, JSON, CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode, urlsplit

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarking.reporters import exports, numbers
from benchmarking.reporters.exports import Exported
from benchmarking.results import unix_time
from benchmarking.results.model import NET_DELAY
from benchmarking.results.plain_text import plain, plain_lines
from benchmarking.server.accounts import NOBODY, Account
from benchmarking.server.pages.views import ComparedRow
from benchmarking.server.projects import DEFAULT_PROJECT, project_of

SERVER = Path(__file__).parents[1]
STATIC = SERVER / "static"
NAVIGATION = (
    ("", "Overview"),
    ("matrix", "Matrix"),
    ("compare", "Compare"),
    ("regressions", "Regressions"),
    ("devices", "Devices"),
)
LAB = ("lab", "Lab")
"""Of servers with a lab."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors "
)
HEADERS = {
    "Content-Security-Policy": f"{_POLICY}'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""Of every page; nothing is loaded from anywhere else, and no script or style is inline."""
EMBEDDED = {**HEADERS, "Content-Security-Policy": f"{_POLICY}*"}
"""Of pages that others may show in a frame."""
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Links:
    """Addresses of pages, made of keys and hashes, never of names."""

    root: str = ""
    """The prefix under which a proxy serves the application, without a slash at its end."""
    is_live: ClassVar[bool] = True
    """Whether there is a server behind them."""

    def page(self, path: str, **query: object) -> str:
        given = {name: value for name, value in query.items() if value not in (None, "", [])}
        return f"{self.root}/{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")

    def series(self, key: str, **query: object) -> str:
        return self.page(f"series/{quote(key, safe='')}", **query)

    def run(self, uid: str) -> str:
        return self.page(f"run/{quote(uid, safe='')}")

    def commit(self, sha: str) -> str:
        return self.page(f"commit/{quote(sha, safe='')}")

    def static(self, name: str) -> str:
        """It changes with the file, so that browsers may keep it."""
        return self.page(f"static/{name}", v=_digest(name))


@cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


@cache
def environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(SERVER / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        amount=amount,
        percent=numbers.percent,
        day=unix_time.day,
        second=unix_time.second,
        short=numbers.short_commit,
        lines=lambda text: escape(plain_lines(text)),
        data=data_block,
        outside_link=outside_link,
        direction=direction,
        counted=numbers.counted,
    )
    return found


def _shown(value: object) -> object:
    """Of every value in a template: nothing of None, and no text that looks like another."""
    if value is None:
        return ""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def data_block(value: object) -> Markup:
    """JSON for a ``<script type="application/json">``, which no text can end."""
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def render(template: str, links: Links, **context: object) -> str:
    """Escapes whatever is in the context."""
    usual = {"navigation": NAVIGATION, "here": None, "query": "", "session": "", "project": ""}
    values = {"links": links, **usual, **context}
    return environment().get_template(template).render(values)


def links_of(request: Request) -> Links:
    return Links(str(request.scope.get("root_path", "")).rstrip("/"))


def page(request: Request, template: str, status: int = 200, **context: object) -> HTMLResponse:
    """A page of the server.

    Args:
        context: what the template needs; ``here`` is the page's path in the navigation.
    """
    navigation = (*NAVIGATION, *((LAB,) if hasattr(request.app.state, "lab") else ()))
    account: Account = getattr(request.state, "account", NOBODY)
    about: dict[str, object] = {
        "navigation": navigation,
        "session": account.name if account.has_session else "",
    }
    if project_of(request) != DEFAULT_PROJECT:
        about["project"] = project_of(request)
    text = render(template, links_of(request), **{**about, **context})
    return HTMLResponse(text, status, headers={**HEADERS, "Cache-Control": "no-cache"})


# --- values -------------------------------------------------------------------------------------------------


def amount(value: float | None, unit: str) -> str:
    """A value with its unit: ``12.3 ms`` of microseconds; empty if there is none."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if unit == "us":
        return numbers.duration(value).replace(" us", " µs")
    return f"{numbers.error(value)} {unit}".rstrip()


def direction(ratio: float | None, lower_is_better: bool = True) -> str:
    """``slower``, ``faster`` or empty: the class, and with its arrow the word, of a change."""
    if ratio is None or ratio == 1 or math.isnan(ratio):
        return ""
    return "slower" if (ratio > 1) == lower_is_better else "faster"


def outside_link(address: str | None) -> str:
    """The address if it is one of the web, else empty: a link never runs a script."""
    try:
        parts = urlsplit(address or "")
    except ValueError:
        return ""
    return address or "" if parts.scheme in ("http", "https") and parts.netloc else ""


# --- tables for programs ------------------------------------------------------------------------------------


def json_answer(view: object) -> Response:
    return Response(
        orjson.dumps(view, option=orjson.OPT_INDENT_2), media_type="application/json", headers=HEADERS
    )


def csv_answer(name: str, rows: Sequence[object], following: str = "") -> Response:
    """
    Args:
        following: the address of the rows that come next.
    """
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.csv"'}
    if following:
        headers["Link"] = f'<{following}>; rel="next"'
    return Response(csv_text(rows), media_type="text/csv; charset=utf-8", headers=headers)


def exported_row(row: ComparedRow) -> Exported:
    """What HEAD measured."""
    name = row.name
    labels = {
        "net": name.model,
        "test": name.test,
        "type": "" if name.type == NET_DELAY else name.type,
        "device": name.device,
        "framework": name.framework,
        "backend": name.backend,
    }
    return Exported(
        {label: plain(value) for label, value in labels.items() if value},
        name.unit,
        row.head,
        ratio=row.ratio,
        note=f"{row.finding}: {row.reason}",
    )


def export_answer(kind: str, name: str, values: Iterable[Exported]) -> Response:
    """
    Raises:
        HTTPException: 404, there is no such format.
    """
    found = next((one for one in exports.FORMATS if one == kind), None)
    if found is None:
        raise HTTPException(404, f"The formats are {', '.join(exports.FORMATS)}.")
    media, ending = _EXPORT_FORMS.get(found, ("application/json", "json"))
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.{kind}.{ending}"'}
    return Response(exports.content(found, values), media_type=media, headers=headers)


_EXPORT_FORMS = {"open_metrics": ("application/openmetrics-text; version=1.0.0; charset=utf-8", "txt")}
"""Those that are not JSON: the type, and the ending of the file's name."""


def csv_text(rows: Sequence[object]) -> str:
    """One line for each row, after the names of the columns; a row is a dataclass, and the fields of a
    dataclass in it become columns of their own.
    """
    flat = [dict(_flat(one)) for one in rows]
    columns = list(dict.fromkeys(name for one in flat for name in one))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in one.items()} for one in flat)
    return stream.getvalue()


def _flat(row: object, prefix: str = "") -> Iterable[tuple[str, object]]:
    if is_dataclass(row):
        for one in fields(row):
            value = getattr(row, one.name)
            if is_dataclass(value):
                yield from _flat(value, f"{prefix}{one.name}_")
            else:
                yield f"{prefix}{one.name}", value


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, Mapping):
        value = "; ".join(f"{name}: {one}" for name, one in value.items())
    elif isinstance(value, tuple):
        value = "; ".join(map(str, value))
    if isinstance(value, str):
        text = plain(value)
        return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
    return value
