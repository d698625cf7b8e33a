"""Metadata schemas: kept and listed; what they say is not enforced.

Resources may name any schema, registered or not: the client sends titles (`system.Experiment`,
`google.VertexModel`, a user's own) that nobody registers.
"""

import re
import uuid
from typing import Any, Final

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument
from tensordeck.filters import parse_filter
from tensordeck.names import ResourceName, shown
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.metadata_collection import MetadataCollection
from tensordeck.services.times import set_micros
from tensordeck.store.resources import MetadataSchema

_NAME: Final = (*names.METADATA_STORE, "metadataSchemas")
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_TITLE: Final = re.compile(r"""^\s*["']?title["']?\s*:\s*["']?([^"'\s,]+)""", re.MULTILINE)
_BUILT_IN_VERSION: Final = "0.0.1"
_TYPES: Final = (1, 2, 3)


class MetadataSchemas(MetadataCollection):
    """Calls on metadata schemas."""

    def create_metadata_schema(self, request: Any, _call: Call) -> Any:
        """Registers a schema."""
        store = self._store_name(request.parent)
        given = request.metadata_schema
        schema_id = request.metadata_schema_id or str(uuid.uuid4())
        names.validate_id(schema_id, "metadata", "metadata_schema_id")
        if not _VERSION.fullmatch(given.schema_version):
            raise InvalidArgument(
                "`metadata_schema.schema_version` must have the form 1.0.2; "
                f"it is {shown(given.schema_version)}."
            )
        if not _TITLE.search(given.schema):
            raise InvalidArgument("`metadata_schema.schema` must be YAML or JSON with a `title`.")
        if given.schema_type not in _TYPES:
            raise InvalidArgument(
                "`metadata_schema.schema_type` must be ARTIFACT_TYPE, EXECUTION_TYPE or "
                "CONTEXT_TYPE."
            )
        record = MetadataSchema(
            name=str(store.child("metadataSchemas", schema_id)),
            schema=given.schema,
            schema_version=given.schema_version,
            schema_type=given.schema_type,
            description=given.description,
        )
        return _message(self._in_store(store, lambda: self._catalog.create(record)))

    def get_metadata_schema(self, request: Any, _call: Call) -> Any:
        """Returns a schema."""
        name = str(names.parse(request.name, _NAME))
        return _message(self._catalog.get(MetadataSchema, name))

    def list_metadata_schemas(self, request: Any, _call: Call) -> Any:
        """Lists the schemas of a store."""
        page = self._page(
            MetadataSchema,
            self._store_name(request.parent),
            parse_filter(request.filter),
            paging.METADATA.of(request.page_size),
            request.page_token,
        )
        return protos.message("ListMetadataSchemasResponse")(
            metadata_schemas=[_message(record) for record in page.items],
            next_page_token=page.next_token,
        )

    def _latest_version(self, store: ResourceName, title: str) -> str:
        """The latest registered version of a schema; that of the built-in ones if none is."""
        if not title:
            return ""
        versions = [
            tuple(int(part) for part in schema.schema_version.split("."))
            for schema in self._every(MetadataSchema, store)
            if (found := _TITLE.search(schema.schema)) and found[1] == title
        ]
        return ".".join(str(part) for part in max(versions)) if versions else _BUILT_IN_VERSION


def _message(record: MetadataSchema) -> Any:
    message = protos.message("MetadataSchema")(
        name=record.name,
        schema_version=record.schema_version,
        schema=record.schema,
        schema_type=record.schema_type,
        description=record.description,
    )
    set_micros(message.create_time, record.create_time)
    return message
