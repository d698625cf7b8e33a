"""The JSON API's calls on objects: https://cloud.google.com/storage/docs/json_api/v1/objects."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from tensordeck.errors import InvalidArgument
from tensordeck.front.storage_api.calls import StorageCall, resource_name
from tensordeck.front.storage_api.downloads import download
from tensordeck.front.storage_api.replies import json_reply
from tensordeck.front.storage_api.representation import object_json
from tensordeck.front.storage_api.uploads import named
from tensordeck.services.storage_attributes import Attributes
from tensordeck.services.storage_conditions import Conditions
from tensordeck.services.storage_copies import Source, compose, copy, move
from tensordeck.services.storage_listing import ObjectQuery
from tensordeck.store.resources import Json, StoredObject

_PAGE: Final = 1000


def insert_empty(call: StorageCall) -> Response:
    """`objects.insert` without media: an object of no bytes."""
    attributes = Attributes.parse(call.body)
    name = named(call, call.body)
    row = call.service.objects.write(call.bucket, name, (), attributes, call.conditions)
    return _shown(call, row)


def get_object(call: StorageCall) -> Response:
    """`objects.get`: the metadata, or with `alt=media` the bytes."""
    if call.query.get("alt") == "media":
        return download(call, call.bucket, call.object)
    row = call.service.objects.get(call.bucket, call.object, call.generation, call.conditions)
    return _shown(call, row)


def list_objects(call: StorageCall) -> Response:
    """`objects.list`."""
    size = call.whole_number("maxResults")
    query = ObjectQuery(
        prefix=call.query.get("prefix", ""),
        delimiter=call.query.get("delimiter", ""),
        start=call.query.get("startOffset", ""),
        end=call.query.get("endOffset", ""),
        include_trailing_delimiter=call.flag("includeTrailingDelimiter"),
        match_glob=call.query.get("matchGlob", ""),
        page_size=min(_PAGE if size is None else max(size, 1), _PAGE),
        page_token=call.query.get("pageToken", ""),
    )
    body: Json = {"kind": "storage#objects"}
    if call.flag("softDeleted"):  # deleted is deleted here
        call.service.buckets.get(call.bucket)
        return json_reply(body, call.fields)
    page = call.service.objects.list(call.bucket, query)
    if page.next_token:
        body["nextPageToken"] = page.next_token
    if page.prefixes:
        body["prefixes"] = page.prefixes
    if page.items:
        body["items"] = [object_json(row, call.base) for row in page.items]
    return json_reply(body, call.fields)


def patch_object(call: StorageCall) -> Response:
    """`objects.patch`."""
    return _shown(
        call,
        call.service.objects.update(
            call.bucket, call.object, call.body, call.conditions, generation=call.generation
        ),
    )


def update_object(call: StorageCall) -> Response:
    """`objects.update`."""
    return _shown(
        call,
        call.service.objects.update(
            call.bucket,
            call.object,
            call.body,
            call.conditions,
            generation=call.generation,
            whole=True,
        ),
    )


def delete_object(call: StorageCall) -> Response:
    """`objects.delete`."""
    call.service.objects.delete(call.bucket, call.object, call.conditions, call.generation)
    return Response(status_code=204)


def compose_object(call: StorageCall) -> Response:
    """`objects.compose`."""
    given = call.body.get("sourceObjects")
    if not isinstance(given, list):
        raise InvalidArgument("`sourceObjects` must be a list of {name}.")
    row = compose(
        call.service.store,
        call.bucket,
        call.object,
        [_source(item) for item in given],
        Attributes.parse(_mapping(call.body, "destination")),
        call.conditions,
    )
    return _shown(call, row)


def copy_object(call: StorageCall) -> Response:
    """`objects.copy`."""
    return _shown(call, _copied(call))


def rewrite_object(call: StorageCall) -> Response:
    """`objects.rewrite`; it is always done in one call."""
    row = _copied(call)
    return json_reply(
        {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(row.size),
            "objectSize": str(row.size),
            "done": True,
            "resource": object_json(row, call.base),
        },
        call.fields,
    )


def move_object(call: StorageCall) -> Response:
    """`objects.move`."""
    to_name = call.names["to_object"]
    for permission, name in (("create", to_name), ("delete", call.object)):
        resource = resource_name(call.bucket, name)
        call.access.check(call.caller, f"storage.objects.{permission}", resource)
    row = move(call.service.store, call.bucket, _path_source(call), to_name, call.conditions)
    return _shown(call, row)


def _copied(call: StorageCall) -> StoredObject:
    target = call.names["to_bucket"], call.names["to_object"]
    call.access.check(call.caller, "storage.objects.create", resource_name(*target))
    return copy(
        call.service.store,
        call.bucket,
        _path_source(call),
        *target,
        # An empty body, or one that only repeats names, keeps the source's metadata.
        attributes=Attributes.parse(call.body) if _says_something(call.body) else None,
        conditions=call.conditions,
    )


def _path_source(call: StorageCall) -> Source:
    """The source that the path names."""
    return Source(
        call.object,
        call.whole_number("sourceGeneration"),
        Conditions.parse(call.query, "Source"),
    )


def _says_something(body: Mapping[str, Any]) -> bool:
    return Attributes.parse(body) != Attributes() or "metadata" in body


def _source(item: object) -> Source:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InvalidArgument("`sourceObjects` must be a list of {name}.")
    generation = item.get("generation")
    try:
        number = None if generation is None else int(generation)
    except (TypeError, ValueError) as error:
        raise InvalidArgument("`sourceObjects.generation` must be a whole number.") from error
    conditions = Conditions.parse(_mapping(item, "objectPreconditions"))
    return Source(item["name"], number, conditions)


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name) or {}
    if not isinstance(found, dict):
        raise InvalidArgument(f"`{name}` must be an object.")
    return found


def _shown(call: StorageCall, row: StoredObject) -> Response:
    return json_reply(object_json(row, call.base), call.fields)
