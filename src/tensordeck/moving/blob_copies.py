"""Blobs on the way from one store to another, each checked against its checksum.

Checksums are CRC-32C (RFC 3720, appendix B.4), which Cloud Storage and so our objects' rows use.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import google_crc32c

from tensordeck import errors

__all__ = [
    "BlobCopies",
    "BlobSource",
    "BlobTarget",
    "CopiedBlob",
    "Losses",
    "Measured",
    "WantedBlob",
]

_PARALLEL: Final = 8
"""Blobs copied at a time: each waits for a disk or a network most of the time."""


class BlobSource(Protocol):
    """Where blobs are read."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As `Blobs.read`."""


class BlobTarget(Protocol):
    """Where blobs are written."""

    def write(self, key: str, chunks: Iterator[bytes]) -> int:
        """As `Blobs.write`."""


class WantedBlob(NamedTuple):
    """A blob that a row refers to.

    Attributes:
        key: Its key.
        owner: Whose content it is, for messages.
        size: How many bytes it must have; None where the row does not say.
        crc32c: What they must hash to; None likewise.
    """

    key: str
    owner: str
    size: int | None
    crc32c: int | None


class CopiedBlob(NamedTuple):
    """A blob that was copied; `size` and `crc32c` are those of the bytes that were read."""

    key: str
    size: int
    crc32c: int


@dataclass(slots=True)
class Losses:
    """What the source had lost already.

    Attributes:
        missing: The owners of blobs that are not there.
        damaged: The owners of blobs whose bytes are not those that were written.
    """

    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.damaged)

    def told(self) -> str:
        """One line for people; empty when nothing was lost."""
        parts = [
            f"{len(owners):,} objects whose content {what} (e.g. {owners[0]})"
            for owners, what in (
                (self.missing, "is not there"),
                (self.damaged, "does not fit its checksum"),
            )
            if owners
        ]
        return " and ".join(parts)


class BlobCopies:
    """Copies blobs.

    Args:
        source: Where they are.
        target: Where they go.
        check: Where each is read again after it was written, to compare; nowhere when None.
        parallel: How many at a time.

    Attributes:
        losses: What could not be copied as it was written once.
        count: How many were copied.
        size: How many bytes.
    """

    def __init__(
        self,
        source: BlobSource,
        target: BlobTarget,
        *,
        check: BlobSource | None = None,
        parallel: int = _PARALLEL,
    ) -> None:
        self._source = source
        self._target = target
        self._check = check
        self._parallel = parallel
        self._lock = threading.Lock()
        self.losses = Losses()
        self.count = 0
        self.size = 0

    def copy(self, wanted: Sequence[WantedBlob]) -> list[CopiedBlob]:
        """Copies blobs; returns those that were there, in the order given.

        Raises:
            errors.DataLoss: If the target gives other bytes back than it was given.
            errors.TensordeckError: What either store raises.
        """
        if self._parallel == 1 or len(wanted) < 2:
            return [blob for one in wanted if (blob := self._copied(one))]
        with ThreadPoolExecutor(self._parallel, "blob-copies") as pool:
            return [blob for blob in pool.map(self._copied, wanted) if blob]

    def _copied(self, wanted: WantedBlob) -> CopiedBlob | None:
        try:
            chunks = self._source.read(wanted.key)
        except errors.NotFound:
            self.losses.missing.append(wanted.owner)
            return None
        measured = Measured(chunks, self._count_bytes)
        self._target.write(wanted.key, iter(measured))
        size, crc32c = measured.size, measured.crc32c
        if wanted.size not in (None, size) or wanted.crc32c not in (None, crc32c):
            self.losses.damaged.append(wanted.owner)
        if self._check is not None:
            again = Measured(self._check.read(wanted.key)).exhausted()
            if (again.size, again.crc32c) != (size, crc32c):
                raise errors.DataLoss(
                    f"The content of {wanted.owner} came back changed from where it was copied to. "
                    "That storage can't be trusted; try another one."
                )
        with self._lock:
            self.count += 1
        return CopiedBlob(wanted.key, size, crc32c)

    def _count_bytes(self, size: int) -> None:
        with self._lock:
            self.size += size


class Measured:
    """Bytes that are counted and hashed on their way.

    Attributes:
        size: How many came so far.
        crc32c: What they hash to.
    """

    def __init__(self, chunks: Iterator[bytes], tell: "_Tell | None" = None) -> None:
        self._chunks = chunks
        self._tell = tell
        self.size = 0
        self.crc32c = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self.crc32c = int(google_crc32c.extend(self.crc32c, chunk))
            if self._tell is not None:
                self._tell(len(chunk))
            yield chunk

    def exhausted(self) -> "Measured":
        """Reads to the end; returns itself."""
        for _ in self:
            pass
        return self


class _Tell(Protocol):
    def __call__(self, size: int, /) -> None: ...
