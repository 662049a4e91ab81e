"""The tables of the results server, for SQLite and PostgreSQL.

Times are Unix seconds. Delays are microseconds. Text columns with JSON hold it as text: both databases treat
it alike. Variables are named in the plural, tables in the singular.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows only in a column of exactly the type INTEGER."""


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True)


def _of(table: str, *, nullable: bool = False, name: str = "", index: bool = False) -> Column[int]:
    """A reference to a row of another table."""
    return Column(name or f"{table}_id", Id, ForeignKey(f"{table}.id"), nullable=nullable, index=index)


def _text(name: str, *, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, default=default, server_default=default)


def _time(name: str = "time") -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, default=0, server_default="0")


# --- what was measured --------------------------------------------------------------------------------------

projects = Table(
    "project",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("public", Boolean, nullable=False, default=False, server_default=false()),
)
"""``public``: it can be read without a token."""

commits = Table(
    "commit",
    metadata,
    _id(),
    _of("project"),
    Column("sha", Text, nullable=False),
    _time(),
    Column("position", BigInteger),
    _text("branch"),
    _text("parent"),
    _text("author"),
    _text("subject"),
    UniqueConstraint("project_id", "sha"),
    Index(None, "project_id", "time"),
)
"""``position`` orders commits (``run_info.Version``); their times can be wrong."""

devices = Table(
    "device",
    metadata,
    _id(),
    Column("hash", Text, nullable=False),
    Column("name", Text, nullable=False),
    _text("facts", default="{}"),
    _text("health", default="{}"),
    _time("first_seen"),
    _time("last_seen"),
    UniqueConstraint("hash", "name"),
)
"""``facts`` and ``health`` (the newest conditions) are JSON."""

stored_documents = Table(
    "document",
    metadata,
    _id(),
    Column("digest", Text, nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
)
"""The parts of results that stay the same from run to run, once: JSON compressed with zlib."""

runs = Table(
    "run",
    metadata,
    _id(),
    Column("uid", Text, nullable=False, unique=True),
    _of("project"),
    _of("commit", nullable=True),
    _time(),
    _text("command", default="[]"),
    _text("source"),
    Index(None, "project_id", "time"),
)
"""A call of the harness. ``command`` is a JSON list; ``source`` is the name of the token, or the import."""

series = Table(
    "series",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    _of("project"),
    _of("device"),
    Column("net", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("framework", Text, nullable=False),
    _text("backend"),
    _text("settings"),
    Column("unit", Text, nullable=False),
    Column("higher_is_better", Boolean, nullable=False, default=False, server_default=false()),
    _count("points"),
    # The newest untainted point; if there is none, the newest. A late import never overwrites it.
    _of("result", nullable=True, name="last_result_id"),
    _of("commit", nullable=True, name="last_commit_id"),
    Column("last_position", BigInteger),
    Column("last_commit_time", BigInteger),
    Column("last_time", BigInteger),
    Column("last_value", Double),
    Column("last_low", Double),
    Column("last_high", Double),
    Column("last_ratio", Double),
    Column("last_verdict", Text),
    Column("last_tainted", Boolean, nullable=False, default=True, server_default=true()),
    # The number of points since the last search for changes (``triage/search.py``).
    _count("unsearched"),
    Column("reference", Double),
    # From the newest points: ``benchmarking/server/levels.py``.
    Column("level", Double),
    Column("scatter", Double),
    Column("scatter_runs", Integer),
    Column("ratio_scatter", Double),
    Column("ratio_runs", Integer),
    Index(None, "project_id", "net", "metric", "identifier"),
    Index(None, "device_id"),
    Index(None, "last_commit_id"),
)
"""The properties in which two points must agree to be compared. Operators have no series of their own: they
are in their result.

``key`` is the address of its page; ``reference`` the first value, to which the summary of a commit relates
the others; ``level`` the median of the newest untainted points, ``scatter`` their relative run-to-run
scatter, ``ratio_scatter`` that of their ratios to controls, each with the number of runs that it is from.
"""

results = Table(
    "result",
    metadata,
    _id(),
    Column("uid", Text, nullable=False, unique=True),
    _of("run", index=True),
    _of("project"),
    _of("commit", nullable=True),
    _of("commit", nullable=True, name="control_commit_id"),
    _of("device"),
    _of("document"),
    _time(),
    Column("run_type", Text, nullable=False),
    Column("net", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("framework", Text, nullable=False),
    _text("backend"),
    Column("status", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("verdict", Text),
    _text("tainted"),
    _text("failure"),
    _text("regressed", default="{}"),
    Column("detail", LargeBinary, nullable=False),
    Column("operators", LargeBinary),
    Column("samples", LargeBinary),
    Index(None, "project_id", "time"),
    Index(None, "commit_id"),
    Index(None, "device_id", "time"),
)
"""``status`` and ``outcome`` are those of ``results.model.Outcome``; ``tainted`` the reasons, one a line;
``failure`` its JSON; ``regressed`` maps the types whose regression was confirmed to the ratio. The blobs are
those of ``benchmarking/server/packing.py``.
"""

points = Table(
    "point",
    metadata,
    Column("series_id", Id, ForeignKey("series.id"), primary_key=True),
    Column("commit_time", BigInteger, primary_key=True),
    Column("result_id", Id, ForeignKey("result.id"), primary_key=True),
    _of("commit", index=True),
    _of("commit", nullable=True, name="control_commit_id"),
    Column("position", BigInteger),
    _time(),
    Column("value", Double, nullable=False),
    Column("low", Double),
    Column("high", Double),
    Column("ratio", Double),
    Column("ratio_low", Double),
    Column("ratio_high", Double),
    Column("verdict", Text),
    Column("run_type", Text, nullable=False),
    Column("tainted", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""The value of a result with a commit in the history of its series. ``commit_time`` and ``position`` are
those of the commit, ``time`` is that of the run. ``verdict`` may also be ``known``.
"""

commit_summaries = Table(
    "commit_summary",
    metadata,
    Column("commit_id", Id, ForeignKey("commit.id"), primary_key=True, autoincrement=False),
    _of("project", index=True),
    _count("measured"),
    _count("regressed"),
    _count("improved"),
    _count("failed"),
    _count("tainted"),
    Column("log_ratio_sum", Double, nullable=False, default=0.0, server_default="0"),
    _count("ratios"),
    Column("log_level_sum", Double, nullable=False, default=0.0, server_default="0"),
    _count("levels"),
)
"""The strip of commits and the geometric mean over time, from the latest run of each series: exp of
``log_ratio_sum / ratios`` is that of the ratios to the controls, of ``log_level_sum / levels`` that of the
values relative to ``series.reference``.
"""

# --- triage -------------------------------------------------------------------------------------------------

changes = Table(
    "change",
    metadata,
    _id(),
    _of("series", index=True),
    Column("kind", Text, nullable=False),
    _of("commit", nullable=True, name="last_good_id"),
    _of("commit", name="first_bad_id", index=True),
    Column("before", Double, nullable=False),
    Column("after", Double, nullable=False),
    _time("found"),
)
"""A change point of a series; ``kind`` is ``step`` or ``creep``."""

regressions = Table(
    "regression",
    metadata,
    _id(),
    _of("project"),
    _of("commit", nullable=True, name="last_good_id"),
    _of("commit", name="first_bad_id"),
    Column("state", Text, nullable=False),
    Column("confirmed", Boolean, nullable=False, default=False, server_default=false()),
    _text("owner"),
    _text("reason"),
    _text("note"),
    _text("link"),
    _time("opened"),
    _time("updated"),
    Column("closed", BigInteger),
    UniqueConstraint("project_id", "first_bad_id"),
    Index(None, "project_id", "state"),
)
"""One per commit. ``state``: new, confirmed, acknowledged, fixed, expected or ignored; ``confirmed``: by a
person.
"""

indicators = Table(
    "indicator",
    metadata,
    _id(),
    Column("regression_id", Id, ForeignKey("regression.id", ondelete="CASCADE"), nullable=False),
    _of("series", index=True),
    _of("result", nullable=True),
    _of("commit", nullable=True, name="last_good_id"),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("before", Double, nullable=False),
    Column("after", Double, nullable=False),
    Column("ratio", Double),
    Column("is_back", Boolean, nullable=False, default=False, server_default=false()),
    _time("found"),
    UniqueConstraint("regression_id", "series_id", "type"),
)
"""A type that became slower with the commit. ``source``: the strongest evidence for it (``triage/life.py``);
``type``: that of the series, or an operator of its net. ``before`` and ``after`` may have a scale of their
own, as ratios have; ``ratio`` is their quotient.
"""

events = Table(
    "event",
    metadata,
    _id(),
    _of("project", nullable=True),
    _time(),
    _text("actor"),
    Column("kind", Text, nullable=False),
    _of("regression", nullable=True, index=True),
    _text("detail", default="{}"),
    Index(None, "project_id", "time"),
)
"""The audit of every change; pages, feeds and webhooks read it. ``detail`` is JSON."""

webhooks = Table(
    "webhook",
    metadata,
    _id(),
    _of("project", nullable=True),
    Column("url", Text, nullable=False),
    _text("kinds", default="[]"),
    Column("last_event_id", Id, nullable=False, default=0, server_default="0"),
    _count("failures"),
    _text("last_error"),
)
"""``kinds``: the events to send, a JSON list, empty for all; ``last_event_id`` the last one delivered."""

deliveries = Table(
    "delivery",
    metadata,
    _id(),
    Column("webhook_id", Id, ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False, index=True),
    _time(),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    _text("problem"),
)
"""The newest attempts to deliver something to a webhook; ``problem`` is empty if it was taken."""

# --- accounts -----------------------------------------------------------------------------------------------

tokens = Table(
    "token",
    metadata,
    _id(),
    Column("prefix", Text, nullable=False, unique=True),
    Column("sha256", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    _of("project", nullable=True),
    _time("created"),
    Column("expires", BigInteger),
    Column("last_used", BigInteger),
    Column("revoked", Boolean, nullable=False, default=False, server_default=false()),
)
"""``scope``: read, write, triage or admin, each includes those before it; without a project for all."""

sessions = Table(
    "session",
    metadata,
    Column("digest", Text, primary_key=True),
    _of("token"),
    _time("created"),
)
"""Browsers whose users have given their token. ``digest`` is that of the cookie, which is not stored."""

users = Table(
    "user",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    _time("last_seen"),
)
"""People whom a proxy names."""

imports = Table(
    "import",
    metadata,
    Column("digest", Text, primary_key=True),
    _time(),
)
"""The runs that were imported, by their path and the state of their files, so that the next import can skip
them unread.
"""
