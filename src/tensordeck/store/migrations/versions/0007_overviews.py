"""Overviews of long series, from which samples are read."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the table; series get their overviews as they grow."""
    op.create_table(
        "overviews",
        sa.Column("series_pk", KEY, autoincrement=False, nullable=False),
        sa.Column("run_pk", sa.BigInteger(), nullable=False),
        sa.Column("covered", sa.BigInteger(), nullable=False),
        sa.Column("next_step", sa.BigInteger(), nullable=False),
        sa.Column("stride", sa.BigInteger(), nullable=False),
        sa.Column("point_count", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_pk"], ["time_series.pk"], name="fk_overviews_series_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_pk", "run_pk", name="pk_overviews"),
    )
