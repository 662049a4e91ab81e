"""The scatter of the ratios of a series, by which two of its runs are compared. ``levels`` fills it in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("series", sa.Column("scatter_runs", sa.Integer()))
    op.add_column("series", sa.Column("ratio_scatter", sa.Double()))
    op.add_column("series", sa.Column("ratio_runs", sa.Integer()))
