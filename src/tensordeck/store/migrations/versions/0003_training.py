"""Training: custom jobs, training pipelines, models and their versions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "custom_jobs",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("job_spec", sa.JSON(), nullable=False),
        sa.Column("kms_key_name", TEXT, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=False),
        sa.Column("principal", TEXT, nullable=False),
        sa.Column("pipeline", TEXT, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("executor", TEXT, nullable=False),
        sa.Column("handle", sa.JSON(), nullable=False),
        sa.Column("lease_owner", TEXT, nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_custom_jobs"),
        sa.UniqueConstraint("name", name="uq_custom_jobs_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_custom_jobs_place_pk", "custom_jobs", ["place", "pk"])
    op.create_index("ix_custom_jobs_state_pk", "custom_jobs", ["state", "pk"])
    op.create_table(
        "training_pipelines",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("definition", TEXT, nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("input_data_config", sa.JSON(), nullable=False),
        sa.Column("model_to_upload", sa.JSON(), nullable=False),
        sa.Column("model_id", TEXT, nullable=False),
        sa.Column("parent_model", TEXT, nullable=False),
        sa.Column("kms_key_name", TEXT, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=False),
        sa.Column("custom_job", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_training_pipelines"),
        sa.UniqueConstraint("name", name="uq_training_pipelines_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_training_pipelines_place_pk", "training_pipelines", ["place", "pk"])
    op.create_index("ix_training_pipelines_state_pk", "training_pipelines", ["state", "pk"])
    op.create_table(
        "models",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("last_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_models_place_pk", "models", ["place", "pk"])
    op.create_table(
        "model_versions",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("artifact_uri", TEXT, nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("training_pipeline", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"],
            ["models.pk"],
            name="fk_model_versions_parent_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_model_versions"),
        sa.UniqueConstraint("name", name="uq_model_versions_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_model_versions_parent_pk_pk", "model_versions", ["parent_pk", "pk"])
