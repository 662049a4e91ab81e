"""The revisions of the schema (alembic)."""
