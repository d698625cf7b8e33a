"""Page tokens: where the last page ended, sealed to the query that it belongs to.

A token is URL-safe base64 of a 16-byte BLAKE2b checksum and the JSON of the last row's sort keys.
The checksum covers the query too, so that a token that was altered, or made by another query, is
refused instead of showing a wrong page. It keeps no secret: a row that a forged token could name
is one that the caller may list anyway.
"""

import base64
import binascii
import hashlib
import json
from typing import Any

from tensordeck import errors

__all__ = ["open_token", "seal_token"]


def seal_token(query: tuple[object, ...], keys: list[Any]) -> str:
    """Makes the token of the page that ended at these sort keys.

    Args:
        query: What the list was asked; anything with a stable `repr`.
        keys: The last row's sort keys: texts, integers or finite floats.
    """
    payload = json.dumps(keys, ensure_ascii=False, separators=(",", ":")).encode()
    return _encoded(_checksum(query, payload) + payload)


def open_token(query: tuple[object, ...], token: str) -> list[Any]:
    """Returns the sort keys in a token.

    Raises:
        errors.InvalidArgument: If it is none of ours, or another query's.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) <= 16 or _encoded(raw) != token or raw[:16] != _checksum(query, raw[16:]):
        raise errors.InvalidArgument(
            "`page_token` does not belong to this list. Pass the `next_page_token` of the last "
            "page, with the same parent, filter and order_by."
        )
    keys: list[Any] = json.loads(raw[16:])
    return keys


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _checksum(query: tuple[object, ...], payload: bytes) -> bytes:
    return hashlib.blake2b(repr(query).encode() + b"\0" + payload, digest_size=16).digest()
