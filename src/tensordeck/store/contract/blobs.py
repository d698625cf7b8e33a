"""Where objects' content rests. The rules for all of the store stand in `store.contract`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = ["Blobs"]


class Blobs(ABC):
    """Immutable byte strings under opaque keys: the content of Cloud Storage objects."""

    @abstractmethod
    def write(self, key: str, chunks: Iterator[bytes]) -> int:
        """Stores bytes under a new key, atomically and durably; returns their number."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Streams bytes [start, end).

        Raises:
            NotFound: If there is no such key.
        """

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Removes keys; one that is not there is no error, nor is one that is `held`."""

    @abstractmethod
    def keys(self) -> Iterator[tuple[str, int]]:
        """Lists (key, age in seconds) of all that is stored, to find orphans."""

    def held(self) -> AbstractContextManager[None]:
        """Lets nothing be deleted while the block runs, by whatever server: for backups.

        A deletion meanwhile does nothing; what it was to remove is an orphan, for the next sweep.
        """
        return nullcontext()

    def discard_unfinished(self, older_than_s: float) -> int:  # noqa: ARG002 -- for backends
        """Removes what writes that were cut off left behind; returns how many pieces.

        Args:
            older_than_s: Seconds since the last byte came: a write under way is younger.
        """
        return 0
