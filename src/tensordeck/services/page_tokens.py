"""Page tokens of lists that the services make themselves: opaque, and bound to their query."""

import base64
import binascii
import hashlib
import json
from typing import Any

from tensordeck.errors import InvalidArgument


def make_token(query: tuple[object, ...], position: tuple[int | str, ...]) -> str:
    """Packs the position after which the next page begins.

    Args:
        query: All that must stay the same between pages.
        position: The last item's key.
    """
    text = json.dumps([_digest(query), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(query: tuple[object, ...], token: str, size: int) -> tuple[int, ...]:
    """Unpacks a position of numbers.

    Args:
        query: As it was given to `make_token`.
        token: What the caller sent.
        size: How many numbers the position has.

    Raises:
        InvalidArgument: If the token is not ours, or belongs to another query.
    """
    return read_position(query, token, (int,) * size)


def read_position(
    query: tuple[object, ...], token: str, types: tuple[type, ...]
) -> tuple[Any, ...]:
    """Unpacks a position of numbers and texts.

    Args:
        query: As it was given to `make_token`.
        token: What the caller sent.
        types: What the position is made of.

    Raises:
        InvalidArgument: If the token is not ours, or belongs to another query.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        digest, *position = json.loads(base64.b64decode(padded, b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        digest, position = "", []
    if tuple(map(type, position)) != types:
        raise InvalidArgument(
            "`page_token` is not one that this server gave out; start again without it."
        )
    if digest != _digest(query):
        raise InvalidArgument(
            "`page_token` belongs to another query: `filter`, `order_by` and the resource must "
            "stay the same between pages."
        )
    return tuple(position)


def _digest(query: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(query).encode()).hexdigest()[:16]
