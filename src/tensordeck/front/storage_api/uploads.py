"""Uploads: in one request (media, multipart), or resumable in several.

https://cloud.google.com/storage/docs/uploads-downloads and .../performing-resumable-uploads.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from tensordeck.errors import InvalidArgument
from tensordeck.front.storage_api.addresses import raw_path
from tensordeck.front.storage_api.bodies import (
    JSON_LIMIT,
    BodyChunks,
    read_json,
    read_limited,
)
from tensordeck.front.storage_api.calls import StorageCall
from tensordeck.front.storage_api.related import RelatedBody, boundary_of
from tensordeck.front.storage_api.replies import json_reply
from tensordeck.front.storage_api.representation import object_json
from tensordeck.services.storage_attributes import NO_CHECKSUMS, Attributes, Checksums
from tensordeck.services.storage_uploads import is_complete
from tensordeck.store.resources import UploadSession

__all__ = ["checksums_of", "named", "run_upload", "upload_chunk", "upload_object"]

_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
_UPLOADS: Final = CapacityLimiter(64)
"""Threads that pull bodies. They wait for clients, so that other calls must not share them."""


async def upload_object(call: StorageCall) -> Response:
    """`objects.insert`, of any kind.

    Raises:
        InvalidArgument: If the kind or a field is unknown, or the body is cut off.
        NotFound: If there is no such bucket.
        ConditionNotMet: If a precondition does not hold.
    """
    if "upload_id" in call.query:
        return await upload_chunk(call)
    kind = call.query.get("uploadType", "")
    if kind == "media":
        return await _upload_media(call)
    if kind == "multipart":
        return await _upload_multipart(call)
    if kind == "resumable":
        return await _start_resumable(call)
    raise InvalidArgument(
        f"`uploadType` must be media, multipart or resumable; it is {kind[:40]!r}."
    )


async def upload_chunk(call: StorageCall) -> Response:
    """A `PUT` of a resumable upload: bytes, or the question how many came.

    Raises:
        InvalidArgument: If `Content-Range` can't be read or does not fit the body.
        NotFound: If there is no such upload.
    """
    upload = call.query["upload_id"]
    headers = call.request.headers
    text = headers.get("content-range", "")
    found = _RANGE.fullmatch(text.strip())
    if text and found is None:
        raise InvalidArgument(f"`Content-Range` can't be read: {text[:80]!r}.")
    chunks = BodyChunks(call.request.stream(), keep_partial=True)
    first, last, total_text = found.groups() if found else ("0", None, "*")
    total = None if total_text == "*" else int(total_text)
    if first is None:
        session = await to_thread.run_sync(call.service.uploads.get, upload)
    else:
        _check_length(first, last, total, headers.get("content-length"), text)
        session = await run_upload(lambda: call.service.uploads.append(upload, int(first), chunks))
        if found is None and not chunks.disconnected:
            total = session.received
    if chunks.disconnected:
        return Response(status_code=400)  # nobody reads it
    if not is_complete(session) and (total is None or session.received < total):
        return _incomplete(session)
    checksums = checksums_of(call.request)
    row = await to_thread.run_sync(
        lambda: call.service.uploads.finish(
            upload, session.received if total is None else total, checksums
        )
    )
    return json_reply(object_json(row, call.base), call.fields)


async def cancel_upload(call: StorageCall) -> Response:
    """A `DELETE` of a resumable upload: 499 means that it is cancelled."""
    await to_thread.run_sync(call.service.uploads.cancel, call.query.get("upload_id", ""))
    return Response(status_code=499)


async def run_upload(work: Any) -> Any:
    """Runs work that pulls a body in a thread of its own kind."""
    return await to_thread.run_sync(work, limiter=_UPLOADS)


def checksums_of(request: Request) -> Checksums:
    """What `X-Goog-Hash` and `Content-MD5` say.

    Raises:
        InvalidArgument: If they can't be read.
    """
    said = {"md5": request.headers.get("content-md5", "")}
    for header in request.headers.getlist("x-goog-hash"):
        for item in header.split(","):
            kind, _, value = item.strip().partition("=")
            said[kind] = value
    return Checksums.parse(said.get("md5"), said.get("crc32c"))


async def _upload_media(call: StorageCall) -> Response:
    body: dict[str, Any] = {"contentType": call.request.headers.get("content-type", "")}
    return await _store(call, body, call.request.stream(), checksums_of(call.request))


async def _upload_multipart(call: StorageCall) -> Response:
    boundary = boundary_of(call.request.headers.get("content-type", ""))
    related = RelatedBody(call.request.stream(), boundary)
    body = read_json(await related.read_metadata())
    if not body.get("contentType"):
        body["contentType"] = related.content_type
    checksums = Checksums.parse(body.get("md5Hash"), body.get("crc32c"))
    return await _store(call, body, related.media(), checksums)


async def _store(
    call: StorageCall, body: dict[str, Any], stream: AsyncIterator[bytes], checksums: Checksums
) -> Response:
    name = named(call, body)
    attributes = Attributes.parse(_with_query(call, body))
    chunks = BodyChunks(stream)
    row = await run_upload(
        lambda: call.service.objects.write(
            call.bucket, name, chunks, attributes, call.conditions, checksums
        )
    )
    return json_reply(object_json(row, call.base), call.fields)


async def _start_resumable(call: StorageCall) -> Response:
    headers = call.request.headers
    body = read_json(await read_limited(call.request, JSON_LIMIT))
    name = named(call, body)
    if not body.get("contentType"):
        body["contentType"] = headers.get("x-upload-content-type", "")
    length = headers.get("x-upload-content-length", "")
    if length and not length.isdecimal():
        raise InvalidArgument("`X-Upload-Content-Length` must be a whole number.")
    attributes = Attributes.parse(_with_query(call, body))
    checksums = Checksums.parse(body.get("md5Hash"), body.get("crc32c"))
    if checksums == NO_CHECKSUMS:
        checksums = checksums_of(call.request)
    session = await to_thread.run_sync(
        lambda: call.service.uploads.start(
            call.bucket,
            name,
            attributes,
            call.conditions,
            checksums,
            int(length) if length else None,
        )
    )
    query = {"uploadType": "resumable", "name": name, "upload_id": session.name}
    if call.fields:
        query["fields"] = call.fields
    location = f"{call.base}{raw_path(call.request.scope)}?{urlencode(query)}"
    return _session_reply(200, session, "Location", location)


def _incomplete(session: UploadSession) -> Response:
    """308: which bytes are safe. The header is left out where there are none."""
    if not session.received:
        return _session_reply(308, session)
    return _session_reply(308, session, "Range", f"bytes=0-{session.received - 1}")


def _session_reply(
    status: int, session: UploadSession, header: str = "", value: str = ""
) -> Response:
    response = Response(status_code=status, headers={"X-GUploader-UploadID": session.name})
    if header:
        response.raw_headers.append((_AsSpelled(header.encode()), value.encode("latin-1")))
    return response


class _AsSpelled(bytes):
    """A header's name that goes out as it is written here.

    TensorFlow looks for `Location` and `Range` letter by letter; Starlette's headers are lower
    case, and Uvicorn sends each name's `lower()`.
    """

    __slots__ = ()

    def lower(self) -> Self:
        """Stays as it is."""
        return self


def _check_length(
    first: str, last: str | None, total: int | None, length: str | None, text: str
) -> None:
    if last is None:
        return
    size = int(last) - int(first) + 1
    if size < 1 or (total is not None and int(last) >= total):
        raise InvalidArgument(f"`Content-Range` is no range: {text[:80]!r}.")
    if length is not None and int(length) != size:
        raise InvalidArgument(
            f"`Content-Range` names {size} bytes, but the body has {length}. Send it again."
        )


def named(call: StorageCall, body: Mapping[str, Any]) -> str:
    """The name of the object to write, from the query or the metadata.

    Raises:
        InvalidArgument: If neither has one.
    """
    name = call.query.get("name") or body.get("name") or ""
    if not isinstance(name, str) or not name:
        raise InvalidArgument("`name` is required: the object's name.")
    return name


def _with_query(call: StorageCall, body: dict[str, Any]) -> dict[str, Any]:
    encoding = call.query.get("contentEncoding")
    return {**body, "contentEncoding": encoding} if encoding else body
