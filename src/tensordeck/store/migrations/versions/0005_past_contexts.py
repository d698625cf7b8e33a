"""Contexts as they were a moment ago, for writers that another server answered before."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "past_contexts",
        sa.Column("context_pk", KEY, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["context_pk"],
            ["contexts.pk"],
            name="fk_past_contexts_context_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("context_pk", "revision", name="pk_past_contexts"),
    )
