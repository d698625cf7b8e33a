"""The XML API: https://cloud.google.com/storage/docs/xml-api/reference-methods.

TensorFlow reads objects by it, and some tools list and write by it.
"""

from collections.abc import Mapping
from typing import Final

from anyio import to_thread
from starlette.responses import Response

from tensordeck.errors import InvalidArgument, Unimplemented
from tensordeck.front.storage_api.addresses import decoded
from tensordeck.front.storage_api.bodies import BodyChunks
from tensordeck.front.storage_api.calls import STORAGE_THREADS, StorageCall, resource_name
from tensordeck.front.storage_api.downloads import download, object_headers
from tensordeck.front.storage_api.replies import xml_reply, xml_text
from tensordeck.front.storage_api.representation import hash_header, timestamp
from tensordeck.front.storage_api.uploads import checksums_of, run_upload
from tensordeck.services.storage_attributes import Attributes
from tensordeck.services.storage_conditions import Conditions, metageneration
from tensordeck.services.storage_copies import Source, copy
from tensordeck.services.storage_listing import ObjectQuery
from tensordeck.services.storage_names import object_name
from tensordeck.store.resources import StoredObject

__all__ = ["answer_xml", "permission_of"]

_PAGE: Final = 1000
_NAMESPACE: Final = "http://doc.s3.amazonaws.com/2006-03-01"
_HEADERS: Final = {
    "cache-control": "cacheControl",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
    "x-goog-custom-time": "customTime",
    "x-goog-storage-class": "storageClass",
}
_META: Final = "x-goog-meta-"
_SUBRESOURCES: Final = (
    "acl",
    "billing",
    "compose",
    "cors",
    "encryption",
    "encryptionConfig",
    "lifecycle",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "retention",
    "storageClass",
    "tagging",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "websiteConfig",
)
_PERMISSIONS: Final = {
    ("GET", False): "storage.objects.list",
    ("HEAD", False): "storage.buckets.get",
    ("PUT", False): "storage.buckets.create",
    ("DELETE", False): "storage.buckets.delete",
    ("GET", True): "storage.objects.get",
    ("HEAD", True): "storage.objects.get",
    ("PUT", True): "storage.objects.create",
    ("POST", True): "storage.objects.create",
    ("DELETE", True): "storage.objects.delete",
}


def permission_of(method: str, name: str, query: Mapping[str, str]) -> str:
    """The permission that a request needs.

    Args:
        method: The HTTP method.
        name: The object's name; empty for a request to a bucket.
        query: The query's parameters.

    Raises:
        Unimplemented: If there is no such method.
    """
    if method == "GET" and not name and "location" in query:
        return "storage.buckets.get"
    try:
        return _PERMISSIONS[method, bool(name)]
    except KeyError:
        raise Unimplemented(f"The XML API has no {method} here.") from None


async def answer_xml(call: StorageCall) -> Response:
    """Answers a request of the XML API.

    Raises:
        TensordeckError: Whatever is wrong with it.
    """
    for name in call.query:
        if name in _SUBRESOURCES:
            raise Unimplemented(f"The XML API's `?{name}` is not offered here; use the JSON API.")
    method = call.request.method
    if call.object and method == "PUT":
        return await _put_object(call)
    handlers = {
        ("GET", False): _list_objects,
        ("HEAD", False): _head_bucket,
        ("PUT", False): _create_bucket,
        ("DELETE", False): _delete_bucket,
        ("GET", True): _get_object,
        ("HEAD", True): _head_object,
        ("DELETE", True): _delete_object,
    }
    handler = handlers.get((method, bool(call.object)))
    if handler is None:
        raise Unimplemented(f"The XML API has no {method} here.")
    return await to_thread.run_sync(handler, call, limiter=STORAGE_THREADS)


def _list_objects(call: StorageCall) -> Response:
    if "location" in call.query:
        bucket = call.service.buckets.get(call.bucket)
        return xml_reply(f"<LocationConstraint>{xml_text(bucket.location)}</LocationConstraint>")
    second = call.query.get("list-type") == "2"
    size = call.whole_number("max-keys")
    marker = call.query.get("start-after" if second else "marker", "")
    page = call.service.objects.list(
        call.bucket,
        ObjectQuery(
            prefix=call.query.get("prefix", ""),
            delimiter=call.query.get("delimiter", ""),
            start=_after(marker, call.query.get("delimiter", "")),
            page_size=min(_PAGE if size is None else max(size, 1), _PAGE),
            page_token=call.query.get("continuation-token", ""),
        ),
    )
    last = max([*(object_name(row) for row in page.items[-1:]), *page.prefixes[-1:]], default="")
    parts = [
        f"<Name>{call.bucket}</Name>",
        f"<Prefix>{xml_text(call.query.get('prefix', ''))}</Prefix>",
    ]
    if call.query.get("delimiter"):
        parts.append(f"<Delimiter>{xml_text(call.query['delimiter'])}</Delimiter>")
    if second:
        parts.append(f"<KeyCount>{len(page.items) + len(page.prefixes)}</KeyCount>")
    else:
        parts.append(f"<Marker>{xml_text(marker)}</Marker>")
    if page.next_token and second:
        parts.append(f"<NextContinuationToken>{page.next_token}</NextContinuationToken>")
    elif page.next_token:
        parts.append(f"<NextMarker>{xml_text(last)}</NextMarker>")
    parts.append(f"<IsTruncated>{'true' if page.next_token else 'false'}</IsTruncated>")
    parts += [_contents(row) for row in page.items]
    parts += [
        f"<CommonPrefixes><Prefix>{xml_text(prefix)}</Prefix></CommonPrefixes>"
        for prefix in page.prefixes
    ]
    return xml_reply(f"<ListBucketResult xmlns='{_NAMESPACE}'>{''.join(parts)}</ListBucketResult>")


def _after(marker: str, delimiter: str) -> str:
    """The first name that a list after `marker` may have; past a folder that was listed."""
    if not marker:
        return ""
    if delimiter and marker.endswith(delimiter):
        return marker + chr(0x10FFFF)
    return marker + "\x01"  # no name holds NUL


def _contents(row: StoredObject) -> str:
    return (
        f"<Contents><Key>{xml_text(object_name(row))}</Key>"
        f"<Generation>{row.generation}</Generation>"
        f"<MetaGeneration>{metageneration(row)}</MetaGeneration>"
        f"<LastModified>{timestamp(row.update_time)}</LastModified>"
        f'<ETag>"{row.md5.hex()}"</ETag><Size>{row.size}</Size></Contents>'
    )


def _head_bucket(call: StorageCall) -> Response:
    bucket = call.service.buckets.get(call.bucket)
    return Response(
        headers={
            "X-Goog-Metageneration": str(bucket.revision),
            "X-Goog-Bucket-Location": bucket.location,
        }
    )


def _create_bucket(call: StorageCall) -> Response:
    project = call.request.headers.get("x-goog-project-id", "")
    call.service.buckets.create(project, {"name": call.bucket})
    return Response()


def _delete_bucket(call: StorageCall) -> Response:
    call.service.buckets.delete(call.bucket, Conditions())
    return Response(status_code=204)


def _get_object(call: StorageCall) -> Response:
    return download(call, call.bucket, call.object, xml=True)


def _head_object(call: StorageCall) -> Response:
    row = call.service.objects.get(call.bucket, call.object, call.generation, _conditions(call))
    headers = {**object_headers(row, xml=True), "Content-Length": str(row.size)}
    return Response(headers=headers)


def _delete_object(call: StorageCall) -> Response:
    call.service.objects.delete(call.bucket, call.object, _conditions(call), call.generation)
    return Response(status_code=204)


async def _put_object(call: StorageCall) -> Response:
    headers = call.request.headers
    if source := headers.get("x-goog-copy-source"):
        return await to_thread.run_sync(_copy_object, call, source, limiter=STORAGE_THREADS)
    attributes = _attributes(call)
    checksums = checksums_of(call.request)
    chunks = BodyChunks(call.request.stream())
    row = await run_upload(
        lambda: call.service.objects.write(
            call.bucket, call.object, chunks, attributes, _conditions(call), checksums
        )
    )
    return Response(headers=_written_headers(row))


def _copy_object(call: StorageCall, source: str) -> Response:
    bucket, _, name = decoded(source.removeprefix("/")).partition("/")
    if not name:
        raise InvalidArgument("`x-goog-copy-source` must be BUCKET/OBJECT.")
    call.access.check(call.caller, "storage.objects.get", resource_name(bucket, name))
    replaced = call.request.headers.get("x-goog-metadata-directive", "COPY").upper() == "REPLACE"
    row = copy(
        call.service.store,
        bucket,
        Source(name),
        call.bucket,
        call.object,
        attributes=_attributes(call) if replaced else None,
        conditions=_conditions(call),
    )
    etag = row.md5.hex()
    return xml_reply(
        f"<CopyObjectResult xmlns='{_NAMESPACE}'><ETag>\"{etag}\"</ETag>"
        f"<LastModified>{timestamp(row.update_time)}</LastModified></CopyObjectResult>"
    )


def _written_headers(row: StoredObject) -> dict[str, str]:
    return {
        "ETag": f'"{row.md5.hex()}"',
        "X-Goog-Generation": str(row.generation),
        "X-Goog-Metageneration": str(metageneration(row)),
        "X-Goog-Hash": hash_header(row),
        "X-Goog-Stored-Content-Length": str(row.size),
    }


def _attributes(call: StorageCall) -> Attributes:
    headers = call.request.headers
    body: dict[str, object] = {
        field: headers[name] for name, field in _HEADERS.items() if name in headers
    }
    body["contentType"] = headers.get("content-type", "")
    body["metadata"] = {
        name.removeprefix(_META): value for name, value in headers.items() if name.startswith(_META)
    }
    return Attributes.parse(body)


def _conditions(call: StorageCall) -> Conditions:
    headers = call.request.headers
    return Conditions.parse(
        {
            "ifGenerationMatch": headers.get("x-goog-if-generation-match"),
            "ifMetagenerationMatch": headers.get("x-goog-if-metageneration-match"),
        }
    )
