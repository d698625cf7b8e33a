"""Time series' points: the journal of writes, folded segments, summaries, payloads."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "journal",
        sa.Column("seq", KEY, autoincrement=True, nullable=False),
        sa.Column("run_pk", KEY, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_pk"], ["runs.pk"], name="fk_journal_run_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_journal"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journal_run_pk", "journal", ["run_pk"])
    op.create_table(
        "segments",
        sa.Column("series_pk", KEY, autoincrement=False, nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("point_count", sa.BigInteger(), nullable=False),
        sa.Column("run_pk", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_pk"], ["time_series.pk"], name="fk_segments_series_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_pk", "first_step", name="pk_segments"),
    )
    op.create_table(
        "summaries",
        sa.Column("series_pk", KEY, autoincrement=False, nullable=False),
        sa.Column("run_pk", sa.BigInteger(), nullable=False),
        sa.Column("point_count", sa.BigInteger(), nullable=False),
        sa.Column("max_step", sa.BigInteger(), nullable=False),
        sa.Column("max_wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("max_blob_length", sa.BigInteger(), nullable=False),
        sa.Column("last_value", sa.Double(), nullable=True),
        sa.Column("minimum", sa.Double(), nullable=True),
        sa.Column("maximum", sa.Double(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("tail_step", sa.BigInteger(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_pk"], ["time_series.pk"], name="fk_summaries_series_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_pk", name="pk_summaries"),
    )
    op.create_index("ix_summaries_run_pk", "summaries", ["run_pk"])
    op.create_table(
        "run_points",
        sa.Column("run_pk", KEY, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_pk"], ["runs.pk"], name="fk_run_points_run_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_pk", name="pk_run_points"),
    )
    op.create_table(
        "payloads",
        sa.Column("series_pk", KEY, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("blob_count", sa.BigInteger(), nullable=False),
        sa.Column("run_pk", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_pk"], ["time_series.pk"], name="fk_payloads_series_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_pk", "step", name="pk_payloads"),
    )
