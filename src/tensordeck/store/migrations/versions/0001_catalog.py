"""The catalog: a table a resource kind, links between metadata resources, views of boards."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "buckets",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("project", TEXT, nullable=False),
        sa.Column("location", TEXT, nullable=False),
        sa.Column("storage_class", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("iam_policy", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_buckets"),
        sa.UniqueConstraint("name", name="uq_buckets_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "credentials",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("credential_kind", TEXT, nullable=False),
        sa.Column("principal", TEXT, nullable=False),
        sa.Column("secret_hash", TEXT, nullable=False),
        sa.Column("public_key", TEXT, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_credentials"),
        sa.UniqueConstraint("name", name="uq_credentials_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "metadata_stores",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_metadata_stores"),
        sa.UniqueConstraint("name", name="uq_metadata_stores_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_metadata_stores_place_pk", "metadata_stores", ["place", "pk"])
    op.create_table(
        "operations",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_operations"),
        sa.UniqueConstraint("name", name="uq_operations_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_operations_place_pk", "operations", ["place", "pk"])
    op.create_table(
        "tensorboards",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("kms_key_name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_tensorboards"),
        sa.UniqueConstraint("name", name="uq_tensorboards_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tensorboards_place_pk", "tensorboards", ["place", "pk"])
    op.create_table(
        "uploads",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("object_name", TEXT, nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_uploads"),
        sa.UniqueConstraint("name", name="uq_uploads_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "artifacts",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("schema_title", TEXT, nullable=False),
        sa.Column("schema_version", TEXT, nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("uri", TEXT, nullable=False),
        sa.Column("state", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"], ["metadata_stores.pk"], name="fk_artifacts_parent_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_artifacts"),
        sa.UniqueConstraint("name", name="uq_artifacts_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_artifacts_parent_pk_pk", "artifacts", ["parent_pk", "pk"])
    op.create_index("ix_artifacts_uri", "artifacts", ["uri"])
    op.create_table(
        "board_views",
        sa.Column("tensorboard_pk", KEY, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("username", TEXT, nullable=False),
        sa.Column("view_count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tensorboard_pk"],
            ["tensorboards.pk"],
            name="fk_board_views_tensorboard_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tensorboard_pk", "month", "username", name="pk_board_views"),
    )
    op.create_table(
        "contexts",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("schema_title", TEXT, nullable=False),
        sa.Column("schema_version", TEXT, nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"], ["metadata_stores.pk"], name="fk_contexts_parent_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_contexts"),
        sa.UniqueConstraint("name", name="uq_contexts_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_contexts_parent_pk_pk", "contexts", ["parent_pk", "pk"])
    op.create_table(
        "executions",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("schema_title", TEXT, nullable=False),
        sa.Column("schema_version", TEXT, nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("state", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"],
            ["metadata_stores.pk"],
            name="fk_executions_parent_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_executions"),
        sa.UniqueConstraint("name", name="uq_executions_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_executions_parent_pk_pk", "executions", ["parent_pk", "pk"])
    op.create_table(
        "experiments",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"], ["tensorboards.pk"], name="fk_experiments_parent_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_experiments"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_experiments_parent_pk_pk", "experiments", ["parent_pk", "pk"])
    op.create_table(
        "metadata_schemas",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("schema", TEXT, nullable=False),
        sa.Column("schema_version", TEXT, nullable=False),
        sa.Column("schema_type", sa.BigInteger(), nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"],
            ["metadata_stores.pk"],
            name="fk_metadata_schemas_parent_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_metadata_schemas"),
        sa.UniqueConstraint("name", name="uq_metadata_schemas_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_metadata_schemas_parent_pk_pk", "metadata_schemas", ["parent_pk", "pk"])
    op.create_table(
        "objects",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("md5", sa.LargeBinary(), nullable=False),
        sa.Column("crc32c", sa.BigInteger(), nullable=False),
        sa.Column("content_type", TEXT, nullable=False),
        sa.Column("blob_key", TEXT, nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"], ["buckets.pk"], name="fk_objects_parent_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_objects"),
        sa.UniqueConstraint("name", name="uq_objects_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_objects_parent_pk_name", "objects", ["parent_pk", "name"])
    op.create_table(
        "context_artifacts",
        sa.Column("source_pk", KEY, nullable=False),
        sa.Column("target_pk", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_pk"],
            ["contexts.pk"],
            name="fk_context_artifacts_source_pk",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["target_pk"],
            ["artifacts.pk"],
            name="fk_context_artifacts_target_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_pk", "target_pk", name="pk_context_artifacts"),
    )
    op.create_index("ix_context_artifacts_target_pk", "context_artifacts", ["target_pk"])
    op.create_table(
        "context_children",
        sa.Column("source_pk", KEY, nullable=False),
        sa.Column("target_pk", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_pk"], ["contexts.pk"], name="fk_context_children_source_pk", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target_pk"], ["contexts.pk"], name="fk_context_children_target_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source_pk", "target_pk", name="pk_context_children"),
    )
    op.create_index("ix_context_children_target_pk", "context_children", ["target_pk"])
    op.create_table(
        "context_executions",
        sa.Column("source_pk", KEY, nullable=False),
        sa.Column("target_pk", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_pk"],
            ["contexts.pk"],
            name="fk_context_executions_source_pk",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["target_pk"],
            ["executions.pk"],
            name="fk_context_executions_target_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_pk", "target_pk", name="pk_context_executions"),
    )
    op.create_index("ix_context_executions_target_pk", "context_executions", ["target_pk"])
    op.create_table(
        "execution_inputs",
        sa.Column("source_pk", KEY, nullable=False),
        sa.Column("target_pk", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_pk"],
            ["artifacts.pk"],
            name="fk_execution_inputs_source_pk",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["target_pk"],
            ["executions.pk"],
            name="fk_execution_inputs_target_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_pk", "target_pk", name="pk_execution_inputs"),
    )
    op.create_index("ix_execution_inputs_target_pk", "execution_inputs", ["target_pk"])
    op.create_table(
        "execution_outputs",
        sa.Column("source_pk", KEY, nullable=False),
        sa.Column("target_pk", KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_pk"],
            ["executions.pk"],
            name="fk_execution_outputs_source_pk",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["target_pk"],
            ["artifacts.pk"],
            name="fk_execution_outputs_target_pk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_pk", "target_pk", name="pk_execution_outputs"),
    )
    op.create_index("ix_execution_outputs_target_pk", "execution_outputs", ["target_pk"])
    op.create_table(
        "runs",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"], ["experiments.pk"], name="fk_runs_parent_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_runs"),
        sa.UniqueConstraint("name", name="uq_runs_name"),
        sa.UniqueConstraint("parent_pk", "display_name", name="uq_runs_parent_pk_display_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_parent_pk_pk", "runs", ["parent_pk", "pk"])
    op.create_table(
        "time_series",
        sa.Column("pk", KEY, autoincrement=True, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("parent_pk", KEY, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("value_type", sa.SmallInteger(), nullable=False),
        sa.Column("plugin_name", TEXT, nullable=False),
        sa.Column("plugin_data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_pk"], ["runs.pk"], name="fk_time_series_parent_pk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name="pk_time_series"),
        sa.UniqueConstraint("name", name="uq_time_series_name"),
        sa.UniqueConstraint(
            "parent_pk", "display_name", name="uq_time_series_parent_pk_display_name"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_time_series_parent_pk_pk", "time_series", ["parent_pk", "pk"])
