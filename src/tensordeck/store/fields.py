"""The fields that a filter or an order may name, by kind of resource."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field
from sqlalchemy import JSON, BigInteger, Boolean, ColumnElement, LargeBinary, SmallInteger

from tensordeck import errors
from tensordeck.names import shown
from tensordeck.store.resources import JobState, Resource, ValueType
from tensordeck.store.rows import rows_of, run_count

__all__ = ["CONTEXT_LINKS", "ENUMS", "Field", "field_of"]

HIDDEN: Final = frozenset(
    {
        *("secret_hash", "secret", "parts", "request", "iam_policy", "payload"),
        *("attempt", "executor", "handle", "lease_owner", "lease_until", "cancel_requested"),
    }
)
ALIASES: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("encryption_spec", "kms_key_name"): ("kms_key_name",)
}
CONTEXT_LINKS: Final = ("parent_contexts", "child_contexts")

TIMES: Final = frozenset({"create_time", "update_time", "start_time", "end_time"})
"""Microseconds since the epoch; 0 for none."""


def _states(prefix: str) -> dict[str, int]:
    """The numbers of JobState, by the names that a message of the API gives them."""
    return {f"{prefix}_UNSPECIFIED": 0, **{f"{prefix}_{s.name}": s for s in JobState}}


ENUMS: Final[dict[tuple[str, str], dict[str, int]]] = {
    ("timeSeries", "value_type"): {"VALUE_TYPE_UNSPECIFIED": 0, **{t.name: t for t in ValueType}},
    ("artifacts", "state"): {"STATE_UNSPECIFIED": 0, "PENDING": 1, "LIVE": 2},
    ("executions", "state"): {
        "STATE_UNSPECIFIED": 0,
        "NEW": 1,
        "RUNNING": 2,
        "COMPLETE": 3,
        "FAILED": 4,
        "CACHED": 5,
        "CANCELLED": 6,
    },
    ("metadataSchemas", "schema_type"): {
        "METADATA_SCHEMA_TYPE_UNSPECIFIED": 0,
        "ARTIFACT_TYPE": 1,
        "EXECUTION_TYPE": 2,
        "CONTEXT_TYPE": 3,
    },
    ("customJobs", "state"): _states("JOB_STATE"),
    ("trainingPipelines", "state"): _states("PIPELINE_STATE"),
}
"""Names of the numbers in a column, as in the API's messages, by kind and field."""


class Field(Struct, frozen=True):
    """One field of a kind.

    Attributes:
        sort: `text`, `number`, `time`, `flag`, `enum` or `document`.
        column: What it is in SQL.
        keys: Of a document: the way to the member; empty for the document itself.
        numbers: Of an enum: the numbers by name.
    """

    sort: str
    column: ColumnElement[Any]
    keys: tuple[str, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)


_FIELDS: dict[str, dict[str, Field]] = {}


def field_of(
    kind: type[Resource], path: tuple[str, ...], where: str, position: int | None = None
) -> Field:
    """Finds a field.

    Args:
        kind: The kind of resource.
        path: The field's path; its first part in snake_case.
        where: What named it, for the error: `filter` or `order_by`.
        position: Where that text names it, for the error; None if that is not known.

    Raises:
        errors.InvalidArgument: If the kind has no such field.
    """
    path = ALIASES.get(path, path)
    found = _fields(kind).get(path[0])
    if found is None or (len(path) > 1 and found.sort != "document"):
        raise _unknown_field(kind, path, where, position)
    return Field("document", found.column, path[1:]) if found.sort == "document" else found


def _unknown_field(
    kind: type[Resource], path: tuple[str, ...], where: str, position: int | None
) -> errors.InvalidArgument:
    known = sorted(
        f"{name}.KEY" if found.sort == "document" else name for name, found in _fields(kind).items()
    )
    if kind.kind == "contexts" and where == "filter":
        known += CONTEXT_LINKS
    place = "" if position is None else f", character {position + 1}"
    return errors.InvalidArgument(
        f"`{where}`{place}: {kind.kind} can't be searched by {shown('.'.join(path))}, "
        f"only by {', '.join(known)}."
    )


def _fields(kind: type[Resource]) -> dict[str, Field]:
    fields = _FIELDS.get(kind.kind)
    if fields is None:
        fields = _FIELDS[kind.kind] = _make_fields(kind)
    return fields


def _make_fields(kind: type[Resource]) -> dict[str, Field]:
    rows = rows_of(kind)
    fields: dict[str, Field] = {}
    for name in rows.stored:
        column = rows.table.c[name]
        if name in HIDDEN or name == "revision" or isinstance(column.type, LargeBinary):
            continue
        if name in TIMES:
            sort = "time"
        elif (kind.kind, name) in ENUMS:
            sort = "enum"
        elif isinstance(column.type, JSON):
            sort = "document"
        elif isinstance(column.type, Boolean):
            sort = "flag"
        elif isinstance(column.type, BigInteger | SmallInteger):
            sort = "number"
        else:
            sort = "text"
        fields[name] = Field(sort, column, numbers=ENUMS.get((kind.kind, name), {}))
    if kind.kind == "tensorboards":
        fields["run_count"] = Field("number", run_count())
    return fields
