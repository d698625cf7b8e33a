"""Records to rows and back: which columns each kind of `store.resources` has."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import fields
from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    bindparam,
    func,
    literal_column,
    select,
    update,
)

from tensordeck import errors
from tensordeck.names import shown
from tensordeck.store import documents, schema
from tensordeck.store.driver_statement import DriverStatement
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
        self._selected = names
        self.select: Select[Any] = select(*(self._column(name).label(name) for name in names))
        by_name = self.select.where(self.table.c.name == bindparam("name"))
        self._by_name = DriverStatement(by_name)
        self.by_names = self.select.where(self.table.c.name.in_(bindparam("names", expanding=True)))
        self._changes: dict[tuple[str, ...], DriverStatement] = {}
        self._get_stored = attrgetter(*self.stored)
        self._documents = self._of_type(JSON)
        self._flags = self._of_type(Boolean)
        self._texts = [name for name in self.stored if self.table.c[name].type is schema.String]
        self._lists = [name for name in self.stored if name == "parts"]
        self._has_job_state = kind in (CustomJob, TrainingPipeline)

    def _column(self, name: str) -> ColumnElement[Any]:
        if name == "run_pk":
            return self.table.c.parent_pk
        if name == "run_count":
            return run_count()
        if name == "parent_contexts":
            return _parent_contexts()
        column: ColumnElement[Any] = self.table.c[name]
        return column

    def _of_type(self, sort: type[Any]) -> list[str]:
        return [name for name in self.stored if isinstance(self.table.c[name].type, sort)]

    def find(self, connection: Connection, name: str) -> R | None:
        """Finds a record by its name."""
        found = self._by_name.run(connection, {"name": name}).fetchone()
        if found is None:
            return None
        values = dict(zip(self._selected, found, strict=True))
        for key in self._documents:
            if isinstance(text := values[key], str | bytes):  # some drivers have read it already
                values[key] = documents.loads(text)
        for key in self._flags:
            values[key] = bool(values[key])
        return self._record(values)

    def change(self, connection: Connection, old: R, new: R) -> None:
        """Writes what differs between two states of a record.

        Raises:
            errors.InvalidArgument: As `values`.
        """
        changed = {
            name: value
            for name, value, before in zip(
                self.stored, self._get_stored(new), self._get_stored(old), strict=True
            )
            # Documents that are equal may differ, unless empty: 1.0 and true are equal to Python.
            if value is not before and (value != before or (value and name in self._documents))
        }
        self._check_texts(new, changed)
        columns = tuple(changed)
        statement = self._changes.get(columns)
        if statement is None:
            statement = self._changes[columns] = DriverStatement(
                update(self.table)
                .where(self.table.c.pk == bindparam("changed_pk"))
                .values({column: bindparam(column) for column in columns})
            )
        statement.run(connection, {**changed, "changed_pk": old.pk})

    def values(self, record: R) -> dict[str, Any]:
        """A record's columns, without its key and its parent's.

        Raises:
            errors.InvalidArgument: If a text holds a NUL, which not every database can keep.
        """
        values = dict(zip(self.stored, self._get_stored(record), strict=True))
        self._check_texts(record, values)
        return values

    def _check_texts(self, record: R, values: Mapping[str, Any]) -> None:
        for name in self._texts:
            if "\0" in values.get(name, ""):
                raise errors.InvalidArgument(
                    f"`{name}` of {shown(record.name)} holds a NUL character, which no text may."
                )

    def records(self, rows: Sequence[Row[Any]]) -> list[R]:
        """Makes records of what `select` found; further columns are left out."""
        names = self._selected
        return [self._record(dict(zip(names, row, strict=False))) for row in rows]

    def _record(self, values: dict[str, Any]) -> R:
        if "value_type" in values:
            values["value_type"] = ValueType(values["value_type"])
        if self._has_job_state:
            values["state"] = JobState(values["state"])
        for name in self._lists:
            values[name] = tuple(values[name])
        if "parent_contexts" in values:
            parents = values["parent_contexts"]
            values["parent_contexts"] = tuple(parents.split("\n")) if parents else ()
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


def _parent_contexts() -> ColumnElement[str]:
    """The names of the contexts above a context, oldest first, one a line.

    A part of the select itself: as a statement of its own it costs more than all the rest.
    """
    children, above = schema.LINKS["child", "contexts", "contexts"], schema.contexts.alias()
    of_context = (
        select(above.c.name)
        .join(children, children.c.source_pk == above.c.pk)
        .where(children.c.target_pk == schema.contexts.c.pk)
        .order_by(above.c.pk)
        .correlate(schema.contexts)
        .subquery()
    )
    # A part of the text, where SQLAlchemy would put a Python string in at each execution only.
    newline: Any = literal_column("'\n'")
    return select(func.aggregate_strings(of_context.c.name, newline)).scalar_subquery()


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
