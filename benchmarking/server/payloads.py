"""The two forms in which results are posted, as results: the document of ``--json`` and the post of
docs/contracts.md, section 5, of this project or of another FAI-PEP.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarking.bounds import parse_json
from benchmarking.results import documents
from benchmarking.results.documents import Document
from benchmarking.results.model import Result
from benchmarking.results.plain_text import json_words
from benchmarking.server.admission import RefusedError
from benchmarking.statistics import summaries

MOST_LOGS = 5000
_OF_THE_TYPE = ("type", "unit", "result_id")
"""The fields of ``normal`` in which the messages of one result differ."""
_TEXTS = (
    *("net_name", "metric", "identifier", "framework", "backend", "platform", "platform_hash", "commit"),
    *("control_commit", "run_type", "group", "uid", "run_uid", "harness_version", "branch", "author"),
    *("subject", "program_command"),
)
"""Fields of the meta that are texts; others were turned into texts."""
_PERCENTILES = ("p0", "p10", "p50", "p90", "p100")
_Model = TypeVar("_Model", bound=BaseModel)


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Log(_Given):
    message: str


class _Post(_Given):
    access_token: str | None = None
    logs: str


class _Logs(_Given):
    logs: Annotated[list[_Log], Field(max_length=MOST_LOGS)]


class _Vectors(_Given):
    values: list[float] = Field(default_factory=list)
    control_values: list[float] = Field(default_factory=list)


class _Message(_Given):
    integers: Mapping[str, int] = Field(alias="int")
    normal: Mapping[str, str]
    normvector: _Vectors = Field(default_factory=_Vectors)
    exact: Mapping[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Post:
    access_token: str | None
    results: Sequence[Result]
    count: int
    """The number of its logs."""


def results_of_document(body: bytes) -> Sequence[Result]:
    """
    Raises:
        RefusedError: it is no document of this version or an older one.
    """
    try:
        return documents.read(Document, body).results
    except ValueError as error:
        raise RefusedError(f"this is not a document of --json: {error}") from error


def read_post(body: bytes) -> Post:
    """
    Raises:
        RefusedError: it is no such post.
    """
    post = _validated(_Post, _parsed(body, "the post"), "the post")
    return Post(post.access_token, *results_of_logs(post.logs))


def results_of_logs(text: str | bytes) -> tuple[Sequence[Result], int]:
    """The results in the JSON text of a list of logs, and the number of logs.

    Raises:
        RefusedError: it is no such list.
    """
    logs = _validated(_Logs, {"logs": _parsed(text, "logs")}, "the post").logs
    messages = [
        _validated(_Message, _parsed(one.message, where), where)
        for number, one in enumerate(logs)
        for where in [f"log {number}: message"]
    ]
    groups: dict[tuple[tuple[str, str], ...], list[_Message]] = {}
    for one in messages:
        kept = {name: text for name, text in one.normal.items() if name not in _OF_THE_TYPE}
        groups.setdefault(tuple(sorted(kept.items())), []).append(one)
    return [_result(dict(normal), group) for normal, group in groups.items()], len(logs)


def _parsed(text: str | bytes, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise RefusedError(f"{what} is not JSON: {error}") from error


def _validated(kind: type[_Model], value: Any, what: str) -> _Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise RefusedError(f"{what}: {place}: {json_words(fault['msg'])}") from error


def _result(normal: Mapping[str, str], messages: Sequence[_Message]) -> Result:
    integers = messages[0].integers
    meta = {
        "framework": "unknown",
        "backend": None,
        "identifier": normal.get("net_name", ""),
        "platform_hash": normal.get("platform", ""),
        "control_commit": None,
        "control_commit_time": None,
        "run_type": "benchmark",
        "group": None,
        "command": (),
        "uid": _digest(messages),
        **{name: text if name in _TEXTS else _value(text) for name, text in normal.items()},
        **{
            name: integers[name]
            for name in ("time", "commit_time", "control_commit_time")
            if name in integers
        },
    }
    if isinstance(meta["command"], str):
        meta["command"] = _words(meta["command"])
    try:
        return documents.result_of({"meta": meta, "types": [_type(one) for one in messages]})
    except ValueError as error:
        raise RefusedError(f"a message is not a result: {error}") from error


def _value(text: str) -> Any:
    """What was turned into a text."""
    with suppress(ValueError):
        return parse_json(text)
    return text


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return [command]


def _digest(messages: Iterable[_Message]) -> str:
    """Identifies a result of a program that sends no id."""
    text = documents.dumps([one.model_dump() for one in messages])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _type(message: _Message) -> dict[str, Any]:
    normal, vectors = message.normal, message.normvector
    found: dict[str, Any] = {
        "type": normal.get("type", ""),
        "unit": normal.get("unit", "us"),
        "values": vectors.values,
        "control_values": vectors.control_values,
        "regressed": bool(message.integers.get("regressed", 0)),
    }
    for name, prefix, values in (
        ("summary", "", vectors.values),
        ("control_summary", "control_", vectors.control_values),
    ):
        if values:
            found[name] = summaries.summarize(values)
        elif all(prefix + one in message.integers for one in _PERCENTILES):
            found[name] = _summary({one: message.integers[prefix + one] / 1000 for one in _PERCENTILES})
    return {**found, **message.exact}


def _summary(known: Mapping[str, float]) -> dict[str, Any]:
    """Of values that were not sent: the percentiles between the known ones are those above them."""
    return {
        **known,
        "count": 0,
        "mean": known["p50"],
        "standard_deviation": 0.0,
        "p95": known["p100"],
        "p99": known["p100"],
        "median_interval": None,
    }
