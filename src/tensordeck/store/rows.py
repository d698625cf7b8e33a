"""Records to rows and back: which columns each kind of `store.resources` has."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    func,
    select,
    update,
)

from tensordeck import errors
from tensordeck.names import shown
from tensordeck.store import schema
from tensordeck.store.batches import batches
from tensordeck.store.resources import (
    Artifact,
    Bucket,
    Context,
    Credential,
    CustomJob,
    Execution,
    Experiment,
    JobState,
    MetadataSchema,
    MetadataStore,
    Model,
    ModelVersion,
    Operation,
    Resource,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
    TrainingPipeline,
    UploadSession,
    ValueType,
)

__all__ = ["KINDS", "Rows", "parent_of", "place_of", "rows_of"]

R = TypeVar("R", bound=Resource)

KINDS: Final[dict[str, type[Resource]]] = {
    kind.kind: kind
    for kind in (
        Tensorboard,
        Experiment,
        Run,
        TimeSeries,
        MetadataStore,
        MetadataSchema,
        Context,
        Artifact,
        Execution,
        Operation,
        Credential,
        Bucket,
        StoredObject,
        UploadSession,
        CustomJob,
        TrainingPipeline,
        Model,
        ModelVersion,
    )
}
READ_ONLY: Final = frozenset({"run_count", "run_pk", "parent_contexts"})
"""Fields that the store works out; they have no column of their own."""


class Rows(Generic[R]):
    """One kind's table.

    Attributes:
        kind: The record's type.
        table: Its table.
        stored: The fields with a column, without `pk`.
        select: Selects all that a record is made of, in the order of the record's fields.
    """

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        self.table: Table = schema.TABLES[kind.kind]
        names = [field.name for field in fields(kind)]
        self.stored = [name for name in names if name not in READ_ONLY and name != "pk"]
        self._selected = [name for name in names if name != "parent_contexts"]
        self.select: Select[Any] = select(
            *(self._column(name).label(name) for name in self._selected)
        )
        self.by_name = self.select.where(self.table.c.name == bindparam("name"))
        self.by_names = self.select.where(self.table.c.name.in_(bindparam("names", expanding=True)))
        self._changes: dict[tuple[str, ...], Update] = {}
        self._texts = [name for name in self.stored if self.table.c[name].type is schema.String]
        self._lists = [name for name in self.stored if name == "parts"]
        self._has_job_state = kind in (CustomJob, TrainingPipeline)

    def _column(self, name: str) -> ColumnElement[Any]:
        if name == "run_pk":
            return self.table.c.parent_pk
        if name == "run_count":
            return run_count()
        column: ColumnElement[Any] = self.table.c[name]
        return column

    def change(self, columns: tuple[str, ...]) -> Update:
        """Sets some columns of the row whose key is the parameter `changed_pk`.

        Kept, for putting a statement together costs as much as running it.
        """
        statement = self._changes.get(columns)
        if statement is None:
            statement = self._changes[columns] = (
                update(self.table)
                .where(self.table.c.pk == bindparam("changed_pk"))
                .values({column: bindparam(column) for column in columns})
            )
        return statement

    def values(self, record: R) -> dict[str, Any]:
        """A record's columns, without its key and its parent's.

        Raises:
            errors.InvalidArgument: If a text holds a NUL, which not every database can keep.
        """
        values = {name: getattr(record, name) for name in self.stored}
        for name in self._texts:
            if "\0" in values[name]:
                raise errors.InvalidArgument(
                    f"`{name}` of {shown(record.name)} holds a NUL character, which no text may."
                )
        return values

    def records(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[R]:
        """Makes records of what `select` found; further columns are left out."""
        names = self._selected
        records = [self._record(dict(zip(names, row, strict=False))) for row in rows]
        if self.kind is Context and records:
            parents = _parent_contexts(connection, [record.pk for record in records])
            records = [
                replace(record, parent_contexts=tuple(parents[record.pk]))  # type: ignore[call-arg]  # contexts only
                if record.pk in parents
                else record
                for record in records
            ]
        return records

    def _record(self, values: dict[str, Any]) -> R:
        if "value_type" in values:
            values["value_type"] = ValueType(values["value_type"])
        if self._has_job_state:
            values["state"] = JobState(values["state"])
        for name in self._lists:
            values[name] = tuple(values[name])
        return self.kind(**values)


_ROWS: dict[str, Rows[Any]] = {}


def rows_of(kind: type[R]) -> Rows[R]:
    """The rows of a kind."""
    rows: Rows[R] | None = _ROWS.get(kind.kind)
    if rows is None:
        rows = _ROWS[kind.kind] = Rows(kind)
    return rows


def run_count() -> ColumnElement[int]:
    """The number of an instance's runs, for a select from `tensorboards`."""
    runs, experiments = schema.runs, schema.experiments
    return (
        select(func.count(runs.c.pk))
        .select_from(experiments.join(runs, runs.c.parent_pk == experiments.c.pk))
        .where(experiments.c.parent_pk == schema.tensorboards.c.pk)
        .scalar_subquery()
    )


_CHILDREN: Final = schema.LINKS["child", "contexts", "contexts"]
_PARENTS: Final = (
    select(_CHILDREN.c.target_pk, schema.contexts.c.name)
    .join(schema.contexts, schema.contexts.c.pk == _CHILDREN.c.source_pk)
    .where(_CHILDREN.c.target_pk.in_(bindparam("pks", expanding=True)))
    .order_by(_CHILDREN.c.source_pk)
)


def _parent_contexts(connection: Connection, pks: Sequence[int]) -> dict[int, list[str]]:
    """The names of the contexts above some contexts, in the order in which they came to be."""
    parents: dict[int, list[str]] = {}
    for group in batches(pks):
        for pk, name in connection.execute(_PARENTS, {"pks": group}):
            parents.setdefault(pk, []).append(name)
    return parents


def parent_of(kind: type[Resource], name: str) -> str:
    """The name of a resource's parent, in a kind that has one."""
    if kind.parent_kind == "buckets":  # an object's own name may hold slashes
        return name.partition("/")[0]
    return name.rsplit("/", 2)[0]


def place_of(name: str) -> str:
    """The `projects/P/locations/L` that a name starts with; empty when it does not."""
    parts = name.split("/", 4)
    inside = len(parts) > 4 and parts[0] == "projects" and parts[2] == "locations"
    return "/".join(parts[:4]) if inside else ""
