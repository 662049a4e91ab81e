"""The first schema.

A revision is never changed once a version with it was published; until then, the tests say where this one
differs from ``tables.py``.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "device",
        sa.Column("id", ID, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("health", sa.Text(), server_default="{}", nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("hash", "name", name=op.f("uq_device_hash_name")),
    )
    op.create_table(
        "document",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
        sa.UniqueConstraint("digest", name=op.f("uq_document_digest")),
    )
    op.create_table(
        "import",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_import")),
    )
    op.create_table(
        "project",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("public", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
    )
    op.create_table(
        "user",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("name", name=op.f("uq_user_name")),
    )
    op.create_table(
        "commit",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("branch", sa.Text(), server_default="", nullable=False),
        sa.Column("parent", sa.Text(), server_default="", nullable=False),
        sa.Column("author", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_commit_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commit")),
        sa.UniqueConstraint("project_id", "sha", name=op.f("uq_commit_project_id_sha")),
    )
    op.create_index(op.f("ix_commit_project_id_time"), "commit", ["project_id", "time"], unique=False)
    op.create_table(
        "token",
        sa.Column("id", ID, nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("last_used", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_token_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("prefix", name=op.f("uq_token_prefix")),
    )
    op.create_table(
        "webhook",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", sa.Text(), server_default="[]", nullable=False),
        sa.Column("last_event_id", ID, server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_webhook_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_table(
        "commit_summary",
        sa.Column("commit_id", ID, autoincrement=False, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("measured", sa.Integer(), server_default="0", nullable=False),
        sa.Column("regressed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("improved", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tainted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("log_ratio_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("ratios", sa.Integer(), server_default="0", nullable=False),
        sa.Column("log_level_sum", sa.Double(), server_default="0", nullable=False),
        sa.Column("levels", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["commit_id"], ["commit.id"], name=op.f("fk_commit_summary_commit_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_commit_summary_project_id")),
        sa.PrimaryKeyConstraint("commit_id", name=op.f("pk_commit_summary")),
    )
    op.create_index(op.f("ix_commit_summary_project_id"), "commit_summary", ["project_id"], unique=False)
    op.create_table(
        "regression",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("last_good_id", ID, nullable=True),
        sa.Column("first_bad_id", ID, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("link", sa.Text(), server_default="", nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["first_bad_id"], ["commit.id"], name=op.f("fk_regression_first_bad_id")),
        sa.ForeignKeyConstraint(["last_good_id"], ["commit.id"], name=op.f("fk_regression_last_good_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_regression_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regression")),
        sa.UniqueConstraint("project_id", "first_bad_id", name=op.f("uq_regression_project_id_first_bad_id")),
    )
    op.create_index(
        op.f("ix_regression_project_id_state"), "regression", ["project_id", "state"], unique=False
    )
    op.create_table(
        "run",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("commit_id", ID, nullable=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("command", sa.Text(), server_default="[]", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["commit_id"], ["commit.id"], name=op.f("fk_run_commit_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_run_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("uid", name=op.f("uq_run_uid")),
    )
    op.create_index(op.f("ix_run_project_id_time"), "run", ["project_id", "time"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("regression_id", ID, nullable=True),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_event_project_id")),
        sa.ForeignKeyConstraint(["regression_id"], ["regression.id"], name=op.f("fk_event_regression_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_project_id_time"), "event", ["project_id", "time"], unique=False)
    op.create_index(op.f("ix_event_regression_id"), "event", ["regression_id"], unique=False)
    op.create_table(
        "result",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("commit_id", ID, nullable=True),
        sa.Column("control_commit_id", ID, nullable=True),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("run_type", sa.Text(), nullable=False),
        sa.Column("net", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("framework", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("tainted", sa.Text(), server_default="", nullable=False),
        sa.Column("failure", sa.Text(), server_default="", nullable=False),
        sa.Column("regressed", sa.Text(), server_default="{}", nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.Column("operators", sa.LargeBinary(), nullable=True),
        sa.Column("samples", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["commit_id"], ["commit.id"], name=op.f("fk_result_commit_id")),
        sa.ForeignKeyConstraint(
            ["control_commit_id"], ["commit.id"], name=op.f("fk_result_control_commit_id")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_result_device_id")),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name=op.f("fk_result_document_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_result_project_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_result_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),
        sa.UniqueConstraint("uid", name=op.f("uq_result_uid")),
    )
    op.create_index(op.f("ix_result_commit_id"), "result", ["commit_id"], unique=False)
    op.create_index(op.f("ix_result_device_id_time"), "result", ["device_id", "time"], unique=False)
    op.create_index(op.f("ix_result_project_id_time"), "result", ["project_id", "time"], unique=False)
    op.create_index(op.f("ix_result_run_id"), "result", ["run_id"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("device_id", ID, nullable=False),
        sa.Column("net", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("framework", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), server_default="", nullable=False),
        sa.Column("settings", sa.Text(), server_default="", nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("higher_is_better", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("points", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_result_id", ID, nullable=True),
        sa.Column("last_commit_id", ID, nullable=True),
        sa.Column("last_position", sa.BigInteger(), nullable=True),
        sa.Column("last_commit_time", sa.BigInteger(), nullable=True),
        sa.Column("last_time", sa.BigInteger(), nullable=True),
        sa.Column("last_value", sa.Double(), nullable=True),
        sa.Column("last_low", sa.Double(), nullable=True),
        sa.Column("last_high", sa.Double(), nullable=True),
        sa.Column("last_ratio", sa.Double(), nullable=True),
        sa.Column("last_verdict", sa.Text(), nullable=True),
        sa.Column("last_tainted", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("unsearched", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reference", sa.Double(), nullable=True),
        sa.Column("level", sa.Double(), nullable=True),
        sa.Column("scatter", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_series_device_id")),
        sa.ForeignKeyConstraint(["last_commit_id"], ["commit.id"], name=op.f("fk_series_last_commit_id")),
        sa.ForeignKeyConstraint(["last_result_id"], ["result.id"], name=op.f("fk_series_last_result_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_series_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("key", name=op.f("uq_series_key")),
    )
    op.create_index(op.f("ix_series_device_id"), "series", ["device_id"], unique=False)
    op.create_index(op.f("ix_series_last_commit_id"), "series", ["last_commit_id"], unique=False)
    op.create_index(
        op.f("ix_series_project_id_net_metric_identifier"),
        "series",
        ["project_id", "net", "metric", "identifier"],
        unique=False,
    )
    op.create_table(
        "change",
        sa.Column("id", ID, nullable=False),
        sa.Column("series_id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("last_good_id", ID, nullable=True),
        sa.Column("first_bad_id", ID, nullable=False),
        sa.Column("before", sa.Double(), nullable=False),
        sa.Column("after", sa.Double(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["first_bad_id"], ["commit.id"], name=op.f("fk_change_first_bad_id")),
        sa.ForeignKeyConstraint(["last_good_id"], ["commit.id"], name=op.f("fk_change_last_good_id")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_change_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
    )
    op.create_index(op.f("ix_change_first_bad_id"), "change", ["first_bad_id"], unique=False)
    op.create_index(op.f("ix_change_series_id"), "change", ["series_id"], unique=False)
    op.create_table(
        "indicator",
        sa.Column("id", ID, nullable=False),
        sa.Column("regression_id", ID, nullable=False),
        sa.Column("series_id", ID, nullable=False),
        sa.Column("result_id", ID, nullable=True),
        sa.Column("last_good_id", ID, nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("before", sa.Double(), nullable=False),
        sa.Column("after", sa.Double(), nullable=False),
        sa.Column("ratio", sa.Double(), nullable=True),
        sa.Column("is_back", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["last_good_id"], ["commit.id"], name=op.f("fk_indicator_last_good_id")),
        sa.ForeignKeyConstraint(
            ["regression_id"], ["regression.id"], name=op.f("fk_indicator_regression_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["result_id"], ["result.id"], name=op.f("fk_indicator_result_id")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_indicator_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_indicator")),
        sa.UniqueConstraint(
            "regression_id", "series_id", "type", name=op.f("uq_indicator_regression_id_series_id_type")
        ),
    )
    op.create_index(op.f("ix_indicator_series_id"), "indicator", ["series_id"], unique=False)
    op.create_table(
        "point",
        sa.Column("series_id", ID, nullable=False),
        sa.Column("commit_time", sa.BigInteger(), nullable=False),
        sa.Column("result_id", ID, nullable=False),
        sa.Column("commit_id", ID, nullable=False),
        sa.Column("control_commit_id", ID, nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("ratio", sa.Double(), nullable=True),
        sa.Column("ratio_low", sa.Double(), nullable=True),
        sa.Column("ratio_high", sa.Double(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("run_type", sa.Text(), nullable=False),
        sa.Column("tainted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["commit_id"], ["commit.id"], name=op.f("fk_point_commit_id")),
        sa.ForeignKeyConstraint(
            ["control_commit_id"], ["commit.id"], name=op.f("fk_point_control_commit_id")
        ),
        sa.ForeignKeyConstraint(["result_id"], ["result.id"], name=op.f("fk_point_result_id")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_point_series_id")),
        sa.PrimaryKeyConstraint("series_id", "commit_time", "result_id", name=op.f("pk_point")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_point_commit_id"), "point", ["commit_id"], unique=False)
