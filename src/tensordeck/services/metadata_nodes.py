"""What contexts, artifacts and executions have in common: their life from create to purge."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from tensordeck import names, protos
from tensordeck.errors import Aborted, InvalidArgument, NotFound
from tensordeck.filters import Filter, parse_filter
from tensordeck.names import ResourceName
from tensordeck.services import masks, paging, rules, structs
from tensordeck.services.concurrent_writes import HandedOut
from tensordeck.services.metadata_schemas import MetadataSchemas
from tensordeck.services.schema_documents import SchemaDocument
from tensordeck.services.times import set_micros
from tensordeck.store import Store
from tensordeck.store.resources import Artifact, Context, Execution, MetadataNode

N = TypeVar("N", Context, Artifact, Execution)

_COMMON: Final = frozenset({"display_name", "description", "labels", "metadata"})
_SCHEMA: Final = frozenset({"schema_title", "schema_version"})
_SAMPLE: Final = 100
_ETAG_BASE: Final = 10**12


@dataclass(frozen=True, slots=True)
class NodeKind(Generic[N]):
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


class MetadataNodes(MetadataSchemas):
    """The calls of any kind, behind the methods that carry the kind's name."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._handed_out = HandedOut()

    def _shown(self, kind: NodeKind[N], record: N, merged: Any = None) -> Any:
        """A record as callers see it; a context is remembered, for its next update's sake.

        Args:
            kind: What it is.
            record: The record.
            merged: The message that it was just made of, to save making it again: it may have all
                but its etag and its time of change.
        """
        metadata = structs.spelled(record.metadata)
        plain = metadata is record.metadata
        if merged is not None and plain:
            message = merged
            message.etag = metadata_etag(record)
            set_micros(message.update_time, record.update_time)
        else:
            message = kind.message(record if plain else replace(record, metadata=metadata))
        if isinstance(record, Context):
            self._handed_out.remember(record, message.etag, message.metadata.ByteSize())
        return message

    def _create(self, kind: NodeKind[N], parent: str, given: Any, node_id: str) -> Any:
        store = self._store_name(parent)
        node_id = node_id or str(uuid.uuid4())
        names.validate_id(node_id, "metadata", f"{kind.field}_id")
        kind.check(given, {})
        version = given.schema_version or self._latest_version(store, given.schema_title)
        new = kind.record(
            name=str(store.child(kind.collection, node_id)),
            schema_title=given.schema_title,
            schema_version=version,
        )
        record = kind.changed(new, given)
        schema = self._schema(store, given.schema_title, version, kind.collection)
        check_metadata(kind, record, schema)
        return self._shown(kind, self._in_store(store, lambda: self._catalog.create(record)))

    def _get(self, kind: NodeKind[N], name: str) -> Any:
        found = self._catalog.get(kind.record, str(names.parse(name, kind.pattern)))
        return self._shown(kind, found)

    def _list(self, kind: NodeKind[N], request: Any) -> Any:
        page = self._page(
            kind.record,
            self._store_name(request.parent),
            parse_filter(request.filter),
            paging.METADATA.of(request.page_size),
            request.page_token,
            request.order_by,
        )
        reply = protos.message(f"List{kind.singular}sResponse")(next_page_token=page.next_token)
        getattr(reply, kind.collection).extend(self._shown(kind, record) for record in page.items)
        return reply

    def _update(
        self,
        kind: NodeKind[N],
        given: Any,
        request: Any,
        settle: Callable[[N, Any], Any] | None = None,
        then: Callable[[N, N], None] | None = None,
    ) -> Any:
        """Changes a node.

        Args:
            kind: What it is.
            given: The node of the request.
            request: The request, for its mask and `allow_missing`.
            settle: Makes of the record and `given` what is to be applied; without it that is
                `given`, and an etag that is not the present one is an error.
            then: Told what the node was and what it is now.
        """
        name = names.parse(given.name, kind.pattern, f"{kind.field}.name")
        writable = masks.Writable(_COMMON | kind.own, _SCHEMA)

        schema = self._schema_of(kind, name, given)
        whole = given.HasField("metadata") and not request.update_mask.paths
        before: list[N] = []
        merged: list[Any] = []

        def change(record: N) -> N:
            before[:] = [record]
            if settle is not None:
                wanted = settle(record, given)
            elif given.etag and given.etag != metadata_etag(record):
                raise stale(kind, record, given.etag)
            else:
                wanted = with_numbers(given, record)
            # What is about to be replaced as a whole need not be made a message first.
            message = kind.message(replace(record, metadata={}) if whole else record)
            masks.merge(message, wanted, request.update_mask, writable)
            merged[:] = [message]
            kind.check(message, record.labels)
            changed = kind.changed(record, message)
            if changed.metadata != record.metadata:  # what is there may be older than its schema
                check_metadata(kind, changed, schema)
            return changed

        try:
            updated = self._catalog.update(kind.record, str(name), change)
        except NotFound:
            if not request.allow_missing:
                raise
            return self._create(kind, str(name.parent), given, name.id)
        if then is not None:
            then(before[0], updated)
        return self._shown(kind, updated, merged[0])

    def _schema_of(
        self, kind: NodeKind[N], name: ResourceName, given: Any
    ) -> SchemaDocument | None:
        """The schema of a node that is about to change; the client always sends its name."""
        title, version = given.schema_title, given.schema_version
        if given.HasField("metadata") and not (title and version):
            found = self._catalog.find(kind.record, str(name))
            if found is not None:
                title, version = found.schema_title, found.schema_version
        return self._schema(name.parent, title, version, kind.collection)

    def _delete(
        self, kind: NodeKind[N], request: Any, then: Callable[[N], None] | None = None
    ) -> Any:
        """Deletes a node and tells `then` what it was."""
        name = str(names.parse(request.name, kind.pattern))
        deleted: list[N] = []

        def check(record: N) -> None:
            if request.etag and request.etag != metadata_etag(record):
                raise stale(kind, record, request.etag)
            deleted[:] = [record]

        self._catalog.delete(kind.record, name, check=check)
        if then is not None:
            then(deleted[0])
        return protos.message("google.protobuf.Empty")()

    def _purge(
        self, kind: NodeKind[N], request: Any, then: Callable[[N], None] | None = None
    ) -> Any:
        """Deletes what matches a filter, or only says what would be deleted.

        `then` is told each node that it deleted.
        """
        store = self._store_name(request.parent)
        tree = parse_filter(request.filter)
        if tree is None:
            raise InvalidArgument("`filter` is required: it says what to purge.")
        found = list(self._every(kind.record, store, tree))
        reply = protos.message(f"Purge{kind.singular}sResponse")(purge_count=len(found))
        if not request.force:
            reply.purge_sample.extend(record.name for record in found[:_SAMPLE])
            return reply
        reply.purge_count = self._catalog.delete_many(kind.record, [node.name for node in found])
        if then is not None:
            for record in found:
                then(record)
        return reply

    def _names(self, kind: NodeKind[N], store: ResourceName, tree: Filter) -> Iterator[str]:
        return (record.name for record in self._every(kind.record, store, tree))
