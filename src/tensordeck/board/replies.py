"""Replies that cost little when nothing changed: ETags, compression, kept answers."""

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from starlette.responses import Response

from tensordeck import __version__
from tensordeck.board.listing import Listing
from tensordeck.store.contract import Points

__all__ = ["KeptAnswers", "board_state", "data_reply", "entity_tag", "not_modified"]

PRIVATE: Final = "private, no-cache"
"""Data may be kept by the browser that asked, and is asked for again every time."""
_SMALL: Final = 1400
"""Bytes that fit one packet: compressing less gains nothing."""
_ENTRY_BYTES: Final = 1500
"""What a kept answer takes besides its body and its question's texts."""


def board_state(points: Points, listing: Listing) -> str:
    """A text that changes whenever a board would show something else."""
    versions = points.run_versions([run.pk for run in listing.runs.values()])
    plain = repr((listing.stamp, sorted(versions.items())))
    return hashlib.blake2b(plain.encode(), digest_size=12).hexdigest()


def entity_tag(state: str, path: str, query: str) -> str:
    """The ETag of an answer; weak, as it holds for every encoding."""
    plain = f"{__version__}\0{state}\0{path}\0{query}"
    return f'W/"{hashlib.blake2b(plain.encode(), digest_size=12).hexdigest()}"'


def not_modified(tag: str, if_none_match: str) -> Response | None:
    """A 304 when the caller has what it would get."""
    if tag in (part.strip() for part in if_none_match.split(",")):
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": PRIVATE})
    return None


def data_reply(
    body: bytes | Iterable[bytes],
    accepted: str,
    *,
    media_type: str = "application/json",
    tag: str = "",
) -> Response:
    """An answer with data, compressed where the caller takes that.

    Args:
        body: The data, whole or in pieces.
        accepted: The Accept-Encoding header.
        media_type: The Content-Type.
        tag: The ETag; empty for none.
    """
    body, encoding = compressed(body, accepted)
    headers = {"Cache-Control": PRIVATE, "Vary": "Accept-Encoding"}
    if encoding:
        headers["Content-Encoding"] = encoding
    if tag:
        headers["ETag"] = tag
    headers["X-Content-Type-Options"] = "nosniff"
    return Response(body, media_type=media_type, headers=headers)


def compressed(body: bytes | Iterable[bytes], accepted: str) -> tuple[bytes, str]:
    """Compresses in the quickest way that the caller takes.

    Piece by piece: a chart of megabytes that is never in one piece costs a third less.
    """
    if isinstance(body, bytes):
        if len(body) < _SMALL:
            return body, ""
        body = (body,)
    if "zstd" in accepted:
        import zstandard  # noqa: PLC0415 -- with the first large answer, not at start

        zstd = zstandard.ZstdCompressor(level=1).compressobj()
        return b"".join((*map(zstd.compress, body), zstd.flush())), "zstd"
    if "gzip" in accepted:
        deflate = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return b"".join((*map(deflate.compress, body), deflate.flush())), "gzip"
    return b"".join(body), ""


class KeptAnswers:
    """Answers to the same question about the same state. Thread-safe.

    Browsers keep no answers to POST, and a board asks for each visible chart by POST again
    whenever one of them changed.

    Args:
        capacity: Bytes to keep at most.
    """

    def __init__(self, capacity: int = 32 << 20) -> None:
        self._capacity = capacity
        self._size = 0
        self._kept: OrderedDict[tuple[str, ...], tuple[Response, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: tuple[str, ...], answer: Callable[[], Response]) -> Response:
        """Returns the kept answer, or makes and keeps it."""
        with self._lock:
            if found := self._kept.get(question):
                self._kept.move_to_end(question)
                return found[0]
        made = answer()
        size = len(made.body) + sum(map(len, question)) + _ENTRY_BYTES
        if size <= self._capacity // 4:
            with self._lock:
                if question not in self._kept:
                    self._kept[question] = made, size
                    self._size += size
                while self._size > self._capacity:
                    _, (_, freed) = self._kept.popitem(last=False)
                    self._size -= freed
        return made
