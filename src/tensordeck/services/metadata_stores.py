"""Metadata stores: `PL/metadataStores/default`."""

from typing import Any

from tensordeck import names, protos
from tensordeck.errors import NotFound
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.metadata_collection import DEFAULT, MetadataCollection
from tensordeck.services.times import set_micros
from tensordeck.store.resources import MetadataStore


class MetadataStores(MetadataCollection):
    """Calls on metadata stores."""

    def create_metadata_store(self, request: Any, _call: Call) -> Any:
        """Creates a metadata store; its id is `default` unless another is given."""
        parent = names.parse(request.parent, names.LOCATION, "parent")
        store_id = names.validate_id(
            request.metadata_store_id or DEFAULT, "metadata", "metadata_store_id"
        )
        record = MetadataStore(
            name=str(parent.child("metadataStores", store_id)),
            description=request.metadata_store.description,
        )
        return _message(self._catalog.create(record))

    def get_metadata_store(self, request: Any, _call: Call) -> Any:
        """Returns a metadata store; the default one always exists."""
        name = self._store_name(request.name, "name")
        return _message(self._in_store(name, lambda: self._catalog.get(MetadataStore, str(name))))

    def list_metadata_stores(self, request: Any, _call: Call) -> Any:
        """Lists the metadata stores of a project and region."""
        parent = names.parse(request.parent, names.LOCATION, "parent")
        self._ensure_store(parent.child("metadataStores", DEFAULT))
        page = self._catalog.list(
            MetadataStore,
            str(parent),
            page_size=paging.METADATA.of(request.page_size),
            page_token=request.page_token,
        )
        return protos.message("ListMetadataStoresResponse")(
            metadata_stores=[_message(record) for record in page.items],
            next_page_token=page.next_token,
        )

    def delete_metadata_store(self, request: Any, _call: Call) -> Any:
        """Deletes a metadata store with all in it; the default one is empty then."""
        name = self._store_name(request.name, "name")
        try:
            self._catalog.delete(MetadataStore, str(name))
        except NotFound:
            if name.id != DEFAULT:
                raise
        return protos.message("google.protobuf.Empty")()


def _message(record: MetadataStore) -> Any:
    message = protos.message("MetadataStore")(name=record.name, description=record.description)
    set_micros(message.create_time, record.create_time)
    set_micros(message.update_time, record.update_time)
    return message
