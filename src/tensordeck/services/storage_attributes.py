"""What a caller may say of an object besides its bytes: content type, headers, own metadata.

Fields: https://cloud.google.com/storage/docs/json_api/v1/objects#resource.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, Self

from msgspec import Struct, field
from msgspec.structs import replace

from tensordeck.errors import InvalidArgument
from tensordeck.store.resources import Json, StoredObject

__all__ = ["NO_ATTRIBUTES", "NO_CHECKSUMS", "WRITABLE", "Attributes", "Checksums"]

WRITABLE: Final[dict[str, type]] = {
    "cacheControl": str,
    "contentDisposition": str,
    "contentEncoding": str,
    "contentLanguage": str,
    "customTime": str,
    "eventBasedHold": bool,
    "storageClass": str,
    "temporaryHold": bool,
}
"""Fields that we keep and give back as they came, with the type each must have."""

_METADATA_LIMIT: Final = 8 * 1024


class Checksums(Struct, frozen=True):
    """What a caller says its bytes hash to. None: not said.

    Attributes:
        md5: 16 bytes.
        crc32c: The checksum's value.
    """

    md5: bytes | None = None
    crc32c: int | None = None

    @classmethod
    def parse(cls, md5: object, crc32c: object) -> Self:
        """Reads them in the API's form, base64 of the big-endian bytes.

        Raises:
            InvalidArgument: If one has another form.
        """
        crc = _digest("crc32c", crc32c, 4)
        return cls(_digest("md5Hash", md5, 16), None if crc is None else int.from_bytes(crc))

    def check(self, md5: bytes, crc32c: int) -> None:
        """Compares with what the bytes really hash to; an unknown (empty) MD5 always passes.

        Raises:
            InvalidArgument: If they differ: bytes were lost or changed on the way.
        """
        if self.crc32c is not None and self.crc32c != crc32c:
            raise InvalidArgument(
                f"Provided CRC32C {_base64(self.crc32c.to_bytes(4))} doesn't match the "
                f"calculated one, {_base64(crc32c.to_bytes(4))}. Send the data again."
            )
        if self.md5 is not None and md5 and self.md5 != md5:
            raise InvalidArgument(
                f"Provided MD5 {_base64(self.md5)} doesn't match the calculated one, "
                f"{_base64(md5)}. Send the data again."
            )

    def to_json(self) -> Json:
        """The form that `parse` reads, for an upload's row."""
        found: Json = {}
        if self.md5 is not None:
            found["md5Hash"] = _base64(self.md5)
        if self.crc32c is not None:
            found["crc32c"] = _base64(self.crc32c.to_bytes(4))
        return found


class Attributes(Struct, frozen=True, kw_only=True):
    """An object's metadata as its writer gave it.

    Attributes:
        content_type: MIME type; empty when not said.
        metadata: The writer's own key-value pairs.
        extra: The fields of `WRITABLE`.
    """

    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Reads them from an object resource's JSON; fields that only we set are ignored.

        Raises:
            InvalidArgument: If a field has the wrong type; the message names it.
        """
        return cls().patched(body)

    @classmethod
    def of(cls, row: StoredObject) -> Self:
        """Those that an object has."""
        return cls(
            content_type=row.content_type,
            metadata=row.metadata,
            extra={key: row.extra[key] for key in WRITABLE if key in row.extra},
        )

    def patched(self, body: Mapping[str, Any]) -> Self:
        """Returns these with the fields of a patch: a null removes one, a missing one stays.

        Raises:
            InvalidArgument: As `parse`.
        """
        extra = dict(self.extra)
        for name, kind in WRITABLE.items():
            value = body.get(name)
            if value is not None and not isinstance(value, kind):
                raise InvalidArgument(f"`{name}` must be a {kind.__name__}.")
            if value is not None:
                extra[name] = value
            elif name in body:
                extra.pop(name, None)
        content_type = body.get("contentType", self.content_type) or ""
        if not isinstance(content_type, str):
            raise InvalidArgument("`contentType` must be a string.")
        for name, text in {**extra, "contentType": content_type}.items():
            if isinstance(text, str) and not text.isprintable():
                raise InvalidArgument(f"`{name}` may hold no control characters.")
        return replace(
            self,
            content_type=content_type,
            metadata=_patched_metadata(self.metadata, body),
            extra=extra,
        )

    def to_json(self) -> Json:
        """The form that `parse` reads, for an upload's row."""
        return {
            "contentType": self.content_type,
            "metadata": dict(self.metadata),
            **self.extra,
        }


NO_ATTRIBUTES: Final = Attributes()
NO_CHECKSUMS: Final = Checksums()


def _patched_metadata(old: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, str]:
    if "metadata" not in body:
        return dict(old)
    given = body["metadata"]
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(
        isinstance(value, str | None) for value in given.values()
    ):
        raise InvalidArgument("`metadata` must be an object of strings.")
    merged = {**old, **given}
    metadata = {key: value for key, value in merged.items() if value is not None}
    try:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    except UnicodeEncodeError as error:
        raise InvalidArgument("`metadata` is no valid Unicode.") from error
    if size > _METADATA_LIMIT:
        raise InvalidArgument(f"`metadata` may have {_METADATA_LIMIT} bytes; it has {size}.")
    if any("\0" in text for item in metadata.items() for text in item):
        raise InvalidArgument("`metadata` may hold no NUL.")
    return metadata


def _digest(field_name: str, value: object, length: int) -> bytes | None:
    if value is None or value == "":
        return None
    try:
        digest = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != length:
        raise InvalidArgument(f"`{field_name}` must be base64 of {length} bytes.")
    return digest


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
