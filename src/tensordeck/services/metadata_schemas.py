"""Metadata schemas: registered, listed, and enforced where a resource names a registered one.

Resources may name any schema, registered or not: the client sends titles (`system.Experiment`,
`google.VertexModel`, a user's own) that nobody registers. Titles that begin with `system.` or
`google.` are the API's own; what is registered under them is kept and not enforced.
"""

import re
import uuid
from typing import Any, Final

from tensordeck import names, protos
from tensordeck.errors import AlreadyExists, InvalidArgument
from tensordeck.filters import Comparison, parse_filter
from tensordeck.names import ResourceName, shown
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.metadata_collection import MetadataCollection
from tensordeck.services.schema_documents import SchemaDocument, read_schema
from tensordeck.services.times import set_micros
from tensordeck.store.resources import MetadataSchema

_NAME: Final = (*names.METADATA_STORE, "metadataSchemas")
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_BUILT_IN: Final = ("system.", "google.")
_BUILT_IN_VERSION: Final = "0.0.1"
_TYPES: Final = {1: "artifacts", 2: "executions", 3: "contexts"}
"""What a schema is for, by the number of its type."""


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
        title = read_schema(given.schema).title
        if given.schema_type not in _TYPES:
            raise InvalidArgument(
                "`metadata_schema.schema_type` must be ARTIFACT_TYPE, EXECUTION_TYPE or "
                "CONTEXT_TYPE."
            )
        if any(s.schema_version == given.schema_version for s in self._titled(store, title)):
            raise AlreadyExists(
                f"A schema {shown(title)} of version {given.schema_version} already exists in "
                f"{store}; register it with another `metadata_schema.schema_version`."
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
            for schema in self._titled(store, title)
        ]
        return ".".join(str(part) for part in max(versions)) if versions else _BUILT_IN_VERSION

    def _schema(
        self, store: ResourceName, title: str, version: str, kind: str
    ) -> SchemaDocument | None:
        """The registered schema of a kind of resource that has this title and version, if any."""
        if title.startswith(_BUILT_IN):
            return None
        for schema in self._titled(store, title):
            if schema.schema_version == version and _TYPES.get(schema.schema_type) == kind:
                return read_schema(schema.schema)
        return None

    def _titled(self, store: ResourceName, title: str) -> list[MetadataSchema]:
        """The registered schemas with a title."""
        if not title:
            return []
        holding = Comparison(("schema",), ":", (title.rpartition(".")[2],))
        found = self._every(MetadataSchema, store, holding)
        return [schema for schema in found if read_schema(schema.schema).title == title]


def is_built_in(title: str, version: str) -> bool:
    """Whether it can be told without a look at the store that no registered schema is enforced."""
    return bool(version) and title.startswith(_BUILT_IN)


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
