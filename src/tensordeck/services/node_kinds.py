"""The three kinds of metadata nodes: records, messages, and the change of one."""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import Aborted, InvalidArgument
from tensordeck.services import masks, rules, structs
from tensordeck.services.schema_documents import SchemaDocument
from tensordeck.services.times import set_micros
from tensordeck.store.resources import Artifact, Context, Execution, MetadataNode

__all__ = [
    "ARTIFACTS",
    "CONTEXTS",
    "EXECUTIONS",
    "NodeChange",
    "NodeKind",
    "Settle",
    "check_metadata",
    "metadata_etag",
    "revision_of",
    "settled",
    "stale",
    "with_numbers",
]

N = TypeVar("N", Context, Artifact, Execution)

Settle = Callable[["NodeKind[N]", N, Any], Any]
"""Makes of a kind, a record and the node of a request what is to be applied, or raises."""

_COMMON: Final = frozenset({"display_name", "description", "labels", "metadata"})
_SCHEMA: Final = frozenset({"schema_title", "schema_version"})
_ETAG_BASE: Final = 10**12


class NodeKind(Struct, Generic[N], frozen=True):
    """One of the three kinds.

    Attributes:
        record: What the catalog keeps.
        singular: The message's name.
        own: Fields of the kind alone that an update may change; the same in record and message.
    """

    record: type[N]
    singular: str
    own: frozenset[str] = frozenset()

    @property
    def collection(self) -> str:
        """The collection in names, e.g. `contexts`."""
        return self.record.kind

    @property
    def pattern(self) -> tuple[str, ...]:
        """The form of a name."""
        return (*names.METADATA_STORE, self.collection)

    @property
    def field(self) -> str:
        """The request's field that holds one."""
        return self.singular.lower()

    def message(self, record: N) -> Any:
        """A record as a message."""
        message = protos.message(self.singular)(
            name=record.name,
            display_name=record.display_name,
            description=record.description,
            labels=record.labels,
            etag=metadata_etag(record),
            schema_title=record.schema_title,
            schema_version=record.schema_version,
            metadata=structs.to_struct(record.metadata),
            **{field: getattr(record, field) for field in self.own},
        )
        if isinstance(record, Context):
            message.parent_contexts.extend(record.parent_contexts)
        set_micros(message.create_time, record.create_time)
        set_micros(message.update_time, record.update_time)
        return message

    def changed(self, record: N, message: Any) -> N:
        """The record with the message's fields."""
        own: dict[str, Any] = {field: getattr(message, field) for field in self.own}
        return replace(
            record,
            display_name=message.display_name,
            description=message.description,
            labels=dict(message.labels),
            metadata=structs.to_json(message.metadata),
            **own,
        )

    def check(self, message: Any, labels_before: dict[str, str]) -> None:
        """Checks the fields that a caller may set.

        Raises:
            InvalidArgument: If one breaks a documented rule.
        """
        rules.check_labels(message.labels, f"{self.field}.labels", labels_before)
        if (size := message.metadata.ByteSize()) > rules.METADATA_LIMIT:
            raise InvalidArgument(
                f"`{self.field}.metadata` must be at most {rules.METADATA_LIMIT} bytes; "
                f"it has {size}."
            )


CONTEXTS: Final = NodeKind(Context, "Context")
ARTIFACTS: Final = NodeKind(Artifact, "Artifact", frozenset({"uri", "state"}))
EXECUTIONS: Final = NodeKind(Execution, "Execution", frozenset({"state"}))


def metadata_etag(record: MetadataNode) -> str:
    """The etag: a number of constant width, for the client compares two of them as strings."""
    return str(_ETAG_BASE + record.revision)


def revision_of(etag: str) -> int:
    """The revision that an etag stands for; 0 if it is none of ours."""
    return int(etag) - _ETAG_BASE if etag.isascii() and etag.isdigit() and len(etag) < 20 else 0


def stale(kind: NodeKind[N], record: N, etag: str) -> Aborted:
    """The error for a change by one who has not seen the present state.

    The client reads the two numbers from the beginning of its text.
    """
    return Aborted(
        f"Specified {kind.singular} `etag`: `{etag[:64]}` does not match "
        f"server `etag`: `{metadata_etag(record)}`. {record.name} was not changed: "
        "read it again, then retry."
    )


def with_numbers(given: Any, base: MetadataNode) -> Any:
    """A node as it was sent, with those texts as numbers that we had made of numbers.

    Args:
        given: The node; it may be changed.
        base: What its sender had read.
    """
    if given.HasField("metadata") and structs.lacks_json(base.metadata):
        sent = structs.to_json(given.metadata)
        numbers = structs.respelled(sent, base.metadata)
        if numbers != sent:
            given.metadata.CopyFrom(structs.to_struct(numbers))
    return given


def check_metadata(kind: NodeKind[N], record: N, schema: SchemaDocument | None) -> None:
    """Checks a node's metadata against the schema that is registered for it.

    Raises:
        InvalidArgument: If it does not fit.
    """
    if schema is not None and (found := schema.errors_of(record.metadata)):
        raise InvalidArgument(
            f"`{kind.field}.metadata` does not fit the registered schema "
            f"{record.schema_title} {record.schema_version}: {'; '.join(found)}."
        )


def settled(kind: NodeKind[N], record: N, given: Any) -> Any:
    """What an update of a node applies: what was sent, by one who has seen the present state.

    Raises:
        Aborted: If the etag is another one.
    """
    if given.etag and given.etag != metadata_etag(record):
        raise stale(kind, record, given.etag)
    return with_numbers(given, record)


class NodeChange(Generic[N]):
    """One update of a node, as `Catalog.update` calls it: perhaps more than once.

    Args:
        kind: What the node is.
        given: The node of the request.
        mask: The request's mask.
        schema: The schema that is registered for the node.
        settle: Makes what is to be applied.

    Attributes:
        before: The node as it was, at the last call.
        message: The node as it is to be, but for its etag and its time of change.
    """

    before: N
    message: Any

    def __init__(
        self,
        kind: NodeKind[N],
        given: Any,
        mask: Any,
        schema: SchemaDocument | None,
        settle: Settle[N],
    ) -> None:
        self._kind: NodeKind[N] = kind
        self._given = given
        self._mask = mask
        self._schema = schema
        self._settle: Settle[N] = settle
        self._writable = masks.Writable(_COMMON | kind.own, _SCHEMA)
        self._whole = given.HasField("metadata") and not mask.paths

    def __call__(self, record: N) -> N:
        """The node as it is to be.

        Raises:
            errors.TensordeckError: If that breaks a rule.
        """
        kind = self._kind
        self.before = record
        wanted = self._settle(kind, record, self._given)
        # What is about to be replaced as a whole need not be made a message first.
        message = kind.message(replace(record, metadata={}) if self._whole else record)
        masks.merge(message, wanted, self._mask, self._writable)
        self.message = message
        kind.check(message, record.labels)
        changed = kind.changed(record, message)
        if changed.metadata != record.metadata:  # what is there may be older than its schema
            check_metadata(kind, changed, self._schema)
        return changed
