"""What is kept with a link: an event's time and labels."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = (
    "context_children",
    "context_artifacts",
    "context_executions",
    "execution_inputs",
    "execution_outputs",
)


def upgrade() -> None:
    """Adds the column."""
    for table in TABLES:
        op.add_column(table, sa.Column("note", sa.JSON(), nullable=False, server_default="{}"))
