"""PostgreSQL no longer tries to pack the points, most of which are packed already."""

from alembic import op

revision = "0008"
down_revision = "0007"

PACKED = {"journal": "payload", "segments": "data", "overviews": "data", "payloads": "data"}


def upgrade() -> None:
    """Changes what is written from now on; rows that are there stay readable as they are."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column in PACKED.items():
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
