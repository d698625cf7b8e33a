"""What contexts, artifacts and executions have in common: their life from create to purge."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.filters import Filter, parse_filter
from tensordeck.names import ResourceName
from tensordeck.services import paging, structs
from tensordeck.services.concurrent_writes import HandedOut
from tensordeck.services.metadata_schemas import MetadataSchemas
from tensordeck.services.node_kinds import (
    NodeChange,
    NodeKind,
    Settle,
    check_metadata,
    metadata_etag,
    settled,
    stale,
)
from tensordeck.services.schema_documents import SchemaDocument
from tensordeck.services.times import set_micros
from tensordeck.store import Store
from tensordeck.store.resources import Artifact, Context, Execution

N = TypeVar("N", Context, Artifact, Execution)

_SAMPLE: Final = 100


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
        settle: Settle[N] = settled,
        then: Callable[[N, N], None] | None = None,
    ) -> Any:
        """Changes a node.

        Args:
            kind: What it is.
            given: The node of the request.
            request: The request, for its mask and `allow_missing`.
            settle: As `NodeChange` has it.
            then: Told what the node was and what it is now.
        """
        name = names.parse(given.name, kind.pattern, f"{kind.field}.name")
        schema = self._schema_of(kind, name, given)
        change = NodeChange(kind, given, request.update_mask, schema, settle)
        try:
            updated = self._catalog.update(kind.record, str(name), change)
        except NotFound:
            if not request.allow_missing:
                raise
            return self._create(kind, str(name.parent), given, name.id)
        if then is not None:
            then(change.before, updated)
        return self._shown(kind, updated, change.message)

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
