"""PostgreSQL: every key of the points' tables holds the run's, so that they can be split by it."""

from alembic import op

revision = "0006"
down_revision = "0005"

KEYS = {
    "journal": "run_pk, seq",
    "segments": "series_pk, first_step, run_pk",
    "summaries": "series_pk, run_pk",
    "payloads": "series_pk, step, run_pk",
}


def upgrade() -> None:
    """Widens the primary keys; SQLite, where nothing is split, keeps the shorter ones."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in KEYS.items():
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT pk_{table}, "
            f"ADD CONSTRAINT pk_{table} PRIMARY KEY ({columns})"
        )
