"""Downloads: an object's bytes, whole or a range, streamed.

https://cloud.google.com/storage/docs/xml-api/reference-headers has the headers.
"""

import re
import zlib
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate, parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tensordeck.front.storage_api.calls import STORAGE_THREADS, StorageCall
from tensordeck.front.storage_api.representation import etag, hash_header
from tensordeck.services.storage_conditions import RangeNotSatisfiable, metageneration
from tensordeck.services.storage_objects import ObjectReader
from tensordeck.store.resources import StoredObject

__all__ = ["byte_range", "download", "object_headers"]

_RANGE: Final = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_INFLATE_STEP: Final = 1024 * 1024
_PASSED_ON: Final = {
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
    "storageClass": "X-Goog-Storage-Class",
}


def download(call: StorageCall, bucket: str, name: str, *, xml: bool = False) -> Response:
    """Answers with an object's bytes: all, or those that `Range` names.

    Args:
        call: The call.
        bucket: The bucket.
        name: The object's name.
        xml: Whether the caller speaks the XML API, whose ETags are other ones.

    Raises:
        NotFound: If there is no such object.
        RangeNotSatisfiable: If the range starts past its end.
        ConditionNotMet: If a precondition does not hold.
        NotModified: If a "not" condition does not hold.
    """
    request = call.request
    wanted = request.headers.get("range", "")

    def choose(row: StoredObject) -> tuple[int, int]:
        if _is_inflated(row, request):
            return 0, row.size
        return byte_range(wanted, row.size) or (0, row.size)

    reader = call.service.objects.open(bucket, name, call.generation, call.conditions, choose)
    row = reader.row
    headers = object_headers(row, xml=xml)
    if xml and _is_fresh(row, request, headers["ETag"]):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    if _is_inflated(row, request):
        headers.pop("Content-Encoding")
        headers["Warning"] = "214 UploadServer gunzipped"
        return StreamingResponse(_pulled(_inflated(reader.chunks)), headers=headers)
    status = 200
    if byte_range(wanted, row.size) is not None:
        status = 206
        headers["Content-Range"] = f"bytes {reader.start}-{reader.end - 1}/{row.size}"
    return _stream(reader, status, headers)


def object_headers(row: StoredObject, *, xml: bool) -> dict[str, str]:
    """The headers that describe an object."""
    headers = {
        "Content-Type": row.content_type,
        "Accept-Ranges": "bytes",
        "ETag": f'"{row.md5.hex()}"' if xml and row.md5 else etag(row),
        "Last-Modified": formatdate(row.update_time / 1_000_000, usegmt=True),
        "X-Goog-Generation": str(row.generation),
        "X-Goog-Metageneration": str(metageneration(row)),
        "X-Goog-Hash": hash_header(row),
        "X-Goog-Storage-Class": "STANDARD",
        "X-Goog-Stored-Content-Encoding": str(row.extra.get("contentEncoding", "identity")),
        "X-Goog-Stored-Content-Length": str(row.size),
    }
    headers |= {h: str(row.extra[key]) for key, h in _PASSED_ON.items() if key in row.extra}
    if "componentCount" in row.extra:
        headers["X-Goog-Component-Count"] = str(row.extra["componentCount"])
    headers |= {
        f"X-Goog-Meta-{key}": value for key, value in row.metadata.items() if _TOKEN.fullmatch(key)
    }
    return {name: _header_text(value) for name, value in headers.items()}


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) that a `Range` header names.

    One that can't be read, or has several ranges, is ignored, as RFC 9110 lets a server do.

    Raises:
        RangeNotSatisfiable: If it starts past the end.
    """
    found = _RANGE.fullmatch(header)
    if found is None or found[1] == found[2] == "":
        return None
    first, last = found[1], found[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(
            f"The requested range {header} cannot be satisfied: the object has {size} bytes.", size
        )
    return start, end


def _stream(reader: ObjectReader, status: int, headers: dict[str, str]) -> Response:
    length = reader.end - reader.start
    headers["Content-Length"] = str(length)
    return StreamingResponse(_pulled(reader.chunks), status, headers)


async def _pulled(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, each read in a thread that may wait for the blob store."""
    while True:
        chunk = await to_thread.run_sync(next, chunks, None, limiter=STORAGE_THREADS)
        if chunk is None:
            return
        yield chunk


def _is_fresh(row: StoredObject, request: Request, tag: str) -> bool:
    """Whether the caller has this content already."""
    if (given := request.headers.get("if-none-match")) is not None:
        return given.strip() in (tag, "*")
    if since := request.headers.get("if-modified-since"):
        try:
            return row.update_time // 1_000_000 <= parsedate_to_datetime(since).timestamp()
        except ValueError:
            return False
    return False


def _is_inflated(row: StoredObject, request: Request) -> bool:
    """Whether a gzip object goes out unpacked, because the caller does not take gzip."""
    return (
        row.extra.get("contentEncoding") == "gzip"
        and "gzip" not in request.headers.get("accept-encoding", "")
        and "no-transform" not in str(row.extra.get("cacheControl", ""))
    )


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest:
            yield inflate.decompress(rest, _INFLATE_STEP)
            rest = inflate.unconsumed_tail
    yield inflate.flush()


def _header_text(value: str) -> str:
    """Text that a header can hold; what is not ASCII is quoted."""
    return value if value.isascii() and value.isprintable() else quote(value, safe=" /;=,:\"'")
