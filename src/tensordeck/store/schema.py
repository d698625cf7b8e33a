"""The catalog's tables: one a resource kind, with the links between metadata resources.

Column names are the field names of `store.resources`. Every table has `pk`, which is never used
again after a deletion, the full resource name, the revision and two times in microseconds. A child
row points at its parent and dies with it. Only features that SQLite and PostgreSQL share are used;
texts sort by code point on both (`COLLATE "C"`), so that pages come in one order.

The points' tables (`store.points_schema`) belong to the same `metadata`.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

PrimaryKey: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows itself only when the type is INTEGER; it is 64 bits wide there."""
String: Final = Text().with_variant(Text(collation="C"), "postgresql")
Document: Final = JSON()


def _text(name: str) -> Column[Any]:
    return Column(name, String, nullable=False)


def _document(name: str) -> Column[Any]:
    return Column(name, Document, nullable=False)


def _number(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False)


def _binary(name: str) -> Column[Any]:
    return Column(name, LargeBinary, nullable=False)


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False)


def _parent(table: Table) -> Column[Any]:
    return Column(
        "parent_pk", PrimaryKey, ForeignKey(table.c.pk, ondelete="CASCADE"), nullable=False
    )


def _resources(name: str, *columns: Column[Any] | Index | UniqueConstraint) -> Table:
    """A table for one kind, with the columns that all kinds share."""
    return Table(
        name,
        metadata,
        Column("pk", PrimaryKey, primary_key=True, autoincrement=True),
        Column("name", String, nullable=False, unique=True),
        Column("revision", BigInteger, nullable=False),
        Column("create_time", BigInteger, nullable=False),
        Column("update_time", BigInteger, nullable=False),
        *columns,
        sqlite_autoincrement=True,  # SQLite would otherwise give the last row's key out again
    )


def _node_columns() -> list[Column[Any]]:
    """What contexts, artifacts and executions share."""
    return [
        _parent(metadata_stores),
        _text("display_name"),
        _text("description"),
        _document("labels"),
        _text("schema_title"),
        _text("schema_version"),
        _document("metadata"),
    ]


def _progress() -> list[Column[Any]]:
    """What jobs and pipelines share."""
    return [
        Column("state", SmallInteger, nullable=False),
        _number("start_time"),
        _number("end_time"),
        _document("error"),
    ]


# A resource without a parent kind carries the place it lives in (`projects/P/locations/L`; empty
# for one whose name holds none), so that a list of a place reads an index in order of creation.
tensorboards: Final = _resources(
    "tensorboards",
    _text("place"),
    _text("display_name"),
    _text("description"),
    _document("labels"),
    _flag("is_default"),
    _text("kms_key_name"),
    Index(None, "place", "pk"),
)
experiments: Final = _resources(
    "experiments",
    _parent(tensorboards),
    _text("display_name"),
    _text("description"),
    _document("labels"),
    _text("source"),
    Index(None, "parent_pk", "pk"),
)
runs: Final = _resources(
    "runs",
    _parent(experiments),
    _text("display_name"),
    _text("description"),
    _document("labels"),
    UniqueConstraint("parent_pk", "display_name"),
    Index(None, "parent_pk", "pk"),
)
time_series: Final = _resources(
    "time_series",
    _parent(runs),
    _text("display_name"),
    _text("description"),
    Column("value_type", SmallInteger, nullable=False),
    _text("plugin_name"),
    _binary("plugin_data"),
    UniqueConstraint("parent_pk", "display_name"),
    Index(None, "parent_pk", "pk"),
)
metadata_stores: Final = _resources(
    "metadata_stores", _text("place"), _text("description"), Index(None, "place", "pk")
)
metadata_schemas: Final = _resources(
    "metadata_schemas",
    _parent(metadata_stores),
    _text("schema"),
    _text("schema_version"),
    _number("schema_type"),
    _text("description"),
    Index(None, "parent_pk", "pk"),
)
contexts: Final = _resources("contexts", *_node_columns(), Index(None, "parent_pk", "pk"))
artifacts: Final = _resources(
    "artifacts",
    *_node_columns(),
    _text("uri"),
    _number("state"),
    Index(None, "parent_pk", "pk"),
    Index(None, "uri"),
)
executions: Final = _resources(
    "executions", *_node_columns(), _number("state"), Index(None, "parent_pk", "pk")
)
operations: Final = _resources(
    "operations", _text("place"), _binary("payload"), Index(None, "place", "pk")
)
credentials: Final = _resources(
    "credentials",
    _text("place"),
    _text("credential_kind"),
    _text("principal"),
    _text("secret_hash"),
    _text("public_key"),
    _binary("secret"),
    _flag("revoked"),
)
buckets: Final = _resources(
    "buckets",
    _text("place"),
    _text("project"),
    _text("location"),
    _text("storage_class"),
    _document("labels"),
    _document("extra"),
    _document("iam_policy"),
)
objects: Final = _resources(
    "objects",
    _parent(buckets),
    _number("generation"),
    _number("size"),
    _binary("md5"),
    _number("crc32c"),
    _text("content_type"),
    _text("blob_key"),
    _document("metadata"),
    _document("extra"),
    Index(None, "parent_pk", "name"),
)
uploads: Final = _resources(
    "uploads",
    _text("place"),
    _text("object_name"),
    _number("received"),
    _document("parts"),
    _document("request"),
)
# The indexes by state find the few that have not ended among the many that have.
custom_jobs: Final = _resources(
    "custom_jobs",
    _text("place"),
    _text("display_name"),
    _document("labels"),
    _document("job_spec"),
    _text("kms_key_name"),
    *_progress(),
    _text("principal"),
    _text("pipeline"),
    _number("attempt"),
    _text("executor"),
    _document("handle"),
    _text("lease_owner"),
    _number("lease_until"),
    _flag("cancel_requested"),
    Index(None, "place", "pk"),
    Index(None, "state", "pk"),
)
training_pipelines: Final = _resources(
    "training_pipelines",
    _text("place"),
    _text("display_name"),
    _document("labels"),
    _text("definition"),
    _document("inputs"),
    _document("metadata"),
    _document("input_data_config"),
    _document("model_to_upload"),
    _text("model_id"),
    _text("parent_model"),
    _text("kms_key_name"),
    *_progress(),
    _text("custom_job"),
    Index(None, "place", "pk"),
    Index(None, "state", "pk"),
)
models: Final = _resources(
    "models",
    _text("place"),
    _text("display_name"),
    _text("description"),
    _document("labels"),
    _document("aliases"),
    _number("last_version"),
    Index(None, "place", "pk"),
)
model_versions: Final = _resources(
    "model_versions",
    _parent(models),
    _text("description"),
    _document("labels"),
    _text("artifact_uri"),
    _document("spec"),
    _text("training_pipeline"),
    Index(None, "parent_pk", "pk"),
)

TABLES: Final[dict[str, Table]] = {
    "tensorboards": tensorboards,
    "experiments": experiments,
    "runs": runs,
    "timeSeries": time_series,
    "metadataStores": metadata_stores,
    "metadataSchemas": metadata_schemas,
    "contexts": contexts,
    "artifacts": artifacts,
    "executions": executions,
    "operations": operations,
    "credentials": credentials,
    "buckets": buckets,
    "objects": objects,
    "uploads": uploads,
    "customJobs": custom_jobs,
    "trainingPipelines": training_pipelines,
    "models": models,
    "versions": model_versions,
}
"""The table of each kind, by the kind's collection id."""


def _links(name: str, source: Table, target: Table) -> Table:
    """Links of one sort between two kinds; a link dies with either end."""
    return Table(
        name,
        metadata,
        Column("source_pk", ForeignKey(source.c.pk, ondelete="CASCADE"), primary_key=True),
        Column("target_pk", ForeignKey(target.c.pk, ondelete="CASCADE"), primary_key=True),
        Column("note", Document, nullable=False, server_default="{}"),
        Index(None, "target_pk"),
    )


LINKS: Final[dict[tuple[str, str, str], Table]] = {
    ("child", "contexts", "contexts"): _links("context_children", contexts, contexts),
    ("member", "contexts", "artifacts"): _links("context_artifacts", contexts, artifacts),
    ("member", "contexts", "executions"): _links("context_executions", contexts, executions),
    ("input", "artifacts", "executions"): _links("execution_inputs", artifacts, executions),
    ("output", "executions", "artifacts"): _links("execution_outputs", executions, artifacts),
}
"""The table of each sort of link, by link kind, source kind and target kind."""

board_views: Final = Table(
    "board_views",
    metadata,
    Column("tensorboard_pk", ForeignKey(tensorboards.c.pk, ondelete="CASCADE"), primary_key=True),
    Column("month", String, primary_key=True),
    Column("username", String, primary_key=True),
    Column("view_count", BigInteger, nullable=False),
)
"""Views of an instance's boards: month is `YYYYMM`, UTC."""

past_contexts: Final = Table(
    "past_contexts",
    metadata,
    Column("context_pk", ForeignKey(contexts.c.pk, ondelete="CASCADE"), primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    _number("replaced_at"),
    _text("display_name"),
    _text("description"),
    _document("labels"),
    _document("metadata"),
)
"""States of contexts that were replaced of late: `store.past_contexts`."""
